"""The model registry: adapters become versions, the `champion` alias moves, and both can be read back.

One registered model per task and base digest, so that a version can only stand beside versions it can replace.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rsa_ops.core.digest import Digest, short
from rsa_ops.core.registry import LiveVersion, RegistryReading
from rsa_ops.errors import MissingError
from rsa_ops.files import digest_folder
from rsa_ops.tracking.store import Store, store_errors

CHAMPION = "champion"
MODEL_CODE = Path(__file__).with_name("pyfunc_adapter.py")


@dataclass(frozen=True)
class Version:
    """A registered version: `digest` names the adapter's bytes, `run_id` the run that trained it."""

    name: str
    version: str
    digest: Digest
    run_id: str
    tags: Mapping[str, str]


def registered_name(pipeline: str, base_digest: Digest) -> str:
    """`incident-triage.1a2b3c4d5e6f`: task and base."""
    return f"{pipeline}.{short(base_digest)}"


def by_alias(store: Store, name: str, alias: str) -> Version | None:
    """The version that `alias` names, or None where there is no such model or alias."""
    found = _or_none(store, lambda: store.client.get_model_version_by_alias(name, alias))
    return None if found is None else _version(found)


def by_number(store: Store, name: str, number: str) -> Version | None:
    """The version with this number, or None."""
    found = _or_none(store, lambda: store.client.get_model_version(name, number))
    return None if found is None else _version(found)


def by_digest(store: Store, name: str, digest: Digest) -> Version | None:
    """The version whose adapter has this digest, or None."""
    with store_errors(store.uri):
        for found in store.client.search_model_versions(f"name = '{name}'"):
            if found.tags.get("rsa.digest.sha256") == digest:
                return _version(found)
    return None


def register_adapter(
    store: Store, name: str, run_id: str, adapter: Path, digest: Digest, tags: Mapping[str, str]
) -> Version:
    """Log the adapter as a pyfunc model of `run_id` and make it a version; an equal one is not made twice.

    The model is code plus files (models from code), so nothing is pickled.
    """
    found = by_digest(store, name, digest)
    if found is not None:
        return found
    import mlflow

    with store_errors(store.uri):
        mlflow.set_tracking_uri(store.uri)
        mlflow.set_registry_uri(store.uri)
        with mlflow.start_run(run_id=run_id):
            logged = mlflow.pyfunc.log_model(
                name="adapter",
                python_model=str(MODEL_CODE),
                artifacts={"adapter": str(adapter)},
                pip_requirements=["rsa-ops"],
                metadata={"rsa.digest.sha256": digest},
            )
        if not _exists(store, name):
            store.client.create_registered_model(name)
        all_tags = {f"rsa.{key}": value for key, value in {**tags, "digest.sha256": digest}.items()}
        made = store.client.create_model_version(
            name, logged.model_uri, run_id=run_id, tags=all_tags, model_id=logged.model_id
        )
        store.client.set_terminated(run_id, "FINISHED")
        return _version(made)


def move_alias(store: Store, name: str, alias: str, version: str) -> None:
    """Point `alias` at `version`."""
    with store_errors(store.uri):
        store.client.set_registered_model_alias(name, alias, version)


@dataclass(frozen=True)
class AliasPointer:
    """The aliases of a registry as a promotion sees them (`governance.pointer.LivePointer`)."""

    store: Store

    def read(self, model: str, alias: str) -> str | None:
        """The version that the alias names now, or None."""
        found = by_alias(self.store, model, alias)
        return None if found is None else found.version

    def move(self, model: str, alias: str, version: str) -> None:
        """Point the alias at a version."""
        move_alias(self.store, model, alias, version)


def fetch_adapter(store: Store, version: Version, target: Path) -> Path:
    """The adapter folder of a version, brought to `target`.

    Raises:
        MissingError: the registry names files that are gone.
    """
    with store_errors(store.uri):
        uri = store.client.get_model_version_download_uri(version.name, version.version)
        from mlflow.artifacts import download_artifacts

        target.mkdir(parents=True, exist_ok=True)
        local = Path(download_artifacts(artifact_uri=uri, dst_path=str(target), tracking_uri=store.uri))
    folders = [file.parent for file in sorted(local.rglob("model.json"))]
    if not folders:
        raise MissingError(
            f"{version.name} version {version.version} has no adapter files any more",
            hint="Move the alias to a version whose files exist.",
        )
    return folders[0]


def read_registry(store: Store, models: Iterable[str], versions: Iterable[tuple[str, str]]) -> RegistryReading:
    """All aliases of `models`, and of each (model, version) whether it exists and what its adapter's bytes are now.

    Every adapter is fetched and digested; tags are not believed.

    Raises:
        MissingError: the store does not answer.
    """
    aliases: dict[tuple[str, str], str] = {}
    for model in models:
        found = _or_none(store, partial(store.client.get_registered_model, model))
        if found is not None:
            aliases |= {(model, alias): str(version) for alias, version in found.aliases.items()}
    live = (live_version(store, model, version) for model, version in versions)
    return RegistryReading(store=store.uri, aliases=aliases, versions=tuple(filter(None, live)))


def live_version(store: Store, model: str, number: str) -> LiveVersion | None:
    """A version with the digest of its adapter's bytes as they are now, or None where there is no such version.

    Raises:
        MissingError: the store does not answer.
    """
    found = _or_none(store, lambda: store.client.get_model_version(model, number))
    if found is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        try:
            digest = digest_folder(fetch_adapter(store, _version(found), Path(folder)))
        except MissingError as error:
            return LiveVersion(model=model, version=number, digest=None, reason=error.message)
    return LiveVersion(model=model, version=number, digest=digest)


def _or_none(store: Store, ask: Callable[[], Any]) -> Any:
    """The registry's answer, or None where it knows no such thing."""
    from mlflow.exceptions import MlflowException

    with store_errors(store.uri):
        try:
            return ask()
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise


def _exists(store: Store, name: str) -> bool:
    return bool(store.client.search_registered_models(f"name = '{name}'"))


def _version(found: Any) -> Version:
    tags = dict(found.tags)
    return Version(
        name=found.name,
        version=str(found.version),
        digest=tags.get("rsa.digest.sha256", ""),
        run_id=tags.get("rsa.run", found.run_id or ""),
        tags=tags,
    )
