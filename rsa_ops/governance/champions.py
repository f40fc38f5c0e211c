"""What an alias has named, one generation after another, and which of it a rollback may go back to.

*Good* is an adapter that was promoted and that nobody has rolled back from since. It goes by digest, not by
generation: bytes that were bad stay bad under another number, until a promotion names them again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rsa_ops.core.digest import Digest
from rsa_ops.errors import ConflictError, MissingError
from rsa_ops.governance.entry import Kind, Sealed
from rsa_ops.governance.payloads import PointerMoved, payload_as


@dataclass(frozen=True)
class Move:
    """One generation of an alias, with the entry that made it."""

    moved: PointerMoved
    sealed: Sealed

    @classmethod
    def of(cls, sealed: Sealed) -> Move:
        """From an `applied` or `rollback` entry.

        Raises:
            IntegrityError: its payload is none.
        """
        return cls(payload_as(sealed.entry, PointerMoved), sealed)

    @property
    def is_rollback(self) -> bool:
        """Whether it went back, so that what stood before it was bad."""
        return self.sealed.entry.kind is Kind.ROLLBACK


def rolled_back(moves: Sequence[Move]) -> dict[Digest, Move]:
    """The adapters that are bad after `moves` (oldest first), each with the rollback that left it."""
    bad: dict[Digest, Move] = {}
    for before, move in zip([None, *moves], moves, strict=False):
        if move.is_rollback and before is not None:
            bad[before.moved.digest] = move
        elif not move.is_rollback:
            bad.pop(move.moved.digest, None)
    return bad


def last_good(moves: Sequence[Move], version: str | None = None) -> Move:
    """The newest generation to go back to: good, and of another adapter than the last of `moves`, which stands.

    `version` asks for one version instead of the newest.

    Raises:
        MissingError: there is none. ConflictError: the version asked for stands already, or was rolled back from.
    """
    if not moves:
        raise MissingError("nothing was ever promoted here", hint="There is nothing to go back to.")
    current, bad = moves[-1].moved, rolled_back(moves)
    for move in reversed(moves[:-1] if version is None else moves):
        found = move.moved
        if version is None and found.digest != current.digest and found.digest not in bad:
            return move
        if version is not None and found.version == version:
            _require_good(move, current, bad)
            return move
    if version is not None:
        raise MissingError(
            f"version {version} of {current.model} was never its {current.alias}",
            hint="A rollback goes to what was promoted before; a promotion takes a plan.",
        )
    raise MissingError(
        f"{current.model} has no good {current.alias} before version {current.version}: "
        f"{len(moves)} generation{'s' if len(moves) > 1 else ''}, and every other adapter was rolled back from",
        hint="Promote another version by a plan.",
    )


def good_versions(moves: Sequence[Move]) -> tuple[str, ...]:
    """All versions that a rollback could go to, the newest first."""
    if not moves:
        return ()
    bad, current = rolled_back(moves), moves[-1].moved.digest
    found = (move.moved for move in reversed(moves))
    return tuple(dict.fromkeys(each.version for each in found if each.digest != current and each.digest not in bad))


def _require_good(move: Move, current: PointerMoved, bad: dict[Digest, Move]) -> None:
    found = move.moved
    if found.digest == current.digest:
        raise ConflictError(
            f"version {found.version} is the {found.alias} of {found.model} already",
            hint="Name another version, or leave --to away for the last good one.",
        )
    if found.digest in bad:
        left = bad[found.digest]
        raise ConflictError(
            f"version {found.version} of {found.model} was rolled back from in generation {left.moved.generation} "
            f"(entry {left.sealed.entry.sequence})",
            hint="Only a promotion makes it good again: `rsa-ops promote plan`.",
        )
