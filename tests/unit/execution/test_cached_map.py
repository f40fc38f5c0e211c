"""The map computes what is missing, all of it, and nothing else; every result is believed by its digest only."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from tiny_jobs import FileLog, item, work

from rsa_ops.errors import CellFailed, ExitCode
from rsa_ops.execution.cached_map import Item, Result, cached_map, folder_of
from rsa_ops.execution.local import LocalExecutor
from rsa_ops.files import digest_folder


class Recorded:
    """A `Progress` that keeps what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.updates: list[tuple[str, float, str]] = []
        self.ends: list[tuple[str, str]] = []

    def stage(self, name: str, words: str) -> None:
        self.notes.append(f"{name}: {words}")

    def note(self, words: str) -> None:
        self.notes.append(words)

    def update(self, job: str, share: float, words: str) -> None:
        self.updates.append((job, share, words))

    def finish(self, job: str, words: str) -> None:
        self.ends.append((job, words))


def run(home: Path, items: list[Item], *, workers: int = 2) -> tuple[list[Result], Recorded]:
    progress = Recorded()
    executor = LocalExecutor(workers, home / "logs")
    results = cached_map(
        work, items, root=home / "cells", log=FileLog(home / "log"), executor=executor, progress=progress
    )
    return results, progress


def failing(home: Path, items: list[Item]) -> CellFailed:
    with pytest.raises(CellFailed) as caught:
        run(home, items)
    return caught.value


def litter(home: Path) -> list[str]:
    return [path.name for path in (home / "cells").rglob(".*")]


def test_results_stand_in_the_order_of_the_items_with_the_digest_of_their_folders(tmp_path: Path) -> None:
    items = [item("slow", ["sleep", 0.3, str(tmp_path)]), item("quick", "write"), item("last", "write")]
    results, progress = run(tmp_path, items)
    assert [result.item.name for result in results] == ["slow", "quick", "last"]
    assert all(result.digest == digest_folder(result.folder) for result in results)
    assert [json.loads((result.folder / "result").read_text()) for result in results] == [i.task for i in items]
    assert not any(result.reused for result in results)
    assert sorted(progress.ends) == [("last", "done"), ("quick", "done"), ("slow", "done")]


def test_a_second_run_computes_nothing(tmp_path: Path) -> None:
    first, _ = run(tmp_path, [item("a", "pid"), item("b", "pid")])
    second, progress = run(tmp_path, [item("a", "pid"), item("b", "pid")])
    assert [result.reused for result in second] == [True, True]
    assert [result.digest for result in second] == [result.digest for result in first]
    assert progress.ends == []


def test_only_what_is_missing_is_computed(tmp_path: Path) -> None:
    run(tmp_path, [item("a", "write")])
    results, progress = run(tmp_path, [item("a", "write"), item("b", "write")])
    assert [result.reused for result in results] == [True, False]
    assert progress.ends == [("b", "done")]
    assert progress.notes == ["1 to compute, 1 taken from finished runs"]


def test_another_key_is_another_result(tmp_path: Path) -> None:
    run(tmp_path, [item("a", "write")])
    results, _ = run(tmp_path, [item("a", "other")])
    assert results[0].reused is False
    assert json.loads((results[0].folder / "result").read_text()) == "other"


def test_a_finished_folder_without_a_record_is_taken_over_and_recorded(tmp_path: Path) -> None:
    first, _ = run(tmp_path, [item("a", "pid")])
    shutil.rmtree(tmp_path / "log")  # as if the driver had died before it could say so
    second, progress = run(tmp_path, [item("a", "pid")])
    assert second[0].digest == first[0].digest
    assert progress.ends == []
    assert FileLog(tmp_path / "log").finished([first[0].item.key]) == {first[0].item.key: first[0].digest}


def test_a_result_that_was_changed_after_it_was_finished_is_computed_again_and_said(tmp_path: Path) -> None:
    first, _ = run(tmp_path, [item("a", "write")])
    (first[0].folder / "result").write_text("forged")
    second, progress = run(tmp_path, [item("a", "write")])
    assert second[0].reused is False
    assert second[0].digest == first[0].digest
    assert any("a: " in note and "was changed after it was finished" in note for note in progress.notes)


def test_a_result_that_is_gone_is_computed_again(tmp_path: Path) -> None:
    first, _ = run(tmp_path, [item("a", "write")])
    shutil.rmtree(first[0].folder)
    second, _ = run(tmp_path, [item("a", "write")])
    assert second[0].reused is False
    assert second[0].digest == first[0].digest


def test_a_failing_job_stops_no_other_and_is_named(tmp_path: Path) -> None:
    items = [item("bad", "refuse"), item("good", "write"), item("also-good", "write")]
    error = failing(tmp_path, items)
    assert error.message.startswith("1 of 3 cells failed:\n  the rows are wrong")
    assert error.hint == "Mend them."
    assert set(FileLog(tmp_path / "log").finished([each.key for each in items])) == {items[1].key, items[2].key}
    assert not folder_of(items[0], tmp_path / "cells").exists()
    assert litter(tmp_path) == []


def test_a_failed_job_is_tried_again_by_the_next_run_only(tmp_path: Path) -> None:
    failing(tmp_path, [item("bad", "refuse"), item("good", "write")])
    progress = Recorded()
    with pytest.raises(CellFailed):
        cached_map(
            work, [item("bad", "refuse"), item("good", "write")], root=tmp_path / "cells",
            log=FileLog(tmp_path / "log"), executor=LocalExecutor(1, tmp_path / "logs"), progress=progress,
        )  # fmt: skip
    assert progress.ends == [("bad", "failed")]


@pytest.mark.parametrize(
    ("task", "code", "words"),
    [
        ("refuse", ExitCode.DATA_REFUSED, "the rows are wrong"),
        ("bug", ExitCode.BUG, "job: ZeroDivisionError: seven by nothing"),
        (["signal", "SIGKILL"], ExitCode.MISSING, "job: its process was killed by SIGKILL"),
        (["signal", "SIGSEGV"], ExitCode.MISSING, "job: its process was killed by SIGSEGV"),
        (["exit", 3], ExitCode.MISSING, "job: its process ended with exit code 3"),
        (["exit", 0], ExitCode.MISSING, "job: its process ended with exit code 0"),
        ("memory", ExitCode.MISSING, "out of memory"),
        ("full", ExitCode.MISSING, "no space left on the disk"),
        ("wrapped-full", ExitCode.MISSING, "no space left on the disk"),
    ],
)
def test_how_a_job_ended_is_said_with_the_right_exit_code(
    tmp_path: Path, task: object, code: ExitCode, words: str
) -> None:
    error = failing(tmp_path, [item("job", task)])
    assert words in error.message
    assert error.exit_code == code
    assert not folder_of(item("job", task), tmp_path / "cells").exists()


def test_only_a_kill_is_explained_by_memory(tmp_path: Path) -> None:
    assert "out of memory" in failing(tmp_path, [item("job", ["signal", "SIGKILL"])]).hint
    assert "out of memory" not in failing(tmp_path, [item("job", ["signal", "SIGSEGV"])]).hint
    assert str(tmp_path / "logs" / "job.log") in failing(tmp_path, [item("job", ["exit", 3])]).hint


def test_a_killed_worker_leaves_no_litter(tmp_path: Path) -> None:
    failing(tmp_path, [item("job", ["signal", "SIGKILL"]), item("good", "write")])
    assert litter(tmp_path) == []


def test_the_gravest_exit_code_wins_and_every_reason_is_listed(tmp_path: Path) -> None:
    error = failing(tmp_path, [item("a", "refuse"), item("b", "bug"), item("c", ["exit", 3])])
    assert error.exit_code == ExitCode.BUG
    assert len(error.message.splitlines()) == 4


def test_the_log_of_a_bug_holds_its_output_and_its_traceback_once(tmp_path: Path) -> None:
    failing(tmp_path, [item("job", "bug")])
    log = (tmp_path / "logs" / "job.log").read_bytes()
    assert b"words on stdout" in log
    assert b"words on stderr" in log
    assert b"\xff\xfe not utf-8" in log
    assert log.count(b"ZeroDivisionError: seven by nothing") == 1
    assert b"tiny_jobs.py" in log


def test_the_progress_of_a_job_is_passed_on_in_order(tmp_path: Path) -> None:
    _, progress = run(tmp_path, [item("job", "tell")])
    assert progress.updates == [("job", 0.25, "at 0.25"), ("job", 0.5, "at 0.5"), ("job", 1.0, "at 1.0")]


def test_every_job_has_a_process_of_its_own(tmp_path: Path) -> None:
    results, _ = run(tmp_path, [item(name, ["pid", name]) for name in "abc"], workers=1)
    assert len({(result.folder / "pid").read_text() for result in results} | {str(os.getpid())}) == 4


def test_two_pieces_of_work_under_one_name_are_refused_not_lost(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="same"):
        run(tmp_path, [item("same", "write"), item("same", "other")])


def test_nothing_to_do_is_done(tmp_path: Path) -> None:
    assert run(tmp_path, [])[0] == []
