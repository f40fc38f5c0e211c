"""The child's side: run one job, write its folder whole, say how it ended. It never outlives its parent."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from rsa_ops.errors import ExitCode, RsaOpsError
from rsa_ops.files import fresh_folder

_PR_SET_PDEATHSIG = 1

Work = Callable[[Any, Path, Callable[[float, str], None]], object]
"""`work(task, folder, progress)` writes its results into `folder`, which appears only when it returns."""


@dataclass(frozen=True)
class Message:
    """From child to parent. `kind`: progress, done, refused (a user's error) or bug (with its traceback)."""

    kind: str
    share: float = 0.0
    words: str = ""
    error: RsaOpsError | None = None


def die_with_parent() -> None:
    """Ask the kernel to kill this process when its parent, the fork server, ends (on Linux).

    The fork server ends when the driver does. A driver that was gone before the kernel was asked is noticed
    here; elsewhere than on Linux this is all there is, besides the pipe that breaks at the next progress.
    """
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    driver = multiprocessing.parent_process()
    if driver is not None and not driver.is_alive():
        sys.exit(int(ExitCode.INTERRUPTED))


def run_job(work: Work, task: Any, folder: Path, log: Path, pipe: Connection) -> None:
    """Entry point of a worker process."""
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as noise:
        os.dup2(noise.fileno(), 1)
        os.dup2(noise.fileno(), 2)
        try:
            with fresh_folder(folder) as out:
                work(task, out, lambda share, words: pipe.send(Message("progress", share, words)))
            pipe.send(Message("done"))
        except RsaOpsError as error:
            pipe.send(Message("refused", error=error))
        except BrokenPipeError:
            sys.exit(int(ExitCode.INTERRUPTED))  # the parent is gone
        except MemoryError as error:
            pipe.send(Message("bug", words=f"out of memory: {error}"))
        finally:
            _report_bug(pipe)


def _report_bug(pipe: Connection) -> None:
    # Not an except clause: whatever flies past is reported and flies on, to end this process.
    error = sys.exc_info()[1]
    if error is not None and not isinstance(error, SystemExit):
        with contextlib.suppress(OSError):
            pipe.send(Message("bug", words="".join(traceback.format_exception(error))))
