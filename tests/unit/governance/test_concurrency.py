"""Two processes write at once: one chain, no entry lost, doubled or forked; on SQLite and on PostgreSQL."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from rsa_ops.errors import ConflictError, MissingError, UsageError
from rsa_ops.governance import store
from rsa_ops.governance.entry import Draft, Kind, Role
from rsa_ops.governance.finding import Flaw
from rsa_ops.governance.keys import FileKey, make_key
from rsa_ops.governance.payloads import KeyGrant
from rsa_ops.governance.store import Ledger, open_ledger, utc_now
from rsa_ops.governance.verify import verify_rows
from rsa_ops.governance.view import View

from .conftest import ANY

if TYPE_CHECKING:
    from tests.postgres import Postgres

ROOT = Path(__file__).parents[3]
WRITERS = Path(__file__).with_name("writers.py")
EACH = 50


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return str(tmp_path / "ledger.db")
    server: Postgres = request.getfixturevalue("postgres")
    return server.new_database()


@pytest.fixture
def key(tmp_path: Path) -> FileKey:
    return make_key(tmp_path / "key")


def begun(address: str, key: FileKey) -> Ledger:
    ledger = open_ledger(address, write=True)
    ledger.begin(key, "first")
    return ledger


def writer(address: str, folder: Path, name: str, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(WRITERS), address, str(folder / "key"), name, str(count)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def race(address: str, folder: Path) -> list[list[str]]:
    """The hashes that each of two processes was told, which began together."""
    running = [writer(address, folder, name, EACH) for name in ("one", "two")]
    for process in running:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in running:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    told = [process.communicate(timeout=120) for process in running]
    assert [process.returncode for process in running] == [0, 0], told
    return [out.split() for out, _ in told]


@pytest.mark.timeout(180)
def test_two_processes_that_append_fifty_entries_each_leave_one_chain_of_a_hundred(
    address: str, tmp_path: Path, key: FileKey
) -> None:
    ledger = begun(address, key)
    told = race(address, tmp_path)
    with ledger.view() as view:
        found = list(view.find((Kind.POLICY_LOCK,)))
    verified = verify_rows(ledger.rows(), now=utc_now())
    assert verified.first_bad is None
    assert verified.walk.entries == 1 + 2 * EACH
    assert sorted(sealed.hash for sealed in found) == sorted(told[0] + told[1])  # none lost, none that nobody wrote
    assert len({sealed.hash for sealed in found}) == 2 * EACH  # none doubled
    for number, name in enumerate(("one", "two")):
        mine = [sealed for sealed in found if sealed.entry.subject == name]
        assert [sealed.hash for sealed in mine] == told[number]
        assert [int(str(sealed.entry.payload["policy"])) for sealed in mine] == list(range(EACH))


def test_writers_that_take_no_lock_still_cannot_fork_and_append_again_after_the_new_head(
    postgres: Postgres, key: FileKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def lockless(engine: Engine) -> Iterator[Connection]:
        """A writing transaction as a program that is not ours would make it."""
        with engine.begin() as connection:
            yield connection

    address = postgres.new_database()
    ledger = begun(address, key)
    monkeypatch.setattr(store, "writing", lockless)
    met, tries = threading.Barrier(2, timeout=60), [0, 0]

    def append(who: int) -> None:
        def guard(_: View) -> None:
            tries[who] += 1
            if tries[who] == 1:
                met.wait()  # both have read the same head now

        open_ledger(address, write=True).append(ANY, key, guard=guard)

    threads = [threading.Thread(target=append, args=(who,)) for who in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    verified = verify_rows(ledger.rows(), now=utc_now())
    assert verified.first_bad is None
    assert verified.walk.entries == 3
    assert sorted(tries) == [1, 2]  # the slower one was refused by the index, and came again


@pytest.mark.timeout(120)
def test_a_writer_killed_at_any_moment_leaves_a_whole_ledger(address: str, tmp_path: Path, key: FileKey) -> None:
    ledger = begun(address, key)
    for pause in (0.0, 0.02, 0.05):
        process = writer(address, tmp_path, "killed", 10_000)
        assert process.stdout is not None
        assert process.stdin is not None
        process.stdout.readline()
        process.stdin.write("go\n")
        process.stdin.flush()
        process.stdout.readline()  # it is writing
        threading.Event().wait(pause)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert verify_rows(ledger.rows(), now=utc_now()).first_bad is None
        assert ledger.append(ANY, key).entry.subject == "some run"
    assert verify_rows(ledger.rows(), now=utc_now()).first_bad is None


def test_of_two_that_begin_a_ledger_one_is_refused(address: str, tmp_path: Path, key: FileKey) -> None:
    outcomes: list[str] = []
    gun = threading.Barrier(2, timeout=60)

    def begin(signer: FileKey) -> None:
        ledger = open_ledger(address, write=True)
        gun.wait()
        try:
            ledger.begin(signer, "me")
            outcomes.append("begun")
        except ConflictError:
            outcomes.append("refused")

    threads = [threading.Thread(target=begin, args=(one,)) for one in (key, make_key(tmp_path / "other"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(outcomes) == ["begun", "refused"]
    assert verify_rows(open_ledger(address, write=False).rows(), now=utc_now()).walk.entries == 1


def test_postgresql_refuses_to_change_delete_or_empty_the_ledger(postgres: Postgres, key: FileKey) -> None:
    ledger = begun(postgres.new_database(), key)
    ledger.append(ANY, key)
    for statement in (
        "UPDATE rsa_ops_ledger SET subject = 'x'",
        "DELETE FROM rsa_ops_ledger",
        "TRUNCATE rsa_ops_ledger",
    ):
        with ledger.engine.connect() as connection, pytest.raises(DBAPIError, match="append-only"):
            connection.exec_driver_sql(statement)
    assert verify_rows(ledger.rows(), now=utc_now()).walk.entries == 2


def test_tampering_by_the_owner_of_a_postgresql_database_is_found(postgres: Postgres, key: FileKey) -> None:
    ledger = begun(postgres.new_database(), key)
    for _ in range(5):
        ledger.append(ANY, key)
    for statement, flaw, number in (
        ("UPDATE rsa_ops_ledger SET body = replace(body, '\"p\"', '\"q\"') WHERE sequence = 4", Flaw.EDITED, 4),
        ("UPDATE rsa_ops_ledger SET subject = 'x' WHERE sequence = 3", Flaw.COPY_CHANGED, 3),
        ("DELETE FROM rsa_ops_ledger WHERE sequence = 2", Flaw.DELETED, 2),
    ):
        with ledger.engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE rsa_ops_ledger DISABLE TRIGGER ALL")
            connection.exec_driver_sql(statement)
        bad = verify_rows(ledger.rows(), now=utc_now()).first_bad
        assert bad is not None
        assert (bad.flaw, bad.sequence) == (flaw, number)


def test_a_writer_whose_clock_is_not_the_servers_is_refused(postgres: Postgres, key: FileKey) -> None:
    ledger = begun(postgres.new_database(), key)
    for hours in (-3, 3):
        wrong = replace(ledger, clock=lambda hours=hours: utc_now() + timedelta(hours=hours))
        with pytest.raises(ConflictError, match="database's"):
            wrong.append(ANY, key)
    assert verify_rows(ledger.rows(), now=utc_now()).walk.entries == 1
    wrong = replace(open_ledger(postgres.new_database(), write=True), clock=lambda: utc_now() + timedelta(hours=3))
    with pytest.raises(ConflictError, match="database's"):
        wrong.begin(key, "first")


def test_who_may_only_read_and_add_writes_a_ledger_and_cannot_do_more(postgres: Postgres, key: FileKey) -> None:
    address = postgres.new_database()
    owner = begun(address, key)
    with owner.engine.begin() as connection:
        connection.exec_driver_sql("CREATE ROLE writer LOGIN")
        connection.exec_driver_sql("GRANT SELECT, INSERT ON rsa_ops_ledger TO writer")
        connection.exec_driver_sql("CREATE ROLE reader LOGIN")
        connection.exec_driver_sql("GRANT SELECT ON rsa_ops_ledger TO reader")
    writer_ = open_ledger(address.replace("tester@", "writer@"), write=True)
    writer_.append(ANY, key)
    reader = open_ledger(address.replace("tester@", "reader@"), write=True)
    with pytest.raises(UsageError, match="may not be written"):
        reader.append(ANY, key)
    with pytest.raises(DBAPIError, match="permission denied"), writer_.engine.connect() as connection:
        connection.exec_driver_sql("DELETE FROM rsa_ops_ledger")
    assert verify_rows(reader.rows(), now=utc_now()).walk.entries == 2


def test_keys_are_granted_and_revoked_on_postgresql_too(postgres: Postgres, key: FileKey, tmp_path: Path) -> None:
    ledger = begun(postgres.new_database(), key)
    other = make_key(tmp_path / "other")
    with pytest.raises(MissingError):
        ledger.append(ANY, other)
    grant = KeyGrant(
        key=other.public.key,
        public_key=other.public.public_key,
        role=Role.OPERATOR,
        name="運用担当 é",
        custody="held",
    )
    ledger.append(Draft.of(Kind.KEY_ADDED, other.public.key, grant), key)
    ledger.append(ANY, other)
    verified = verify_rows(ledger.rows(), now=utc_now())
    assert verified.first_bad is None
    assert verified.walk.keyring.holders[other.public.key].name == "運用担当 é"
