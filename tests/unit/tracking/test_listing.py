"""The list of runs: parents only, of every experiment, newest first."""

from __future__ import annotations

from pathlib import Path

import pytest

from rsa_ops.errors import MissingError
from rsa_ops.tracking.listing import list_runs
from rsa_ops.tracking.runs import end_run, start_run
from rsa_ops.tracking.store import Store, open_store


def test_every_pipeline_is_listed_newest_first_and_no_cell(store: Store, tmp_path: Path) -> None:
    other = open_store(store.uri, "report", tmp_path / "artifacts")
    first = start_run(store, "walk", {"pipeline": "triage", "policy.sha256": "sha256:ab", "headline": "{}"})
    start_run(store, "train rsa-s1", {"stage": "train", "cell": "rsa-s1"}, first)
    end_run(store, first)
    second = start_run(other, "walk", {"pipeline": "report"})
    found = list_runs(store.uri)
    assert [(line.run_id, line.pipeline, line.status) for line in found] == [
        (second, "report", "RUNNING"),
        (first, "triage", "FINISHED"),
    ]
    assert (found[0].headline, found[0].policy_digest, found[0].ended_at) == (None, "", None)
    assert (found[1].headline, found[1].policy_digest) == ("{}", "sha256:ab")
    assert found[1].ended_at is not None
    assert found[1].started_at <= found[1].ended_at


def test_more_runs_than_one_page_holds_are_all_listed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rsa_ops.tracking.listing._PAGE", 2)
    made = {start_run(store, "walk", {"pipeline": "triage"}) for _ in range(5)}
    assert {line.run_id for line in list_runs(store.uri)} == made


def test_a_server_that_is_not_there_is_missing() -> None:
    with pytest.raises(MissingError, match="does not answer"):
        list_runs("http://127.0.0.1:9")
