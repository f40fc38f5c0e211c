"""Evidence in, verdict out: the values on both sides of the gate."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import Field

from rsa_ops.core.comparison import Comparison
from rsa_ops.core.costs import Tco
from rsa_ops.core.design import ComparisonDesign
from rsa_ops.core.digest import Digest
from rsa_ops.core.measurements import Measurements
from rsa_ops.core.record import Record, Value
from rsa_ops.errors import ExitCode


class Outcome(StrEnum):
    """What a rule or the whole gate says. ERROR is never a pass."""

    PROMOTE = "promote"
    REJECT = "reject"
    INCONCLUSIVE = "inconclusive"
    ERROR = "error"


class Evidence(Value):
    """All that a gate may look at. `champion_digest` is None where the task has no champion yet.

    `locked_policy_digest` and `locked_design_digest` are what the run wrote down before anything was trained.
    """

    comparison: Comparison
    measurements: tuple[Measurements, ...]
    tco: Tco | None
    candidate_digest: Digest
    champion_digest: Digest | None
    test_digest: Digest
    locked_policy_digest: Digest | None = None
    design: ComparisonDesign | None = None
    locked_design_digest: Digest | None = None


class Ruling(Value):
    """One rule applied: what it requires, what was observed, what follows."""

    rule: str
    required: str
    observed: str
    outcome: Outcome
    reason: str


class Verdict(Record):
    """`verdict.json`. `error_exit` is the exit code when the outcome is ERROR (6 broken, 8 missing)."""

    schema_: Literal["rsa_ops/verdict/v1"] = Field(default="rsa_ops/verdict/v1", alias="schema")

    outcome: Outcome
    sentence: str
    candidate: str
    baselines: tuple[str, ...]
    rulings: tuple[Ruling, ...]
    policy: str
    policy_digest: Digest
    test_digest: Digest
    candidate_digest: Digest
    champion_digest: Digest | None
    error_exit: int = int(ExitCode.INTEGRITY)

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of the design's table."""
        return {
            Outcome.PROMOTE: ExitCode.DONE,
            Outcome.REJECT: ExitCode.REJECTED,
            Outcome.INCONCLUSIVE: ExitCode.INCONCLUSIVE,
            Outcome.ERROR: ExitCode(self.error_exit),
        }[self.outcome]
