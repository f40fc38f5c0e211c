"""Every mutating route of the installed MLflow is guarded or known to be harmless; a new one breaks this test."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from rsa_ops.tracking.guard.decision import Act, Asked, Holdings, Known, Scope, refusal
from rsa_ops.tracking.guard.routes import (
    GUARDED,
    HARMLESS,
    SAFE_METHODS,
    UnreadableError,
    artifact_request,
    clean_path,
    parse_body,
)

from ....guarded import ROOT, plugins


def flask_endpoints() -> dict[str, list[str]]:
    from mlflow.server import app

    found: dict[str, list[str]] = {}
    for rule in app.url_map.iter_rules():
        if set(rule.methods or ()) - SAFE_METHODS:
            found.setdefault(rule.endpoint, []).append(rule.rule)
    return found


def test_every_mutating_flask_route_is_guarded_or_harmless() -> None:
    endpoints = flask_endpoints()
    assert {name: rules for name, rules in endpoints.items() if name not in HARMLESS | GUARDED.keys()} == {}
    assert GUARDED.keys() - endpoints.keys() == set()  # a handler of another name would be guarded no more
    assert GUARDED.keys() & HARMLESS == set()


def test_every_mutating_fastapi_route_is_guarded_or_harmless() -> None:
    from mlflow.server.fastapi_app import app

    from rsa_ops.tracking.guard.app import native_routes, unknown_routes

    assert list(unknown_routes(app)) == []
    routes = set(native_routes(app))
    assert ("PUT", "/api/2.0/mlflow-artifacts/artifacts/{artifact_path}") in routes
    assert len(routes) > 40


def test_an_unknown_fastapi_route_is_found() -> None:
    from fastapi import FastAPI

    from rsa_ops.tracking.guard.app import unknown_routes

    app = FastAPI()
    app.post("/api/4.0/mlflow/aliases/{name}/move")(lambda name: name)
    [(method, pattern)] = unknown_routes(app)
    assert method == "POST"
    assert pattern.fullmatch("/api/4.0/mlflow/aliases/triage/move")


def test_graphql_changes_nothing() -> None:
    from mlflow.server.graphql.graphql_schema_extensions import schema

    # Two searches and an echo, called mutations because they are sent as POST.
    found = set(schema.graphql_schema.mutation_type.fields)
    assert found == {"mlflowSearchDatasets", "mlflowSearchRuns", "testMutation"}


def test_nothing_mutates_by_get() -> None:
    from mlflow.server import app

    readers = {r.endpoint for r in app.url_map.iter_rules() if "GET" in (r.methods or ())}
    assert readers & GUARDED.keys() == set()


def test_the_entry_points_lead_to_factories() -> None:
    import tomllib

    declared = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["entry-points"]
    for places in (declared["mlflow.app"], declared["mlflow.run_context_provider"]):
        for place in places.values():
            module, name = place.split(":")
            assert callable(getattr(import_module(module), name))


@pytest.mark.parametrize(
    ("environment", "said"),
    [({}, "RSA_OPS_LEDGER"), ({"RSA_OPS_LEDGER": "ledger.db", "_MLFLOW_SGI_NAME": "gunicorn"}, "uvicorn")],
)
def test_a_guard_that_cannot_guard_does_not_start(tmp_path: Path, environment: dict[str, str], said: str) -> None:
    paths = os.pathsep.join([str(plugins(tmp_path)), str(ROOT)])
    unset = ("RSA_OPS_LEDGER", "_MLFLOW_SGI_NAME")
    clean = {name: value for name, value in os.environ.items() if name not in unset}
    done = subprocess.run(
        [sys.executable, "-c", "from rsa_ops.stages.guard import app; app()"],
        env={**clean, "PYTHONPATH": paths, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert said in done.stderr


@pytest.mark.parametrize(
    ("path", "clean"),
    [("a/b", "a/b"), ("a/../b", "b"), ("a//b/", "a/b"), ("%2561/b", "a/b"), ("a%2f..%2fb", "b"), (".", "")],
)
def test_a_path_has_one_spelling(path: str, clean: str) -> None:
    assert clean_path(path) == clean


def test_only_an_object_is_a_body() -> None:
    assert parse_body(b"") == {}
    assert parse_body(b'"{\\"a\\": 1}"') == {"a": 1}
    for data in (b"[1]", b"1", b"{", b'"x"'):
        with pytest.raises(UnreadableError):
            parse_body(data)


def test_reading_files_is_nobodys_business() -> None:
    assert artifact_request("GET", "/api/2.0/mlflow-artifacts/artifacts/0/x") is None
    assert artifact_request("PUT", "/api/2.0/mlflow-artifacts/artifacts/0/x") == Asked(
        Act.WRITE_FILES, places=("0/x",)
    )


HELD = Known(holdings=Holdings(places=frozenset({"0/models/m-1/artifacts"})))


@pytest.mark.parametrize(
    ("act", "place", "refused"),
    [
        (Act.WRITE_FILES, "0/models/m-1/artifacts/MLmodel", True),
        (Act.WRITE_FILES, "0/models/m-10/artifacts/MLmodel", False),
        (Act.WRITE_FILES, "0/models/m-1", False),
        (Act.DELETE_FILES, "0/models/m-1", True),
        (Act.DELETE_FILES, "0", True),
        (Act.DELETE_FILES, "", True),
        (Act.DELETE_FILES, "0/models/m-10", False),
    ],
)
def test_a_place_is_protected_with_all_below_and_from_deletion_above(act: Act, place: str, refused: bool) -> None:
    assert (refusal(Asked(act, places=(place,)), HELD, Scope()) is not None) == refused


def test_an_alias_is_protected_where_the_scope_or_the_ledger_says_so() -> None:
    def asks(model: str, alias: str) -> bool:
        known = Known(aliases=frozenset({("theirs", "pilot-osaka")}))
        scope = Scope(models=("triage.*",))
        return refusal(Asked(Act.SET_ALIAS, (model,), "1", alias), known, scope) is not None

    assert asks("triage.1", "champion")
    assert asks("theirs", "pilot-osaka")
    assert not asks("theirs", "champion")
    assert not asks("triage.1", "pilot-osaka")
