"""The command line in this process."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from rsa_ops.cli import main as edge


class Shell:
    """`rsa-ops WORDS` in this process, in a folder of its own: the exit code and what was printed."""

    def __init__(self, folder: Path, capture: pytest.CaptureFixture[str], patch: pytest.MonkeyPatch) -> None:
        self.folder, self._capture, self._patch = folder, capture, patch

    def __call__(self, *words: object) -> tuple[int, str, str]:
        self._patch.setattr(sys, "argv", ["rsa-ops", *map(str, words)])
        self._capture.readouterr()
        code = edge._run()
        out, err = self._capture.readouterr()
        assert "Traceback" not in err, err
        return code, out, err


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.chdir(tmp_path)
    for name in ("RSA_OPS_LEDGER", "RSA_OPS_KEY", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    return Shell(tmp_path, capsys, monkeypatch)
