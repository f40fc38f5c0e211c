"""What a ledger says about one version: the entries, in order, that name it or answer to one that does."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from rsa_ops.core.digest import Digest, digest_bytes
from rsa_ops.core.record import Value
from rsa_ops.errors import IntegrityError, MissingError
from rsa_ops.governance.entry import Kind, Sealed, entry_hash, parse_entry
from rsa_ops.governance.papers.folder import VERDICT
from rsa_ops.governance.payloads import Approval, Papers, Plan, payload_as
from rsa_ops.governance.plan import PlanFile, PlanSignature, plan_digest, plan_file
from rsa_ops.governance.view import Row

V = TypeVar("V", bound=Value)
_MOVES = (Kind.APPLIED, Kind.ROLLBACK)


@dataclass(frozen=True)
class Story:
    """The newest `papers` entry about a version, and all `entries` about it, oldest first."""

    papers: Papers
    sealed: Sealed
    entries: tuple[Sealed, ...]


def read_entries(rows: Iterable[Row]) -> tuple[Sealed, ...]:
    """The entries of rows that were verified, or will be.

    Raises:
        IntegrityError: a row that holds no entry.
    """
    return tuple(_sealed(number, row) for number, row in enumerate(rows))


def tell(entries: Iterable[Sealed], model: str, version: str) -> Story:
    """The story of a version.

    Told are: the verdicts on its adapter with the locks that they stand on, its papers, every plan, intent and move
    that names it, what answers to those by hash (approvals, waivers, break-glass and its ratification), and from
    then on every move of an alias that it ever had.

    Raises:
        MissingError: the ledger has no papers of this version.
    """
    known = tuple(entries)
    subject = f"{model}/{version}"
    sealed = next((e for e in reversed(known) if e.entry.kind is Kind.PAPERS and e.entry.subject == subject), None)
    if sealed is None:
        raise MissingError(
            f"the ledger has no papers of {model} version {version}",
            hint="`rsa-ops run` writes them for the candidate it registers; "
            "`rsa-ops audit log --kind papers` lists them.",
        )
    papers = payload_as(sealed.entry, Papers)
    return Story(papers, sealed, tuple(_about(known, papers)))


def _about(entries: tuple[Sealed, ...], papers: Papers) -> list[Sealed]:
    names: set[str] = set()  # hashes of what is told, and digests of plans, by which others answer to them
    aliases: set[str] = set()
    locks: dict[Digest, Sealed] = {}
    found: list[Sealed] = []
    for sealed in entries:
        entry, payload = sealed.entry, sealed.entry.payload
        if entry.kind is Kind.POLICY_LOCK:
            locks[sealed.hash] = sealed
            continue
        named = (payload.get("model"), payload.get("version")) == (papers.model, papers.version)
        judged = entry.kind is Kind.VERDICT and payload.get("candidate_digest") == papers.digest
        answers = any(isinstance(value, str) and value in names for value in payload.values())
        moved = entry.kind in _MOVES and entry.subject in aliases
        if not (named or judged or answers or moved):
            continue
        lock = locks.get(str(payload.get("lock"))) if judged else None
        found += [part for part in (lock, sealed) if part is not None and part not in found]
        names |= {sealed.hash}
        if entry.kind is Kind.PLAN:
            names |= {plan_digest(payload_as(entry, Plan))}
        if named and entry.kind in _MOVES:
            aliases |= {entry.subject}
    return sorted(found, key=lambda sealed: sealed.entry.sequence)


def approved_plans(story: Story) -> dict[Digest, PlanFile]:
    """Every plan that somebody approved, by its digest, as a DSSE envelope with the approvals as its signatures.

    The requester's own signature is not among them: in the ledger it is the one under the `plan` entry.
    """
    plans = {plan_digest(plan): plan for plan in _payloads(story, Kind.PLAN, Plan)}
    signatures: dict[Digest, list[PlanSignature]] = {}
    for sealed in story.entries:
        if sealed.entry.kind is Kind.APPROVAL:
            approval = payload_as(sealed.entry, Approval)
            signature = PlanSignature(keyid=sealed.entry.key, sig=approval.signature)
            signatures.setdefault(approval.plan, []).append(signature)
    return {name: plan_file(plans[name], tuple(found)) for name, found in signatures.items() if name in plans}


def _payloads(story: Story, kind: Kind, payload: type[V]) -> list[V]:
    return [payload_as(sealed.entry, payload) for sealed in story.entries if sealed.entry.kind is kind]


def require_files(papers: Papers, documents: dict[str, bytes]) -> None:
    """The documents are those that the papers name, all of them and no other.

    Raises:
        IntegrityError: one is missing, changed or too many.
    """
    for path, digest in papers.files.items():
        if path not in documents:
            raise IntegrityError(f"{path} is not there; the papers entry names it")
        if digest_bytes(documents[path]) != digest:
            raise IntegrityError(
                f"{path} is {digest_bytes(documents[path])}, the papers entry names {digest}",
                hint="It was changed after the papers were written.",
            )
    extra = sorted(set(documents) - set(papers.files))
    if extra:
        raise IntegrityError(f"the papers entry does not name {', '.join(extra)}")
    if VERDICT not in papers.files:
        raise IntegrityError(f"the papers entry names no {VERDICT}")


def _sealed(number: int, row: Row) -> Sealed:
    if not isinstance(row.body, str) or not isinstance(row.signature, str):
        raise IntegrityError(f"entry {number} of the ledger is no entry")
    try:
        name = entry_hash(row.body)
    except ValueError as error:
        raise IntegrityError(f"entry {number} of the ledger is no UTF-8 text") from error
    return Sealed(entry=parse_entry(row.body), body=row.body, hash=name, signature=row.signature)
