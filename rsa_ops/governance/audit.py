"""The records that `rsa-ops audit` prints: the result of a verification, and entries as they were read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from rsa_ops.core.digest import Digest
from rsa_ops.core.record import Record, Value
from rsa_ops.errors import ExitCode
from rsa_ops.governance.entry import Role, Sealed
from rsa_ops.governance.finding import Fault, Finding, Flaw, Note
from rsa_ops.governance.keyring import Holder
from rsa_ops.governance.payloads import Custody
from rsa_ops.governance.promotions import Promotions
from rsa_ops.governance.verify import Verified


class KeyLine(Value):
    """A key of the ledger, for reading: granted by entry `since`, revoked by entry `until`."""

    key: Digest
    role: Role
    name: str
    custody: Custody
    since: int
    until: int | None

    @classmethod
    def of(cls, holder: Holder) -> KeyLine:
        """The line of a holder."""
        return cls(
            key=holder.key,
            role=holder.role,
            name=holder.name,
            custody=holder.custody,
            since=holder.since,
            until=holder.until,
        )

    def __str__(self) -> str:
        state = "good" if self.until is None else f"revoked by entry {self.until}"
        where = "" if self.custody == "held" else ", lies beside the ledger"
        return f"{self.key} {self.role.value:8} {self.name} (entry {self.since}{where}): {state}"


class KeyList(Record):
    """`rsa-ops keys list --json`: the keys of a ledger, not verified."""

    schema_: Literal["rsa_ops/ledger-keys/v1"] = Field(default="rsa_ops/ledger-keys/v1", alias="schema")

    source: str
    keys: tuple[KeyLine, ...]


class AuditReport(Record):
    """`rsa-ops audit verify --json`.

    `entries` were good, from the first on; `first_bad` is what came next, None where nothing did. `registry` holds
    the disagreements with MLflow, `overdue` what should have been ratified by now. `checked` and `not_checked` say
    in words what the result rests on.
    """

    schema_: Literal["rsa_ops/audit/v1"] = Field(default="rsa_ops/audit/v1", alias="schema")

    source: str
    ledger: Digest
    entries: int
    head: Digest
    latest: str
    first_bad: Finding | None
    registry: tuple[Finding, ...]
    overdue: tuple[Finding, ...] = ()
    keys: tuple[KeyLine, ...]
    notes: tuple[Note, ...]
    checked: tuple[str, ...]
    not_checked: tuple[str, ...]

    @property
    def exit_code(self) -> ExitCode:
        """0, or 6 where anything is wrong."""
        wrong = self.first_bad is not None or self.registry or self.overdue
        return ExitCode.INTEGRITY if wrong else ExitCode.DONE


class LedgerEntries(Record):
    """`rsa-ops audit log --json` and `show --json`: entries as they stand there, not verified."""

    schema_: Literal["rsa_ops/ledger-entries/v1"] = Field(default="rsa_ops/ledger-entries/v1", alias="schema")

    source: str
    entries: tuple[Sealed, ...]


def chain_notes(verified: Verified) -> tuple[Note, ...]:
    """What is in order and still worth knowing: keys beside the ledger, test sets opened under several policies."""
    local = (
        Note(
            sequence=holder.since,
            text=f"the key {holder.name!r} lies beside the ledger, so it proves nothing about who has both",
        )
        for holder in verified.walk.keyring.holders.values()
        if holder.custody == "beside ledger"
    )
    return (*local, *verified.walk.order.notes, *_promotion_notes(verified.walk.order.promotions))


def overdue(verified: Verified) -> tuple[Finding, ...]:
    """The broken glass that was used, and that nobody has ratified in time."""
    found = (
        Fault(
            Flaw.NOT_RATIFIED,
            f"the glass was broken for {subject}, the plan was applied in entry {glass.used}, and nobody else "
            f"stood by it before {glass.said.expires}",
        ).at(glass.sequence)
        for subject, glass in verified.walk.order.promotions.glasses()
        if glass.overdue(verified.walk.now)
    )
    return tuple(found)


def _promotion_notes(book: Promotions) -> Iterator[Note]:
    for subject, opened in book.open_intents():
        text = f"an intent to move {subject} to version {opened.intent.version} is open: `rsa-ops reconcile`"
        yield Note(sequence=opened.sequence, text=text)
    for sequence, waived in book.waived:
        text = f"promoted by the waiver in entry {waived.sequence}: {waived.waiver.reason}"
        yield Note(sequence=sequence, text=text)
    for subject, glass in book.glasses():
        if glass.used is not None:
            state = "NOT RATIFIED YET" if glass.ratified is None else f"ratified by entry {glass.ratified}"
            text = f"{subject} moved in entry {glass.used} by breaking the glass ({state}): {glass.said.reason}"
            yield Note(sequence=glass.sequence, text=text)
    for sequence in book.bare_moves:
        yield Note(sequence=sequence, text="an alias moved without an intent, before this ledger had any")
