"""Stage: plan, approve, apply, on a verified ledger and a live registry; and the exceptions that leave a trace."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from rsa_ops.core.digest import Digest, short
from rsa_ops.errors import ConflictError, IntegrityError, MissingError, UsageError
from rsa_ops.gates.policy import CHAMPION
from rsa_ops.governance.apply import At, carry_out, nowhere, promotion_intent
from rsa_ops.governance.desk import Desk, open_desk
from rsa_ops.governance.entry import Instant, Kind, Sealed, to_instant
from rsa_ops.governance.payloads import Approval, BreakGlass, Papers, Plan, Ratified, Waiver
from rsa_ops.governance.plan import (
    PlanFile,
    PlanSignature,
    new_nonce,
    plan_digest,
    plan_file,
    require_signatures,
    sign_plan,
)
from rsa_ops.governance.pointer import LivePointer, open_intents, subject_of
from rsa_ops.governance.promotion import Outside
from rsa_ops.governance.promotions import Judged
from rsa_ops.governance.reconcile import Reconciled, Stray, put_back, reconcile, strays
from rsa_ops.stages.audit import reading_store
from rsa_ops.stages.ledger import known_store, open_writer
from rsa_ops.tracking.registry import AliasPointer, by_number, live_version
from rsa_ops.tracking.store import Store

WEEK = timedelta(days=7)
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}
_LONGEST = timedelta(days=366)


@dataclass(frozen=True)
class Wish:
    """What somebody wants promoted. `run` names the verdict by its run, None takes the newest about these bytes.

    `approvals` None takes what the policy of the verdict asks for.
    """

    model: str
    version: str
    digest: Digest
    reason: str
    alias: str = CHAMPION
    run: str | None = None
    papers: Digest | None = None
    approvals: int | None = None
    lasts: timedelta = WEEK


@contextmanager
def opened_desk(address: str | None, key: Path | None) -> Iterator[Desk]:
    """A ledger that is there already, verified whole, to promote on; None are the usual places.

    Raises:
        MissingError: no such ledger or key. IntegrityError: the ledger does not verify.
    """
    with open_writer(address, key) as notary:
        yield open_desk(notary)


def store_of(desk: Desk, named: str | None) -> Store:
    """The MLflow store whose aliases the ledger governs.

    Raises:
        MissingError: none is known, or it does not answer.
    """
    uri = known_store(desk.ledger.address, named)
    if uri is None:
        raise MissingError("no MLflow store is known that the ledger belongs to", hint="Give --store URI.")
    return reading_store(uri)


def live_digest(store: Store, model: str, version: str) -> Digest:
    """The digest of a version's bytes as they are now; its tags are not believed.

    Raises:
        MissingError: no such version, or its files are gone.
    """
    found = live_version(store, model, version)
    if found is None:
        raise MissingError(f"{model} has no version {version} in {store.uri}")
    if found.digest is None:
        raise MissingError(f"the files of {model} version {version} cannot be fetched: {found.reason}")
    return found.digest


def file_plan(desk: Desk, wish: Wish) -> PlanFile:
    """Make a plan from where the alias stands now, sign it and write it to the ledger.

    Raises:
        MissingError: no verdict about these bytes. ConflictError: the alias names them already.
        UsageError: fewer approvals than the policy asks for.
    """
    desk.refresh()
    subject = subject_of(wish.model, wish.alias)
    at = desk.alias(subject).at
    if at.digest == wish.digest:
        raise ConflictError(f"{wish.alias} of {wish.model} is version {at.version}, with these very bytes, already")
    verdict, judged = _verdict(desk, wish)
    plan = Plan(
        model=wish.model,
        alias=wish.alias,
        version=wish.version,
        digest=wish.digest,
        expected=at,
        verdict=verdict,
        papers=wish.papers or _papers(desk, wish),
        approvals=judged.approvals if wish.approvals is None else wish.approvals,
        expires=_until(desk, wish.lasts),
        requester=desk.key,
        reason=wish.reason,
        nonce=new_nonce(),
    )
    desk.write(Kind.PLAN, subject, plan)
    return plan_file(plan, (sign_plan(plan, desk.notary.signer),))


def approve(desk: Desk, file: PlanFile) -> PlanFile:
    """Sign a plan and write that to the ledger; the file with one more signature.

    Raises:
        UsageError: the requester's key, or one of another role. ConflictError: twice by one key, or expired.
        IntegrityError, MissingError: an edited plan, an unknown one, a revoked key.
    """
    plan = _known(desk, file)
    made = sign_plan(plan, desk.notary.signer)
    approval = Approval(plan=plan_digest(plan), signature=made.sig)
    desk.write(Kind.APPROVAL, subject_of(plan.model, plan.alias), approval)
    return _signed_too(file, plan, made)


def apply(desk: Desk, store: Store, file: PlanFile, at: At = nowhere) -> Sealed:
    """Move the alias as a plan says; the entry that says it moved.

    Raises:
        RsaOpsError: why not; nothing moved then, unless the message says that an intent stays open.
    """
    plan = _known(desk, file)
    intent = promotion_intent(desk, plan, plan_digest(plan))
    found = live_digest(store, plan.model, plan.version)
    if found != plan.digest:
        raise IntegrityError(
            f"{plan.model} version {plan.version} was {short(plan.digest)}, its files are {short(found)}",
            hint="They were changed after the verdict. Register what was judged, and plan that.",
        )
    pointer = AliasPointer(store)
    _require_in_place(pointer, plan)
    return carry_out(desk, pointer, intent, at)


def end_open(desk: Desk, store: str | None, model: str | None, *, onward: bool) -> tuple[Reconciled, ...]:
    """End every intent that is open (of one model, where it is named).

    Raises:
        MissingError: the registry does not answer. IntegrityError: an alias names a third version.
    """
    with desk.ledger.view() as view:
        found = open_intents(view)
    wanted = [sealed for sealed in found if model is None or sealed.entry.payload["model"] == model]
    if not wanted:
        return ()  # opening a store takes seconds
    pointer = AliasPointer(store_of(desk, store))
    return tuple(reconcile(desk, pointer, sealed, onward=onward) for sealed in wanted)


def restore(desk: Desk, named: str | None, model: str | None, reason: str | None) -> tuple[Outside, ...]:
    """Every alias that was moved from outside (of one model, where it is named); with a `reason`, put back.

    The bytes are not looked at: loading does, and `audit verify`.

    Raises:
        MissingError: the registry does not answer, or has no such version any more. UsageError: an empty reason.
    """
    if not desk.walk.order.pointers:
        return ()  # opening a store takes seconds
    store = store_of(desk, named)
    found = [stray for stray in strays(desk, AliasPointer(store)) if model in (None, stray.moved.model)]
    return tuple(_outside(stray, None if reason is None else _back(desk, store, stray, reason)) for stray in found)


def _back(desk: Desk, store: Store, stray: Stray, reason: str) -> Sealed:
    moved = stray.moved
    if by_number(store, moved.model, moved.version) is None:
        raise MissingError(
            f"version {moved.version} of {moved.model} is not in the registry any more, so no alias can name it",
            hint="`rsa-ops rollback` goes back to a version that is there.",
        )
    return put_back(desk, AliasPointer(store), stray, reason)


def _outside(stray: Stray, back: Sealed | None) -> Outside:
    moved = stray.moved
    return Outside(
        model=moved.model,
        alias=moved.alias,
        version=moved.version,
        generation=moved.generation if back is None else moved.generation + 1,
        live=stray.live,
        entry=None if back is None else back.entry.sequence,
    )


def waive(desk: Desk, run: str, rules: tuple[str, ...], reason: str, lasts: timedelta) -> Sealed:
    """Write that a plan may stand on the newest verdict of a run all the same; no rules named are all of them.

    Raises:
        MissingError: no verdict. UsageError: it promotes, or a rule that holds. IntegrityError: it is an error.
    """
    desk.refresh()
    found = [name for name, judged in desk.book.verdicts.items() if judged.run == run]
    if not found:
        raise MissingError(
            f"the ledger has no verdict about the run {run}", hint="`rsa-ops audit log --kind verdict`"
        )
    waiver = Waiver(verdict=found[-1], rules=rules or "all", reason=reason, expires=_until(desk, lasts))
    return desk.write(Kind.WAIVER, run, waiver)


def break_glass(desk: Desk, file: PlanFile, reason: str, lasts: timedelta) -> Sealed:
    """Write that a plan may be applied without approvals and on any verdict, and must be ratified in that time.

    Raises:
        IntegrityError, MissingError: an edited plan, an unknown one.
    """
    plan = _known(desk, file)
    said = BreakGlass(plan=plan_digest(plan), reason=reason, expires=_until(desk, lasts))
    return desk.write(Kind.BREAK_GLASS, subject_of(plan.model, plan.alias), said)


def ratify(desk: Desk, number: int, reason: str) -> Sealed:
    """Stand by the break-glass entry with this number.

    Raises:
        MissingError: no such entry. UsageError: by who broke it. ConflictError: twice.
    """
    desk.refresh()
    for subject, glass in desk.book.glasses():
        if glass.sequence == number:
            with desk.ledger.view() as view:
                entry = next(view.find(after=number - 1, limit=1))
            return desk.write(Kind.RATIFIED, subject, Ratified(entry=entry.hash, reason=reason))
    raise MissingError(f"entry {number} is no break-glass entry", hint="`rsa-ops audit log --kind break-glass`")


def duration(text: str) -> timedelta:
    """`30m`, `12h` or `7d`.

    Raises:
        UsageError: anything else, nothing at all, or more than a year.
    """
    found = re.fullmatch(r"([1-9]\d{0,5})([mhd])", text)
    lasts = timedelta() if found is None else timedelta(**{_UNITS[found[2]]: int(found[1])})
    if not timedelta() < lasts <= _LONGEST:
        raise UsageError(f"{text!r} is no time to last", hint="Such as 30m, 12h or 7d; at most 366d.")
    return lasts


def _known(desk: Desk, file: PlanFile) -> Plan:
    """The plan of a file whose signatures hold, and which the ledger holds as it is now."""
    desk.refresh()
    plan = require_signatures(file, desk.walk.keyring)
    desk.filed(plan)
    return plan


def _verdict(desk: Desk, wish: Wish) -> tuple[Digest, Judged]:
    about = [
        (name, judged)
        for name, judged in desk.book.verdicts.items()
        if judged.given.candidate_digest == wish.digest and wish.run in (None, judged.run)
    ]
    if not about:
        whose = "" if wish.run is None else f" from the run {wish.run}"
        raise MissingError(
            f"the ledger has no verdict{whose} about {short(wish.digest)}, which version {wish.version} is",
            hint="`rsa-ops run` and `rsa-ops gate` write one.",
        )
    return about[-1]


def _papers(desk: Desk, wish: Wish) -> Digest | None:
    def about(papers: Papers) -> bool:
        return (papers.model, papers.version, papers.digest) == (wish.model, wish.version, wish.digest)

    found = [name for name, papers in desk.book.papers.items() if about(papers)]
    return found[-1] if found else None


def _until(desk: Desk, lasts: timedelta) -> Instant:
    return to_instant(desk.ledger.clock() + lasts)


def _signed_too(file: PlanFile, plan: Plan, made: PlanSignature) -> PlanFile:
    others = tuple(signature for signature in file.signatures if signature.keyid != made.keyid)
    return plan_file(plan, (*others, made))


def _require_in_place(pointer: LivePointer, plan: Plan) -> None:
    """The alias is where the ledger says; before the first generation the ledger says nothing."""
    if plan.expected.generation == 0:
        return
    live = pointer.read(plan.model, plan.alias)
    if live != plan.expected.version:
        raise IntegrityError(
            f"{plan.alias} of {plan.model} is version {plan.expected.version} by the ledger, and names "
            f"{'no version' if live is None else f'version {live}'} in the registry",
            hint="Somebody moved it from outside, and nothing is promoted on that: `rsa-ops reconcile --restore`.",
        )
