"""What must come before what: a lock before its verdict, a plan before its intent, one generation after another.

A verdict names the lock by its hash, and nobody can know the hash of an entry before it is written; so the order of
the two is held by the hash function and not by a clock.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from rsa_ops.core.digest import Digest, short
from rsa_ops.core.verdict import Outcome
from rsa_ops.governance.entry import Entry
from rsa_ops.governance.finding import Fault, Flaw, Note
from rsa_ops.governance.payloads import ClockSet, Papers, PointerMoved, PolicyLock, VerdictGiven
from rsa_ops.governance.promotions import Judged, Promotions, Word
from rsa_ops.governance.refusals import Moment, refusal


@dataclass(frozen=True)
class Pointer:
    """Where the ledger says that an alias stands, by its entry `sequence`."""

    moved: PointerMoved
    sequence: int


class Named(NamedTuple):
    """A version as the entry `sequence` names it."""

    digest: Digest
    sequence: int


@dataclass
class Order:
    """What the entries so far have fixed.

    `pointers` is keyed by (model, alias), `versions` by (model, version) and holds every version that an alias
    ever named, `papers` every version that has papers. `promotions` is what has been planned, approved and begun.
    `notes` is what is in order and still worth knowing.
    """

    pointers: dict[tuple[str, str], Pointer] = field(default_factory=dict)
    versions: dict[tuple[str, str], Pointer] = field(default_factory=dict)
    papers: dict[tuple[str, str], Named] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)
    promotions: Promotions = field(default_factory=Promotions)
    _locks: dict[str, tuple[Digest, PolicyLock]] = field(default_factory=dict)  # by run; the first one counts
    _opened: dict[tuple[str, Digest], dict[Digest, int]] = field(default_factory=dict)
    _judged: set[Digest] = field(default_factory=set)  # adapters that a verdict is about

    @property
    def named(self) -> dict[tuple[str, str], Named]:
        """Every version that the ledger names, by an alias or by its papers; none of them may be deleted."""
        moved = {place: Named(found.moved.digest, found.sequence) for place, found in self.versions.items()}
        return {**self.papers, **moved}

    def fault(self, entry: Entry, name: Digest, payload: object, moment: Moment) -> Fault | None:
        """Why the entry (its hash is `name`) may not stand here, or None; and remember it.

        `moment` is when it was written, and who might write then.
        """
        match payload:
            case PolicyLock():
                self._locks.setdefault(entry.subject, (name, payload))
                policies = self._opened.setdefault((payload.pipeline, payload.test_digest), {})
                policies.setdefault(payload.policy_digest, entry.sequence)
            case VerdictGiven():
                self._judged.add(payload.candidate_digest)
                return self._verdict(entry, name, payload)
            case Papers():
                return self._papered(entry, payload) or self._promotion(entry, name, payload, moment)
            case ClockSet():
                text = f"an administrator let the clock go back: {payload.reason}"
                self.notes.append(Note(sequence=entry.sequence, text=text))
            case _:
                return self._promotion(entry, name, payload, moment)
        return None

    def _known(self, place: tuple[str, str]) -> Named | None:
        moved = self.versions.get(place)
        return self.papers.get(place) if moved is None else Named(moved.moved.digest, moved.sequence)

    def _papered(self, entry: Entry, papers: Papers) -> Fault | None:
        """Papers are about an adapter that a verdict judged, and a version keeps its digest."""
        if entry.subject != f"{papers.model}/{papers.version}":
            return Fault(Flaw.BAD_PAYLOAD, f"papers of {papers.model}/{papers.version} under another subject")
        if papers.digest not in self._judged:
            return Fault(Flaw.WRONG_ORDER, f"papers of {short(papers.digest)}, which no verdict before is about")
        known = self._known((papers.model, papers.version))
        if known is not None and known.digest != papers.digest:
            return _other_digest(papers.model, papers.version, papers.digest, known)
        self.papers.setdefault((papers.model, papers.version), Named(papers.digest, entry.sequence))
        return None

    def _promotion(self, entry: Entry, name: Digest, payload: object, moment: Moment) -> Fault | None:
        if isinstance(payload, PointerMoved) and (fault := self._moved(payload)) is not None:
            return fault
        word = Word(entry.kind, entry.subject, entry.key, payload)
        refused = refusal(self.promotions, word, moment)
        if refused is not None:
            return Fault(Flaw.WRONG_ORDER, refused.message)
        self.promotions.remember(word, name, entry.sequence)
        if isinstance(payload, PointerMoved):
            pointer = Pointer(payload, entry.sequence)
            self.versions.setdefault((payload.model, payload.version), pointer)
            self.pointers[payload.model, payload.alias] = pointer
        return None

    def _verdict(self, entry: Entry, name: Digest, verdict: VerdictGiven) -> Fault | None:
        lock_name, lock = self._locks.get(entry.subject, (None, None))
        if lock is None or lock_name != verdict.lock:
            return Fault(Flaw.WRONG_ORDER, f"{short(verdict.lock)} is not the policy lock that this run began with")
        self.promotions.judge(name, Judged(verdict, lock.approvals, entry.subject))
        if verdict.outcome is Outcome.ERROR:
            return None  # another policy or test set than the locked one may be what the error is about
        for what in ("pipeline", "policy_digest", "test_digest", "design_digest"):
            locked, judged = getattr(lock, what), getattr(verdict, what)
            if locked is None and what == "design_digest":
                continue  # locked before designs were
            if locked != judged:
                return Fault(
                    Flaw.WRONG_ORDER, f"its lock fixed the {what} {_shown(locked)}, it judged {_shown(judged)}"
                )
        if verdict.outcome is Outcome.PROMOTE:
            self._tell_other_policies(entry, verdict)
        return None

    def _tell_other_policies(self, entry: Entry, verdict: VerdictGiven) -> None:
        policies = self._opened.get((verdict.pipeline, verdict.test_digest), {})
        others = sorted(where for policy, where in policies.items() if policy != verdict.policy_digest)
        if others:
            listed = ", ".join(map(str, others[:5]))
            text = f"promotes on a test set that was opened under another policy as well (entries {listed})"
            self.notes.append(Note(sequence=entry.sequence, text=text))

    def _moved(self, moved: PointerMoved) -> Fault | None:
        """One generation after another, and no version with two digests."""
        before = self.pointers.get((moved.model, moved.alias))
        generation = 0 if before is None else before.moved.generation
        if moved.generation != generation + 1:
            return Fault(
                Flaw.WRONG_ORDER,
                f"generation {moved.generation} of {moved.alias} of {moved.model} after generation {generation}",
            )
        known = self._known((moved.model, moved.version))
        if known is not None and known.digest != moved.digest:
            return _other_digest(moved.model, moved.version, moved.digest, known)
        return None


def _other_digest(model: str, version: str, digest: Digest, known: Named) -> Fault:
    before = f"{short(known.digest)} in entry {known.sequence}"
    return Fault(Flaw.BAD_PAYLOAD, f"version {version} of {model} is {short(digest)} here, and {before}")


def _shown(value: str | None) -> str:
    if value is None:
        return "none"
    return short(value) if value.startswith("sha256:") else value
