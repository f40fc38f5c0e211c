"""The tables of an SQL store, to read from without MLflow: its import takes seconds, and so do its own searches.

The columns that are read here and by the callers are those of MLflow 3.17.2; laws hold the lists that are made of
them together with what MLflow's own client answers.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from rsa_ops.errors import MissingError
from rsa_ops.tracking.store import explained, local_database

Ask: TypeAlias = Callable[[str, Mapping[str, object]], Sequence[tuple[Any, ...]]]
"""`ask(sql, values)`: all rows of a SELECT, in which `:name` stands for the value of that name."""

_LOCK_SECONDS = 20.0


@contextmanager
def open_tables(uri: str) -> Iterator[Ask]:
    """The tables of the SQL store at `uri`; nothing is created or changed in it.

    Raises:
        MissingError: it is not there, does not answer, or is no store of MLflow.
        ConflictError: another program keeps the database locked.
    """
    local = local_database(uri)
    with _server(uri) if local is None else _file(local, uri) as ask:
        yield ask


@contextmanager
def _file(path: Path, uri: str) -> Iterator[Ask]:
    if not path.is_file():
        raise MissingError(f"there is no MLflow store at {path}", hint="Give --store URI.")
    try:
        # "rw" never makes a file. "ro" would leave the two files of the write-ahead log behind; the pragma forbids
        # every change as well.
        address = f"{path.resolve().as_uri()}?mode=rw"
        with closing(sqlite3.connect(address, timeout=_LOCK_SECONDS, uri=True, isolation_level=None)) as connection:
            connection.execute("PRAGMA query_only = ON")
            connection.execute("BEGIN")  # all answers are about one moment
            yield lambda sql, values: connection.execute(sql, values).fetchall()
    except sqlite3.Error as error:
        raise explained(error, uri) from error


@contextmanager
def _server(uri: str) -> Iterator[Ask]:
    from sqlalchemy import create_engine, text
    from sqlalchemy.exc import SQLAlchemyError

    try:
        engine = create_engine(uri)
        try:
            with engine.connect() as connection:
                yield lambda sql, values: [tuple(row) for row in connection.execute(text(sql), values)]
        finally:
            engine.dispose()
    except (SQLAlchemyError, ImportError) as error:
        first = str(error).strip().splitlines()[0][:200]
        raise MissingError(
            f"the MLflow store does not answer as it should: {first}", hint="Is it a store of this MLflow version?"
        ) from error
