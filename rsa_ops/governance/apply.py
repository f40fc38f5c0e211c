"""The move of an alias, so that a crash at any moment leaves a state from which one consistent champion follows.

INTENT is written first, and refused unless everything that the plan rests on holds at that moment: that is the
compare of compare-and-swap. Then, under the ledger's write lock and after a look that the intent is still open, the
alias moves, is read back, and APPLIED (or ROLLBACK) is written. A registry takes no part in a ledger's transaction:
after a crash the alias may be ahead of the ledger; the open intent says so, and `reconcile` ends it.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

from rsa_ops.core.digest import Digest
from rsa_ops.errors import IntegrityError, MissingError, RsaOpsError
from rsa_ops.governance.desk import Audited, Desk
from rsa_ops.governance.entry import Kind, Sealed
from rsa_ops.governance.payloads import Intent, Plan, PointerMoved, payload_as
from rsa_ops.governance.pointer import LivePointer, subject_of
from rsa_ops.governance.promotions import Word
from rsa_ops.governance.refusals import RECONCILE


class Step(StrEnum):
    """The moments of a move at which a process may die; tests kill it at each."""

    BEGUN = "begun"
    INTENT = "intent written"
    MOVED = "alias moved"
    READ_BACK = "read back"
    CLOSED = "closed"


At = Callable[[Step], None]
"""Called at each step. It does nothing but in tests."""


def nowhere(step: Step) -> None:
    """Let every step pass."""


def promotion_intent(desk: Audited, plan: Plan, name: Digest) -> Intent:
    """The intent that applies a plan (its digest is `name`), leaning on waiver or broken glass where it must.

    Raises:
        RsaOpsError: why it cannot be applied now, with nothing to lean on.
    """
    subject = subject_of(plan.model, plan.alias)
    plain = Intent(
        plan=name,
        action="promote",
        model=plan.model,
        alias=plan.alias,
        version=plan.version,
        digest=plan.digest,
        generation=plan.expected.generation + 1,
        before_version=plan.expected.version,
    )
    refused = desk.refusal(Word(Kind.INTENT, subject, plan.requester, plain))
    if refused is None:
        return plain
    waivers = [hash_ for hash_, waived in desk.book.waivers.items() if waived.waiver.verdict == plan.verdict]
    glasses = [hash_ for hash_, glass in desk.alias(subject).glasses.items() if glass.said.plan == name]
    leaning = [plain.model_copy(update={"waiver": waiver}) for waiver in reversed(waivers)]
    leaning += [plain.model_copy(update={"break_glass": glass}) for glass in reversed(glasses)]
    for intent in leaning:
        other = desk.refusal(Word(Kind.INTENT, subject, plan.requester, intent))
        if other is None:
            return intent
        refused = other  # the newest exception that was tried says most about why
    raise refused


def carry_out(desk: Desk, pointer: LivePointer, intent: Intent, at: At = nowhere) -> Sealed:
    """Write the intent, move the alias, read it back, write that it moved; the last entry.

    Raises:
        RsaOpsError: why nothing was begun; or what happened after the intent was written, which then stays open.
    """
    at(Step.BEGUN)
    opened = desk.write(Kind.INTENT, subject_of(intent.model, intent.alias), intent)
    at(Step.INTENT)
    return finish(desk, pointer, opened, at)


def finish(desk: Desk, pointer: LivePointer, opened: Sealed, at: At = nowhere) -> Sealed:
    """Move the alias as an open intent says, and write that it moved.

    Raises:
        ConflictError: somebody else has ended the intent; the alias was not touched.
        RsaOpsError: the registry or the ledger failed; the intent stays open.
    """
    intent = payload_as(opened.entry, Intent)

    def deed() -> None:
        pointer.move(intent.model, intent.alias, intent.version)
        at(Step.MOVED)
        require_at(pointer, intent)
        at(Step.READ_BACK)

    try:
        closed = desk.write(closing_kind(intent), opened.entry.subject, moved_by(intent, opened.hash), deed=deed)
    except RsaOpsError as error:
        held = desk.alias(opened.entry.subject).open
        if held is not None and held.name == opened.hash:
            raise _left_open(error, opened) from error
        raise
    at(Step.CLOSED)
    return closed


def require_at(pointer: LivePointer, intent: Intent) -> None:
    """Read the alias back.

    Raises:
        IntegrityError: it does not name the version of the intent.
    """
    live = pointer.read(intent.model, intent.alias)
    if live != intent.version:
        raise IntegrityError(
            f"{intent.alias} of {intent.model} was moved to version {intent.version}, and read back as {live}"
        )


def moved_by(intent: Intent, name: Digest) -> PointerMoved:
    """What stands in the ledger when an intent (its hash is `name`) has come true."""
    return PointerMoved(
        model=intent.model,
        alias=intent.alias,
        version=intent.version,
        digest=intent.digest,
        generation=intent.generation,
        intent=name,
    )


def closing_kind(intent: Intent) -> Kind:
    """The kind of the entry that ends an intent well."""
    return Kind.ROLLBACK if intent.action == "rollback" else Kind.APPLIED


def _left_open(error: RsaOpsError, opened: Sealed) -> RsaOpsError:
    kind = type(error) if type(error) in (IntegrityError, MissingError) else MissingError
    words = f"{error.message}; the intent, entry {opened.entry.sequence}, stays open"
    return kind(words, hint=f"The alias may have moved or not. When the registry answers again: {RECONCILE}")
