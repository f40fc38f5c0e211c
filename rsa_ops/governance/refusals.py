"""Why an entry about a promotion may not be written: the law of plan, approve, apply, as pure functions.

Each answers with the error that its writer would get, or None. The writer raises it under the ledger's write lock;
verification makes a finding of it. Nothing here reads a clock, a disk or a registry.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from rsa_ops.core.digest import Digest, short
from rsa_ops.core.verdict import Outcome
from rsa_ops.errors import (
    ConflictError,
    InconclusiveError,
    IntegrityError,
    MissingError,
    RejectedError,
    RsaOpsError,
    UsageError,
)
from rsa_ops.gates.policy import CHAMPION
from rsa_ops.governance.entry import Kind, Role, from_base64, from_instant
from rsa_ops.governance.keyring import Keyring
from rsa_ops.governance.keys import signed_by
from rsa_ops.governance.payloads import (
    Abandoned,
    Approval,
    BreakGlass,
    Intent,
    Papers,
    Plan,
    PointerMoved,
    Ratified,
    Waiver,
)
from rsa_ops.governance.plan import plan_digest, plan_message
from rsa_ops.governance.promotions import AliasState, Filed, Promotions, Word

Refusal = RsaOpsError | None
Faults = Iterator[RsaOpsError]
"""What speaks against an entry, found one after another; only the first is ever asked for."""

RECONCILE = "`rsa-ops reconcile` ends what a crash left open."


class Moment(NamedTuple):
    """When somebody wants to write, and who may write then."""

    now: datetime
    keyring: Keyring


def refusal(book: Promotions, word: Word, moment: Moment) -> Refusal:  # noqa: PLR0911  one for each kind
    """Why `word` may not stand after all that `book` holds, or None."""
    match word.payload:
        case Plan() as plan:
            return next(_plan(book, word, plan), None)
        case Approval() as approval:
            return _approval(book, word, approval, moment)
        case Waiver() as waiver:
            return _waiver(book, word, waiver, moment.now)
        case BreakGlass() as glass:
            return _break_glass(book, word, glass, moment.now)
        case Ratified() as ratified:
            return _ratified(book, word, ratified)
        case Intent() as intent:
            return next(_intent(book, word, intent, moment), None)
        case PointerMoved() as moved:
            return next(_moved(book, word, moved), None)
        case Papers() as papers:
            return other_digest(book, papers.model, papers.version, papers.digest)
        case Abandoned() as abandoned:
            return _closes(book.alias(word.subject), abandoned.intent)
    return None


def approvers(filed: Filed, keyring: Keyring) -> tuple[Digest, ...]:
    """The keys whose approval of a plan counts now: good ones, of approvers or admins, not the requester's."""
    roles = (Role.APPROVER, Role.ADMIN)
    holders = (keyring.holders[key] for key in filed.approvals if key != filed.plan.requester)
    return tuple(holder.key for holder in holders if holder.until is None and holder.role in roles)


def other_digest(book: Promotions, model: str, version: str, digest: Digest) -> Refusal:
    """Why a version may not be named with this digest: the ledger knows it by another."""
    known = book.versions.get((model, version), digest)
    if known == digest:
        return None
    return IntegrityError(
        f"version {version} of {model} is {short(known)} in the ledger, and {short(digest)} here",
        hint="A version keeps its bytes. Was the registered model deleted and made again? Give it another name.",
    )


def _plan(book: Promotions, word: Word, plan: Plan) -> Faults:
    yield from _subject(word, plan.model, plan.alias)
    yield from _told(other_digest(book, plan.model, plan.version, plan.digest))
    if plan.requester != word.key:
        yield IntegrityError(f"{short(word.key)} files a plan that {short(plan.requester)} is said to ask for")
    judged = book.verdicts.get(plan.verdict)
    if judged is None:
        yield MissingError(f"the verdict {short(plan.verdict)}, on which the plan stands, is not in this ledger")
        return
    if judged.given.candidate_digest != plan.digest:
        yield IntegrityError(
            f"the verdict judged {short(judged.given.candidate_digest)}; the plan is about {short(plan.digest)}",
            hint="A version is promoted on a verdict about its own bytes.",
        )
    if plan.approvals < judged.approvals:
        yield UsageError(
            f"approvals that the policy asks for: {judged.approvals}; that the plan does: {plan.approvals}"
        )
    papers = None if plan.papers is None else book.papers.get(plan.papers)
    if plan.papers is not None and papers is None:
        yield MissingError(f"the papers {short(plan.papers)} that the plan names are not in this ledger")
    if papers is not None and (papers.model, papers.version, papers.digest) != (
        plan.model,
        plan.version,
        plan.digest,
    ):
        yield IntegrityError("the papers that the plan names are about another version")
    if plan_digest(plan) in book.alias(word.subject).plans:
        yield ConflictError("this plan is in the ledger already")


def _approval(book: Promotions, word: Word, approval: Approval, moment: Moment) -> Refusal:
    filed = book.alias(word.subject).plans.get(approval.plan)
    if filed is None:
        return _unknown(approval.plan)
    if word.key == filed.plan.requester:
        return UsageError("who asks for a plan cannot approve it", hint="Another key must sign.")
    if word.key in filed.approvals:
        return ConflictError(f"this key approved the plan already, in entry {filed.approvals[word.key]}")
    holder = moment.keyring.holders.get(word.key)
    message = plan_message(filed.plan)
    if holder is None or not signed_by(holder.public, from_base64(approval.signature), message):
        return IntegrityError("the approval does not hold a signature over the plan")
    return _expired("plan", filed.plan.expires, moment.now)


def _waiver(book: Promotions, word: Word, waiver: Waiver, now: datetime) -> Refusal:
    judged = book.verdicts.get(waiver.verdict)
    if judged is None or judged.run != word.subject:
        return MissingError(f"the ledger has no verdict {short(waiver.verdict)} about {word.subject}")
    if judged.given.outcome is Outcome.PROMOTE:
        return UsageError("the verdict promotes; there is nothing to waive")
    if judged.given.outcome is Outcome.ERROR:
        return IntegrityError("a verdict that is an error is never waived: it says nothing about the candidate")
    unmet = judged.given.unmet
    if waiver.rules != "all":
        strange = sorted(set(waiver.rules) - set(unmet or ()))
        if strange:
            return UsageError(f"not an unmet rule of this verdict: {strange[0]}", hint=_listed(unmet))
    return _expired("waiver", waiver.expires, now)


def _break_glass(book: Promotions, word: Word, glass: BreakGlass, now: datetime) -> Refusal:
    if glass.plan not in book.alias(word.subject).plans:
        return _unknown(glass.plan)
    return _expired("break-glass entry", glass.expires, now)


def _ratified(book: Promotions, word: Word, ratified: Ratified) -> Refusal:
    state = book.alias(word.subject)
    glass = state.glasses.get(ratified.entry)
    if glass is None:
        return MissingError(f"there is no break-glass entry {short(ratified.entry)} about {word.subject}")
    if word.key in (glass.key, state.plans[glass.said.plan].plan.requester):
        return UsageError("who broke the glass, or asked for the plan, cannot ratify it", hint="Another key must.")
    if glass.ratified is not None:
        return ConflictError(f"it was ratified already, by entry {glass.ratified}")
    return None


def _intent(book: Promotions, word: Word, intent: Intent, moment: Moment) -> Faults:
    state = book.alias(word.subject)
    yield from _subject(word, intent.model, intent.alias)
    yield from _told(other_digest(book, intent.model, intent.version, intent.digest))
    if state.open is not None:
        yield ConflictError(
            f"entry {state.open.sequence} is an intent to move {word.subject} that is still open",
            hint=f"Somebody is at it, or was interrupted. {RECONCILE}",
        )
    if intent.action == "promote":
        yield from _promote(book, word, intent, moment)
        yield from _at(word, intent, state)
        return
    yield from _at(word, intent, state)
    if (intent.plan, intent.waiver, intent.break_glass) != (None, None, None):
        yield IntegrityError(f"an intent to {intent.action} has no plan, no waiver and breaks no glass")
    yield from _restore(state, intent) if intent.action == "restore" else _roll_back(state, intent)


def _at(word: Word, intent: Intent, state: AliasState) -> Faults:
    if (intent.generation, intent.before_version) != (state.at.generation + 1, state.at.version):
        yield _stale(word.subject, intent.generation - 1, intent.before_version, state)


def _roll_back(state: AliasState, intent: Intent) -> Faults:
    if state.named.get(intent.version) != intent.digest:
        yield ConflictError(
            f"version {intent.version} ({short(intent.digest)}) never was {intent.alias}: no way back leads there"
        )


def _restore(state: AliasState, intent: Intent) -> Faults:
    if (intent.version, intent.digest) != (state.at.version, state.at.digest):
        yield ConflictError(
            f"{intent.alias} is {_place(state.at.generation, state.at.version)}; nothing else is put back there"
        )


def _promote(book: Promotions, word: Word, intent: Intent, moment: Moment) -> Faults:
    state = book.alias(word.subject)
    filed = None if intent.plan is None else state.plans.get(intent.plan)
    if filed is None:
        yield _unknown(intent.plan)
        return
    plan, at = filed.plan, state.at
    if (intent.version, intent.digest) != (plan.version, plan.digest):
        yield IntegrityError("the intent is about another version than its plan")
    if filed.applied is not None:
        yield ConflictError(f"the plan was applied already, by entry {filed.applied}")
    yield from _told(_expired("plan", plan.expires, moment.now))
    if plan.expected != at:
        yield _stale(word.subject, plan.expected.generation, plan.expected.version, state)
    if plan.digest == at.digest:
        yield ConflictError(f"version {at.version}, which {plan.alias} names, has these very bytes already")
    yield from _told(_bad_key(plan.requester, moment.keyring, "asked for the plan"))
    yield from _overdue(state, moment.now)
    if intent.break_glass is not None:
        yield from _told(_glass_covers(state, intent, moment))
        return
    yield from _told(_verdict_allows(book, filed, intent, moment))
    yield from _told(_too_few(filed, moment.keyring))


def _overdue(state: AliasState, now: datetime) -> Faults:
    for glass in state.glasses.values():
        if glass.overdue(now):
            yield IntegrityError(
                f"entry {glass.sequence} broke the glass, and nobody ratified it before {glass.said.expires}",
                hint=f"`rsa-ops promote ratify {glass.sequence} --reason ...` by another key, or roll back.",
            )


def _told(found: Refusal) -> Faults:
    if found is not None:
        yield found


def _glass_covers(state: AliasState, intent: Intent, moment: Moment) -> Refusal:
    glass = state.glasses.get(str(intent.break_glass))
    if glass is None or glass.said.plan != intent.plan:
        return MissingError("no break-glass entry about this plan")
    fault = _bad_key(glass.key, moment.keyring, "broke the glass")
    return fault or _expired("break-glass entry", glass.said.expires, moment.now)


def _verdict_allows(book: Promotions, filed: Filed, intent: Intent, moment: Moment) -> Refusal:
    plan = filed.plan
    given = book.verdicts[plan.verdict].given
    if plan.alias == CHAMPION and plan.expected.generation and given.champion_digest != plan.expected.digest:
        against = "no champion" if given.champion_digest is None else short(given.champion_digest)
        return ConflictError(
            f"the verdict judged against {against}; the champion is version {plan.expected.version} now",
            hint="Run the pipeline again: it compares with the champion of today.",
        )
    if given.outcome is Outcome.PROMOTE:
        return None
    kind = _REFUSED[given.outcome]
    waived = None if intent.waiver is None else book.waivers.get(intent.waiver)
    if waived is None or waived.waiver.verdict != plan.verdict or given.outcome is Outcome.ERROR:
        return kind(
            f"the verdict is {given.outcome.value}, and no waiver is about it",
            hint=f"{_listed(given.unmet)} An approver may waive them: `rsa-ops promote waive`.",
        )
    rules = waived.waiver.rules
    if rules != "all" and (given.unmet is None or not set(given.unmet) <= set(rules)):
        return kind(f"the waiver in entry {waived.sequence} does not cover all", hint=_listed(given.unmet))
    fault = _bad_key(waived.key, moment.keyring, "signed the waiver")
    return fault or _expired("waiver", waived.waiver.expires, moment.now)


def _too_few(filed: Filed, keyring: Keyring) -> Refusal:
    needed, found = filed.plan.approvals, len(approvers(filed, keyring))
    if found >= needed:
        return None
    lost = len(filed.approvals) - found
    words = f" ({lost} by keys that are no longer good)" if lost else ""
    return ConflictError(
        f"the plan needs {needed} approval{'s' if needed > 1 else ''} and has {found}{words}",
        hint="`rsa-ops promote approve plan.json --key FILE` by an approver; the requester does not count.",
    )


def _moved(book: Promotions, word: Word, moved: PointerMoved) -> Faults:
    state = book.alias(word.subject)
    if moved.intent is None:
        if book.intents:
            yield IntegrityError(f"{moved.alias} of {moved.model} moved without an intent")
        return
    yield from _subject(word, moved.model, moved.alias)
    yield from _told(_closes(state, moved.intent))
    if state.open is None:
        return
    intent = state.open.intent
    kind = Kind.ROLLBACK if intent.action == "rollback" else Kind.APPLIED
    if word.kind is not kind:
        yield IntegrityError(f"an intent to {intent.action} ends as {kind.value}, not as {word.kind.value}")
    announced = (intent.version, intent.digest, intent.generation)
    if (moved.version, moved.digest, moved.generation) != announced:
        yield IntegrityError(f"entry {state.open.sequence} announced another move than this")


def _closes(state: AliasState, name: Digest) -> Refusal:
    if state.open is None or state.open.name != name:
        return ConflictError(
            f"the intent {short(name)} is not open",
            hint="`rsa-ops audit log --kind abandoned` may tell who ended it.",
        )
    return None


def _subject(word: Word, model: str, alias: str) -> Faults:
    if word.subject != f"{model}@{alias}":
        yield IntegrityError(f"an entry about {word.subject} that speaks of {alias} of {model}")
    if "@" in alias:
        yield UsageError(f"{alias!r} is no alias: it holds an @")


def _stale(subject: str, generation: int, version: str | None, state: AliasState) -> RsaOpsError:
    then, now = _place(generation, version), _place(state.at.generation, state.at.version)
    return ConflictError(
        f"{subject} was expected at {then}; it is at {now}",
        hint="Somebody was faster. Make a new plan, if it still fits.",
    )


def _place(generation: int, version: str | None) -> str:
    return f"generation {generation} ({'no version' if version is None else f'version {version}'})"


def _expired(what: str, expires: str, now: datetime) -> Refusal:
    if now <= from_instant(expires):
        return None
    return ConflictError(f"the {what} expired at {expires}", hint="Make another, if it still fits.")


def _unknown(plan: Digest | None) -> RsaOpsError:
    named = "no plan" if plan is None else f"the plan {short(plan)}, which is not in this ledger"
    return MissingError(f"this names {named}", hint="`rsa-ops promote plan` files a plan and writes plan.json.")


def _bad_key(key: Digest, keyring: Keyring, deed: str) -> Refusal:
    holder = keyring.holders.get(key)
    if holder is not None and holder.until is None:
        return None
    return IntegrityError(
        f"the key {short(key)}, which {deed}, is revoked", hint="It must be done anew by a good key."
    )


def _listed(unmet: tuple[str, ...] | None) -> str:
    return "The ledger does not tell which rules are unmet." if unmet is None else f"Unmet: {', '.join(unmet)}."


_REFUSED: dict[Outcome, type[RsaOpsError]] = {
    Outcome.REJECT: RejectedError,
    Outcome.INCONCLUSIVE: InconclusiveError,
    Outcome.ERROR: IntegrityError,
}
