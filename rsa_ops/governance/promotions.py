"""What the entries so far say about promotions: plans and who approved them, intents, waivers, broken glass.

One state for both uses: verification fills it entry by entry, and whoever is about to write an entry asks it first
(`refusals`), so that nothing is written which verification would not accept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from rsa_ops.core.digest import Digest
from rsa_ops.core.record import Value
from rsa_ops.governance.entry import Kind, from_instant
from rsa_ops.governance.payloads import (
    Abandoned,
    Approval,
    BreakGlass,
    Generation,
    Intent,
    Papers,
    Plan,
    PointerMoved,
    Ratified,
    VerdictGiven,
    Waiver,
)
from rsa_ops.governance.plan import plan_digest
from rsa_ops.governance.pointer import NOWHERE, generation_of


class Word(NamedTuple):
    """An entry that stands, or that somebody wants to write: `key` signs it."""

    kind: Kind
    subject: str
    key: Digest
    payload: Value | object


class Judged(NamedTuple):
    """A verdict of the ledger, with the approvals that its locked policy asks for; `run` is its subject."""

    given: VerdictGiven
    approvals: int
    run: str


class Waived(NamedTuple):
    """A waiver, by its entry and the key that wrote it."""

    waiver: Waiver
    key: Digest
    sequence: int


@dataclass
class Filed:
    """A plan of the ledger, by its entry; `approvals` maps keys to the entries in which they approved.

    `applied` is the entry that moved the alias by it, None before.
    """

    plan: Plan
    sequence: int
    applied: int | None = None
    approvals: dict[Digest, int] = field(default_factory=dict)


class Opened(NamedTuple):
    """An intent, by the hash and the number of its entry."""

    intent: Intent
    name: Digest
    sequence: int


@dataclass
class Glass:
    """A break-glass entry: `used` by the entry of a move, `ratified` by another entry, None before."""

    said: BreakGlass
    key: Digest
    sequence: int
    used: int | None = None
    ratified: int | None = None

    def overdue(self, now: datetime) -> bool:
        """Whether it was used, and nobody else has stood by it in time."""
        return self.used is not None and self.ratified is None and now > from_instant(self.said.expires)


@dataclass
class AliasState:
    """What is known of one alias. `named` maps every version that it ever named to its digest."""

    at: Generation = NOWHERE
    plans: dict[Digest, Filed] = field(default_factory=dict)
    glasses: dict[Digest, Glass] = field(default_factory=dict)
    named: dict[str, Digest] = field(default_factory=dict)
    open: Opened | None = None


@dataclass
class Promotions:
    """The state of all aliases (by subject), verdicts, waivers and papers (by the hash of their entry).

    `versions` holds the digest of every version that papers or a move ever named; it never changes.
    `intents`: whether the ledger holds any; from the first on, no alias moves without one.
    """

    aliases: dict[str, AliasState] = field(default_factory=dict)
    verdicts: dict[Digest, Judged] = field(default_factory=dict)
    waivers: dict[Digest, Waived] = field(default_factory=dict)
    waived: list[tuple[int, Waived]] = field(default_factory=list)
    bare_moves: list[int] = field(default_factory=list)
    papers: dict[Digest, Papers] = field(default_factory=dict)
    versions: dict[tuple[str, str], Digest] = field(default_factory=dict)
    intents: bool = False

    def alias(self, subject: str) -> AliasState:
        """The state of an alias; an empty one where nothing was written about it."""
        return self.aliases.get(subject, AliasState())

    def open_intents(self) -> tuple[tuple[str, Opened], ...]:
        """Subject and intent of every alias whose move was begun and not ended."""
        found = ((subject, state.open) for subject, state in self.aliases.items())
        return tuple((subject, opened) for subject, opened in found if opened is not None)

    def glasses(self) -> Iterator[tuple[str, Glass]]:
        """Every break-glass entry, with its subject."""
        for subject, state in self.aliases.items():
            for glass in state.glasses.values():
                yield subject, glass

    def judge(self, name: Digest, judged: Judged) -> None:
        """Remember a verdict by the hash of its entry."""
        self.verdicts[name] = judged

    def remember(self, word: Word, name: Digest, sequence: int) -> None:
        """Take in an entry that stands (its hash is `name`), after `refusals.refusal` had nothing against it."""
        payload = word.payload
        if isinstance(payload, Waiver):
            self.waivers[name] = Waived(payload, word.key, sequence)
            return
        if isinstance(payload, Papers):
            self.papers[name] = payload
            self.versions[payload.model, payload.version] = payload.digest
            return
        state = self.aliases.setdefault(word.subject, AliasState())
        match payload:
            case Plan():
                state.plans[plan_digest(payload)] = Filed(payload, sequence)
            case Approval():
                state.plans[payload.plan].approvals[word.key] = sequence
            case BreakGlass():
                state.glasses[name] = Glass(payload, word.key, sequence)
            case Ratified():
                state.glasses[payload.entry].ratified = sequence
            case Intent():
                state.open, self.intents = Opened(payload, name, sequence), True
            case PointerMoved():
                self._moved(state, payload, sequence)
            case Abandoned():
                state.open = None

    def _moved(self, state: AliasState, moved: PointerMoved, sequence: int) -> None:
        if state.open is None:
            self.bare_moves.append(sequence)
        else:
            self._leaned(state, state.open.intent, sequence)
        state.at, state.open = generation_of(moved), None
        state.named[moved.version] = moved.digest
        self.versions[moved.model, moved.version] = moved.digest

    def _leaned(self, state: AliasState, intent: Intent, sequence: int) -> None:
        """The plan, and what the move leaned on, count as used from here on."""
        if intent.plan is not None:
            state.plans[intent.plan].applied = sequence
        if intent.break_glass is not None:
            state.glasses[intent.break_glass].used = sequence
        if intent.waiver is not None:
            self.waived.append((sequence, self.waivers[intent.waiver]))
