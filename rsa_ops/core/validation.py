"""What the validate stage hands on: the fingerprint of the data, its splits, and what was found in it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rsa_ops.core.digest import Digest
from rsa_ops.core.record import Record, Value

Severity = Literal["refuse", "warn", "off"]
SPLITS = ("train", "validation", "test")


class Finding(Value):
    """One check that did not hold: how many rows, up to five examples, and what to do."""

    check: str
    severity: Literal["refuse", "warn"]
    rows: int
    message: str
    examples: tuple[str, ...]
    advice: str


class SplitInfo(Value):
    """One split: its size and the SHA-256 over the canonical bytes of all its rows."""

    name: str
    rows: int
    digest: Digest


class Validation(Record):
    """`validation.json`. `labels` is sorted and empty for generation."""

    schema_: Literal["rsa_ops/validation/v1"] = Field(default="rsa_ops/validation/v1", alias="schema")

    task: Literal["classification", "generation"]
    source: str
    rows_read: int
    rows_used: int
    sampling: str
    fingerprint: Digest
    splits: tuple[SplitInfo, ...]
    labels: tuple[str, ...]
    slices: tuple[str, ...]
    findings: tuple[Finding, ...]
    checks_run: int
    attribution: str = ""

    @property
    def refusals(self) -> tuple[Finding, ...]:
        """Findings that stop the run."""
        return tuple(finding for finding in self.findings if finding.severity == "refuse")

    def split(self, name: str) -> SplitInfo:
        """The split called `name`."""
        return next(info for info in self.splits if info.name == name)
