"""Where an alias stands and how it came there, as the entries about `MODEL@ALIAS` say.

These read entries as they stand there; they verify nothing (`desk` does, before it lets anything move).
"""

from __future__ import annotations

from typing import Protocol

from rsa_ops.errors import UsageError
from rsa_ops.governance.entry import Kind, Sealed
from rsa_ops.governance.payloads import Generation, Intent, PointerMoved, payload_as
from rsa_ops.governance.view import View

MOVES = (Kind.APPLIED, Kind.ROLLBACK)
CLOSING = (*MOVES, Kind.ABANDONED)
NOWHERE = Generation(generation=0, version=None, digest=None)


class LivePointer(Protocol):
    """The aliases of a live registry, as far as a promotion needs them."""

    def read(self, model: str, alias: str) -> str | None:
        """The version that the alias names now, or None.

        Raises:
            MissingError: the registry does not answer.
        """
        ...

    def move(self, model: str, alias: str, version: str) -> None:
        """Point the alias at a version; to do so again changes nothing.

        Raises:
            MissingError: the registry does not answer, or refuses.
        """
        ...


def subject_of(model: str, alias: str) -> str:
    """What the entries about an alias have as their subject: `MODEL@ALIAS`.

    Raises:
        UsageError: longer than a subject may be, or an `@` in the alias, which would make it ambiguous.
    """
    subject = f"{model}@{alias}"
    if "@" in alias or not model or not alias or len(subject) > 255:
        raise UsageError(f"{subject[:80]!r} is no MODEL@ALIAS", hint="At most 255 characters, no @ in the alias.")
    return subject


def open_intent(view: View, model: str, alias: str) -> Sealed | None:
    """The intent of an alias that nothing has closed yet, or None."""
    subject = subject_of(model, alias)
    last = next(view.find((Kind.INTENT,), subject, newest_first=True, limit=1), None)
    if last is None:
        return None
    behind = view.find(CLOSING, subject, after=last.entry.sequence)
    return None if any(sealed.entry.payload.get("intent") == last.hash for sealed in behind) else last


def open_intents(view: View) -> tuple[Sealed, ...]:
    """The open intents of all aliases, oldest first."""
    places = {}
    for sealed in view.find((Kind.INTENT,)):
        intent = payload_as(sealed.entry, Intent)
        places[intent.model, intent.alias] = sealed
    found = (open_intent(view, model, alias) for model, alias in places)
    return tuple(sorted(filter(None, found), key=lambda sealed: sealed.entry.sequence))


def pointer_history(view: View, model: str, alias: str) -> tuple[Sealed, ...]:
    """The moves of an alias (`applied` and `rollback`, each a `PointerMoved`), oldest first."""
    return tuple(view.find(MOVES, subject_of(model, alias)))


def standing_at(view: View, model: str, alias: str) -> Generation:
    """Where the ledger says that an alias stands; generation 0 where it never moved."""
    last = next(view.find(MOVES, subject_of(model, alias), newest_first=True, limit=1), None)
    return NOWHERE if last is None else generation_of(payload_as(last.entry, PointerMoved))


def generation_of(moved: PointerMoved) -> Generation:
    """The place that a move led to."""
    return Generation(generation=moved.generation, version=moved.version, digest=moved.digest)
