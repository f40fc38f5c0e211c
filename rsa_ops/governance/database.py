"""The database under a ledger: its address, its one table, and an engine that reads or writes it.

SQLite is the embedded default (write-ahead log, every commit on the disk before it counts), PostgreSQL is for
teams. The triggers that refuse UPDATE, DELETE, TRUNCATE and REPLACE hold off mistakes, not an owner of the
database: who may drop a trigger may change a row, and then verification finds it. It never relies on them.
"""

from __future__ import annotations

import importlib.util
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    Index,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    event,
    func,
    inspect,
    select,
)
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import QueuePool

from rsa_ops.errors import ConflictError, IntegrityError, MissingError, RsaOpsError, UsageError
from rsa_ops.files import disk_errors

WAIT_SECONDS = 20
"""How long a writer waits for another one."""

_ADVISORY_LOCK = 0x7273_615F_6F70_73  # "rsa_ops": one writer at a time in one PostgreSQL database
_DRIVERS = {"psycopg": "psycopg", "psycopg2": "psycopg2", "pg8000": "pg8000"}  # by preference

ENTRIES = Table(
    "rsa_ops_ledger",
    MetaData(),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("previous", String(71), nullable=False, unique=True),
    Column("hash", String(71), nullable=False, unique=True),
    Column("kind", String(32), nullable=False),
    Column("subject", String(255), nullable=False),
    Column("at", String(27), nullable=False, index=True),
    Column("body", Text, nullable=False),
    Column("signature", String(88), nullable=False),
    Index("ix_rsa_ops_ledger_subject", "subject", "kind", "sequence"),
    Index("ix_rsa_ops_ledger_kind", "kind", "sequence"),
)
"""`body` and `signature` are the entry; the other columns copy what is in `body`, for the indexes."""

COPIES = ("sequence", "previous", "kind", "subject", "at")
_SQLITE_TRIGGERS = (
    """CREATE TRIGGER rsa_ops_ledger_update BEFORE UPDATE ON rsa_ops_ledger
        BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END""",
    """CREATE TRIGGER rsa_ops_ledger_delete BEFORE DELETE ON rsa_ops_ledger
        BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END""",
    # INSERT OR REPLACE deletes without firing a delete trigger; this one fires before it.
    """CREATE TRIGGER rsa_ops_ledger_replace BEFORE INSERT ON rsa_ops_ledger
        WHEN EXISTS (
            SELECT 1 FROM rsa_ops_ledger
            WHERE sequence = NEW.sequence OR previous = NEW.previous OR hash = NEW.hash
        )
        BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END""",
)
_POSTGRES_TRIGGERS = (
    """CREATE OR REPLACE FUNCTION rsa_ops_ledger_refuse() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'the ledger is append-only'; END $$""",
    """CREATE TRIGGER rsa_ops_ledger_update BEFORE UPDATE OR DELETE OR TRUNCATE ON rsa_ops_ledger
        FOR EACH STATEMENT EXECUTE FUNCTION rsa_ops_ledger_refuse()""",
)


def ledger_url(address: str) -> URL:
    """The database that an address names: `sqlite:///FILE`, a plain path, or `postgresql://...`.

    Raises:
        UsageError: another kind of database. MissingError: no driver for PostgreSQL is installed.
    """
    if "://" not in address:
        return URL.create("sqlite", database=str(Path(address).resolve()))
    try:
        url = make_url(address)
    except ArgumentError as error:
        raise UsageError(
            "the ledger's address is no URL", hint="sqlite:///FILE or postgresql://HOST/NAME"
        ) from error
    backend = "postgresql" if url.drivername == "postgres" else url.get_backend_name()
    if backend == "sqlite" and url.database not in (None, "", ":memory:"):
        return url.set(database=str(Path(str(url.database)).resolve()))
    if backend == "postgresql":
        return url if "+" in url.drivername else url.set(drivername=f"postgresql+{_driver()}")
    raise UsageError(
        f"a ledger cannot be kept at {url.render_as_string(hide_password=True)}",
        hint="SQLite in a file, or PostgreSQL, is what is tested.",
    )


def database_file(url: URL) -> Path | None:
    """The file of an SQLite database, or None."""
    return Path(str(url.database)) if url.get_backend_name() == "sqlite" else None


def shown(url: URL) -> str:
    """The address for people, which `ledger_url` understands too: a file's path, or a URL without its password."""
    return str(database_file(url) or url.render_as_string(hide_password=True))


def open_engine(url: URL, *, write: bool) -> Engine:
    """An engine on the ledger's database. Only a writing one creates a file, or changes anything.

    Raises:
        MissingError: an SQLite file that is not there, or that a read-only disk keeps from being read.
    """
    file = database_file(url)
    if file is None:
        return create_engine(url, pool_size=2, pool_pre_ping=True)
    if not write and not file.is_file():
        raise MissingError(f"there is no ledger at {file}", hint="Give --ledger, or run a pipeline first.")
    engine = create_engine("sqlite://", creator=lambda: _connect_sqlite(file, write=write), poolclass=QueuePool)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A connection on one consistent state of the ledger."""
    level = {"isolation_level": "REPEATABLE READ"} if engine.dialect.name == "postgresql" else {}
    with database_errors(), engine.connect().execution_options(**level) as connection:
        yield connection


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """The only writing transaction there is, until the block ends; committed when it ends well."""
    with engine.connect().execution_options(rsa_ops_writing=True) as connection, connection.begin():
        if engine.dialect.name == "postgresql":
            waiting = func.set_config("lock_timeout", f"{WAIT_SECONDS}s", True)  # noqa: FBT003  for this transaction
            connection.execute(select(waiting, func.pg_advisory_xact_lock(_ADVISORY_LOCK)))
        yield connection


def has_table(connection: Connection) -> bool:
    """Whether the ledger's table is there."""
    return inspect(connection).has_table(ENTRIES.name)


def create_table(connection: Connection) -> None:
    """The table with its triggers; to be called in a writing transaction, where there is none yet."""
    ENTRIES.metadata.create_all(connection)
    triggers = _POSTGRES_TRIGGERS if connection.dialect.name == "postgresql" else _SQLITE_TRIGGERS
    for statement in triggers:
        connection.exec_driver_sql(statement)


@contextmanager
def database_errors() -> Iterator[None]:
    """Turn what a database raises into an error with a next step; nothing that it says holds a password."""
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error) as error:
        raise explained(error) from None


def explained(error: Exception) -> RsaOpsError:
    """The error of ours that stands for one of a database."""
    words = _words(error)
    first = words.strip().splitlines()[0][:300] if words.strip() else type(error).__name__
    coded = f"{sqlstate(error)} {words}"
    for signs, kind, message, hint in _MEANINGS:
        if any(sign in coded for sign in signs):
            return kind(f"{message}: {first}", hint=hint)
    return MissingError(f"the ledger's database does not answer as it should: {first}", hint="Is it up, and yours?")


_MEANINGS: tuple[tuple[tuple[str, ...], type[RsaOpsError], str, str], ...] = (
    (
        ("database is locked", "lock timeout", "LockNotAvailable", "55P03"),
        ConflictError,
        f"another program has held the ledger for {WAIT_SECONDS} seconds",
        "Run again when it is done; nothing was written.",
    ),
    (
        ("readonly database", "permission denied", "42501", "unable to open database file", "25006"),
        UsageError,
        "the ledger may not be written here",
        "Give it a place that may be written; nothing was written.",
    ),
    (
        ("no such table", "42P01"),
        MissingError,
        "there is no ledger in this database",
        "`rsa-ops audit init` begins one.",
    ),
    (("disk is full", "53100"), MissingError, "no space left for the ledger", "Free some space and run again."),
    (
        ("malformed", "not a database", "disk I/O error", "XX001", "XX002"),
        IntegrityError,
        "the ledger's file is damaged, or no database",
        "Restore it from a copy; a checkpoint tells whether the copy is whole.",
    ),
    (
        ("append-only",),
        IntegrityError,
        "the ledger refused a change",
        "Entries are added, never changed.",
    ),
)


def _connect_sqlite(file: Path, *, write: bool) -> sqlite3.Connection:
    if write:
        with disk_errors(file):
            file.parent.mkdir(parents=True, exist_ok=True)
        connection = _opened(f"{file.as_uri()}?mode=rwc")
        if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        return connection
    try:
        connection = _opened(f"{file.as_uri()}?mode=ro")
        connection.execute("SELECT 1 FROM sqlite_master").fetchone()
    except sqlite3.OperationalError:
        log = file.with_name(f"{file.name}-wal")
        if log.is_file() and log.stat().st_size:
            raise MissingError(
                f"{file} cannot be read where it is: its newest entries are in {log.name}, on a read-only disk",
                hint="Copy both files to a place that may be written, and read them there.",
            ) from None
        connection = _opened(f"{file.as_uri()}?mode=ro&immutable=1")
    return connection


def _opened(address: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        address, uri=True, timeout=WAIT_SECONDS, isolation_level=None, check_same_thread=False
    )
    # Damaged text must reach verification as a finding, not end it.
    connection.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
    return connection


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("rsa_ops_writing", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _driver() -> str:
    for module, name in _DRIVERS.items():
        if importlib.util.find_spec(module) is not None:
            return name
    raise MissingError(
        "no driver for PostgreSQL is installed", hint="`pip install 'rsa-ops[postgres]'`, or psycopg of your own."
    )


def sqlstate(error: Any) -> str:
    """The SQLSTATE of a PostgreSQL error, whichever driver raised it; empty where there is none."""
    origin = getattr(error, "orig", error)
    found = getattr(origin, "sqlstate", None) or getattr(origin, "pgcode", None)
    if found is None and origin is not None and origin.args and isinstance(origin.args[0], dict):
        found = origin.args[0].get("C")  # pg8000
    return str(found or "")


def _words(error: Any) -> str:
    origin = getattr(error, "orig", None) or error
    if origin.args and isinstance(origin.args[0], dict):  # pg8000
        return str(origin.args[0].get("M", ""))
    return str(origin)
