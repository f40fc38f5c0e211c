"""One MLflow store and experiment: open it, start runs in it, and turn its failures into errors of ours."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rsa_ops.errors import ConflictError, MissingError, RsaOpsError
from rsa_ops.files import disk_errors

_QUIET_DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # A server that is gone should be known in seconds, not after seven growing waits.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "GIT_PYTHON_REFRESH": "quiet",
}


@dataclass(frozen=True)
class Store:
    """An opened store. `client` is an MlflowClient bound to `uri`."""

    uri: str
    client: Any
    experiment_id: str


def open_store(uri: str, experiment: str, artifacts: Path) -> Store:
    """Open (and create, where needed) `experiment` in the store at `uri`.

    `artifacts` is where a local store keeps files; a server keeps them where it was told to.

    Raises:
        MissingError: the server does not answer.
        ConflictError: another program keeps the database locked.
    """
    quiet()
    with store_errors(uri), disk_errors(artifacts):
        from mlflow import MlflowClient

        local = local_database(uri)
        if local is not None and not local.exists():
            _create_database(local)

        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        found = client.get_experiment_by_name(experiment)
        if local is not None:
            _write_ahead(local)
        if found is not None:
            return Store(uri, client, found.experiment_id)
        location = artifacts.resolve().as_uri() if local is not None else None
        return Store(uri, client, client.create_experiment(experiment, artifact_location=location))


def read_store(uri: str, experiment: str | None = None) -> Store:
    """Open a store that is there already, to read from: nothing is created in it.

    `experiment_id` is that of `experiment`, and empty where none is named.

    Raises:
        MissingError: there is no such database or experiment, or the server does not answer.
    """
    quiet()
    local = local_database(uri)
    if local is not None and not local.is_file():
        raise MissingError(f"there is no MLflow store at {local}", hint="Give --store.")
    with store_errors(uri):
        from mlflow import MlflowClient

        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        if experiment is None:
            return Store(uri, client, "")
        found = client.get_experiment_by_name(experiment)
    if found is None:
        raise MissingError(f"the MLflow store {uri} has no experiment {experiment!r}", hint="Give another --store.")
    return Store(uri, client, found.experiment_id)


def quiet() -> None:
    """MLflow without telemetry, progress bars and log lines that explain nothing; the user's own settings stay."""
    for name, value in _QUIET_DEFAULTS.items():
        os.environ.setdefault(name, value)
    import logging

    logging.getLogger("alembic").setLevel(logging.WARNING)
    # It logs a traceback of every database error before it raises the error, which `store_errors` explains.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)


def local_database(uri: str) -> Path | None:
    """The file of a `sqlite:///` store, or None."""
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None


@contextmanager
def store_errors(uri: str) -> Iterator[None]:
    """Turn what MLflow and its transports raise into an error with a next step."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, sqlite3.Error, ConnectionError) as error:
        raise explained(error, uri) from error


def explained(error: Exception, uri: str) -> RsaOpsError:
    """What an error of MLflow, its database or its transport means, and what to do next."""
    words = str(error)
    first = words.strip().splitlines()[0][:300] if words.strip() else type(error).__name__
    if "database is locked" in words:
        return ConflictError(
            f"the MLflow database {uri} is locked by another program",
            hint="Close what holds it and run again; finished work is kept.",
        )
    if "No space left" in words or "disk is full" in words:
        return MissingError(f"no space left for the MLflow store {uri}", hint="Free some space and run again.")
    if not uri.startswith("sqlite:"):
        return MissingError(
            f"the MLflow server at {uri} does not answer as it should: {first}",
            hint="Finished cells are kept on this machine; run again when the server is back.",
        )
    return MissingError(f"the MLflow store {uri} refused: {first}", hint="Is it a database of this MLflow version?")


def _create_database(path: Path) -> None:
    """MLflow's tables, all or none: a database whose creation was interrupted half-way is of no use to anybody."""
    from mlflow import MlflowClient

    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        MlflowClient(tracking_uri=f"sqlite:///{fresh}").search_experiments(max_results=1)
        fresh.replace(path)
    finally:
        for leftover in path.parent.glob(f"{fresh.name}*"):
            leftover.unlink()


def _write_ahead(database: Path) -> None:
    """Readers (the MLflow UI) and the writer no longer wait for each other; the setting stays in the file."""
    connection = sqlite3.connect(database, timeout=20)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
    finally:
        connection.close()


def run_tags(tags: Mapping[str, str], parent: str | None = None) -> dict[str, str]:
    """Tags of a new run: ours under `rsa.`, and MLflow's own for parent, git commit and version."""
    found = {f"rsa.{name}": value for name, value in tags.items()}
    if parent is not None:
        found["mlflow.parentRunId"] = parent
    return found
