"""Promotions that race and promotions that are killed: how many of each, and what was left.

Run: python benchmarks/promotion.py   ->  benchmarks/results/promotion.json and the block in docs/governance.md

Two processes race fifty times, on SQLite and on PostgreSQL, each round with plans from the same generation. Then a
process is killed (SIGKILL) at every step of a promotion and of a rollback, and `reconcile` ends what it left.
The processes are those of tests/unit/governance, which hold the same laws; the registry is a file for each alias.
"""

import json
import os
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from rsa_ops.governance.entry import Kind  # noqa: E402
from rsa_ops.governance.payloads import PointerMoved, payload_as  # noqa: E402
from rsa_ops.governance.plan import write_plan  # noqa: E402
from rsa_ops.governance.pointer import pointer_history  # noqa: E402
from rsa_ops.governance.store import utc_now  # noqa: E402
from rsa_ops.governance.verify import verify_rows  # noqa: E402
from tests.postgres import Absent, Postgres  # noqa: E402
from tests.unit.governance import test_promotion_processes as processes  # noqa: E402
from tests.unit.governance.promoting import MODEL, World  # noqa: E402

ROUNDS = 50
MARKS = ("<!-- promotion: written by benchmarks/promotion.py, do not edit by hand -->", "<!-- /promotion -->")


def races(world: World) -> dict[str, Any]:
    """Fifty rounds of two: who won, who was told what, and what the ledger holds behind it."""
    start = time.perf_counter()
    outcomes = processes.raced(world, ROUNDS)
    seconds = time.perf_counter() - start
    verified = verify_rows(world.ledger.rows(), now=utc_now())
    with world.ledger.view() as view:
        moves = [payload_as(sealed.entry, PointerMoved) for sealed in pointer_history(view, MODEL, "champion")]
        intents = sum(1 for _ in view.find((Kind.INTENT,)))
    return {
        "rounds": ROUNDS,
        "rounds_with_one_winner_and_one_exit_7": sum(sorted(pair) == [0, 7] for pair in outcomes),
        "won_by_first": sum(pair[0] == 0 for pair in outcomes),
        "generations_without_a_gap": [move.generation for move in moves] == list(range(1, ROUNDS + 2)),
        "intents_left_by_losers": intents - len(moves),
        "first_bad_entry": None if verified.first_bad is None else str(verified.first_bad),
        "seconds": round(seconds, 1),
    }


def deaths(world: World, action: str) -> dict[str, str]:
    """Killed at each step: how reconcile ended it; it raises where the champion is not one and the same."""
    found = {}
    for step in processes.STEPS:
        processes.again(world)
        processes.killed(world, action, step)
        found[step.lower()] = processes.reconciled(world) or "nothing was open"
        if world.live.read(MODEL, "champion") == "2":
            world.promoted("4")  # so that the next round begins with another champion than version 2
    return found


def measure(address: str) -> dict[str, Any]:
    """Races and deaths on one kind of database."""
    with tempfile.TemporaryDirectory() as name:
        world = processes.founded(Path(name), address or str(Path(name) / "ledger.db"))
        write_plan(Path(name) / "plan.json", world.judge("2") and world.plan("2"))
        found: dict[str, Any] = {"races": races(world)}
        found["killed"] = {action: deaths(world, action) for action in ("apply", "rollback")}
        world.ledger.close()
    return found


def quote(record: dict[str, Any]) -> None:
    """Write the record between the marks of docs/governance.md."""
    page = HERE.parent / "docs" / "governance.md"
    before, rest = page.read_text(encoding="utf-8").split(MARKS[0], 1)
    after = rest.split(MARKS[1], 1)[1]
    lines = ["| | rounds | one winner, one exit 7 | entries lost, doubled or left | killed, then reconciled |"]
    lines += ["| --- | --- | --- | --- | --- |"]
    for name, key in (("SQLite", "sqlite"), ("PostgreSQL", "postgresql")):
        race, killed = record[key]["races"], record[key]["killed"]
        whole = race["generations_without_a_gap"] and race["first_bad_entry"] is None
        left = race["intents_left_by_losers"] if whole else "BROKEN"
        count = sum(len(steps) for steps in killed.values())
        lines.append(
            f"| {name} | {race['rounds']} | {race['rounds_with_one_winner_and_one_exit_7']} | {left} "
            f"| {count} times, one consistent champion each |"
        )
    page.write_text(before + MARKS[0] + "\n" + "\n".join(lines) + "\n" + MARKS[1] + after, encoding="utf-8")


def main() -> None:
    """Measure, write the record and quote it."""
    try:
        server = Postgres(durable=True)
    except Absent as absent:
        raise SystemExit(str(absent)) from absent
    try:
        postgresql = measure(server.new_database())
    finally:
        server.stop()
    record = {
        "script": "benchmarks/promotion.py",
        "date": datetime.now(UTC).date().isoformat(),
        "cores": os.cpu_count(),
        "sqlite": measure(""),
        "postgresql": postgresql,
    }
    text = json.dumps(record, indent=2) + "\n"
    (HERE / "results" / "promotion.json").write_text(text, encoding="utf-8")
    quote(record)
    print(text)


if __name__ == "__main__":
    main()
