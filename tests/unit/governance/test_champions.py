"""Which generation a rollback goes back to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsa_ops.core.digest import digest_bytes
from rsa_ops.errors import ConflictError, MissingError
from rsa_ops.governance.champions import Move, last_good, rolled_back
from rsa_ops.governance.entry import NOTHING, Entry, Kind, Role, Sealed
from rsa_ops.governance.payloads import PointerMoved


def moves(words: str) -> list[Move]:
    """`1 2 <1 3`: versions promoted one after another, `<` before one that a rollback went to."""
    found = []
    for number, word in enumerate(words.split(), 1):
        version = word.strip("<")
        moved = PointerMoved(
            model="m", alias="champion", version=version, digest=digest_bytes(version.encode()), generation=number
        )
        entry = Entry(
            ledger=NOTHING,
            sequence=number,
            previous=NOTHING,
            at="2026-03-01T12:00:00.000001Z",
            kind=Kind.ROLLBACK if word.startswith("<") else Kind.APPLIED,
            subject="m@champion",
            key=NOTHING,
            role=Role.OPERATOR,
            payload=moved.model_dump(mode="json"),
        )
        found.append(Move.of(Sealed(entry=entry, body="", hash=NOTHING, signature="")))
    return found


@pytest.mark.parametrize(
    ("history", "target"),
    [
        ("1 2", 1),
        ("1 2 3", 2),
        ("1 2 <1 3", 3),  # generation 3, which is version 1: not 2, which was rolled back from
        ("1 2 3 <2 4", 4),
        ("1 2 3 <2 <1 4", 5),  # 3 and 2 are bad
        ("1 2 <1 2 3", 4),  # promoted again, version 2 is good again
        ("1 2 2 2", 1),  # the same adapter is nothing to go back to
        ("1 2 3 <2", 1),  # a rollback after a rollback goes further back, never forward to what was bad
    ],
)
def test_a_rollback_goes_to_the_last_good_generation_not_merely_to_the_previous_one(
    history: str, target: int
) -> None:
    assert last_good(moves(history)).moved.generation == target


@pytest.mark.parametrize("history", ["", "1", "1 2 <1", "1 1 1", "1 2 3 <2 <1"])
def test_where_nothing_good_is_left_nothing_is_chosen(history: str) -> None:
    with pytest.raises(MissingError):
        last_good(moves(history))


def test_a_version_that_is_asked_for_must_have_been_champion_and_be_good() -> None:
    history = moves("1 2 3 <2 4")
    assert last_good(history, "1").moved.version == "1"
    with pytest.raises(ConflictError, match="rolled back from in generation 4"):
        last_good(history, "3")
    with pytest.raises(ConflictError, match="already"):
        last_good(history, "4")
    with pytest.raises(MissingError, match="was never its champion"):
        last_good(history, "9")


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 4)), max_size=12))
def test_the_chosen_one_was_promoted_and_is_neither_bad_nor_the_current(steps: list[tuple[bool, int]]) -> None:
    words: list[str] = []
    for back, version in steps:
        history = moves(" ".join(words))
        try:
            words.append(f"<{last_good(history).moved.version}" if back else str(version))
        except MissingError:
            bad = rolled_back(history)
            others = {move.moved.digest for move in history} - {move.moved.digest for move in history[-1:]}
            assert others <= set(bad)
            continue
        if back:
            chosen = last_good(history).moved
            assert chosen.digest not in rolled_back(history)
            assert chosen.digest != history[-1].moved.digest
            assert chosen in [move.moved for move in history]
            assert history[-1].moved.digest in rolled_back(moves(" ".join(words)))
