"""What the ledger says about one run, in order: for the sheet that a manager signs. Read, not verified."""

from __future__ import annotations

from contextlib import closing

from rsa_ops.core.digest import short
from rsa_ops.core.record import Value
from rsa_ops.governance.entry import Entry, Kind, Sealed
from rsa_ops.governance.keyring import Keyring
from rsa_ops.governance.payloads import (
    Abandoned,
    Approval,
    BreakGlass,
    Intent,
    Papers,
    Plan,
    PointerMoved,
    PolicyLock,
    Ratified,
    VerdictGiven,
    Waiver,
    read_payload,
)
from rsa_ops.governance.plan import plan_digest
from rsa_ops.governance.store import open_ledger
from rsa_ops.reporting.inputs import TrailEntry

OWN = (Kind.POLICY_LOCK, Kind.VERDICT, Kind.WAIVER)
"""Kinds whose subject is the run itself."""

LATER = (
    *(Kind.PAPERS, Kind.PLAN, Kind.APPROVAL, Kind.INTENT, Kind.APPLIED),
    *(Kind.ABANDONED, Kind.BREAK_GLASS, Kind.RATIFIED),
)
"""Kinds that lead back to a run through the hashes they name."""


def run_trail(address: str, run_id: str) -> tuple[TrailEntry, ...]:
    """The entries about a run: its lock, verdicts and waivers, its papers, and every plan that stands on a verdict.

    Raises:
        MissingError: there is no such ledger. IntegrityError: an entry that cannot be read.
    """
    with closing(open_ledger(address, write=False)) as ledger, ledger.view() as view:
        own = list(view.find(OWN, run_id))
        if not own:
            return ()
        known = {sealed.hash for sealed in own}
        later = [
            sealed
            for sealed in view.find(LATER, after=own[0].entry.sequence)
            if _leads_to(sealed, read_payload(sealed.entry), run_id, known)
        ]
        keyring = view.keyring()
    found = sorted((*own, *later), key=lambda sealed: sealed.entry.sequence)
    return tuple(_told(sealed.entry, keyring) for sealed in found)


def _leads_to(sealed: Sealed, payload: Value | object, run_id: str, known: set[str]) -> bool:
    """Whether an entry is about the run; then what later ones may name it by is added to `known`."""
    match payload:
        case Papers():
            return payload.run == run_id
        case Plan():
            names, leads = {sealed.hash, plan_digest(payload)}, payload.verdict in known
        case Approval():
            return payload.plan in known
        case Intent() | BreakGlass():
            names, leads = {sealed.hash}, payload.plan in known
        case PointerMoved() | Abandoned():
            return payload.intent in known
        case Ratified():
            return payload.entry in known
        case _:
            return False
    if leads:
        known |= names
    return leads


def _told(entry: Entry, keyring: Keyring) -> TrailEntry:
    holder = keyring.holders.get(entry.key)
    return TrailEntry(
        sequence=entry.sequence,
        at=f"{entry.at[:16].replace('T', ' ')} UTC",
        kind=entry.kind.value,
        what=_what(read_payload(entry)),
        who=f"{holder.name if holder else '?'} ({short(entry.key)})",
    )


def _what(payload: Value | object) -> str:
    words = ""
    match payload:
        case PolicyLock():
            words = f"{payload.policy} {short(payload.policy_digest)}"
        case VerdictGiven():
            words = f"{payload.outcome.value} {short(payload.candidate_digest)}"
        case Papers():
            words = f"{payload.model} {payload.version}"
        case Plan():
            words = f"{payload.alias} → {payload.version}, {short(plan_digest(payload))}"
        case Approval() | BreakGlass():
            words = short(payload.plan)
        case Intent():
            words = f"{payload.alias} → {payload.version}"
        case PointerMoved():
            words = f"{payload.alias} → {payload.version} ({payload.generation})"
        case Abandoned() | Ratified() | Waiver():
            words = payload.reason
    return words
