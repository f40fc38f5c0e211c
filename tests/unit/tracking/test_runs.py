"""Runs on a real MLflow store: found again by key, believed when FINISHED, restored from artifacts."""

from __future__ import annotations

import math
import os
import shutil
from pathlib import Path

import pytest

from rsa_ops.core.digest import Digest, digest_value
from rsa_ops.errors import MissingError
from rsa_ops.files import digest_folder, write_text
from rsa_ops.tracking import runs as runs_module
from rsa_ops.tracking.context import source_tags
from rsa_ops.tracking.runs import (
    CellLog,
    RunFacts,
    end_run,
    fetch_files,
    find_run,
    log_facts,
    log_files,
    run_tag,
    start_run,
    sweep_stale,
)
from rsa_ops.tracking.store import Store


def key(name: str) -> Digest:
    return digest_value(name)


def a_result(folder: Path, words: str = "weights") -> Path:
    write_text(folder / "artifact" / "adapter.bin", words)
    write_text(folder / "measurements.json", "{}")
    return folder


def facts(_: Path) -> RunFacts:
    return RunFacts(
        params={"arm": "rsa"},
        metrics={"wall_seconds": 1.5},
        history={"loss": [(1, 0.9), (2, 0.5)]},
        tags={"base.sha256": "b"},
    )


@pytest.fixture
def log(store: Store) -> CellLog:
    return CellLog(store, start_run(store, "walk", {"pipeline": "triage"}), "train", facts)


def record(log: CellLog, folder: Path, name: str = "rsa-s1") -> Digest:
    digest = digest_folder(folder)
    log.record(stage=log.stage, name=name, key=key(name), folder=folder, digest=digest)
    return digest


def test_a_recorded_result_is_found_by_its_key(log: CellLog, tmp_path: Path) -> None:
    digest = record(log, a_result(tmp_path / "a"))
    assert log.finished([key("rsa-s1"), key("lora-s1")]) == {key("rsa-s1"): digest}


def test_a_recorded_run_carries_its_facts_and_its_parent(log: CellLog, tmp_path: Path) -> None:
    record(log, a_result(tmp_path / "a"))
    run = log.store.client.get_run(log.run_id(key("rsa-s1")))
    assert run.info.status == "FINISHED"
    assert run.data.params == {"arm": "rsa"}
    assert run.data.metrics == {"wall_seconds": 1.5, "loss": 0.5}
    assert run.data.tags["rsa.base.sha256"] == "b"
    assert run.data.tags["mlflow.parentRunId"] == log.parent
    history = log.store.client.get_metric_history(run.info.run_id, "loss")
    assert [(point.step, point.value) for point in history] == [(1, 0.9), (2, 0.5)]


def test_results_are_found_across_pages(log: CellLog, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(runs_module, "_BATCH", 2)
    folder = a_result(tmp_path / "a")
    for number in range(5):
        record(log, folder, f"rsa-s{number}")
    assert len(log.finished([key(f"rsa-s{number}") for number in range(5)])) == 5


def test_a_run_that_is_not_finished_does_not_count(log: CellLog) -> None:
    tags = {"stage": "train", "key": key("a"), "result.sha256": key("x")}
    running = start_run(log.store, "train a", tags, log.parent)
    assert log.finished([key("a")]) == {}
    with pytest.raises(MissingError, match="no finished train run"):
        log.run_id(key("a"))
    for status in ("FAILED", "KILLED"):
        end_run(log.store, running, status)
        assert log.finished([key("a")]) == {}
    end_run(log.store, running)
    assert log.finished([key("a")]) == {key("a"): key("x")}


def test_a_run_of_another_stage_does_not_count(log: CellLog, tmp_path: Path) -> None:
    record(log, a_result(tmp_path / "a"))
    assert CellLog(log.store, log.parent, "benchmark", facts).finished([key("rsa-s1")]) == {}


def test_of_two_finished_runs_with_one_key_the_newest_counts(log: CellLog, tmp_path: Path) -> None:
    old = record(log, a_result(tmp_path / "a", "first"))
    new = record(log, a_result(tmp_path / "b", "second"))
    assert old != new
    assert log.finished([key("rsa-s1")]) == {key("rsa-s1"): new}
    assert run_tag(log.store, log.run_id(key("rsa-s1")), "result.sha256") == new


def test_a_deleted_folder_is_restored_to_the_byte(log: CellLog, tmp_path: Path) -> None:
    digest = record(log, a_result(tmp_path / "a"))
    shutil.rmtree(tmp_path / "a")
    log.restore(key("rsa-s1"), tmp_path / "a")
    assert digest_folder(tmp_path / "a") == digest
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


def test_a_restored_folder_is_the_one_that_counts(log: CellLog, tmp_path: Path) -> None:
    record(log, a_result(tmp_path / "a", "first"))
    new = record(log, a_result(tmp_path / "b", "second"))
    log.restore(key("rsa-s1"), tmp_path / "back")
    assert digest_folder(tmp_path / "back") == new


def test_nothing_is_restored_where_the_store_has_lost_the_files(log: CellLog, tmp_path: Path) -> None:
    record(log, a_result(tmp_path / "a"))
    shutil.rmtree(tmp_path / "artifacts")
    log.restore(key("rsa-s1"), tmp_path / "back")
    log.restore(key("never"), tmp_path / "never")
    assert not (tmp_path / "never").exists()
    assert not (tmp_path / "back").exists()


@pytest.mark.parametrize("points", [1, 999, 1000, 1001, 2500])
def test_a_long_history_is_logged_whole_beside_everything_else(store: Store, points: int) -> None:
    run_id = start_run(store, "a", {})
    params = {f"p{number}": str(number) for number in range(30)}
    tags = {f"t{number}": str(number) for number in range(30)}
    history = {"loss": [(step, 1 / (step + 1)) for step in range(points)]}
    log_facts(store, run_id, RunFacts(params=params, metrics={"accuracy": 0.5}, history=history, tags=tags))
    found = store.client.get_run(run_id)
    assert found.data.params == params
    assert {f"rsa.{name}" for name in tags} <= set(found.data.tags)
    assert found.data.metrics["accuracy"] == 0.5
    logged = store.client.get_metric_history(run_id, "loss")
    assert sorted((point.step, point.value) for point in logged) == history["loss"]


def test_more_parameters_than_mlflow_takes_at_once_are_logged(store: Store) -> None:
    run_id = start_run(store, "a", {})
    params = {f"p{number}": "x" for number in range(150)}
    log_facts(store, run_id, RunFacts(params=params, tags={f"t{number}": "x" for number in range(150)}))
    assert store.client.get_run(run_id).data.params == params


def test_a_parameter_longer_than_mlflow_takes_is_cut_not_refused(store: Store) -> None:
    run_id = start_run(store, "a", {})
    log_facts(store, run_id, RunFacts(params={"long": "x" * 20_000}))
    assert set(store.client.get_run(run_id).data.params["long"]) == {"x"}


def test_runs_of_a_dead_driver_are_marked_killed_with_their_cells(store: Store) -> None:
    dead = start_run(store, "dead", {"host": "here", "driver_pid": "1"})
    cell = start_run(store, "train a", {"stage": "train"}, dead)
    living = start_run(store, "living", {"host": "here", "driver_pid": "2"})
    living_cell = start_run(store, "train a", {"stage": "train"}, living)
    elsewhere = start_run(store, "elsewhere", {"host": "there", "driver_pid": "1"})
    finished = start_run(store, "finished", {"host": "here", "driver_pid": "1"})
    end_run(store, finished)
    assert sweep_stale(store, lambda pid: pid == 2, "here") == 1
    status = {run: store.client.get_run(run).info.status for run in (dead, cell, living, living_cell, elsewhere)}
    assert status == {
        dead: "KILLED",
        cell: "KILLED",
        living: "RUNNING",
        living_cell: "RUNNING",
        elsewhere: "RUNNING",
    }
    assert store.client.get_run(finished).info.status == "FINISHED"


def test_files_come_back_as_they_were_logged(store: Store, tmp_path: Path) -> None:
    run_id = start_run(store, "a", {})
    folder = a_result(tmp_path / "made")
    log_files(store, run_id, folder, "whole")
    log_files(store, run_id, folder / "measurements.json", "records")
    assert digest_folder(fetch_files(store, run_id, "whole", tmp_path / "back")) == digest_folder(folder)
    assert fetch_files(store, run_id, "records/measurements.json", tmp_path / "one").read_text() == "{}"


@pytest.mark.parametrize("wanted", [("0" * 32, "whole"), (None, "nothing/here.json")])
def test_a_run_or_artifact_that_is_not_there_is_missing(
    store: Store, tmp_path: Path, wanted: tuple[str | None, str]
) -> None:
    run_id = wanted[0] or start_run(store, "a", {})
    with pytest.raises(MissingError):
        fetch_files(store, run_id, wanted[1], tmp_path / "back")


def test_the_newest_finished_run_with_all_tags_is_found(store: Store) -> None:
    made = [start_run(store, "a", {"kind": "walk", "digest": "x"}) for _ in range(3)]
    end_run(store, made[0])
    end_run(store, made[1])
    assert find_run(store, {"kind": "walk", "digest": "x"}) in made[:2]  # within one millisecond both are newest
    assert find_run(store, {"kind": "walk", "digest": "y"}) is None
    assert run_tag(store, made[0], "digest") == "x"
    assert run_tag(store, made[0], "none") is None


def test_a_metric_that_is_no_number_does_not_stop_the_record(store: Store) -> None:
    run_id = start_run(store, "a", {})
    log_facts(store, run_id, RunFacts(metrics={"loss": float("nan")}))
    assert math.isnan(store.client.get_run(run_id).data.metrics["loss"])


def test_the_commit_of_a_repository_is_a_tag_and_none_is_invented(tmp_path: Path) -> None:
    import subprocess

    assert source_tags(tmp_path) == {}
    assert source_tags(tmp_path / "nowhere") == {}
    identity = {
        "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@b",
        "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@b",
    }

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=tmp_path, env={**os.environ, **identity}, check=True,
                              capture_output=True, text=True)  # fmt: skip
        return done.stdout.strip()

    git("init", "-q")
    write_text(tmp_path / "a", "1")
    git("add", "a")
    git("commit", "-qm", "a")
    assert source_tags(tmp_path) == {"git.commit": git("rev-parse", "HEAD"), "git.clean": "true"}
    write_text(tmp_path / "a", "2")
    assert source_tags(tmp_path)["git.clean"] == "false"
