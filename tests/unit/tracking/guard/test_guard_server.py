"""The stock client and the UI's routes against a real guarded server: refused without intent, allowed with one."""

from __future__ import annotations

import inspect
import json
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import MODEL, OTHER, PAPER, World, open_world

Act = Callable[[World, Any], Any]


def adapter(world: World) -> str:
    return str(world.folder / "adapter")


REFUSED: dict[str, Act] = {
    "set_registered_model_alias": lambda w, c: c.set_registered_model_alias(MODEL, "champion", "2"),
    "set_registered_model_alias again": lambda w, c: c.set_registered_model_alias(MODEL, "champion", "1"),
    "set_registered_model_alias elsewhere": lambda w, c: c.set_registered_model_alias(OTHER, "champion", "1"),
    "delete_registered_model_alias": lambda w, c: c.delete_registered_model_alias(MODEL, "champion"),
    "delete_model_version": lambda w, c: c.delete_model_version(MODEL, "1"),
    "delete_model_version spelled": lambda w, c: c.delete_model_version(MODEL, "01"),
    "update_model_version": lambda w, c: c.update_model_version(MODEL, "1", "words"),
    "transition_model_version_stage": lambda w, c: c.transition_model_version_stage(MODEL, "1", "Archived"),
    "transition_model_version_stage others": lambda w, c: c.transition_model_version_stage(
        MODEL, "2", "Production", archive_existing_versions=True
    ),
    "rename_registered_model": lambda w, c: c.rename_registered_model(MODEL, "away"),
    "rename_registered_model onto": lambda w, c: c.rename_registered_model(OTHER, MODEL),
    "update_registered_model": lambda w, c: c.update_registered_model(MODEL, "words"),
    "delete_registered_model": lambda w, c: c.delete_registered_model(MODEL),
    "set_registered_model_tag": lambda w, c: c.set_registered_model_tag(MODEL, "rsa.base", "x"),
    "delete_registered_model_tag": lambda w, c: c.delete_registered_model_tag(MODEL, "rsa.base"),
    "set_model_version_tag": lambda w, c: c.set_model_version_tag(MODEL, "1", "rsa.digest.sha256", "x"),
    "delete_model_version_tag": lambda w, c: c.delete_model_version_tag(MODEL, "1", "rsa.digest.sha256"),
    "finalize_logged_model": lambda w, c: c.finalize_logged_model(w.models["one"].model_id, "FAILED"),
    "delete_logged_model": lambda w, c: c.delete_logged_model(w.models["one"].model_id),
    "set_logged_model_tags": lambda w, c: c.set_logged_model_tags(w.models["one"].model_id, {"rsa.a": "b"}),
    "delete_logged_model_tag": lambda w, c: c.delete_logged_model_tag(w.models["one"].model_id, "rsa.a"),
    "log_model_params": lambda w, c: c._tracking_client.log_model_params(w.models["one"].model_id, {"a": "b"}),
    "log_model_artifact": lambda w, c: c.log_model_artifact(w.models["one"].model_id, f"{adapter(w)}/MLmodel"),
    "log_model_artifacts": lambda w, c: c.log_model_artifacts(w.models["one"].model_id, adapter(w)),
    "log_artifact over a paper": lambda w, c: c.log_text(w.run, "another card", PAPER),
    "delete_run": lambda w, c: c.delete_run(w.run),
    "delete_workspace": lambda w, c: c.delete_workspace("team"),
    "delete_experiment": lambda w, c: c.delete_experiment(w.models["one"].experiment_id),
}
FREE: dict[str, Act] = {
    "other alias": lambda w, c: c.set_registered_model_alias(MODEL, "challenger", "2"),
    "other alias deleted": lambda w, c: c.delete_registered_model_alias(MODEL, "challenger"),
    "tags of others": lambda w, c: c.set_model_version_tag(MODEL, "2", "rsa.digest.sha256", "two"),
    "other tags": lambda w, c: c.set_model_version_tag(MODEL, "1", "note", "seen"),
    "other tags of a model": lambda w, c: c.set_registered_model_tag(MODEL, "team", "a"),
    "another version's text": lambda w, c: c.update_model_version(MODEL, "2", "words"),
    "another model's text": lambda w, c: c.update_registered_model(OTHER, "words"),
    "files of another": lambda w, c: c.log_model_artifacts(w.models["other"].model_id, adapter(w)),
    "files beside papers": lambda w, c: c.log_text(w.run, "more", "papers/more.md"),
    "a new version": lambda w, c: c.create_model_version(
        MODEL, f"models:/{w.models['two'].model_id}", model_id=w.models["two"].model_id
    ),
    "a new model": lambda w, c: c.create_registered_model("new"),
    "a new model renamed": lambda w, c: c.rename_registered_model("new", "newer"),
    "a new model deleted": lambda w, c: c.delete_registered_model("newer"),
    "a run deleted": lambda w, c: c.delete_run(c.create_run("0").info.run_id),
    "metrics of the run": lambda w, c: c.log_metric(w.run, "f1", 0.5),
}
# Mutating calls of MlflowClient that only add something, or are about other things than models and their files.
BESIDE = [
    "create_",
    "log_",
    "set_terminated",
    "set_tag",
    "set_experiment_tag",
    "delete_experiment_tag",
    "delete_tag",
    "restore_",
    "rename_experiment",
    "update_run",
    "link_",
    "update_webhook",
    "delete_webhook",
    "test_webhook",
    "start_",
    "end_",
    "set_trace_tag",
    "delete_trace",
    "delete_prompt",
    "set_prompt",
    "delete_dataset",
    "update_",
    "delete_label",
    "delete_mcp_",
    "set_mcp_",
    "record_logged_model",
    "register_prompt",
    "add_",
    "remove_",
    "upsert_",
    "set_dataset",
    "delete_issue",
    "copy_model_version",
]
VERBS = (
    *("create", "delete", "log", "set", "update", "rename", "restore", "transition", "finalize", "copy", "link"),
    *("register", "start", "end", "record", "add", "remove", "upsert"),
)


@pytest.mark.parametrize("name", REFUSED)
def test_without_an_intent_every_change_of_what_the_ledger_names_is_refused(world: World, name: str) -> None:
    from mlflow.exceptions import RestException
    from requests import HTTPError

    # MLflow's client raises the answer of a file server as it comes.
    kind = HTTPError if "artifact" in name else RestException
    with pytest.raises(kind, match=r"PERMISSION_DENIED.*rsa-ops guard"):
        REFUSED[name](world, world.client)
    assert world.client.get_model_version_by_alias(MODEL, "champion").version == "1"


def test_every_mutating_call_of_the_client_is_in_the_law_or_stands_beside_it() -> None:
    from mlflow import MlflowClient

    calls = inspect.getmembers(MlflowClient, inspect.isfunction)
    names = [name for name, _ in calls if name.startswith(VERBS)]
    refused = {name.split(" ")[0] for name in REFUSED}
    assert [name for name in names if name not in refused and not name.startswith(tuple(BESIDE))] == []
    registry = [name for name in names if "model" in name and not name.startswith(("create_", "copy_", "log_"))]
    assert set(registry) - refused <= {"link_prompt_version_to_model", "record_logged_model"}


@pytest.mark.parametrize("name", FREE)
def test_what_the_ledger_does_not_name_is_free(world: World, name: str) -> None:
    FREE[name](world, world.client)


def test_an_open_intent_allows_its_own_version_and_nothing_else(world: World) -> None:
    from mlflow.exceptions import RestException

    client = world.client
    with world.intent("2"):
        for model, alias, version in ((MODEL, "champion", "1"), (OTHER, "champion", "1")):
            with pytest.raises(RestException, match="PERMISSION_DENIED"):
                client.set_registered_model_alias(model, alias, version)
        with pytest.raises(RestException, match="PERMISSION_DENIED"):
            client.delete_model_version(MODEL, "1")
        client.set_registered_model_alias(MODEL, "champion", "2")
        assert client.get_model_version_by_alias(MODEL, "champion").version == "2"
    with pytest.raises(RestException, match="PERMISSION_DENIED"):
        client.set_registered_model_alias(MODEL, "champion", "1")
    with world.intent("1"):
        client.set_registered_model_alias(MODEL, "champion", "1")


def send(world: World, method: str, path: str, body: Any = None, *, raw: bytes | None = None) -> tuple[int, str]:
    data = raw if raw is not None else json.dumps(body).encode()
    request = urllib.request.Request(f"{world.server.uri}{path}", data=data, method=method)
    request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.mark.parametrize("prefix", ["/api/2.0", "/ajax-api/2.0"])
def test_both_prefixes_and_every_spelling_are_refused(world: World, prefix: str) -> None:
    one = world.models["one"]
    files = f"{prefix}/mlflow-artifacts/artifacts/{one.experiment_id}/models/{one.model_id}/artifacts"
    alias = {"name": MODEL, "alias": "champion", "version": "2"}
    aliases, deletion = f"{prefix}/mlflow/registered-models/alias", f"{prefix}/mlflow/model-versions/delete"
    twice = b'{"run_id": "a", "runId": "%s"}' % world.run.encode()
    requests: list[tuple[str, str, bytes | None]] = [
        ("POST", aliases, json.dumps(alias).encode()),
        ("POST", aliases, json.dumps(json.dumps(alias)).encode()),
        ("POST", aliases, json.dumps({**alias, "alias": "CHAMPION"}).encode()),
        ("DELETE", deletion, json.dumps({"name": MODEL, "version": " 1"}).encode()),
        ("DELETE", deletion, b"not json"),
        ("POST", f"{prefix}/mlflow/runs/delete", json.dumps({"runId": world.run}).encode()),
        ("POST", f"{prefix}/mlflow/runs/delete", twice),
        ("PUT", f"{files}/MLmodel", b"other bytes"),
        ("PUT", f"{files}/./MLmodel", b"other bytes"),
        ("PUT", files.replace("/models/", "/models/x/%2e%2e/") + "/MLmodel", b"other bytes"),
        ("DELETE", files, b""),
        ("DELETE", f"{prefix}/mlflow-artifacts/artifacts/{one.experiment_id}", b""),
        ("POST", f"{files.replace('/artifacts/', '/mpu/create/', 1)}", b'{"path": "MLmodel", "num_parts": 1}'),
        (
            "PATCH",
            f"{prefix}/mlflow/logged-models/{world.models['other'].model_id}",  # MLflow goes by the body
            json.dumps({"model_id": one.model_id, "status": 3}).encode(),
        ),
    ]
    found = {f"{method} {path} {raw!r}": send(world, method, path, raw=raw) for method, path, raw in requests}
    assert [
        what for what, (code, text) in found.items() if (code, "PERMISSION_DENIED" in text) != (403, True)
    ] == []
    if prefix.startswith("/ajax"):
        upload = f"{prefix}/mlflow/upload-artifact?run_uuid={world.run}&path={PAPER}"
        assert send(world, "POST", upload, raw=b"a card")[0] == 403
        assert (
            send(world, "POST", f"{prefix}/mlflow/upload-artifact?run_uuid={world.run}&path=x", raw=b"a")[0] == 200
        )


def test_a_body_reaches_the_server_as_it_was_sent(world: World, tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.write_bytes(bytes(range(256)) * 20_000)  # many chunks
    world.client.log_artifact(world.free_run, str(large))
    back = world.client.download_artifacts(world.free_run, "large", str(tmp_path))
    assert Path(back).read_bytes() == large.read_bytes()


def test_nothing_is_moved_while_the_ledger_cannot_be_read(world: World) -> None:
    away = world.ledger.with_suffix(".away")
    world.ledger.rename(away)
    try:
        code, text = send(
            world,
            "POST",
            "/api/2.0/mlflow/registered-models/alias",
            {"name": MODEL, "alias": "anything", "version": "2"},
        )
        assert (code, "PERMISSION_DENIED" in text) == (403, True)
        assert "the ledger does not answer" in text
        world.client.log_metric(world.free_run, "f1", 0.5)  # runs go on
    finally:
        away.rename(world.ledger)


def test_a_static_prefix_is_no_way_around(tmp_path: Path, migrated_database: Path) -> None:
    world = open_world(tmp_path, migrated_database, options=("--static-prefix", "/mlflow-here"))
    try:
        one = world.models["one"]
        file = f"mlflow-artifacts/artifacts/{one.experiment_id}/models/{one.model_id}/artifacts/MLmodel"
        for prefix in ("/api/2.0", "/ajax-api/2.0", "/mlflow-here/api/2.0", "/mlflow-here/ajax-api/2.0"):
            assert send(world, "PUT", f"{prefix}/{file}", raw=b"other bytes")[0] == 403
        alias = {"name": MODEL, "alias": "champion", "version": "2"}
        for prefix in ("/mlflow-here/api/2.0", "/mlflow-here/ajax-api/2.0"):
            assert send(world, "POST", f"{prefix}/mlflow/registered-models/alias", alias)[0] == 403
        assert world.client.get_model_version_by_alias(MODEL, "champion").version == "1"
    finally:
        world.server.stop()
