"""What a run tells its user about where things are."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from rsa_ops.stages.run import mlflow_program

PROGRAMS = Path(sys.executable).parent


def test_mlflow_goes_by_its_name_where_the_shell_finds_the_one_of_this_python(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", f"{PROGRAMS}{os.pathsep}/usr/bin")
    assert mlflow_program() == "mlflow"


def test_mlflow_is_named_by_its_path_where_the_shell_finds_none_or_another(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = tmp_path / "mlflow"
    other.write_text("#!/bin/sh\n")
    other.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    for path in ("/nowhere", str(tmp_path)):
        monkeypatch.setenv("PATH", path)
        assert mlflow_program() == str(PROGRAMS / "mlflow")


def test_the_path_is_short_below_the_working_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.chdir(PROGRAMS.parent)
    assert mlflow_program() == f"{PROGRAMS.name}/mlflow"
