"""`rsa-ops dashboard`: what it refuses before it serves, and what it hands to the page."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from rsa_ops.cli import dashboard as command
from rsa_ops.errors import MissingError, UsageError
from rsa_ops.stages.decision import locale_language


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    calls: list[Any] = []
    monkeypatch.setattr(command, "serve", lambda *words: calls.append(words))
    return calls


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "mlflow.db").touch()
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_it_serves_the_store_at_hand_to_this_machine_only(folder: Path, served: list[Any]) -> None:
    command.dashboard(None, None, "ja", 8600, "127.0.0.1")
    ((script, arguments, settings),) = served
    assert script.name == "app.py"
    assert arguments == [f"sqlite:///{folder / 'mlflow.db'}", "", "ja"]
    assert (settings["server.address"], settings["server.port"]) == ("127.0.0.1", 8600)
    assert settings["browser.gatherUsageStats"] is False


@pytest.mark.parametrize(
    ("locale", "language"), [("ja_JP.UTF-8", "ja"), ("en_US.UTF-8", "en"), ("C", "en"), ("", "en")]
)
def test_the_language_is_the_locales(locale: str, language: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LC_ALL", "LC_MESSAGES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANG", locale)
    assert locale_language() == language


def test_an_unknown_language_is_refused(folder: Path, served: list[Any]) -> None:
    with pytest.raises(UsageError, match="no language 'de'"):
        command.dashboard(None, None, "de", 8600, "127.0.0.1")
    assert served == []


def test_without_a_store_or_streamlit_it_says_what_to_do(
    folder: Path, served: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MissingError, match="no MLflow store"):
        command.dashboard("elsewhere", None, "en", 8600, "127.0.0.1")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingError, match="streamlit is not installed") as found:
        command.dashboard(None, None, "en", 8600, "127.0.0.1")
    assert "rsa-ops[dashboard]" in found.value.hint
    assert served == []
