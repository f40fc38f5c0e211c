"""Every trained variant is a logged model without files of its own; only candidates become versions.

The adapter's files are in the run that trained it, so that a variant costs two calls. A list of thousands is read
from the tables of an SQL store, in one question for each; MLflow's own search asks for each model's parameters and
needs five seconds for 5,000 (3.17.2). A server is asked by its client. A law holds the two ways together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from rsa_ops.core.digest import Digest
from rsa_ops.tracking.inventory import VARIANT, pages, stored_versions
from rsa_ops.tracking.store import Store, read_store, store_errors
from rsa_ops.tracking.tables import open_tables

DIGEST = "rsa.digest.sha256"


@dataclass(frozen=True)
class StoredVariant:
    """A variant as the store has it. `params` are its arm, seed, method, base, data, config and parent."""

    model_id: str
    run_id: str
    made_ms: int
    digest: Digest
    params: Mapping[str, str]


@dataclass(frozen=True)
class Inventory:
    """All variants, the newest first, and the registered versions (`MODEL/VERSION`) of each adapter."""

    variants: tuple[StoredVariant, ...]
    versions: Mapping[Digest, tuple[str, ...]]


def log_variant(store: Store, run_id: str, name: str, digest: Digest, params: Mapping[str, str]) -> str:
    """Make the logged model of a trained cell; returns its id."""
    with store_errors(store.uri):
        made = store.client.create_logged_model(
            store.experiment_id,
            name=name,
            source_run_id=run_id,
            tags={DIGEST: digest},
            params=dict(params),
            model_type=VARIANT,
        )
        store.client.finalize_logged_model(made.model_id, "READY")
        return str(made.model_id)


def read_inventory(uri: str) -> Inventory:
    """All variants and registered versions in the store at `uri`; nothing is created in it.

    Raises:
        MissingError: it is not there, does not answer, or is no store of MLflow.
    """
    found, versions = _by_client(uri) if uri.startswith("http") else _by_tables(uri)
    newest: dict[tuple[str, Digest], StoredVariant] = {}
    for each in sorted(found, key=lambda one: (one.made_ms, one.model_id), reverse=True):
        # A cell whose run was cut off while it was logged is logged again.
        newest.setdefault((each.params.get("config.sha256", each.model_id), each.digest), each)
    places: dict[Digest, list[str]] = {}
    for digest, place in versions:
        places.setdefault(digest, []).append(place)
    return Inventory(tuple(newest.values()), {digest: tuple(sorted(each)) for digest, each in places.items()})


Found = tuple[list[StoredVariant], list[tuple[Digest, str]]]


def _by_client(uri: str) -> Found:
    store = read_store(uri)
    with store_errors(uri):
        experiments = [each.experiment_id for each in pages(partial(store.client.search_experiments))]
        search = partial(
            store.client.search_logged_models, experiments, f"attributes.model_type = '{VARIANT}'", max_results=1000
        )
        models = list(pages(search)) if experiments else []
    variants = [
        StoredVariant(
            each.model_id,
            each.source_run_id or "",
            each.creation_timestamp,
            each.tags.get(DIGEST, ""),
            dict(each.params),
        )
        for each in models
    ]
    versions = [(each.digest, f"{each.model}/{each.version}") for each in stored_versions(store) if each.digest]
    return variants, versions


def _by_tables(uri: str) -> Found:
    with open_tables(uri) as ask:
        rows = ask(_MODELS, {"kind": VARIANT})
        settings: dict[str, dict[str, str]] = {}
        for model_id, key, value in ask(_PARAMS, {"kind": VARIANT}):
            settings.setdefault(model_id, {})[key] = value
        digests: dict[str, Digest] = dict(ask(_DIGESTS, {"digest": DIGEST}))
        versions = [(digest, f"{name}/{version}") for digest, name, version in ask(_VERSIONS, {"digest": DIGEST})]
    variants = [
        StoredVariant(model_id, run_id or "", made_ms, digests.get(model_id, ""), settings.get(model_id, {}))
        for model_id, run_id, made_ms in rows
    ]
    return variants, versions


_MODELS = """
SELECT model_id, source_run_id, creation_timestamp_ms FROM logged_models
WHERE model_type = :kind AND lifecycle_stage = 'active'
"""
_PARAMS = """
SELECT model_id, param_key, param_value FROM logged_model_params
WHERE model_id IN (SELECT model_id FROM logged_models WHERE model_type = :kind AND lifecycle_stage = 'active')
"""
_DIGESTS = "SELECT model_id, tag_value FROM logged_model_tags WHERE tag_key = :digest"
_VERSIONS = """
SELECT marks.value, marks.name, marks.version FROM model_version_tags AS marks
JOIN model_versions AS made ON made.name = marks.name AND made.version = marks.version
WHERE marks.key = :digest AND made.current_stage <> 'Deleted_Internal'
"""
