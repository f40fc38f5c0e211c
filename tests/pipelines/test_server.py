"""A real MLflow server that dies in the middle of a run: a clear end, and the next run goes on."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from rsa_ops.errors import ExitCode

from ..shell import RSA_OPS, environment, run_cli
from .conftest import edited_copy

CHANGES = {
    "data.checks": {"class_floor": {"min_rows": 1}},
    "data.sample": {"train": 32, "validation": 16, "test": 40},
    "train.arms": {
        "rsa": {"method": "rsa", "learning_rate": 1e-3, "options": {"r": 2}},
        "full": {"method": "full", "learning_rate": 1e-4},
    },
    "train.seeds": [1, 2],
    "model.max_length": 24,
    "benchmark.robustness_examples": 4,
    "benchmark.latency_examples": 1,
    "execution": {"workers": 1},
}
POLICY = {"rules": [{"kind": "noninferiority", "metric": "accuracy", "against": "full", "margin": 0.9}]}


class Server:
    """`mlflow server` on a loopback port, in a process group of its own."""

    def __init__(self, home: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self._home = home
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        store, files = f"sqlite:///{self._home / 'server.db'}", str(self._home / "server-files")
        places = ["--backend-store-uri", store, "--artifacts-destination", files]
        address = ["--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *places, *address],
            env=environment(),
            cwd=self._home,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + 90
        while not self._answers():
            assert self._process.poll() is None, "the MLflow server ended"
            assert time.monotonic() < deadline, "the MLflow server did not start"
            time.sleep(0.2)

    def kill(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path)
    made.start()
    yield made
    made.kill()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_server_that_dies_in_the_middle_ends_the_run_clearly_and_the_next_run_goes_on(
    server: Server, tmp_path: Path
) -> None:
    edited_copy("incident-triage", tmp_path / "pipeline", {**CHANGES, "tracking": {"uri": server.uri}}, POLICY)
    run = subprocess.Popen(
        [*RSA_OPS, "run", "pipeline", "--work", "work"],
        cwd=tmp_path,
        env={**environment(), "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 200
    while not trained(tmp_path):
        assert run.poll() is None, "the run ended before a cell was trained"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    server.kill()
    _, said = run.communicate(timeout=200)
    assert run.returncode == ExitCode.MISSING, said
    assert f"127.0.0.1:{server.port}" in said
    assert "run again" in said
    assert "Traceback" not in said
    before = trained(tmp_path)
    assert 1 <= len(before) < 4
    server.start()
    done = run_cli("run", "pipeline", "--work", "work", cwd=tmp_path)
    assert done.returncode == ExitCode.DONE, done.stderr
    after = trained(tmp_path)
    assert len(after) == 4
    assert {name: after[name] for name in before} == before
    assert "is now the champion" in done.stderr


def trained(home: Path) -> dict[str, int]:
    found = sorted((home / "work" / "cells" / "train").glob("[!.]*/measurements.json"))
    return {file.parent.name: file.stat().st_mtime_ns for file in found}
