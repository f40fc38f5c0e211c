"""Where the dashboard reads from, and what it refuses to show."""

from __future__ import annotations

from pathlib import Path

import pytest

from rsa_ops.errors import IntegrityError, MissingError
from rsa_ops.stages.portfolio import find_ledger, find_store, read_portfolio
from rsa_ops.tracking.runs import start_run
from rsa_ops.tracking.store import Store


def test_the_store_is_the_one_named_then_the_environments_then_the_folders(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    assert find_store(None) == store.uri  # here
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://server")
    assert find_store(None) == "http://server"
    assert find_store(str(tmp_path)) == store.uri
    assert find_store(str(tmp_path / "mlflow.db")) == store.uri


@pytest.mark.parametrize("named", ["nowhere", "sqlite:///nowhere.db"])
def test_a_store_that_is_not_there_is_missing_and_is_not_made(
    named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MissingError, match="no MLflow store"):
        find_store(named)
    assert list(tmp_path.iterdir()) == []


def test_the_ledger_is_the_one_named_or_beside_a_local_store(store: Store, tmp_path: Path) -> None:
    assert find_ledger(None, store.uri) is None
    (tmp_path / "ledger.db").touch()
    assert find_ledger(None, store.uri) == str(tmp_path / "ledger.db")
    assert find_ledger("postgresql://db/ledger", store.uri) == "postgresql://db/ledger"
    assert find_ledger(None, "http://server") is None


def test_a_headline_that_somebody_wrote_by_hand_is_refused(store: Store) -> None:
    start_run(store, "walk", {"pipeline": "triage", "headline": '{"outcome": "promote"}'})
    with pytest.raises(IntegrityError, match="headline of run"):
        read_portfolio(store.uri)
