"""`rsa-ops WORDS` as a user gives it: in a process of its own, or in this one, which has imported all already."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

from rsa_ops.cli import main as edge

ROOT = Path(__file__).parents[1]
RSA_OPS = [sys.executable, "-m", "rsa_ops.cli"]


def run_cli(*words: object, cwd: Path, timeout: float = 280) -> subprocess.CompletedProcess[str]:
    """In a process of its own: for what starts runs, is interrupted, or must not leave traces in this one."""
    return subprocess.run(
        [*RSA_OPS, *map(str, words)],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def run_here(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The same in this process, seconds faster. What a child process prints is not seen."""
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.object(sys, "argv", ["rsa-ops", *map(str, words)]),
        mock.patch.dict(os.environ, environment(), clear=True),
        contextlib.chdir(cwd),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        code = edge._run()
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())


def environment() -> dict[str, str]:
    """That of this process without settings of MLflow's and ours: offline, in a narrow terminal."""
    found = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "RSA_OPS_"))}
    return {**found, "HF_HUB_OFFLINE": "1", "COLUMNS": "80", "PYTHONPATH": str(ROOT)}
