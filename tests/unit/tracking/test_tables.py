"""The tables of a store: read at one moment, never made, never changed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from rsa_ops.errors import ConflictError, MissingError
from rsa_ops.tracking import tables
from rsa_ops.tracking.tables import open_tables

from ...postgres import Postgres


@contextmanager
def written(path: Path, *statements: str) -> Iterator[sqlite3.Connection]:
    """A database in which `statements` were done, and still open for more."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)
        yield connection


def test_all_answers_are_about_one_moment(tmp_path: Path) -> None:
    start = ("PRAGMA journal_mode = WAL", "CREATE TABLE a (n)", "INSERT INTO a VALUES (1)")
    with written(tmp_path / "x.db", *start) as writer, open_tables(f"sqlite:///{tmp_path / 'x.db'}") as ask:
        assert ask("SELECT n FROM a", {}) == [(1,)]
        writer.execute("INSERT INTO a VALUES (2)")
        assert ask("SELECT n FROM a WHERE n >= :least", {"least": 0}) == [(1,)]


def test_nothing_can_be_changed_and_no_file_stays_behind(tmp_path: Path) -> None:
    with written(tmp_path / "a name?#%41.db", "PRAGMA journal_mode = WAL", "CREATE TABLE a (n)"):
        pass
    before = sorted(tmp_path.iterdir())
    uri = f"sqlite:///{tmp_path / 'a name?#%41.db'}"
    with pytest.raises(MissingError, match="readonly"), open_tables(uri) as ask:
        ask("DELETE FROM a", {})
    assert sorted(tmp_path.iterdir()) == before


def test_a_store_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no MLflow store"), open_tables(f"sqlite:///{tmp_path / 'none.db'}"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_locked_database_is_a_conflict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_LOCK_SECONDS", 0.1)
    uri = f"sqlite:///{tmp_path / 'x.db'}"
    held = written(tmp_path / "x.db", "CREATE TABLE a (n)", "BEGIN EXCLUSIVE")
    with held, pytest.raises(ConflictError, match="locked by another program"), open_tables(uri) as ask:
        ask("SELECT n FROM a", {})


@pytest.mark.parametrize("uri", ["mysql+nobody://x/y", "no address", "postgresql+pg8000://nobody@127.0.0.1:9/x"])
def test_a_server_that_cannot_be_asked_is_missing(uri: str) -> None:
    with pytest.raises(MissingError, match="does not answer as it should"), open_tables(uri) as ask:
        ask("SELECT 1", {})


def test_a_server_is_asked_with_the_same_words(postgres: Postgres) -> None:
    with open_tables(postgres.new_database()) as ask:
        assert ask("SELECT :n + 1, :word", {"n": 1, "word": "one"}) == [(2, "one")]
