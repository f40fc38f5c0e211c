"""The walk of verification: what each entry must be, given all entries before it.

`Walk` is the one value here that changes: a hundred thousand copies of it would cost more than what it checks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from rsa_ops.core.digest import Digest, short
from rsa_ops.errors import IntegrityError
from rsa_ops.governance.checkpoint import Checkpoint
from rsa_ops.governance.entry import (
    NOTHING,
    Entry,
    Kind,
    entry_hash,
    from_base64,
    from_instant,
    message,
    parse_entry,
    to_instant,
)
from rsa_ops.governance.finding import Fault, Finding, Flaw
from rsa_ops.governance.keyring import Keyring
from rsa_ops.governance.order import Order
from rsa_ops.governance.payloads import read_payload
from rsa_ops.governance.refusals import Moment
from rsa_ops.governance.view import Row, copies


class Signature(NamedTuple):
    """A signature that is still to be checked."""

    sequence: int
    public: Ed25519PublicKey
    signature: bytes
    message: bytes


@dataclass
class Walk:
    """Where the walk stands: `entries` were good, the last of them has the hash `head`."""

    now: datetime
    tolerance: timedelta
    checkpoints: Sequence[Checkpoint] = ()
    entries: int = 0
    ledger: Digest = NOTHING
    head: Digest = NOTHING
    latest: str = ""
    keyring: Keyring = field(default_factory=Keyring)
    order: Order = field(default_factory=Order)

    def step(self, row: Row, signatures: list[Signature]) -> Finding | None:
        """Check one row and go on, or say what is wrong; its signature is left in `signatures`."""
        parsed = self._read(row)
        if isinstance(parsed, Fault):
            return parsed.at(self.entries)
        entry, body, name = parsed
        misplaced = self._place(row, entry)
        if misplaced is not None:
            return misplaced
        fault = (
            self._author(row, entry, body, signatures)
            or self._meaning(entry, name)
            or self._checkpoint(entry, name)
        )
        if fault is not None:
            return fault.at(self.entries)
        self.ledger = name if entry.sequence == 0 else self.ledger
        self.latest = entry.at if entry.kind is Kind.CLOCK_SET else max(self.latest, entry.at)
        self.head, self.entries = name, self.entries + 1
        return None

    def end(self) -> Finding | None:
        """What is missing behind the last row, or None."""
        if self.entries == 0:
            return Fault(Flaw.TRUNCATED, "the ledger has no entries at all").at(0)
        for checkpoint in self.checkpoints:
            if checkpoint.sequence >= self.entries:
                reason = (
                    f"the ledger ends with entry {self.entries - 1}; a checkpoint knows entry {checkpoint.sequence}"
                )
                return Fault(Flaw.TRUNCATED, reason).at(self.entries)
        return None

    def _read(self, row: Row) -> tuple[Entry, str, Digest] | Fault:
        body = row.body
        if not isinstance(body, str):
            return Fault(Flaw.EDITED, "its body is no text")
        try:
            name = entry_hash(body)
            if row.hash != name:
                return Fault(Flaw.EDITED, f"its bytes give {short(name)}, not its recorded hash {_shown(row.hash)}")
            return parse_entry(body), body, name
        except ValueError:
            return Fault(Flaw.EDITED, "its body is no UTF-8 text")
        except IntegrityError as error:
            return Fault(Flaw.NOT_CANONICAL, error.message)

    def _place(self, row: Row, entry: Entry) -> Finding | None:
        """The entry stands where it says, after the entry that it names, in this ledger."""
        here, number = self.entries, entry.sequence
        if row.copies.get("sequence", number) != number:
            return Fault(Flaw.MOVED, f"in its place stands what was written as entry {number}").at(here)
        if number < here:
            return Fault(Flaw.FORKED, f"there are two entries {number}").at(number)
        if number > here:
            return Fault(Flaw.DELETED, f"it is not there; entry {number} stands in its place").at(here)
        fault = self._link(entry) or _copies(row, entry)
        if fault is None:
            return None
        return fault.at(max(0, here - 1) if fault.flaw is Flaw.REPLACED else here)

    def _link(self, entry: Entry) -> Fault | None:
        """Named for what is wrong with the entry before, where this one was written after another."""
        if entry.ledger != self.ledger:
            return Fault(
                Flaw.WRONG_LEDGER, f"it was written for the ledger {short(entry.ledger)}, not for this one"
            )
        if entry.previous != self.head:
            return Fault(
                Flaw.REPLACED,
                f"entry {entry.sequence} was written after an entry {short(entry.previous)}, "
                f"but the one before it is {short(self.head)}",
            )
        return None

    def _checkpoint(self, entry: Entry, name: Digest) -> Fault | None:
        for checkpoint in self.checkpoints:
            if entry.sequence == 0 and checkpoint.ledger != name:
                return Fault(Flaw.WRONG_LEDGER, f"a checkpoint is about the ledger {short(checkpoint.ledger)}")
            if checkpoint.sequence != entry.sequence:
                continue
            if checkpoint.head != name:
                return Fault(
                    Flaw.REWRITTEN,
                    f"a checkpoint knows it as {short(checkpoint.head)}, here it is {short(name)}: "
                    "it, or an entry before it, was written anew",
                )
            holder = self.keyring.holders.get(checkpoint.key)
            if holder is None or holder.until is not None:
                return Fault(
                    Flaw.BAD_CHECKPOINT, f"its checkpoint is signed by {short(checkpoint.key)}, no good key"
                )
        return None

    def _author(self, row: Row, entry: Entry, body: str, signatures: list[Signature]) -> Fault | None:
        """The key may write this; that it has, is checked later from `signatures`."""
        try:
            keyring = self.keyring
            if entry.sequence == 0:
                if entry.kind is not Kind.GENESIS:
                    return Fault(Flaw.WRONG_ORDER, f"a ledger begins with genesis, not with {entry.kind.value}")
                keyring = keyring.after(entry, read_payload(entry))
            holder = keyring.holders.get(entry.key)
            if holder is not None and isinstance(row.signature, str):
                signature = Signature(entry.sequence, holder.public, from_base64(row.signature), message(body))
                signatures.append(signature)
            elif holder is not None:
                return Fault(Flaw.BAD_SIGNATURE, "its signature is no text")
        except IntegrityError as error:
            return Fault(Flaw.BAD_SIGNATURE, f"its signature cannot be checked: {error.message}")
        return keyring.fault(entry.key, entry.kind, entry.role)

    def _meaning(self, entry: Entry, name: Digest) -> Fault | None:
        """Time, payload and order."""
        if entry.kind is Kind.GENESIS and entry.sequence > 0:
            return Fault(Flaw.WRONG_ORDER, "a ledger begins once")
        try:
            payload = read_payload(entry)
            written = Moment(
                from_instant(entry.at) - self.tolerance, self.keyring
            )  # its writer looked before it signed
            fault = self._clock(entry) or self.order.fault(entry, name, payload, written)
            if fault is None:
                self.keyring = self.keyring.after(entry, payload)
        except IntegrityError as error:
            return Fault(Flaw.BAD_PAYLOAD, error.message)
        return fault

    def _clock(self, entry: Entry) -> Fault | None:
        moment = from_instant(entry.at)
        if moment > self.now + self.tolerance:
            return Fault(Flaw.CLOCK_AHEAD, f"it says {entry.at}, and it is {to_instant(self.now)} now")
        if entry.kind is not Kind.CLOCK_SET and self.latest and entry.at < self.latest:
            back = from_instant(self.latest) - moment
            if back > self.tolerance:
                return Fault(
                    Flaw.CLOCK_BACK, f"{entry.at} is {back.total_seconds():.0f} s before an entry in front of it"
                )
        return None


def _shown(value: object) -> str:
    text = str(value)
    return short(text) if text.startswith("sha256:") else repr(text[:60])


def _copies(row: Row, entry: Entry) -> Fault | None:
    for name, value in copies(entry).items():
        if row.copies.get(name, value) != value:
            return Fault(Flaw.COPY_CHANGED, f"the column {name} says {_shown(row.copies[name])}, the entry {value}")
    return None
