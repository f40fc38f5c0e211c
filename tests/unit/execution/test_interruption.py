"""Whatever ends a run, no worker outlives it, nothing half-written stays, and the next run goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
DRIVER = Path(__file__).with_name("tiny_jobs.py")
ALIVE_SECONDS = 3
"""No worker may live longer than this after its driver's end."""


STARTED: list[int] = []


@pytest.fixture(autouse=True)
def _nothing_outlives_a_failed_test() -> Iterator[None]:
    yield
    for pid in [pid for leader in STARTED for pid in session_of(leader)]:
        os.kill(pid, signal.SIGKILL)
    STARTED.clear()


def driver(
    home: Path, tasks: dict[str, object], workers: int = 2, preload: str = "rsa_ops.files"
) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, str(DRIVER), str(home), json.dumps(tasks), str(workers), preload],
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{home}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a process group of its own, as a terminal gives
    )
    STARTED.append(process.pid)
    return process


def wait_for(condition: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "never happened"
        time.sleep(0.02)


def workers_in(home: Path) -> list[int]:
    return [int(file.stem) for file in home.glob("*.pid")]


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def session_of(pid: int) -> list[int]:
    """All living processes of the session that `pid` leads."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and alive(int(entry.name)):
            try:
                if os.getsid(int(entry.name)) == pid:
                    found.append(int(entry.name))
            except ProcessLookupError:
                continue
    return found


def resumed(home: Path, tasks: dict[str, object]) -> dict[str, bool]:
    done = driver(home, tasks)
    out, err = done.communicate(timeout=60)
    assert done.returncode == 0, err
    return json.loads(out)


@pytest.mark.parametrize("how", ["sleep", "hold-gil"])
def test_kill_9_of_the_driver_takes_its_workers_along(tmp_path: Path, how: str) -> None:
    process = driver(tmp_path, {"a": [how, 60, str(tmp_path)], "b": [how, 60, str(tmp_path)]})
    wait_for(lambda: len(workers_in(tmp_path)) == 2)
    workers = workers_in(tmp_path)
    assert all(alive(pid) for pid in workers)
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_for(lambda: not any(alive(pid) for pid in workers), ALIVE_SECONDS)
    wait_for(lambda: not session_of(process.pid), ALIVE_SECONDS)


def test_after_kill_9_the_next_run_computes_only_what_was_not_finished(tmp_path: Path) -> None:
    tasks: dict[str, object] = {"done": "write", "cut": ["sleep", 1.5, str(tmp_path)], "never": "write"}
    process = driver(tmp_path, tasks, workers=1)
    wait_for(lambda: workers_in(tmp_path))
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_for(lambda: not session_of(process.pid), ALIVE_SECONDS)
    finished = [folder.name.rpartition("-")[0] for folder in (tmp_path / "cells" / "train").glob("[!.]*")]
    assert finished == ["done"]
    assert resumed(tmp_path, tasks) == {"done": True, "cut": False, "never": False}
    assert list((tmp_path / "cells").rglob(".*")) == []
    assert resumed(tmp_path, tasks) == {"done": True, "cut": True, "never": True}


def test_ctrl_c_ends_driver_and_workers_and_the_next_run_goes_on(tmp_path: Path) -> None:
    tasks: dict[str, object] = {"done": "write", "cut": ["sleep", 1.5, str(tmp_path)]}
    process = driver(tmp_path, tasks)
    wait_for(lambda: workers_in(tmp_path) and list((tmp_path / "log").glob("*-done-*")))
    os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to the whole group
    _, err = process.communicate(timeout=10)
    assert process.returncode == 130
    assert "Traceback" not in err
    wait_for(lambda: not session_of(process.pid), ALIVE_SECONDS)
    assert list((tmp_path / "cells").rglob(".*")) == []
    assert resumed(tmp_path, tasks) == {"done": True, "cut": False}


def test_ctrl_c_while_the_fork_server_still_imports_is_quiet(tmp_path: Path) -> None:
    text = f"import pathlib, time\npathlib.Path({str(tmp_path / 'importing')!r}).touch()\ntime.sleep(2)\n"
    (tmp_path / "slow_to_import.py").write_text(text)
    process = driver(tmp_path, {"a": "write"}, preload="slow_to_import")
    wait_for((tmp_path / "importing").exists)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=10)
    assert process.returncode == 130
    assert "Traceback" not in err
    wait_for(lambda: not session_of(process.pid), ALIVE_SECONDS)


def test_sigterm_of_the_driver_takes_its_workers_along(tmp_path: Path) -> None:
    process = driver(tmp_path, {"a": ["sleep", 60, str(tmp_path)]})
    wait_for(lambda: workers_in(tmp_path))
    process.terminate()
    process.wait(timeout=10)
    wait_for(lambda: not session_of(process.pid), ALIVE_SECONDS)


def test_kill_9_of_one_worker_costs_only_its_own_job(tmp_path: Path) -> None:
    tasks: dict[str, object] = {"victim": ["sleep", 60, str(tmp_path)], "other": "write"}
    process = driver(tmp_path, tasks)
    wait_for(lambda: workers_in(tmp_path))
    os.kill(workers_in(tmp_path)[0], signal.SIGKILL)
    _, err = process.communicate(timeout=20)
    assert "victim: its process was killed by SIGKILL" in err
    assert [folder.name.rpartition("-")[0] for folder in (tmp_path / "cells" / "train").iterdir()] == ["other"]
