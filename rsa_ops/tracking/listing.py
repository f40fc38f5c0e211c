"""All pipeline runs of a store in one list, newest first, from their tags alone: no artifact is opened.

A local store is read from its tables, a server is asked by MLflow's client. A law holds the two ways together.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from rsa_ops.errors import MissingError
from rsa_ops.tracking.inventory import pages
from rsa_ops.tracking.store import local_database, read_store, store_errors
from rsa_ops.tracking.tables import open_tables

_PAGE = 1000


@dataclass(frozen=True)
class RunLine:
    """One pipeline run. `headline` is the JSON text of its tag, None where the run came to no verdict.

    `status` is MLflow's: RUNNING, FINISHED, FAILED or KILLED. `policy_digest` is empty where none was locked.
    """

    run_id: str
    experiment_id: str
    pipeline: str
    started_at: datetime
    ended_at: datetime | None
    status: str
    policy_digest: str
    headline: str | None


def list_runs(uri: str) -> tuple[RunLine, ...]:
    """The parent runs of every pipeline in the store at `uri`, newest first.

    Raises:
        MissingError: there is no such store, or it does not answer. ConflictError: it is locked.
    """
    return _by_tables(uri) if local_database(uri) is not None else _by_client(uri)


_RUNS = """
SELECT runs.run_uuid, runs.experiment_id, pipeline.value, runs.start_time, runs.end_time, runs.status,
       policy.value, headline.value
FROM runs
JOIN experiments ON experiments.experiment_id = runs.experiment_id
JOIN tags AS pipeline ON pipeline.run_uuid = runs.run_uuid AND pipeline.key = 'rsa.pipeline'
LEFT JOIN tags AS policy ON policy.run_uuid = runs.run_uuid AND policy.key = 'rsa.policy.sha256'
LEFT JOIN tags AS headline ON headline.run_uuid = runs.run_uuid AND headline.key = 'rsa.headline'
WHERE runs.lifecycle_stage = 'active' AND experiments.lifecycle_stage = 'active'
ORDER BY runs.start_time DESC, runs.run_uuid
"""


def _by_tables(uri: str) -> tuple[RunLine, ...]:
    with open_tables(uri) as ask:
        rows = ask(_RUNS, {})
    return tuple(
        RunLine(
            run_id=run_id,
            experiment_id=str(experiment_id),
            pipeline=pipeline,
            started_at=_time(started),
            ended_at=_time(ended) if ended else None,
            status=status,
            policy_digest=policy or "",
            headline=headline,
        )
        for run_id, experiment_id, pipeline, started, ended, status, policy, headline in rows
    )


def _by_client(uri: str) -> tuple[RunLine, ...]:
    client = read_store(uri).client
    with store_errors(uri):
        found = pages(partial(client.search_experiments, max_results=_PAGE))
        experiments = [experiment.experiment_id for experiment in found]
        search = partial(
            client.search_runs,
            experiments,
            "tags.`rsa.pipeline` LIKE '%'",
            max_results=_PAGE,
            order_by=["attributes.start_time DESC"],
        )
        return tuple(map(_line, pages(search)))


def run_folder(uri: str, run_id: str) -> Path | None:
    """The folder of a run's artifacts, where the store and they are on this machine; None where MLflow must fetch.

    Raises:
        MissingError: a local store has no such run.
    """
    if local_database(uri) is None:
        return None
    with open_tables(uri) as ask:
        rows = ask("SELECT artifact_uri FROM runs WHERE run_uuid = :run", {"run": run_id})
    if not rows:
        raise MissingError(
            f"the MLflow store {uri} has no run {run_id}", hint="`rsa-ops dashboard` lists its runs."
        )
    place = urlsplit(rows[0][0])
    return Path(url2pathname(place.path)) if place.scheme == "file" and not place.netloc else None


def _line(run: Any) -> RunLine:
    tags = run.data.tags
    return RunLine(
        run_id=str(run.info.run_id),
        experiment_id=str(run.info.experiment_id),
        pipeline=tags["rsa.pipeline"],
        started_at=_time(run.info.start_time),
        ended_at=_time(run.info.end_time) if run.info.end_time else None,
        status=str(run.info.status),
        policy_digest=tags.get("rsa.policy.sha256", ""),
        headline=tags.get("rsa.headline"),
    )


def _time(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def warm_up(uri: str) -> None:
    """Import now what the first `list_runs(uri)` would: for a server, MLflow (seconds)."""
    if local_database(uri) is None:
        from mlflow import MlflowClient  # noqa: F401
