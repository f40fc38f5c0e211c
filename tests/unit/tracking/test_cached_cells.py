"""The map on the real store: what a changed, deleted or unrecorded result leads to, run after run."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from rsa_ops.core.digest import digest_value
from rsa_ops.execution.cached_map import Item, Result, cached_map
from rsa_ops.execution.progress import Silent
from rsa_ops.files import fresh_folder, write_text
from rsa_ops.tracking.runs import CellLog, RunFacts, start_run
from rsa_ops.tracking.store import Store


class Here:
    """An executor that works in this process: the store is what is tested here. Counts what it computes."""

    def __init__(self) -> None:
        self.computed: list[str] = []

    def run(self, jobs: Any, progress: Any) -> dict[str, None]:
        for job in jobs:
            self.computed.append(job.name)
            with fresh_folder(job.folder) as out:
                # As in real training, no two results are equal: they hold measured times.
                write_text(out / "result", f"{job.name} computed as number {len(self.computed)}")
            progress.finish(job.name, "done")
        return {job.name: None for job in jobs}


@pytest.fixture
def walk(store: Store, tmp_path: Path):
    executor = Here()

    def once(*names: str) -> list[Result]:
        log = CellLog(store, start_run(store, "walk", {}), "train", lambda _: RunFacts())
        items = [Item("train", name, digest_value(name), None) for name in names]
        return cached_map(
            print,
            items,
            root=tmp_path / "cells",
            log=log,
            executor=executor,
            progress=Silent(),  # type: ignore[arg-type]
        )

    once.executor = executor  # type: ignore[attr-defined]
    return once


def test_finished_cells_are_computed_once(walk) -> None:
    first = walk("a", "b")
    assert [result.digest for result in walk("a", "b")] == [result.digest for result in first]
    assert walk.executor.computed == ["a", "b"]


def test_a_cell_that_was_changed_is_computed_again_once_not_for_ever(walk) -> None:
    (first,) = walk("a")
    write_text(first.folder / "result", "forged")
    (second,) = walk("a")
    (third,) = walk("a")
    assert (second.reused, third.reused) == (False, True)
    assert walk.executor.computed == ["a", "a"]


def test_a_cell_that_was_deleted_comes_back_from_the_store(walk) -> None:
    (first,) = walk("a")
    shutil.rmtree(first.folder)
    (second,) = walk("a")
    assert (second.digest, second.reused) == (first.digest, True)
    assert walk.executor.computed == ["a"]


def test_a_cell_that_was_changed_in_the_store_too_is_computed_again(walk, tmp_path: Path) -> None:
    (first,) = walk("a")
    shutil.rmtree(first.folder)
    (stored,) = (tmp_path / "artifacts").rglob("result")
    stored.write_text("forged")
    (second,) = walk("a")
    assert second.reused is False
    assert walk.executor.computed == ["a", "a"]
