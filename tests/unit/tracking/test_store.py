"""What a store that cannot be used gets: an error of ours within seconds, and nothing half-made."""

from __future__ import annotations

import http.server
import json
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from rsa_ops.errors import ConflictError, MissingError
from rsa_ops.tracking.runs import RunFacts, log_facts, start_run
from rsa_ops.tracking.store import Store, open_store


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """One second and one repetition instead of the package's twenty and two."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_JITTER", "0")


@pytest.fixture
def server() -> Iterator[tuple[str, threading.Event]]:
    """Address of a server that knows one experiment, and the event after which it answers no more."""
    silent = threading.Event()
    done = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if silent.is_set():
                done.wait(30)
                return
            body = json.dumps({"experiment": {"experiment_id": "7", "name": "triage", "lifecycle_stage": "active"}})
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            """Be quiet."""

    found = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.daemon_threads = True
    threading.Thread(target=found.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{found.server_port}", silent
    done.set()
    found.shutdown()
    found.server_close()


def test_a_new_store_is_made_with_its_experiment_and_opened_again(store: Store, tmp_path: Path) -> None:
    again = open_store(store.uri, "triage", tmp_path / "artifacts")
    assert again.experiment_id == store.experiment_id
    experiment = store.client.get_experiment(store.experiment_id)
    assert experiment.artifact_location == (tmp_path / "artifacts").as_uri()


def test_a_database_that_does_not_exist_is_made_whole_and_leaves_no_litter(migrated_database: Path) -> None:
    # The fixture opened it in an empty folder; only the database (and its write-ahead files) may be there.
    names = {path.name for path in migrated_database.parent.iterdir()}
    assert names <= {"mlflow.db", "mlflow.db-wal", "mlflow.db-shm", "artifacts"}


def test_readers_do_not_wait_for_the_writer(store: Store, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "mlflow.db") as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.fixture
def short_waits() -> Iterator[None]:
    """MLflow waits 20 s for a lock, by a PRAGMA that it sends itself; here a tenth of a second."""

    def shorten(_c: object, _k: object, statement: str, parameters: object, _x: object, _m: object) -> object:
        return statement.replace("busy_timeout = 20000", "busy_timeout = 100"), parameters

    event.listen(Engine, "before_cursor_execute", shorten, retval=True)
    yield
    event.remove(Engine, "before_cursor_execute", shorten)


@pytest.mark.parametrize("kind", ["IMMEDIATE", "EXCLUSIVE"])
def test_a_locked_database_is_a_conflict(store: Store, tmp_path: Path, short_waits: None, kind: str) -> None:
    other = sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None)
    other.execute(f"BEGIN {kind}")
    try:
        with pytest.raises(ConflictError, match="is locked by another program") as caught:
            start_run(store, "a", {})
        with pytest.raises(ConflictError, match="is locked by another program"):
            open_store(store.uri, "another", tmp_path / "artifacts")
        assert "run again" in caught.value.hint
    finally:
        other.execute("ROLLBACK")
        other.close()
    assert start_run(store, "a", {})


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("not a database, but long enough to be looked at" * 100)
    with pytest.raises(MissingError, match="the MLflow store sqlite:"):
        open_store(f"sqlite:///{tmp_path / 'mlflow.db'}", "triage", tmp_path / "artifacts")


def test_a_server_that_is_not_there_is_missing_within_seconds(impatient: None, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start = time.monotonic()
    with pytest.raises(MissingError, match=f"127.0.0.1:{port} does not answer") as caught:
        open_store(f"http://127.0.0.1:{port}", "triage", tmp_path)
    assert time.monotonic() - start < 10
    assert "run again" in caught.value.hint


def test_a_server_that_stops_answering_is_missing_within_seconds(
    impatient: None, server: tuple[str, threading.Event], tmp_path: Path
) -> None:
    uri, silent = server
    store = open_store(uri, "triage", tmp_path)
    assert store.experiment_id == "7"
    silent.set()
    start = time.monotonic()
    with pytest.raises(MissingError, match="does not answer"):
        start_run(store, "a", {})
    with pytest.raises(MissingError, match="does not answer"):
        log_facts(store, "0" * 32, RunFacts(metrics={"a": 1.0}))
    assert time.monotonic() - start < 20


def test_the_package_is_impatient_by_itself(monkeypatch: pytest.MonkeyPatch, store: Store, tmp_path: Path) -> None:
    import os

    for name in ("MLFLOW_HTTP_REQUEST_TIMEOUT", "MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_DISABLE_TELEMETRY"):
        monkeypatch.delenv(name, raising=False)
    open_store(store.uri, "triage", tmp_path / "artifacts")
    seconds = float(os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"])
    tries = 1 + int(os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"])
    assert seconds * tries <= 60
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
