"""Real processes: one that is killed at every step of a move, and two that race; on SQLite and on PostgreSQL."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from rsa_ops.governance.apply import Step
from rsa_ops.governance.desk import open_desk
from rsa_ops.governance.entry import Kind
from rsa_ops.governance.notary import Notary
from rsa_ops.governance.payloads import PointerMoved, payload_as
from rsa_ops.governance.plan import write_plan
from rsa_ops.governance.pointer import open_intent, open_intents, pointer_history
from rsa_ops.governance.reconcile import reconcile
from rsa_ops.governance.store import utc_now
from rsa_ops.governance.verify import verify_rows
from rsa_ops.tracking.registry import AliasPointer

from .promoters import registry
from .promoting import MODEL, World, begin

if TYPE_CHECKING:
    from tests.postgres import Postgres

ROOT = Path(__file__).parents[3]
PROMOTERS = Path(__file__).with_name("promoters.py")
STEPS = [step.name for step in Step]


@pytest.fixture(params=["sqlite", "postgresql"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    """Version 1 is the champion; everything on a real clock and in files."""
    if request.param == "sqlite":
        return founded(tmp_path, str(tmp_path / "ledger.db"))
    server: Postgres = request.getfixturevalue("postgres")
    return founded(tmp_path, server.new_database())


def founded(folder: Path, address: str) -> World:
    world = begin(folder, address, clock=utc_now)
    world.live = registry(folder)
    world.promoted("1")
    return world


def process(world: World, address: str, *words: object, **how: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(PROMOTERS), str(world.folder), address, *map(str, words)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **how,
    )


def killed(world: World, action: str, step: str) -> None:
    dying = process(world, url_of(world), "die", action, step)
    _, said = dying.communicate(timeout=120)
    assert dying.returncode == -signal.SIGKILL, said


def url_of(world: World) -> str:
    url = world.ledger.engine.url
    return world.ledger.address if url.get_backend_name() == "sqlite" else url.render_as_string(hide_password=False)


def reconciled(world: World) -> str | None:
    """End what is open, as another process would, and hold that one consistent champion is left."""
    desk = open_desk(Notary(world.ledger, world.keys["ops"]))
    with world.ledger.view() as view:
        found = open_intents(view)
    ending = reconcile(desk, world.live, found[0]).ending if found else None
    verified = verify_rows(world.ledger.rows(), now=utc_now())
    assert verified.first_bad is None
    with world.ledger.view() as view:
        assert open_intent(view, MODEL, "champion") is None
        last = payload_as(pointer_history(view, MODEL, "champion")[-1].entry, PointerMoved)
    assert world.live.read(MODEL, "champion") == last.version
    return ending


ENDINGS = {"BEGUN": None, "INTENT": "abandoned", "MOVED": "completed", "READ_BACK": "completed", "CLOSED": None}
"""What reconcile finds after a death at each step: before the intent and after the last entry, nothing is open."""


@pytest.mark.timeout(240)
@pytest.mark.parametrize("action", ["apply", "rollback"])
def test_a_move_killed_at_any_step_is_reconciled_to_one_consistent_champion(world: World, action: str) -> None:
    assert set(ENDINGS) == set(STEPS)
    world.promoted("2")
    world.judge("3")
    write_plan(world.folder / "plan.json", world.plan("3"))
    target = "3" if action == "apply" else "1"
    for step in STEPS:
        killed(world, action, step)
        assert reconciled(world) == ENDINGS[step]
        moved = step in ("MOVED", "READ_BACK", "CLOSED")
        assert world.live.read(MODEL, "champion") == (target if moved else "2")
        if moved:
            again(world)
    assert reconciled(world) is None


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("action", ["apply", "rollback"])
def test_a_move_on_mlflow_killed_at_any_step_is_reconciled_too(store: Any, tmp_path: Path, action: str) -> None:
    store.client.create_registered_model(MODEL)
    for _ in range(3):
        store.client.create_model_version(MODEL, source=tmp_path.as_uri())
    world = founded(tmp_path, str(tmp_path / "ledger.db"))
    assert isinstance(world.live, AliasPointer)
    again(world)
    for step in STEPS:
        killed(world, action, step)
        assert reconciled(world) == ENDINGS[step]
        if step in ("MOVED", "READ_BACK", "CLOSED"):
            assert world.live.read(MODEL, "champion") == ("3" if action == "apply" else "1")
            again(world)


def again(world: World) -> None:
    """Version 2 back in its place, and a plan of version 3 from there."""
    world.promoted("2")
    world.judge("3")
    write_plan(world.folder / "plan.json", world.plan("3"))


@pytest.mark.timeout(120)
def test_a_reconciling_process_killed_on_its_way_leaves_what_the_next_one_ends(world: World) -> None:
    world.judge("2")
    write_plan(world.folder / "plan.json", world.plan("2"))
    killed(world, "apply", "INTENT")
    killed(world, "reconcile", "MOVED")
    assert reconciled(world) == "completed"
    assert world.live.read(MODEL, "champion") == "2"


def raced(world: World, rounds: int) -> list[tuple[int, int]]:
    """The exit codes of two processes, round by round; each round both have a plan from the same generation."""
    address = url_of(world)
    racers = [process(world, address, "race", name, rounds) for name in ("one", "two")]
    outcomes = []
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n", racer.communicate()[1]
    for number in range(rounds):
        for place, name in enumerate(("one", "two")):
            version = str(2 + 2 * number + place)
            world.judge(version)
            write_plan(world.folder / f"plan-{name}-{number}.json", world.plan(version))
        for racer in racers:
            assert racer.stdin is not None
            racer.stdin.write("go\n")
            racer.stdin.flush()
        codes = [racer.stdout.readline() for racer in racers if racer.stdout is not None]
        outcomes.append((int(codes[0]), int(codes[1])))
    for racer in racers:
        racer.communicate(timeout=60)
    return outcomes


def one_winner_each(world: World, rounds: int) -> None:
    outcomes = raced(world, rounds)
    assert {tuple(sorted(pair)) for pair in outcomes} == {(0, 7)}  # one wins, the other exits 7
    verified = verify_rows(world.ledger.rows(), now=utc_now())
    assert verified.first_bad is None
    with world.ledger.view() as view:
        moves = [payload_as(sealed.entry, PointerMoved) for sealed in pointer_history(view, MODEL, "champion")]
        kinds = [sealed.entry.kind for sealed in view.find((Kind.INTENT, Kind.APPLIED, Kind.ABANDONED))]
    winners = [str(2 + 2 * number + (pair[0] != 0)) for number, pair in enumerate(outcomes)]
    assert [move.version for move in moves] == ["1", *winners]  # none lost, none doubled, in order
    assert [move.generation for move in moves] == list(range(1, rounds + 2))
    assert kinds == [Kind.INTENT, Kind.APPLIED] * (rounds + 1)  # a loser has left nothing behind
    assert world.live.read(MODEL, "champion") == winners[-1]


@pytest.mark.timeout(120)
def test_of_two_racing_promotions_one_wins_each_generation(world: World) -> None:
    one_winner_each(world, 5)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_of_two_racing_promotions_one_wins_each_of_fifty_generations(world: World) -> None:
    one_winner_each(world, 50)
