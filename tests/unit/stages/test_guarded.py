"""Register, plan, apply, refuse, roll back, verify: a guarded MLflow server and a ledger, both on PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from rsa_ops.errors import ExitCode, MissingError
from rsa_ops.governance.keys import make_key
from rsa_ops.governance.notary import Notary
from rsa_ops.governance.store import Ledger, open_ledger
from rsa_ops.tracking.registry import by_alias, move_alias
from rsa_ops.tracking.store import Store, open_store

from ...guarded import GuardedServer
from ...postgres import Postgres
from ..adapters import train_tiny
from ..cli.conftest import Shell
from .shelf import MODEL, Desk, Shelf, _register
from .test_upkeep import shell  # noqa: F401  a fixture

KEY = "ledger.key"


@pytest.fixture
def address(postgres: Postgres) -> str:
    return postgres.new_database()


@pytest.fixture
def ledger(address: str, tmp_path: Path) -> Iterator[Ledger]:
    opened = open_ledger(address, write=True)
    opened.begin(make_key(tmp_path / KEY), "ci")
    yield opened
    opened.close()


@pytest.fixture
def server(address: str, ledger: Ledger, tmp_path: Path, postgres: Postgres) -> Iterator[GuardedServer]:
    made = GuardedServer(tmp_path, postgres.new_database(), address)
    try:
        made.wait()
        yield made
    finally:
        made.stop()


@pytest.fixture
def store(server: GuardedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    return open_store(server.uri, "triage", tmp_path / "unused")


@pytest.mark.timeout(600)
def test_nothing_moves_a_champion_but_a_plan(
    store: Store,
    address: str,
    ledger: Ledger,
    encoder: Path,
    tmp_path: Path,
    shell: Shell,  # noqa: F811
) -> None:
    from rsa_ops.governance.keys import load_key

    papers = {
        number: _register(
            store, tmp_path, train_tiny(encoder, tmp_path / f"a-{number}", seed=int(number)), encoder, number
        )
        for number in ("1", "2")
    }
    desk = Desk(tmp_path, Shelf(tmp_path, encoder, papers), store, Notary(ledger, load_key(tmp_path / KEY)))
    with pytest.raises(MissingError, match="rsa-ops guard"):
        move_alias(store, MODEL, "champion", "1")  # protected before any entry names it
    desk.write_papers("1", "2")

    where = ("--ledger", address, "--key", KEY, "--store", store.uri)
    for version in ("1", "2"):
        desk.judge(desk.digest(version))
        code, _, err = shell(
            "promote", "plan", MODEL, version, *where, "--reason", "better", "-o", f"{version}.json"
        )
        assert code == ExitCode.DONE, err
        refused(store, "1", "2")  # a plan is not yet an intent
        code, _, err = shell("promote", "apply", f"{version}.json", *where)
        assert code == ExitCode.DONE, err
        assert champion(store) == version
        refused(store, "1", "2")

    code, _, err = shell("rollback", MODEL, *where, "--drill")
    assert code == ExitCode.DONE, err
    assert champion(store) == "2"
    code, _, err = shell("rollback", MODEL, *where, "--reason", "it answers badly")
    assert code == ExitCode.DONE, err
    assert champion(store) == "1"
    refused(store, "1", "2")
    code, out, _ = shell("audit", "verify", "--ledger", address, "--store", store.uri)
    assert code == ExitCode.DONE, out
    code, out, err = shell("models", "--ledger", address, "--store", store.uri, "--json")
    assert code == ExitCode.DONE, err
    assert json.loads(out)["total"] == 0  # these adapters were not trained by a run


def champion(store: Store) -> str | None:
    found = by_alias(store, MODEL, "champion")
    return None if found is None else found.version


def refused(store: Store, *versions: str) -> None:
    """The stock client, whatever it tries."""
    from mlflow.exceptions import RestException

    client = store.client
    for version in versions:
        attempts = [
            (client.set_registered_model_alias, (MODEL, "champion", version)),
            (client.delete_model_version, (MODEL, version)),
            (client.set_model_version_tag, (MODEL, version, "rsa.digest.sha256", "x")),
            (client.delete_registered_model_alias, (MODEL, "champion")),
            (client.delete_registered_model, (MODEL,)),
            (client.delete_run, (client.get_model_version(MODEL, version).run_id,)),
        ]
        for attempt, words in attempts:
            with pytest.raises(RestException, match="PERMISSION_DENIED"):
                attempt(*words)
