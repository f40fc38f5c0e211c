"""The whole way with a real server: guarded MLflow and ledger on PostgreSQL, promotions, refusals, a rollback."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from rsa_ops.errors import ExitCode

from ..guarded import GuardedServer
from ..postgres import Postgres
from ..shell import run_cli
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


class Team:
    """One ledger, one key, one server, and the commands that a team gives."""

    def __init__(self, home: Path, ledger: str) -> None:
        self.home, self.ledger = home, ledger

    def does(self, *words: object, code: ExitCode = ExitCode.DONE) -> subprocess.CompletedProcess[str]:
        done = run_cli(*words, "--ledger", self.ledger, cwd=self.home, timeout=800)
        assert done.returncode == code, f"{words}: {done.stdout}{done.stderr}"
        return done

    def trains(self, server: GuardedServer, arm: dict[str, object]) -> None:
        file = self.home / "pipeline" / "pipeline.yaml"
        settings = yaml.safe_load(file.read_text("utf-8"))
        settings["train"]["arms"]["rsa"] = arm
        settings["tracking"] = {"uri": server.uri}
        file.write_text(yaml.safe_dump(settings), "utf-8")
        done = self.does("run", "pipeline", "--work", "work", "--key", "key.pem")
        assert "is now the champion" in done.stderr, done.stderr


@pytest.fixture
def team(tmp_path: Path, postgres: Postgres) -> Team:
    made = Team(tmp_path, postgres.new_database())
    assert run_cli("keys", "new", "-o", "key.pem", cwd=tmp_path).returncode == ExitCode.DONE
    made.does("audit", "init", "--key", "key.pem", "--name", "ci")
    return made


@pytest.fixture
def server(team: Team, tmp_path: Path, postgres: Postgres) -> Iterator[GuardedServer]:
    made = GuardedServer(tmp_path, postgres.new_database(), team.ledger)
    try:
        made.wait()
        yield made
    finally:
        made.stop()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_nothing_moves_a_champion_but_a_plan_on_a_real_server(
    team: Team, server: GuardedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edited_copy("incident-triage", tmp_path / "pipeline", CHANGES, POLICY)
    team.trains(server, {"method": "rsa", "learning_rate": 1e-3, "options": {"r": 2}})
    team.trains(server, {"method": "rsa", "learning_rate": 2e-3, "options": {"r": 2}})
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    client = stock_client(server)
    [model] = [found.name for found in client.search_registered_models()]
    before = client.get_model_version_by_alias(model, "champion").version
    stock_client_is_refused(client, model)

    command = ("rollback", model, "--store", server.uri)
    drill = json.loads(team.does(*command, "--drill", "--json").stdout)
    assert drill["drill"]
    assert client.get_model_version_by_alias(model, "champion").version == before
    team.does(*command, "--key", "key.pem", "--reason", "users complain")
    assert client.get_model_version_by_alias(model, "champion").version != before
    stock_client_is_refused(client, model)
    team.does("audit", "verify", "--store", server.uri)

    listed = json.loads(team.does("models", "--store", server.uri, "--json").stdout)
    states = sorted(variant["state"] for variant in listed["variants"])
    assert listed["total"] == len(states) == 6  # two arms and two seeds, and the first arm once more
    assert [states.count(state) for state in ("champion", "rolled back")] == [1, 1]


def stock_client(server: GuardedServer) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=server.uri, registry_uri=server.uri)


def stock_client_is_refused(client: Any, model: str) -> None:
    from mlflow.exceptions import RestException

    versions = sorted(found.version for found in client.search_model_versions(f"name = '{model}'"))
    assert len(versions) == 2
    for version in versions:
        for attempt in (
            lambda: client.set_registered_model_alias(model, "champion", version),  # noqa: B023  called here
            lambda: client.delete_model_version(model, version),  # noqa: B023
            lambda: client.set_model_version_tag(model, version, "rsa.digest.sha256", "x"),  # noqa: B023
            lambda: client.delete_registered_model_alias(model, "champion"),
            lambda: client.delete_registered_model(model),
        ):
            with pytest.raises(RestException, match="PERMISSION_DENIED"):
                attempt()
