"""Every training that was begun is counted, however it ended."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from rsa_ops.training.tries import Earlier, Try, earlier_tries


def _die(folder: Path) -> None:
    attempt = Try(folder)
    time.sleep(0.3)
    attempt.alive()
    os.kill(os.getpid(), signal.SIGKILL)


def test_the_first_try_has_none_before_it(tmp_path: Path) -> None:
    assert Try(tmp_path / "marks").earlier == Earlier(0, 0.0)


def test_a_killed_try_counts_with_the_seconds_that_it_lived(tmp_path: Path) -> None:
    process = multiprocessing.get_context("fork").Process(target=_die, args=(tmp_path,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    found = Try(tmp_path).earlier
    assert found.count == 1
    assert 0.3 <= found.seconds < 3


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
    attempt = Try(None)
    attempt.alive()
    assert attempt.earlier == Earlier(0, 0.0)
    assert list(tmp_path.iterdir()) == []
