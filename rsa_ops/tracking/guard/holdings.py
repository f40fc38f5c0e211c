"""What a registered version stands on, asked of the server's own stores: run, logged model, experiment, files."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from rsa_ops.tracking.guard.decision import Asked, Holdings
from rsa_ops.tracking.guard.routes import clean_path

_PROXIED = "mlflow-artifacts"


def place_of(uri: str) -> str:
    """Where files are, spelled so that two URIs of one place are equal.

    A proxied place is its path below the server's artifact root; a local one is its absolute path; any other stays
    a URI without its trailing slash.
    """
    parts = urlsplit(uri)
    if parts.scheme == _PROXIED:
        return clean_path(parts.path)
    if parts.scheme in ("", "file"):
        return str(Path(unquote(parts.path)).resolve())
    return uri.rstrip("/")


@dataclass
class Shelves:
    """Looks up what versions stand on. A version's own facts never change, so each is asked for once."""

    _seen: dict[tuple[str, str], Holdings] = field(default_factory=dict)

    def holdings(self, versions: Iterable[tuple[str, str]], papers: Iterable[tuple[str, str]]) -> Holdings:
        """What these (model, version) stand on, and these (run, file) of their papers.

        Raises:
            MlflowException: a store does not answer.
        """
        found = Holdings()
        for version in versions:
            found |= self._cached(("version", *version), _version)
        for paper in papers:
            found |= self._cached(("paper", *paper), _paper)
        return found

    def _cached(self, key: Any, look: Any) -> Holdings:
        if key not in self._seen:
            holdings = look(*key[1:])
            if holdings is None:  # not in this store; it may come to it yet
                return Holdings()
            self._seen[key] = holdings
        return self._seen[key]


def with_places(asked: Asked) -> Asked:
    """A request to write, with all the places it may mean.

    A path below `run:ID` or `model:ID` lies where that keeps its files; a proxied path is also one of the store
    behind the proxy, whose versions may name it directly.
    """
    owners = [name.partition(":") for name in asked.names]
    if owners:
        return Asked(asked.act, places=tuple(_below(kind, name, asked.places) for kind, _, name in owners))
    root = os.environ.get("_MLFLOW_SERVER_ARTIFACT_DESTINATION", "")
    behind = [f"{place_of(root).rstrip('/')}/{path}".rstrip("/") for path in asked.places] if root else []
    return Asked(asked.act, places=(*asked.places, *behind))


def _below(kind: str, name: str, paths: tuple[str, ...]) -> str:
    run, model = (_run(name), None) if kind == "run" else (None, _logged_model(name))
    root = place_of(run.info.artifact_uri if run else model.artifact_location if model else "")
    return "/".join([root, *filter(None, paths)])


def _version(model: str, version: str) -> Holdings | None:
    from mlflow.server.handlers import _get_model_registry_store

    registry = _get_model_registry_store()
    found = _or_none(registry.get_model_version, model, version)
    if found is None:
        return None
    source = str(found.source or "")
    model_id = found.model_id or (source.removeprefix("models:/") if source.startswith("models:/m-") else None)
    held = Holdings(places=frozenset({place_of(registry.get_model_version_download_uri(model, version))}))
    logged = _logged_model(model_id) if model_id else None
    if logged is not None:
        held |= Holdings(
            logged_models=frozenset({logged.model_id}),
            experiments=frozenset({str(logged.experiment_id)}),
            places=frozenset({place_of(logged.artifact_location)}),
        )
    tags = getattr(found, "tags", {})
    for run_id in {found.run_id, tags.get("rsa.run"), logged.source_run_id if logged else None} - {None, ""}:
        held |= _run_holdings(run_id)
    return held


def _paper(run_id: str, file: str) -> Holdings | None:
    run = _run(run_id)
    if run is None:
        return None
    return _run_holdings(run_id) | Holdings(places=frozenset({f"{place_of(run.info.artifact_uri)}/{file}"}))


def _run_holdings(run_id: str) -> Holdings:
    run = _run(run_id)
    if run is None:
        return Holdings()
    return Holdings(runs=frozenset({run_id}), experiments=frozenset({str(run.info.experiment_id)}))


def _run(run_id: str) -> Any:
    from mlflow.server.handlers import _get_tracking_store

    return _or_none(_get_tracking_store().get_run, run_id)


def _logged_model(model_id: str) -> Any:
    from mlflow.server.handlers import _get_tracking_store

    return _or_none(_get_tracking_store().get_logged_model, model_id)


def _or_none(ask: Any, *what: str) -> Any:
    from mlflow.exceptions import MlflowException

    try:
        return ask(*what)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise
