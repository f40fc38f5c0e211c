"""Stage: an alias goes back to its last good generation, once that is known to load and to answer as it was judged.

Everything that can fail is tried before anything moves: the ledger's entries, the signature, the bytes, the base,
a load in a fresh process and the answers that were judged. Then the same compare-and-swap as for a promotion. A
drill does all of it but the move. No plan, no verdict and no approval are needed to go back: that must not wait.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rsa_ops.errors import ConflictError, RsaOpsError, UsageError
from rsa_ops.governance.apply import At, carry_out, nowhere
from rsa_ops.governance.champions import Move, good_versions, last_good
from rsa_ops.governance.desk import Audited, Desk, audited, open_desk
from rsa_ops.governance.notary import Notary
from rsa_ops.governance.payloads import Intent, PointerMoved
from rsa_ops.governance.pointer import open_intent, pointer_history
from rsa_ops.governance.store import Ledger
from rsa_ops.governance.trust import Trust
from rsa_ops.governance.view import View
from rsa_ops.serving.checks import Passed, adapter_bytes, declared_base, plain_files, run_checks, timed
from rsa_ops.serving.rehearsal import Rehearsal
from rsa_ops.serving.trial import FreshProcess, require_same_answers
from rsa_ops.stages.load import fetch_target, judged_probe, signature_check
from rsa_ops.stages.resolve import Target, require_alias, target_of
from rsa_ops.tracking.registry import AliasPointer, by_number
from rsa_ops.tracking.store import Store

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Wish:
    """What to go back with: `version` None is the last good one. `base`: where the base model lies here."""

    model: str
    alias: str
    version: str | None = None
    reason: str = ""
    base: str | None = None


@dataclass(frozen=True)
class Choice:
    """Where the alias stands, and where it is to go back to."""

    current: PointerMoved
    target: Target


def drill(ledger: Ledger, store: Store, wish: Wish, fresh: FreshProcess, tell: Tell, started: float) -> Rehearsal:
    """Everything that a rollback does, but the move; it needs no key and writes nothing.

    `started` is what `time.perf_counter` gave when the command began.

    Raises:
        RsaOpsError: why a rollback would be refused.
    """
    verified = timed("ledger", lambda: _words(audited(ledger)), wish.model)
    choice, checks = rehearse(ledger, store, wish, fresh, tell)
    return _record(choice, (verified, *checks), started, None)


def roll_back(
    notary: Notary, store: Store, wish: Wish, fresh: FreshProcess, tell: Tell, started: float, at: At = nowhere
) -> Rehearsal:
    """Try the generation to go back to, then move the alias there.

    Raises:
        UsageError: no reason. RsaOpsError: why nothing was moved, or what was left open when the registry failed.
    """
    if not wish.reason.strip():
        raise UsageError("a rollback needs a reason", hint="Give --reason; it stays in the ledger.")
    desks: list[Desk] = []

    def verify() -> str:
        desks.append(open_desk(notary))
        return _words(desks[0])

    verified = timed("ledger", verify, wish.model)
    choice, checks = rehearse(notary.ledger, store, wish, fresh, tell)
    resolved, current = choice.target.resolved, choice.current
    intent = Intent(
        plan=None,
        action="rollback",
        model=resolved.model,
        alias=resolved.alias,
        version=resolved.version,
        digest=resolved.digest,
        generation=current.generation + 1,
        before_version=current.version,
        reason=wish.reason,
    )
    moved = carry_out(desks[0], AliasPointer(store), intent, at)
    return _record(choice, (verified, *checks), started, moved.hash)


def rehearse(
    ledger: Ledger, store: Store, wish: Wish, fresh: FreshProcess, tell: Tell
) -> tuple[Choice, tuple[Passed, ...]]:
    """Choose the generation to go back to, and try it; nothing is moved and nothing written.

    Raises:
        MissingError: nothing good to go back to, or its files, papers, base or judged answers are gone.
        IntegrityError: registry, bytes, signature, base or answers are not as they must be.
        ConflictError: a move is under way, or the version asked for is not a good one.
    """
    with ledger.view() as view:
        choice, others = _choose(view, store, wish)
    about = choice.target.resolved
    tell(f"{about.name}, {about.alias} of generation {about.generation}, is tried in a fresh process")
    try:
        with tempfile.TemporaryDirectory() as scratch:
            return choice, _tried(store, choice.target, wish, fresh, Path(scratch))
    except RsaOpsError as error:
        if others:
            error.hint = f"{error.hint} Other good versions, newest first: {', '.join(others)} (--to).".strip()
        raise


def _record(choice: Choice, checks: tuple[Passed, ...], started: float, moved: str | None) -> Rehearsal:
    return Rehearsal(
        before_version=choice.current.version,
        before_generation=choice.current.generation,
        target=choice.target.resolved,
        checks=checks,
        drill=moved is None,
        moved=moved,
        wall_seconds=time.perf_counter() - started,
    )


def _words(ledger: Audited) -> str:
    return f"{ledger.walk.entries} entries verify"


def _choose(view: View, store: Store, wish: Wish) -> tuple[Choice, tuple[str, ...]]:
    moves = [Move.of(sealed) for sealed in pointer_history(view, wish.model, wish.alias)]
    chosen = last_good(moves, wish.version)
    intent = open_intent(view, wish.model, wish.alias)
    if intent is not None:
        raise ConflictError(
            f"{wish.alias} of {wish.model} is being moved (entry {intent.entry.sequence})",
            hint="Wait for it; if its process died, `rsa-ops reconcile` ends it. Nothing was moved.",
        )
    current = moves[-1].moved
    if not _gone(store, current):
        require_alias(view, store, current)
    target = target_of(view, Trust.of(view), store, chosen.sealed)
    others = tuple(version for version in good_versions(moves) if version != chosen.moved.version)
    return Choice(current, target), others


def _gone(store: Store, current: PointerMoved) -> bool:
    """Whether the champion was deleted from the registry; going back is the remedy, whatever the alias names."""
    return by_number(store, current.model, current.version) is None


def _tried(store: Store, target: Target, wish: Wish, fresh: FreshProcess, scratch: Path) -> tuple[Passed, ...]:
    resolved = target.resolved
    folder = fetch_target(store, target, scratch)
    signed = signature_check(store, target, scratch)
    files = (plain_files(), adapter_bytes(resolved), signed, declared_base(resolved))
    passed = run_checks(folder, files, resolved.name)
    probe = judged_probe(store, target, scratch)
    answers: list[tuple[str, ...]] = []
    loaded: list[Passed] = []

    def load() -> str:
        answer = fresh.ask(folder, resolved, probe.texts, wish.base)
        answers.append(answer.outputs)
        loaded.extend(check for check in answer.checks if check.name not in {each.name for each in passed})
        return f"in a process of its own, {len(answer.checks)} checks held"

    def compare() -> str:
        return f"{require_same_answers(answers[0], probe, resolved.name)} ({probe.source})"

    tried = timed("fresh process", load, resolved.name)
    return (*passed, tried, *loaded, timed("sample prediction", compare, resolved.name))
