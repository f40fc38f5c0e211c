"""What the ledger says about one run, and nothing that it says about another."""

from __future__ import annotations

from pathlib import Path

import pytest

from rsa_ops.core.verdict import Outcome
from rsa_ops.errors import MissingError
from rsa_ops.stages.promotion import approve
from rsa_ops.stages.trail import run_trail

from ..governance.promoting import World, begin


@pytest.fixture
def world(tmp_path: Path) -> World:
    return begin(tmp_path)


def told(world: World, run: str) -> list[str]:
    return [entry.kind for entry in run_trail(world.ledger.address, run)]


def test_a_run_that_was_promoted_is_told_from_its_lock_to_the_move(world: World) -> None:
    run = world.judge("1", approvals=1)
    file = world.plan("1")
    approve(world.desk("bob"), file)
    world.apply(file)
    world.promoted("2")  # another run, of which nothing is told
    found = run_trail(world.ledger.address, run)
    assert [entry.kind for entry in found] == ["policy-lock", "verdict", "plan", "approval", "intent", "applied"]
    assert [entry.sequence for entry in found] == sorted(entry.sequence for entry in found)
    assert found[1].what.startswith("promote ")
    assert found[3].who.startswith("bob (")
    assert found[-1].what == "champion → 1 (1)"
    assert all(entry.at.endswith(" UTC") for entry in found)


def test_a_run_that_was_refused_is_told_to_its_verdict(world: World) -> None:
    run = world.judge("1", Outcome.REJECT)
    world.promoted("2")
    assert told(world, run) == ["policy-lock", "verdict"]


def test_a_run_that_the_ledger_does_not_know_has_no_trail(world: World) -> None:
    world.promoted("1")
    assert run_trail(world.ledger.address, "another") == ()


def test_a_ledger_that_is_not_there_is_missing_and_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(MissingError):
        run_trail(str(tmp_path / "ledger.db"), "run")
    assert list(tmp_path.iterdir()) == []
