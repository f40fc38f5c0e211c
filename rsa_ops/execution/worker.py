"""The child's side: run one job, write its folder whole, say how it ended. It never outlives its parent."""

from __future__ import annotations

import contextlib
import fcntl
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from rsa_ops.errors import CellFailed, ExitCode, RsaOpsError
from rsa_ops.files import fresh_folder

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
    """End this process when the one that asked for it ends, however that ends.

    The kernel's parent-death signal is of no use here: the parent is the fork server, and that lives as long as
    any worker does. The sentinel is a pipe whose other end only the driver holds; on Linux the kernel kills us
    when it closes, even while C code keeps the interpreter's lock; elsewhere a thread watches it.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    if sys.platform.startswith("linux"):
        fcntl.fcntl(parent.sentinel, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(parent.sentinel, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(parent.sentinel, fcntl.F_SETFL, fcntl.fcntl(parent.sentinel, fcntl.F_GETFL) | os.O_ASYNC)
        if wait([parent.sentinel], timeout=0):  # it ended before we asked
            os._exit(int(ExitCode.INTERRUPTED))
    else:
        threading.Thread(target=_end_after, args=(parent.sentinel,), daemon=True).start()


def _end_after(sentinel: int) -> None:
    wait([sentinel])
    os._exit(int(ExitCode.INTERRUPTED))


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
            hint = "Fewer workers, or a smaller batch_size."
            pipe.send(Message("refused", error=CellFailed(f"{log.stem}: out of memory: {error}", hint=hint)))
        finally:
            _report_bug(pipe)


def _report_bug(pipe: Connection) -> None:
    # Not an except clause: whatever flies past is reported and flies on, to end this process.
    error = sys.exc_info()[1]
    if error is not None and not isinstance(error, SystemExit):
        with contextlib.suppress(OSError):
            pipe.send(Message("bug", words="".join(traceback.format_exception(error))))
