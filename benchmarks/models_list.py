"""How long `rsa-ops models` takes to list 5,000 variants from an SQLite store, beside a ledger with verdicts.

Run: python benchmarks/models_list.py        ->  benchmarks/results/models_list.json, block in docs/governance.md
     python benchmarks/models_list.py COUNT  only prints the record of a store of that size

One variant is made by MLflow's client; the others are copies of its rows, because 5,000 by the client take minutes.
`command` is the command as a user starts it, Python and imports included; `imports` is a process that imports what
the command does and ends; `reading` is the list alone in a process that has imported everything. `seconds` are by
the clock, `processor_seconds` what the process computed, which other work on the machine changes less. Medians of
`REPEATS`.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, insert, select

from rsa_ops.core.digest import digest_bytes
from rsa_ops.core.verdict import Outcome
from rsa_ops.governance.entry import Kind
from rsa_ops.governance.keys import make_key
from rsa_ops.governance.notary import Notary
from rsa_ops.governance.payloads import PointerMoved, VerdictGiven
from rsa_ops.governance.store import open_ledger
from rsa_ops.stages.models import list_models
from rsa_ops.tracking.store import open_store
from rsa_ops.tracking.variants import log_variant

HERE = Path(__file__).parent
LIMIT_SECONDS = 2.0
REPEATS = 9
JUDGED = 100
MARKS = ("<!-- models: written by benchmarks/models_list.py, do not edit by hand -->", "<!-- /models -->")


def fill(folder: Path, count: int) -> str:
    """A store with `count` variants; returns its URI."""
    from mlflow.store.tracking.dbmodels import models as tables

    uri = f"sqlite:///{folder / 'mlflow.db'}"
    store = open_store(uri, "triage", folder / "artifacts")
    described = {"arm": "rsa", "seed": "0", "method": "rsa", "base_model": "tiny", "parent": "f" * 32}
    described |= {f"{name}.sha256": digest_bytes(name.encode()) for name in ("base", "data", "config")}
    log_variant(store, "e" * 32, "rsa-s0", digest_bytes(b"0"), described)
    kinds = (tables.SqlLoggedModel, tables.SqlLoggedModelParam, tables.SqlLoggedModelTag)
    engine = create_engine(uri)
    with engine.begin() as connection:
        for kind in kinds:
            first = [dict(row) for row in connection.execute(select(kind.__table__)).mappings()]
            copies = [copied(row, number) for number in range(1, count) for row in first]
            connection.execute(insert(kind.__table__), copies)
    engine.dispose()
    return uri


def copied(row: dict[str, object], number: int) -> dict[str, object]:
    """The row of another variant."""
    new = {**row, "model_id": f"m-{number:032x}"}
    if "creation_timestamp_ms" in row:
        new["creation_timestamp_ms"] = int(str(row["creation_timestamp_ms"])) + number
    if row.get("param_key") == "config.sha256":
        new["param_value"] = digest_bytes(b"config %d" % number)
    if row.get("param_key") == "seed":
        new["param_value"] = str(number)
    if "tag_value" in row:
        new["tag_value"] = digest_bytes(b"%d" % number)
    return new


def judge(folder: Path) -> None:
    """A ledger beside the store with verdicts about `JUDGED` variants and a champion."""
    key = make_key(folder / "key.pem")
    with closing(open_ledger(str(folder / "ledger.db"), write=True)) as ledger:
        ledger.begin(key, "ci")
        notary = Notary(ledger, key)
        for number in range(JUDGED):
            given = VerdictGiven(
                pipeline="triage",
                lock=digest_bytes(b"lock"),
                policy_digest=digest_bytes(b"policy"),
                test_digest=digest_bytes(b"test"),
                verdict_digest=digest_bytes(b"verdict"),
                outcome=Outcome.PROMOTE,
                candidate_digest=digest_bytes(b"%d" % number),
                champion_digest=None,
            )
            notary.write(Kind.VERDICT, "run", given)
        moved = PointerMoved(
            model="triage", alias="champion", version="1", digest=digest_bytes(b"1"), generation=1, intent=None
        )
        notary.write(Kind.APPLIED, "triage@champion", moved)


def command(uri: str, *words: str) -> tuple[float, float]:
    """What the command takes as a user starts it: seconds, processor seconds."""
    return process("-m", "rsa_ops.cli", "models", "--store", uri, *words)


def process(*words: str) -> tuple[float, float]:
    """What a Python process takes: seconds, processor seconds."""
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.perf_counter() - start, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def reading(uri: str) -> tuple[float, float]:
    """What the list takes: seconds, processor seconds."""
    start, before = time.perf_counter(), time.process_time()
    list_models(None, uri, 0)
    return time.perf_counter() - start, time.process_time() - before


def measure(count: int) -> dict[str, Any]:
    """All numbers for a store of `count` variants."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        uri = fill(folder, count)
        judge(folder)
        assert list_models(None, uri, 0).total == count
        taken = {
            "command": [command(uri, "--limit", "0") for _ in range(REPEATS)],
            "command_json": [command(uri, "--limit", "0", "--json") for _ in range(REPEATS)],
            "command_newest_50": [command(uri) for _ in range(REPEATS)],
            "imports": [process("-c", "import rsa_ops.cli.main, rsa_ops.stages.models") for _ in range(REPEATS)],
            "reading": [reading(uri) for _ in range(REPEATS)],
        }
    medians = {
        f"{what}_{unit}": round(statistics.median(values), 3)
        for what, pairs in taken.items()
        for unit, values in zip(("seconds", "processor_seconds"), zip(*pairs, strict=True), strict=True)
    }
    return {
        "variants": count,
        "judged": JUDGED,
        "repeats": REPEATS,
        **medians,
        "limit_seconds": LIMIT_SECONDS,
        "cores": os.cpu_count(),
        "versions": {name: version(name) for name in ("mlflow", "sqlalchemy", "pydantic")},
    }


def block(record: dict[str, Any]) -> str:
    """What the page says of a record."""
    rows = [
        f"| {words} | {record[f'{what}_seconds']:.2f} | {record[f'{what}_processor_seconds']:.2f} |"
        for what, words in (
            ("reading", "the list itself, all variants"),
            ("command", "the whole command, all variants, as lines"),
            ("command_json", "the same with `--json`"),
            ("command_newest_50", "the whole command, the newest 50"),
            ("imports", "of it, starting Python and its imports"),
        )
    ]
    return (
        f"{record['variants']:,} variants on SQLite, {record['cores']} cores, load {record['load_before']} before "
        f"and {record['load_after']} after, medians of {record['repeats']}\n"
        f"(`benchmarks/results/models_list.json`). The limit is {record['limit_seconds']:.0f} s.\n\n"
        "| | by the clock, s | by the processor, s |\n| --- | ---: | ---: |\n" + "\n".join(rows) + "\n"
    )


def main(words: list[str]) -> None:
    """Measure, and write the record and the page, or print them."""
    load = round(os.getloadavg()[0], 1)
    record = measure(int(words[0]) if words else 5000)
    record |= {"load_before": load, "load_after": round(os.getloadavg()[0], 1)}
    print(json.dumps(record, indent=2))
    if words:
        return
    (HERE / "results" / "models_list.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    page = HERE.parent / "docs" / "governance.md"
    text = page.read_text(encoding="utf-8")
    before, after = text.split(MARKS[0])[0], text.split(MARKS[1])[1]
    page.write_text(f"{before}{MARKS[0]}\n{block(record)}{MARKS[1]}{after}", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
