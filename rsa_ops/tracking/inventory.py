"""What a store holds of ours: registered versions and logged models, by the digest of their adapter."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from rsa_ops.core.digest import Digest
from rsa_ops.tracking.store import Store, store_errors

_PAGE = 1000
_DIGEST = "rsa.digest.sha256"
VARIANT = "rsa-ops-variant"
"""Type of the logged models that are records of trained cells: no files, and no garbage."""


@dataclass(frozen=True)
class StoredVersion:
    """A registered version. `digest` is the adapter's by its tag, None where rsa_ops did not register it.

    `aliases` name it; `model_id` is the logged model that it was made from.
    """

    model: str
    version: str
    digest: Digest | None
    aliases: tuple[str, ...]
    model_id: str | None
    age_days: float


@dataclass(frozen=True)
class StoredModel:
    """A logged model of a run that trained an adapter."""

    model_id: str
    digest: Digest
    age_days: float


def stored_versions(store: Store) -> Iterator[StoredVersion]:
    """Every version of every registered model.

    Raises:
        MissingError: the store does not answer.
    """
    client = store.client
    with store_errors(store.uri):
        aliases: dict[tuple[str, str], list[str]] = {}
        for model in pages(partial(client.search_registered_models, max_results=_PAGE)):
            for alias, version in model.aliases.items():
                aliases.setdefault((model.name, str(version)), []).append(alias)
        for found in pages(partial(client.search_model_versions, max_results=_PAGE)):
            place = (found.name, str(found.version))
            yield StoredVersion(
                *place,
                digest=found.tags.get(_DIGEST),
                aliases=tuple(aliases.get(place, ())),
                model_id=_model_id(found.source or ""),
                age_days=_age(found.creation_timestamp),
            )


def stored_models(store: Store) -> Iterator[StoredModel]:
    """Every logged model with files of a run of rsa_ops that trained an adapter.

    Raises:
        MissingError: the store does not answer.
    """
    client = store.client
    with store_errors(store.uri):
        for experiment in pages(partial(client.search_experiments, max_results=_PAGE)):
            ids = [experiment.experiment_id]
            trained = partial(client.search_runs, ids, f"tags.`{_DIGEST}` LIKE 'sha256:%'", max_results=_PAGE)
            digests = {run.info.run_id: run.data.tags[_DIGEST] for run in pages(trained)}
            for found in pages(partial(client.search_logged_models, ids)) if digests else ():
                if found.model_type == VARIANT:
                    continue
                digest = found.tags.get(_DIGEST) or digests.get(found.source_run_id or "")
                if digest is not None:
                    yield StoredModel(found.model_id, digest, _age(found.creation_timestamp))


def delete_version(store: Store, model: str, version: str) -> None:
    """Delete a registered version; its files stay with the logged model behind it."""
    with store_errors(store.uri):
        store.client.delete_model_version(model, version)


def delete_model(store: Store, model_id: str) -> None:
    """Delete a logged model; `mlflow gc` frees its files."""
    with store_errors(store.uri):
        store.client.delete_logged_model(model_id)


def pages(ask: Callable[..., Any]) -> Iterator[Any]:
    """All that a search finds, page by page."""
    token: str | None = None
    while True:
        page = ask(page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _model_id(source: str) -> str | None:
    """The logged model in `models:/m-...`; a version does not name it otherwise (mlflow 3.17.2)."""
    found = source.removeprefix("models:/")
    return found if found != source and found.startswith("m-") else None


def _age(created_ms: int) -> float:
    return max(0.0, time.time() - created_ms / 1000) / 86_400
