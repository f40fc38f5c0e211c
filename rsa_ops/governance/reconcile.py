"""What a crash left open is ended, and an alias that was moved from outside is put back, by what the ledger says.

It happens under the ledger's write lock, as the move itself does, so that it cannot harm a process which is only
slow: either that one writes first, and nothing is open any more, or it finds its intent ended and moves nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from rsa_ops.core.digest import short
from rsa_ops.errors import ConflictError, IntegrityError, UsageError
from rsa_ops.governance.apply import At, carry_out, closing_kind, finish, moved_by, nowhere
from rsa_ops.governance.desk import Audited, Desk
from rsa_ops.governance.entry import Kind, Sealed
from rsa_ops.governance.payloads import Abandoned, Intent, PointerMoved, payload_as
from rsa_ops.governance.pointer import LivePointer, subject_of

Ending = Literal["completed", "abandoned", "finished"]


class Reconciled(NamedTuple):
    """How an open intent was ended, and the entry that says so.

    `completed`: the alias had moved. `abandoned`: it had not. `finished`: it was moved now, as intended.
    """

    ending: Ending
    intent: Intent
    sealed: Sealed


def reconcile(
    desk: Desk, pointer: LivePointer, opened: Sealed, *, onward: bool = False, at: At = nowhere
) -> Reconciled:
    """End an open intent by what the alias names now; `onward`: move it as intended instead of giving up.

    Raises:
        IntegrityError: the alias names a third version, which somebody moved there from outside; needs `onward`.
        ConflictError: the alias or the ledger changed in this moment. MissingError: the registry does not answer.
    """
    intent = payload_as(opened.entry, Intent)
    live = pointer.read(intent.model, intent.alias)
    if live != intent.version and onward:
        return Reconciled("finished", intent, finish(desk, pointer, opened, at))
    if intent.generation > 1 and live not in (intent.version, intent.before_version):
        raise _third(intent, live)  # before the first generation the ledger does not say where the alias was
    subject = opened.entry.subject

    def still_there() -> None:
        if pointer.read(intent.model, intent.alias) != live:
            raise ConflictError(f"{intent.alias} of {intent.model} moves at this moment", hint="Run again.")

    if live == intent.version:
        payload = moved_by(intent, opened.hash)
        return Reconciled("completed", intent, desk.write(closing_kind(intent), subject, payload, deed=still_there))
    given_up = Abandoned(intent=opened.hash, reason=f"reconciled: the alias still names {_version(live)}")
    return Reconciled("abandoned", intent, desk.write(Kind.ABANDONED, subject, given_up, deed=still_there))


class Stray(NamedTuple):
    """An alias that the registry has elsewhere than the ledger; `live` is the version it names there."""

    moved: PointerMoved
    live: str | None


def strays(desk: Audited, pointer: LivePointer) -> Iterator[Stray]:
    """Every alias that was moved from outside; one with an open intent is none, for that is ended first.

    Raises:
        MissingError: the registry does not answer.
    """
    for (model, alias), place in desk.walk.order.pointers.items():
        if desk.alias(subject_of(model, alias)).open is None:
            live = pointer.read(model, alias)
            if live != place.moved.version:
                yield Stray(place.moved, live)


def put_back(desk: Desk, pointer: LivePointer, stray: Stray, reason: str, at: At = nowhere) -> Sealed:
    """Move an alias back to where the ledger says that it stands: one more generation, of the same version.

    Raises:
        UsageError: no reason. ConflictError: the ledger has moved on. RsaOpsError: as `carry_out`.
    """
    if not reason.strip():
        raise UsageError("putting an alias back needs a reason", hint="Give --reason; it stays in the ledger.")
    moved = stray.moved
    intent = Intent(
        plan=None,
        action="restore",
        model=moved.model,
        alias=moved.alias,
        version=moved.version,
        digest=moved.digest,
        generation=moved.generation + 1,
        before_version=moved.version,
        reason=reason,
    )
    return carry_out(desk, pointer, intent, at)


def _third(intent: Intent, live: str | None) -> IntegrityError:
    return IntegrityError(
        f"{intent.alias} of {intent.model} should be at {_version(intent.before_version)} or, as was intended, at "
        f"{_version(intent.version)} ({short(intent.digest)}); it names {_version(live)}",
        hint="Somebody moved it from outside. `rsa-ops reconcile --onward` moves it to the version intended.",
    )


def _version(version: str | None) -> str:
    return "no version" if version is None else f"version {version}"
