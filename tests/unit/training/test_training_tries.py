"""Every training that was begun is counted, however it ended."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from rsa_ops.training.tries import BEAT_SECONDS, Earlier, Try, earlier_tries


def _die(folder: Path) -> None:
    with Try(folder):
        time.sleep(1.5)
        os.kill(os.getpid(), signal.SIGKILL)


def test_the_first_try_has_none_before_it(tmp_path: Path) -> None:
    with Try(tmp_path / "marks") as attempt:
        assert attempt.earlier == Earlier(0, 0.0)


def test_a_killed_try_counts_with_the_seconds_that_it_lived(tmp_path: Path) -> None:
    process = multiprocessing.get_context("fork").Process(target=_die, args=(tmp_path,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    found = earlier_tries(tmp_path)
    assert found.count == 1
    assert 1.5 - BEAT_SECONDS <= found.seconds < 10


def test_a_try_that_raises_is_counted_to_its_end(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), Try(tmp_path):
        time.sleep(0.3)
        _ = 1 / 0
    found = earlier_tries(tmp_path)
    assert found.count == 1
    assert 0.29 <= found.seconds < 10
    before = [mark.stat().st_mtime_ns for mark in tmp_path.iterdir()]
    time.sleep(1.2 * BEAT_SECONDS)
    assert before == [mark.stat().st_mtime_ns for mark in tmp_path.iterdir()]  # nobody renews it any more


def test_tries_add_up(tmp_path: Path) -> None:
    for begin, seconds in ((10**18, 5), (2 * 10**18, 7)):
        mark = tmp_path / f"{begin}.1"
        mark.touch()
        os.utime(mark, ns=(begin, begin + seconds * 10**9))
    assert earlier_tries(tmp_path) == Earlier(2, pytest.approx(12.0))


def test_a_clock_that_was_set_back_gives_no_time_less_than_none(tmp_path: Path) -> None:
    mark = tmp_path / f"{2 * 10**18}.1"
    mark.touch()
    os.utime(mark, ns=(10**18, 10**18))
    assert earlier_tries(tmp_path) == Earlier(1, 0.0)


def test_a_cell_alone_keeps_no_marks(tmp_path: Path) -> None:
    with Try(None) as attempt:
        assert attempt.earlier == Earlier(0, 0.0)
    assert list(tmp_path.iterdir()) == []
