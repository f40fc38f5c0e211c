"""What can be wrong with a ledger, and where."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from rsa_ops.core.record import Value


class Flaw(StrEnum):
    """The kinds of damage. What each means, and what can cause it: docs/governance.md."""

    EDITED = "edited"
    NOT_CANONICAL = "not canonical"
    WRONG_LEDGER = "wrong ledger"
    MOVED = "moved"
    DELETED = "deleted"
    FORKED = "forked"
    REPLACED = "replaced"
    COPY_CHANGED = "column changed"
    CLOCK_BACK = "clock went back"
    CLOCK_AHEAD = "clock ahead"
    UNKNOWN_KEY = "unknown key"
    REVOKED_KEY = "revoked key"
    WRONG_ROLE = "wrong role"
    BAD_SIGNATURE = "bad signature"
    BAD_PAYLOAD = "bad payload"
    WRONG_ORDER = "wrong order"
    NOT_RATIFIED = "not ratified"
    TRUNCATED = "truncated"
    REWRITTEN = "rewritten"
    BAD_CHECKPOINT = "bad checkpoint"
    ALIAS_MOVED = "alias moved"
    VERSION_DELETED = "version deleted"
    BYTES_CHANGED = "artifact bytes changed"
    BYTES_MISSING = "artifact bytes missing"


class Fault(NamedTuple):
    """What is wrong with the entry at hand; the one who looks knows which entry that is."""

    flaw: Flaw
    reason: str

    def at(self, sequence: int) -> Finding:
        """The fault as a finding about the entry with this number."""
        return Finding(flaw=self.flaw, sequence=sequence, reason=self.reason)


class Finding(Value):
    """One thing wrong, at the entry `sequence`; for the registry, that is the entry which says how it should be."""

    flaw: Flaw
    sequence: int
    reason: str

    def __str__(self) -> str:
        return f"entry {self.sequence}: {self.flaw.value}: {self.reason}"


class Note(Value):
    """Nothing wrong, and still worth knowing, about the entry `sequence`."""

    sequence: int
    text: str

    def __str__(self) -> str:
        return f"entry {self.sequence}: {self.text}"
