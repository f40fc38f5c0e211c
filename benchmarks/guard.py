"""What the guard adds to a call of MLflow's client: two servers on copies of one SQLite store, one of them guarded.

Run: python benchmarks/guard.py         ->  benchmarks/results/guard.json and the block in docs/governance.md
     python benchmarks/guard.py ROUNDS  only prints the record of so many rounds

Both servers run at once on loopback, and every round asks each of them for the same calls, turn about who is first,
so that other work on the machine weighs on both alike. The ledger (SQLite) has `ENTRIES` entries. An open intent
allows `move the champion`; `move without an intent` is refused by the guard and goes through without one. Times are
medians, in milliseconds; `ratio` is guarded over plain, `added_ms` the median of the differences within a round.
"""

import json
import os
import shutil
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from rsa_ops.core.digest import digest_bytes  # noqa: E402
from rsa_ops.governance.entry import Kind  # noqa: E402
from rsa_ops.governance.payloads import Intent, PolicyLock  # noqa: E402
from tests.guarded import GuardedServer  # noqa: E402
from tests.unit.tracking.guard.conftest import (  # noqa: E402
    MODEL,
    begin_ledger,
    fill,
    name_champion,
    notary,
    quiet_client,
)

ROUNDS, WARM_UP, ENTRIES = 60, 5, 1000
MARKS = ("<!-- guard: written by benchmarks/guard.py, do not edit by hand -->", "<!-- /guard -->")
Ask = Callable[[Any, str, int], object]


def move_back(client: Any, _: str, __: int) -> None:
    """A move that no intent allows."""
    from mlflow.exceptions import RestException

    with suppress(RestException):
        client.set_registered_model_alias(MODEL, "champion", "1")


CALLS: dict[str, Ask] = {
    "get a run": lambda client, run, _: client.get_run(run),
    "search runs": lambda client, _, __: client.search_runs(["1"], max_results=50),
    "log a metric": lambda client, run, step: client.log_metric(run, "loss", 0.5, step=step),
    "tag a run": lambda client, run, step: client.set_tag(run, "note", str(step)),
    "tag the champion": lambda client, _, step: client.set_model_version_tag(MODEL, "1", "note", str(step)),
    "set another alias": lambda client, _, __: client.set_registered_model_alias(MODEL, "pilot", "2"),
    "move the champion": lambda client, _, __: client.set_registered_model_alias(MODEL, "champion", "2"),
    "move without an intent": move_back,
}


def ledger_with_intent(folder: Path, run: str) -> Path:
    """A ledger that names version 1 the champion, holds `ENTRIES` entries, and an open intent to version 2."""
    ledger = begin_ledger(folder)
    name_champion(ledger, folder, run)
    digest = digest_bytes(b"some")
    with notary(ledger, folder) as desk:
        for number in range(ENTRIES - 4):
            lock = PolicyLock(pipeline="triage", policy="x", policy_digest=digest, test_digest=digest)
            desk.write(Kind.POLICY_LOCK, f"run {number}", lock)
        intent = Intent(
            plan=None,
            action="rollback",
            model=MODEL,
            alias="champion",
            version="2",
            digest=digest_bytes(b"two"),
            generation=2,
            before_version="1",
            reason="measured",
        )
        desk.write(Kind.INTENT, f"{MODEL}@champion", intent)
    return ledger


@contextmanager
def serving(home: Path, ledger: Path, app: str) -> Iterator[Any]:
    """A client of a server of its own."""
    server = GuardedServer(home, f"sqlite:///{home / 'mlflow.db'}", str(ledger), app=app)
    try:
        server.wait()
        yield quiet_client(server.uri)
    finally:
        server.stop()


def timed(ask: Ask, client: Any, run: str, step: int) -> float:
    """Milliseconds of one call."""
    start = time.perf_counter()
    ask(client, run, step)
    return 1000 * (time.perf_counter() - start)


def measure(folder: Path, rounds: int) -> dict[str, Any]:
    """Every call on both servers, `rounds` times."""
    plain, guarded = folder / "plain", folder / "guarded"
    for place in (plain, guarded):
        place.mkdir()
    with serving(plain, folder / "none.db", "") as client:
        (folder / "files").mkdir()
        run, *_ = fill(client, folder / "files")
    ledger = ledger_with_intent(folder, run)
    with (
        closing(sqlite3.connect(plain / "mlflow.db")) as whole,
        closing(sqlite3.connect(guarded / "mlflow.db")) as copy,
    ):
        whole.backup(copy)
    shutil.copytree(plain / "files", guarded / "files")
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in CALLS}
    with serving(plain, ledger, "") as open_one, serving(guarded, ledger, "rsa-guard") as guarded_one:
        for step in range(-WARM_UP, rounds):
            for name, ask in CALLS.items():
                pair = [(0, open_one), (1, guarded_one)]
                found = {place: timed(ask, client, run, step) for place, client in pair[:: 1 if step % 2 else -1]}
                if step >= 0:
                    taken[name].append((found[0], found[1]))
        last = [one.get_model_version_by_alias(MODEL, "champion").version for one in (open_one, guarded_one)]
    if last != ["1", "2"]:
        raise SystemExit(f"the champions are {last}: the guard refused or allowed what it must not")
    return {name: row(pairs) for name, pairs in taken.items()}


def row(pairs: list[tuple[float, float]]) -> dict[str, float]:
    """Medians of one call."""
    plain, guarded = (statistics.median(values) for values in zip(*pairs, strict=True))
    return {
        "plain_ms": round(plain, 1),
        "guarded_ms": round(guarded, 1),
        "added_ms": round(statistics.median(after - before for before, after in pairs), 1),
        "ratio": round(guarded / plain, 2),
    }


def block(record: dict[str, Any]) -> str:
    """What the page says of a record."""
    entries, rounds = f"{record['entries']:,}", record["rounds"]
    rows = [
        f"| {name} | {each['plain_ms']} | {each['guarded_ms']} | {each['ratio']:.2f} | {each['added_ms']} |"
        for name, each in record["calls"].items()
    ]
    return (
        f"{record['cores']} cores, load {record['load_before']} before, a ledger of {entries} entries on SQLite, "
        f"medians of {rounds} rounds\n(`benchmarks/results/guard.json`):\n\n"
        "| call of MLflow's client | plain, ms | guarded, ms | ratio | added within a round, ms |\n"
        "| --- | ---: | ---: | ---: | ---: |\n" + "\n".join(rows) + "\n"
    )


def quote(record: dict[str, Any]) -> None:
    """Put the numbers into the documentation."""
    page = HERE.parent / "docs" / "governance.md"
    text = page.read_text(encoding="utf-8")
    before, after = text.split(MARKS[0])[0], text.split(MARKS[1])[1]
    page.write_text(f"{before}{MARKS[0]}\n{block(record)}{MARKS[1]}{after}", encoding="utf-8")


def main(words: list[str]) -> None:
    """Measure, and write the record and the page, or print them."""
    rounds = int(words[0]) if words else ROUNDS
    load = round(os.getloadavg()[0], 1)
    with tempfile.TemporaryDirectory() as folder:
        calls = measure(Path(folder), rounds)
    record = {
        "rounds": rounds,
        "entries": ENTRIES,
        "calls": calls,
        "cores": os.cpu_count(),
        "load_before": load,
        "load_after": round(os.getloadavg()[0], 1),
        "versions": {name: version(name) for name in ("mlflow", "sqlalchemy", "uvicorn")},
    }
    print(json.dumps(record, indent=1))
    if not words:
        (HERE / "results" / "guard.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        quote(record)


if __name__ == "__main__":
    main(sys.argv[1:])
