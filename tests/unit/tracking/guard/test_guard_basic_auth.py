"""The guard with MLflow's own users: who may not is refused by MLflow, who may is refused by the guard."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ....guarded import GuardedServer
from .conftest import MODEL, begin_ledger, name_champion, quiet_client

pytest.importorskip("flask_wtf", reason="the extra auth is not installed")
ADMIN, PASSWORD = "root", "a-long-enough-password"


@pytest.fixture
def server(tmp_path: Path, migrated_database: Path) -> Iterator[GuardedServer]:
    shutil.copy(migrated_database, tmp_path / "mlflow.db")
    ledger = begin_ledger(tmp_path)
    settings = tmp_path / "auth.ini"
    settings.write_text(
        f"[mlflow]\ndefault_permission = READ\ndatabase_uri = sqlite:///{tmp_path / 'auth.db'}\n"
        f"admin_username = {ADMIN}\nadmin_password = {PASSWORD}\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
    )
    made = GuardedServer(
        tmp_path,
        f"sqlite:///{tmp_path / 'mlflow.db'}",
        str(ledger),
        app="rsa-guard-basic-auth",
        environment={"MLFLOW_AUTH_CONFIG_PATH": str(settings), "MLFLOW_FLASK_SERVER_SECRET_KEY": "a test's"},
    )
    try:
        made.wait()
        yield made
    finally:
        made.stop()


def test_log_in_and_guard_both_hold(server: GuardedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.exceptions import MlflowException, RestException

    client: Any = quiet_client(server.uri)
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(MlflowException, match="authenticated"):
        client.create_registered_model(MODEL)
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", ADMIN)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
    run = client.create_run(client.create_experiment("triage")).info.run_id
    client.create_registered_model(MODEL)
    model = client.create_logged_model("1", source_run_id=run)
    client.create_model_version(MODEL, f"models:/{model.model_id}", run_id=run, model_id=model.model_id)
    name_champion(tmp_path / "ledger.db", tmp_path, run)
    with pytest.raises(RestException, match=r"PERMISSION_DENIED.*rsa-ops guard"):
        client.delete_model_version(MODEL, "1")
    from mlflow.server import get_app_client

    users = get_app_client(
        "basic-auth", tracking_uri=server.uri
    )  # what the log-in itself changes is not the guard's
    users.create_user("ann", "another-long-password")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ann")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "another-long-password")
    with pytest.raises(MlflowException, match="Permission denied") as refused:
        client.set_registered_model_tag(MODEL, "team", "b")  # the guard lets it through, her grant does not
    assert "rsa-ops guard" not in str(refused.value)
