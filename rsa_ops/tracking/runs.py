"""Runs: one parent for a pipeline, one nested run for each cell of a stage, found again by content key."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rsa_ops.core.digest import Digest
from rsa_ops.errors import MissingError
from rsa_ops.files import fresh_folder
from rsa_ops.tracking.store import Store, run_tags, store_errors
from rsa_ops.tracking.variants import log_variant

_BATCH = 1000
_PARAM_LIMIT = 6000


@dataclass(frozen=True)
class RunFacts:
    """What a result folder says about itself. `history` maps a metric to its (step, value) pairs.

    `variant` describes the adapter in it, where there is one; it becomes a logged model.
    """

    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    history: Mapping[str, Sequence[tuple[int, float]]] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    variant: Mapping[str, str] = field(default_factory=dict)


def start_run(store: Store, name: str, tags: Mapping[str, str], parent: str | None = None) -> str:
    """Start a run and return its id."""
    with store_errors(store.uri):
        run = store.client.create_run(store.experiment_id, run_name=name, tags=run_tags(tags, parent))
        return str(run.info.run_id)


def end_run(store: Store, run_id: str, status: str = "FINISHED") -> None:
    """End a run with an MLflow status: FINISHED, FAILED or KILLED."""
    with store_errors(store.uri):
        store.client.set_terminated(run_id, status)


def log_facts(store: Store, run_id: str, facts: RunFacts) -> None:
    """Write parameters, metrics and tags of a run in as few calls as MLflow allows."""
    from mlflow.entities import Metric, Param, RunTag

    now = int(time.time() * 1000)
    metrics = [Metric(name, value, now, 0) for name, value in facts.metrics.items()]
    metrics += [Metric(name, value, now, step) for name, points in facts.history.items() for step, value in points]
    params = [Param(name, value[:_PARAM_LIMIT]) for name, value in facts.params.items()]
    tags = [RunTag(name, value) for name, value in run_tags(facts.tags).items()]
    with store_errors(store.uri):
        store.client.log_batch(run_id, metrics=metrics[:_BATCH], params=params, tags=tags)
        for start in range(_BATCH, len(metrics), _BATCH):
            store.client.log_batch(run_id, metrics=metrics[start : start + _BATCH])


def log_files(store: Store, run_id: str, path: Path, folder: str = "") -> None:
    """Copy a file, or all files below a folder, to the artifacts of a run."""
    with store_errors(store.uri):
        if path.is_dir():
            store.client.log_artifacts(run_id, str(path), folder or None)
        else:
            store.client.log_artifact(run_id, str(path), folder or None)


def fetch_files(store: Store, run_id: str, folder: str, target: Path) -> Path:
    """Bring an artifact file or folder of a run to `target`; returns its local path.

    Raises:
        MissingError: the run or the artifact does not exist.
    """
    with store_errors(store.uri):
        target.mkdir(parents=True, exist_ok=True)
        return Path(store.client.download_artifacts(run_id, folder, str(target)))


def sweep_stale(store: Store, alive: Callable[[int], bool], host: str) -> int:
    """Mark runs, and their cells, as KILLED whose driver on this host is gone; returns how many such drivers.

    MLflow itself would show them running for ever.
    """
    with store_errors(store.uri):
        runs = _running(store, f"tags.`rsa.host` = '{host}'")
        stale = [run for run in runs if not alive(int(run.data.tags.get("rsa.driver_pid", "0")))]
        for run in stale:
            for ended in (*_running(store, f"tags.`mlflow.parentRunId` = '{run.info.run_id}'"), run):
                store.client.set_terminated(ended.info.run_id, "KILLED")
    return len(stale)


def _refuse_empty(folder: Path) -> None:
    if not any(folder.iterdir()):
        raise MissingError(f"the store has no files for {folder.name}")


def _running(store: Store, condition: str) -> list[Any]:
    wanted = f"attributes.status = 'RUNNING' and {condition}"
    return list(store.client.search_runs([store.experiment_id], wanted, max_results=_BATCH))


@dataclass(frozen=True)
class CellLog:
    """The record of finished cells of one stage, under one parent run."""

    store: Store
    parent: str
    stage: str
    describe: Callable[[Path], RunFacts]

    def finished(self, keys: Sequence[Digest]) -> Mapping[Digest, Digest]:
        """Key -> digest of the result folder, for the keys with a FINISHED run."""
        wanted = set(keys)
        found: dict[Digest, Digest] = {}
        for run in self._runs():  # newest first, and the newest counts
            tags = run.data.tags
            if tags.get("rsa.key") in wanted and "rsa.result.sha256" in tags:
                found.setdefault(tags["rsa.key"], tags["rsa.result.sha256"])
        return found

    def run_id(self, key: Digest) -> str:
        """The id of the newest finished run with `key`.

        Raises:
            MissingError: there is none.
        """
        for run in self._runs():
            if run.data.tags.get("rsa.key") == key:
                return str(run.info.run_id)
        raise MissingError(f"no finished {self.stage} run has the key {key}")

    def restore(self, key: Digest, folder: Path) -> None:
        """Bring the files of a finished run back into `folder`; leaves nothing when the store has lost them."""
        try:
            with fresh_folder(folder) as target:
                found = fetch_files(self.store, self.run_id(key), "", target)
                if found != target:
                    shutil.copytree(found, target, dirs_exist_ok=True)
                _refuse_empty(target)
        except MissingError:
            return

    def record(self, *, stage: str, name: str, key: Digest, folder: Path, digest: Digest) -> None:
        """Log a finished result folder: facts and files first, FINISHED last."""
        facts = self.describe(folder)
        run_id = start_run(self.store, f"{stage} {name}", {"stage": stage, "key": key, "cell": name}, self.parent)
        log_files(self.store, run_id, folder)
        log_facts(self.store, run_id, facts)
        log_facts(self.store, run_id, RunFacts(tags={"result.sha256": digest}))
        if facts.variant:
            described = {**facts.variant, "config.sha256": key, "parent": self.parent}
            log_variant(self.store, run_id, name, facts.tags["digest.sha256"], described)
        end_run(self.store, run_id)

    def _runs(self) -> Iterator[Any]:
        condition = f"attributes.status = 'FINISHED' and tags.`rsa.stage` = '{self.stage}'"
        token: str | None = None
        with store_errors(self.store.uri):
            while True:
                page = self.store.client.search_runs(
                    [self.store.experiment_id], condition, max_results=_BATCH, page_token=token
                )
                yield from page
                token = page.token
                if not token:
                    return


def run_tag(store: Store, run_id: str, name: str) -> str | None:
    """The value of a tag of ours (without `rsa.`), or None."""
    with store_errors(store.uri):
        value = store.client.get_run(run_id).data.tags.get(f"rsa.{name}")
        return str(value) if value is not None else None


def find_run(store: Store, tags: Mapping[str, str]) -> str | None:
    """The id of the newest finished run that carries all these tags of ours, or None."""
    condition = " and ".join(f"tags.`rsa.{name}` = '{value}'" for name, value in tags.items())
    with store_errors(store.uri):
        found = store.client.search_runs(
            [store.experiment_id], f"attributes.status = 'FINISHED' and {condition}", max_results=1
        )
    return str(found[0].info.run_id) if found else None


def tag_values(store: Store, name: str, where: Mapping[str, str]) -> tuple[str, ...]:
    """The different values of our tag `name` among the runs that carry the tags `where`, oldest run first."""
    wanted = {**where, name: "%"}
    condition = " and ".join(
        f"tags.`rsa.{key}` {'LIKE' if key == name else '='} '{value}'" for key, value in wanted.items()
    )
    found: dict[str, None] = {}
    token: str | None = None
    with store_errors(store.uri):
        while True:
            page = store.client.search_runs(
                [store.experiment_id],
                condition,
                max_results=_BATCH,
                order_by=["attributes.start_time ASC"],
                page_token=token,
            )
            found |= dict.fromkeys(str(run.data.tags[f"rsa.{name}"]) for run in page)
            token = page.token
            if not token:
                return tuple(found)
