"""The record that the promote commands print: a plan, how far it has come, what keeps it from being applied."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from rsa_ops.core.digest import Digest, short
from rsa_ops.core.record import Record, Value
from rsa_ops.errors import ExitCode, RsaOpsError
from rsa_ops.governance.apply import promotion_intent
from rsa_ops.governance.desk import Audited
from rsa_ops.governance.entry import Instant
from rsa_ops.governance.payloads import Plan
from rsa_ops.governance.plan import plan_digest
from rsa_ops.governance.pointer import subject_of
from rsa_ops.governance.reconcile import Ending, Reconciled
from rsa_ops.governance.refusals import approvers

State = Literal["applied", "ready", "waiting", "refused"]


class Promotion(Record):
    """`promotion.json`, and `rsa-ops promote ... --json`.

    `generation` is what the plan makes of the alias, `entry` the ledger's entry that filed or applied it.
    `exit_code` is what applying it would exit with now. `entries` of the ledger were verified.
    """

    schema_: Literal["rsa_ops/promotion/v1"] = Field(default="rsa_ops/promotion/v1", alias="schema")

    plan: Digest
    model: str
    alias: str
    version: str
    adapter_digest: Digest
    generation: int
    state: State
    sentence: str
    approvals: int
    approved_by: tuple[Digest, ...]
    expires: Instant
    entry: int
    entries: int
    exit_code: int


class Ended(Value):
    """An intent that was open, and how it was ended; `entry` says so in the ledger."""

    ending: Ending
    model: str
    alias: str
    version: str
    generation: int
    entry: int

    @classmethod
    def of(cls, found: Reconciled) -> Ended:
        """The line of what `reconcile` did."""
        intent = found.intent
        return cls(
            ending=found.ending,
            model=intent.model,
            alias=intent.alias,
            version=intent.version,
            generation=intent.generation,
            entry=found.sealed.entry.sequence,
        )

    def __str__(self) -> str:
        words = f"{self.alias}: {self.model} version {self.version}, generation {self.generation}"
        if self.ending == "abandoned":
            words = f"{self.alias} of {self.model} stays; its move to version {self.version}"
        return f"{words} {self.ending} (entry {self.entry})"


class Outside(Value):
    """An alias that somebody moved outside of rsa_ops: `version` stands in the ledger, `live` in the registry.

    `entry` says in the ledger that it was put back; None where it was not.
    """

    model: str
    alias: str
    version: str
    generation: int
    live: str | None
    entry: int | None = None

    def __str__(self) -> str:
        where = "named no version" if self.live is None else f"named version {self.live}"
        stands = f"version {self.version}, generation {self.generation}"
        if self.entry is None:
            return f"{self.alias} of {self.model} {where}; it is {stands} by the ledger"
        return f"{self.alias}: {self.model} {stands} put back (entry {self.entry}); it {where}"


class Reconciliation(Record):
    """`rsa-ops reconcile --json`: the intents that were open, oldest first; the aliases that were moved outside."""

    schema_: Literal["rsa_ops/reconciliation/v1"] = Field(default="rsa_ops/reconciliation/v1", alias="schema")

    source: str
    ended: tuple[Ended, ...]
    outside: tuple[Outside, ...] = ()


def leaned_on(desk: Audited, plan: Plan) -> Iterator[str]:
    """What a plan that was applied leaned on beside its verdict and its approvals, in words for people."""
    applied = desk.filed(plan).applied
    for sequence, waived in desk.book.waived:
        if sequence == applied:
            yield f"WAIVED by entry {waived.sequence}: {waived.waiver.reason}"
    for _, glass in desk.book.glasses():
        if glass.used is not None and glass.used == applied:
            yield f"GLASS BROKEN by entry {glass.sequence}: {glass.said.reason}"
            yield f"another key ratifies (`rsa-ops promote ratify {glass.sequence}`) until {glass.said.expires}"


def promotion_of(desk: Audited, plan: Plan) -> Promotion:
    """How far a plan of the ledger has come, by its verified entries.

    Raises:
        MissingError: the ledger does not hold this plan.
    """
    name = plan_digest(plan)
    filed = desk.filed(plan)
    approved = approvers(filed, desk.walk.keyring)
    refused = None if filed.applied is not None else _refused(desk, plan)
    what = f"{plan.alias}: {plan.model} version {plan.version}"
    state: State
    if filed.applied is not None:
        state, code = "applied", ExitCode.DONE
        current = desk.alias(subject_of(plan.model, plan.alias)).at.generation == plan.expected.generation + 1
        later = "" if current else "; it has moved on since"
        sentence = f"{what}, generation {plan.expected.generation + 1}, plan {short(name)} applied{later}"
    elif refused is None:
        state, code = "ready", ExitCode.DONE
        sentence = f"{what}: plan {short(name)} can be applied"
    else:
        state = "waiting" if len(approved) < plan.approvals else "refused"
        code = refused.exit_code
        sentence = f"{what}: plan {short(name)} is not applied: {refused.message}"
    return Promotion(
        plan=name,
        model=plan.model,
        alias=plan.alias,
        version=plan.version,
        adapter_digest=plan.digest,
        generation=plan.expected.generation + 1,
        state=state,
        sentence=sentence,
        approvals=plan.approvals,
        approved_by=approved,
        expires=plan.expires,
        entry=filed.sequence if filed.applied is None else filed.applied,
        entries=desk.walk.entries,
        exit_code=int(code),
    )


def _refused(desk: Audited, plan: Plan) -> RsaOpsError | None:
    try:
        promotion_intent(desk, plan, plan_digest(plan))
    except RsaOpsError as error:
        return error
    return None
