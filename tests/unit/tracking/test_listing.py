"""The list of runs: parents only, of every experiment, newest first."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rsa_ops.errors import MissingError
from rsa_ops.tracking.listing import _by_client, list_runs, run_folder
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


def test_the_tables_and_mlflows_client_list_the_same(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = store.client
    gone = open_store(store.uri, "gone", tmp_path / "artifacts")
    others = [open_store(store.uri, name, tmp_path / "artifacts") for name in ("report", "third")]
    start_run(gone, "walk", {"pipeline": "gone"})
    client.delete_experiment(gone.experiment_id)
    deleted = start_run(store, "walk", {"pipeline": "triage"})
    client.delete_run(deleted)
    client.create_run(store.experiment_id)  # somebody else's
    tags = {"rsa.pipeline": "triage", "rsa.headline": "{}"}
    made = [
        client.create_run(at.experiment_id, start_time=moment, tags=tags).info.run_id
        for moment, at in enumerate((store, *others, store, store), start=1_000)
    ]
    twins = {client.create_run(store.experiment_id, start_time=2_000, tags=tags).info.run_id for _ in range(3)}
    for run, status in zip(made, ("FINISHED", "FAILED", "KILLED"), strict=False):
        start_run(store, "train rsa-s1", {"stage": "train", "cell": "rsa-s1"}, run)
        client.set_terminated(run, status)
    found = list_runs(store.uri)
    assert [line.run_id for line in found] == [*sorted(twins), *reversed(made)]
    assert [line.status for line in found[-3:]] == ["KILLED", "FAILED", "FINISHED"]
    monkeypatch.setattr("rsa_ops.tracking.listing._PAGE", 2)  # experiments and runs fill several pages
    assert _by_client(store.uri) == found


def test_a_local_store_is_listed_without_mlflow(store: Store) -> None:
    run = start_run(store, "walk", {"pipeline": "triage"})
    script = (
        "import sys; from rsa_ops.tracking.listing import list_runs; "
        "print(list_runs(sys.argv[1])[0].run_id, 'mlflow' in sys.modules)"
    )
    words = [sys.executable, "-c", script, store.uri]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout.split() == [run, "False"]


def test_a_server_that_is_not_there_is_missing() -> None:
    with pytest.raises(MissingError, match="does not answer"):
        list_runs("http://127.0.0.1:9")


def test_the_folder_of_a_run_is_where_mlflow_has_its_artifacts(store: Store) -> None:
    run = start_run(store, "walk", {"pipeline": "triage"})
    store.client.log_text(run, "words", "records/note.txt")
    folder = run_folder(store.uri, run)
    assert folder is not None
    assert (folder / "records" / "note.txt").read_text(encoding="utf-8") == "words"


def test_a_run_that_a_local_store_lacks_is_missing_and_a_server_has_no_folder(store: Store) -> None:
    with pytest.raises(MissingError, match="has no run 00"):
        run_folder(store.uri, "00")
    assert run_folder("http://127.0.0.1:9", "00") is None
