"""Appending and reading: an entry is on the disk when it is told, or refused with the reason and the exit code."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from rsa_ops.errors import ConflictError, ExitCode, IntegrityError, MissingError, RsaOpsError, UsageError
from rsa_ops.governance import database
from rsa_ops.governance.entry import NOTHING, Draft, Kind, Role
from rsa_ops.governance.payloads import ClockSet, KeyRevoked, PolicyLock
from rsa_ops.governance.store import open_ledger
from rsa_ops.governance.view import View

from .conftest import ANY, Kit, digest
from .tampering import rewrite


def test_each_entry_holds_the_hash_of_the_one_before_and_the_name_of_the_ledger(kit: Kit) -> None:
    with kit.ledger.view() as view:
        found = list(view.find())
    assert [sealed.entry.sequence for sealed in found] == list(range(12))
    assert found[0].entry.previous == found[0].entry.ledger == NOTHING
    for before, after in pairwise(found):
        assert after.entry.previous == before.hash
        assert after.entry.ledger == found[0].hash


def test_what_was_appended_is_there_for_another_process_and_after_a_restart(kit: Kit) -> None:
    made = kit.ledger.append(ANY, kit.key("operator"))
    again = open_ledger(str(kit.file), write=False)
    with again.view() as view:
        assert view.head() == made
        assert view.by_hash(made.hash) == made
        assert view.by_hash(digest("no such entry")) is None


def test_a_look_back_finds_by_kind_and_subject_in_both_directions(kit: Kit) -> None:
    with kit.ledger.view() as view:
        assert [found.entry.sequence for found in view.find((Kind.POLICY_LOCK,))] == [3, 6]
        assert [found.entry.sequence for found in view.find((Kind.APPLIED, Kind.ROLLBACK))] == [5, 8, 9]
        assert [found.entry.sequence for found in view.find(subject="run2")] == [6, 7]
        assert [found.entry.sequence for found in view.find(after=8, limit=2)] == [9, 10]
        newest = view.find((Kind.VERDICT,), newest_first=True, limit=1)
        assert [found.entry.sequence for found in newest] == [7]


def test_a_view_is_one_state_whatever_is_written_meanwhile(kit: Kit) -> None:
    with kit.ledger.view() as view:
        before = view.head()
        kit.ledger.append(ANY, kit.key("operator"))
        assert view.head() == before


def test_a_guard_sees_the_head_that_the_entry_is_written_after_and_may_refuse(kit: Kit) -> None:
    seen: list[int] = []

    def guard(view: View) -> None:
        head = view.head()
        assert head is not None
        seen.append(head.entry.sequence)

    def stale(_: View) -> None:
        raise ConflictError("the champion has moved")

    made = kit.ledger.append(ANY, kit.key("operator"), guard=guard)
    assert seen == [made.entry.sequence - 1]
    with pytest.raises(ConflictError, match="has moved"):
        kit.ledger.append(ANY, kit.key("operator"), guard=stale)
    with kit.ledger.view() as view:
        assert view.head() == made


def test_a_ledger_begins_once(kit: Kit) -> None:
    with pytest.raises(ConflictError, match="entries already"):
        kit.ledger.begin(kit.key("admin"), "again")
    with pytest.raises(UsageError, match="begins once"):
        kit.ledger.append(Draft(kind=Kind.GENESIS, subject="x", payload={}), kit.key("admin"))


def test_an_empty_ledger_and_no_ledger_say_how_to_begin(tmp_path: Path, kit: Kit) -> None:
    empty = open_ledger(str(tmp_path / "other.db"), write=True)
    with pytest.raises(MissingError, match="no ledger in") as caught:
        empty.append(ANY, kit.key("admin"))
    assert "audit init" in caught.value.hint
    with pytest.raises(MissingError, match="no ledger"):
        open_ledger(str(tmp_path / "none.db"), write=False)
    assert not (tmp_path / "none.db").exists()


@pytest.mark.parametrize(
    ("by", "kind", "error"),
    [
        ("stranger", Kind.PLAN, MissingError),
        ("approver", Kind.PLAN, UsageError),
        ("approver", Kind.VERDICT, UsageError),
        ("operator", Kind.APPROVAL, UsageError),
        ("operator", Kind.KEY_ADDED, UsageError),
        ("operator", Kind.CLOCK_SET, UsageError),
    ],
)
def test_a_key_writes_what_its_role_allows(kit: Kit, by: str, kind: Kind, error: type[RsaOpsError]) -> None:
    before = kit.fetch("SELECT count(*) FROM rsa_ops_ledger")
    with pytest.raises(error):
        kit.ledger.append(Draft(kind=kind, subject="x", payload={}), kit.key(by))
    assert kit.fetch("SELECT count(*) FROM rsa_ops_ledger") == before


def test_a_revoked_key_writes_nothing_more_and_what_it_wrote_stays_good(kit: Kit) -> None:
    kit.revoke("operator")
    with pytest.raises(IntegrityError, match="revoked by entry 12"):
        kit.ledger.append(ANY, kit.key("operator"))
    assert kit.verify().first_bad is None


def test_the_last_administrator_cannot_be_revoked(kit: Kit) -> None:
    with pytest.raises(IntegrityError, match="last administrator"):
        kit.revoke("admin")
    kit.grant("second", Role.ADMIN)
    kit.revoke("admin")
    assert kit.verify().first_bad is None


def test_key_entries_that_contradict_the_ledger_are_refused(kit: Kit) -> None:
    with pytest.raises(IntegrityError, match="granted before"):
        kit.grant("operator", Role.ADMIN)
    unknown = KeyRevoked(key=digest("nobody"), reason="no reason")
    with pytest.raises(IntegrityError, match="no good key"):
        kit.write(Kind.KEY_REVOKED, "x", unknown, "admin")


def test_a_payload_must_be_what_its_kind_says(kit: Kit) -> None:
    with pytest.raises(IntegrityError, match="policy-lock"):
        kit.ledger.append(Draft(kind=Kind.POLICY_LOCK, subject="r", payload={"policy": 1}), kit.key("operator"))


def test_a_clock_that_went_back_is_refused_beyond_the_tolerance_only(kit: Kit) -> None:
    latest = kit.clock.now
    kit.clock.now = latest - timedelta(minutes=1, seconds=59)  # the next look is 59 s before the last entry
    kit.ledger.append(ANY, kit.key("operator"))
    kit.clock.now = latest - timedelta(minutes=2, seconds=1)
    with pytest.raises(ConflictError, match="clock") as caught:
        kit.ledger.append(ANY, kit.key("operator"))
    assert caught.value.exit_code is ExitCode.CONFLICT
    assert kit.verify(now=latest).first_bad is None


def test_many_small_steps_back_do_not_add_up(kit: Kit) -> None:
    latest = kit.clock.now
    kit.clock.now = latest - timedelta(seconds=100)
    kit.ledger.append(ANY, kit.key("operator"))
    kit.clock.now = latest - timedelta(seconds=140)
    with pytest.raises(ConflictError, match="clock"):
        kit.ledger.append(ANY, kit.key("operator"))


def test_after_a_clock_that_was_ahead_an_administrator_lets_the_ledger_go_on(kit: Kit) -> None:
    right = kit.clock.now
    kit.clock.now = right + timedelta(days=400)
    kit.ledger.append(ANY, kit.key("operator"))
    ahead = kit.clock.now
    kit.clock.now = right
    with pytest.raises(ConflictError, match="the clock says"):
        kit.ledger.append(ANY, kit.key("operator"))
    kit.write(Kind.CLOCK_SET, "clock", ClockSet(reason="the battery was flat"), "admin")
    kit.ledger.append(ANY, kit.key("operator"))
    verified = kit.verify(now=ahead)
    assert verified.first_bad is None
    assert [note.sequence for note in verified.walk.order.notes] == [13]
    assert "the battery was flat" in verified.walk.order.notes[0].text


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE rsa_ops_ledger SET subject = 'x' WHERE sequence = 3",
        "DELETE FROM rsa_ops_ledger WHERE sequence = 11",
        """REPLACE INTO rsa_ops_ledger SELECT 11, previous || 'x', hash || 'x', kind, subject, at, body, signature
            FROM rsa_ops_ledger WHERE sequence = 11""",
        """INSERT INTO rsa_ops_ledger SELECT 12, previous, hash || 'x', kind, subject, at, body, signature
            FROM rsa_ops_ledger WHERE sequence = 11""",
    ],
    ids=["update", "delete", "replace", "fork"],
)
def test_the_database_refuses_to_change_an_entry_or_to_fork(kit: Kit, statement: str) -> None:
    before = kit.fetch("SELECT * FROM rsa_ops_ledger ORDER BY sequence")
    with pytest.raises(sqlite3.IntegrityError):
        kit.sql(statement, free=False)
    assert kit.fetch("SELECT * FROM rsa_ops_ledger ORDER BY sequence") == before


def test_nothing_is_appended_to_a_head_that_is_visibly_broken(kit: Kit) -> None:
    kit.sql("UPDATE rsa_ops_ledger SET body = replace(body, 'plan', 'plans') WHERE sequence = 11")
    with pytest.raises(IntegrityError, match="entry 11"):
        kit.ledger.append(ANY, kit.key("operator"))


def test_nothing_is_appended_to_a_head_that_its_key_has_not_signed(kit: Kit) -> None:
    rewrite(kit, 11, lambda entry: entry.update(payload={"plan": digest("forged")}), {}, rest=False)
    with pytest.raises(IntegrityError, match="not signed"):
        kit.ledger.append(ANY, kit.key("operator"))


def test_a_writer_waits_for_another_and_says_so_when_that_takes_too_long(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "WAIT_SECONDS", 0.2)
    other = sqlite3.connect(kit.file, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    waiting = open_ledger(str(kit.file), write=True)
    with pytest.raises(ConflictError, match="another program") as caught:
        waiting.append(ANY, kit.key("operator"))
    assert caught.value.exit_code is ExitCode.CONFLICT
    monkeypatch.setattr(database, "WAIT_SECONDS", 20)
    patient = replace(open_ledger(str(kit.file), write=True), clock=kit.clock)
    threading.Timer(0.3, lambda: other.execute("ROLLBACK")).start()
    assert patient.append(ANY, kit.key("operator")).entry.sequence == 12


def in_child(work: Callable[[], None]) -> int:
    """Run `work` in a child that has given up being root; its exit code."""
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setuid(65534)
            work()
            code = 0
        except RsaOpsError as error:
            code = int(error.exit_code)
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.fixture
def read_only(kit: Kit) -> Iterator[Kit]:
    """The ledger in a folder where its (unprivileged) user may write nothing."""
    kit.ledger.close()
    # pytest's own folders are closed to everybody else; there is one more where tests run in several processes.
    above = [folder for folder in kit.folder.parents if "pytest-of-" in str(folder) and os.geteuid() == 0]
    modes = {folder: folder.stat().st_mode for folder in (kit.folder, *above)}
    for folder in above:
        folder.chmod(0o755)
    kit.folder.chmod(0o555)
    kit.file.chmod(0o444)
    yield kit
    for folder, mode in modes.items():
        folder.chmod(mode)


def test_a_ledger_on_a_read_only_disk_is_read_and_verified(read_only: Kit) -> None:
    def look() -> None:
        ledger = open_ledger(str(read_only.file), write=False)
        found = list(ledger.rows())
        if len(found) != 12:
            raise IntegrityError("not all entries")

    assert in_child(look) == 0


def test_a_ledger_on_a_read_only_disk_refuses_an_entry_and_nothing_changes(read_only: Kit) -> None:
    before = read_only.file.read_bytes()
    key = read_only.key("operator")

    def write() -> None:
        replace(open_ledger(str(read_only.file), write=True), clock=read_only.clock).append(ANY, key)

    assert in_child(write) == ExitCode.USAGE
    assert read_only.file.read_bytes() == before
    assert not read_only.file.with_name("ledger.db-wal").exists()


def test_a_place_that_cannot_be_made_is_refused(tmp_path: Path, kit: Kit) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises((UsageError, MissingError, OSError)):
        open_ledger(str(tmp_path / "file" / "ledger.db"), write=True).begin(kit.key("admin"), "a")


def test_a_file_that_is_no_database_is_damage(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_bytes(b"no database at all, but long enough to be looked at" * 40)
    with pytest.raises(IntegrityError, match="damaged"):
        list(open_ledger(str(tmp_path / "ledger.db"), write=False).rows())


def test_a_file_that_was_cut_in_half_is_damage(kit: Kit) -> None:
    kit.ledger.close()
    whole = kit.file.read_bytes()
    kit.file.write_bytes(whole[: len(whole) // 8192 * 4096])
    with pytest.raises(IntegrityError, match="damaged"):
        list(open_ledger(str(kit.file), write=False).rows())


def test_a_database_without_the_table_holds_no_ledger(tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / "ledger.db").execute("CREATE TABLE t (x)").connection.close()
    with pytest.raises(MissingError, match="holds no ledger"):
        list(open_ledger(str(tmp_path / "ledger.db"), write=False).rows())


def test_an_address_never_shows_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_driver", lambda: "pg8000")
    ledger = open_ledger("postgresql://writer:s3cret@127.0.0.1:1/ledger", write=True)
    assert "s3cret" not in ledger.address
    assert "s3cret" not in repr(ledger)
    with pytest.raises(MissingError, match="does not answer") as caught:
        list(ledger.rows())
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("address", ["mysql://h/d", "sqlite://", "sqlite:///:memory:", "://", "mssql+pyodbc://h/d"])
def test_other_databases_are_refused(address: str) -> None:
    with pytest.raises(UsageError):
        open_ledger(address, write=True)


def test_a_file_may_be_named_by_path_or_by_url(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(kit.folder)
    for address in ("ledger.db", "sqlite:///ledger.db", f"sqlite:///{kit.file}", str(kit.file)):
        assert len(list(open_ledger(address, write=False).rows())) == 12


def test_locks_are_typed(kit: Kit) -> None:
    with kit.ledger.view() as view:
        lock = next(view.find((Kind.POLICY_LOCK,)))
    assert PolicyLock.model_validate(lock.entry.payload).pipeline == "triage"
