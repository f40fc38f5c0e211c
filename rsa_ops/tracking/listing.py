"""All pipeline runs of a store in one list, newest first, from their tags alone: no artifact is opened."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rsa_ops.tracking.store import read_store, store_errors

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
        MissingError: there is no such store, or it does not answer.
    """
    client = read_store(uri).client
    with store_errors(uri):
        experiments = [found.experiment_id for found in client.search_experiments(max_results=_PAGE)]
        return tuple(map(_line, _parents(client, experiments)))


def _parents(client: Any, experiments: list[str]) -> Iterator[Any]:
    token: str | None = None
    while True:
        page = client.search_runs(
            experiments,
            "tags.`rsa.pipeline` LIKE '%'",
            max_results=_PAGE,
            order_by=["attributes.start_time DESC"],
            page_token=token,
        )
        yield from page
        token = page.token
        if not token:
            return


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


def warm_up() -> None:
    """Import MLflow now (seconds), so that the first `list_runs` does not."""
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401
