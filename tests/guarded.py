"""A real `mlflow server` with the guard in front, in a process group of its own, on a loopback port."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import tomllib
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).parents[1]
GROUPS = ("mlflow.app", "mlflow.run_context_provider")


def plugins(folder: Path) -> Path:
    """A folder for PYTHONPATH with the entry points of pyproject.toml, however rsa_ops is installed here."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["entry-points"]
    made = folder / "rsa_ops_plugins-0.dist-info"
    made.mkdir(parents=True, exist_ok=True)
    (made / "METADATA").write_text("Metadata-Version: 2.1\nName: rsa-ops-plugins\nVersion: 0\n")
    lines = []
    for group in GROUPS:
        lines += [f"[{group}]", *(f"{name} = {place}" for name, place in declared[group].items())]
    (made / "entry_points.txt").write_text("\n".join(lines))
    return folder


class GuardedServer:
    """`store` is the backend's URL; artifacts are proxied into `home`. Without an `app` it is a plain server."""

    def __init__(
        self,
        home: Path,
        store: str,
        ledger: str,
        *,
        app: str = "rsa-guard",
        options: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self.home, self.log = home, home / "server.log"
        paths = os.pathsep.join([str(plugins(home / "plugins")), str(ROOT), os.environ.get("PYTHONPATH", "")])
        quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        variables = {**os.environ, **quiet, "PYTHONPATH": paths, "RSA_OPS_LEDGER": ledger, **(environment or {})}
        places = ["--backend-store-uri", store, "--artifacts-destination", str(home / "files")]
        address = ["--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
        address += ["--app-name", app] if app else []
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mlflow", "server", *places, *address, *options],
                env=variables,
                cwd=home,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait(self, path: str = "/health") -> None:
        """Until it answers; the end of its log where it does not."""
        deadline = time.monotonic() + 90
        while not self._answers(path):
            ended = self._process.poll() is not None
            if ended or time.monotonic() > deadline:
                what = "ended" if ended else "is slow"
                raise AssertionError(f"the server {what}: {self.log.read_text()[-3000:]}")
            time.sleep(0.2)

    def stop(self) -> None:
        """End it and all its workers."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(timeout=20)

    def _answers(self, path: str) -> bool:
        try:
            with urllib.request.urlopen(f"{self.uri}{path}", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False
