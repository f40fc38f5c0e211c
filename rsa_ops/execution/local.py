"""Jobs in local processes, each a fresh one: a job's memory is its own, and its end cannot take others along.

`concurrent.futures` is not used: one dead worker breaks its whole pool, and a grid must survive one cell.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any

from rsa_ops.errors import CellFailed, MissingError, RsaOpsError
from rsa_ops.execution.progress import Progress
from rsa_ops.execution.worker import Message, Work, run_job
from rsa_ops.files import clear_leftovers


@dataclass(frozen=True)
class Job:
    """`work(task, folder, progress)` under a name; `task` and `work` can be pickled."""

    name: str
    work: Work
    task: Any
    folder: Path


@dataclass
class _Running:
    job: Job
    process: ForkServerProcess
    pipe: Connection
    ended: Message | None = None


@dataclass(frozen=True)
class LocalExecutor:
    """Runs jobs in at most `workers` processes. `preload` names modules that the fork server imports once."""

    workers: int
    logs: Path
    preload: tuple[str, ...] = ()

    def run(self, jobs: Sequence[Job], progress: Progress) -> Mapping[str, RsaOpsError | None]:
        """Run all jobs; the answer maps each name to its error, or to None when it is done.

        One job's error does not stop the others. Ctrl-C ends the workers and goes on up.
        """
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(self.preload))
        _start_fork_server()
        waiting, running = list(reversed(jobs)), list[_Running]()
        results: dict[str, RsaOpsError | None] = {}
        try:
            while waiting or running:
                while waiting and len(running) < self.workers:
                    running.append(self._start(context, waiting.pop()))
                wait([entry.pipe for entry in running])
                for entry in list(running):
                    if self._listen(entry, progress):
                        running.remove(entry)
                        results[entry.job.name] = self._close(entry, progress)
        finally:
            for entry in running:
                entry.process.kill()
                entry.process.join()
                clear_leftovers(entry.job.folder)
        return results

    def _start(self, context: ForkServerContext, job: Job) -> _Running:
        clear_leftovers(job.folder)
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(
            target=run_job, args=(job.work, job.task, job.folder, self._log(job), theirs), daemon=True
        )
        process.start()
        theirs.close()
        return _Running(job, process, ours)

    def _listen(self, entry: _Running, progress: Progress) -> bool:
        """Take what the pipe holds; True when the worker has said its last word."""
        while entry.pipe.poll():
            try:
                message = entry.pipe.recv()
            except (EOFError, OSError):  # the second when it was killed in the middle of a word
                return True
            if message.kind == "progress":
                progress.update(entry.job.name, message.share, message.words)
            else:
                entry.ended = message
        return False

    def _close(self, entry: _Running, progress: Progress) -> RsaOpsError | None:
        entry.process.join()
        entry.pipe.close()
        clear_leftovers(entry.job.folder)
        error = self._error(entry)
        progress.finish(entry.job.name, "failed" if error else "done")
        return error

    def _error(self, entry: _Running) -> RsaOpsError | None:
        ended, log = entry.ended, self._log(entry.job)
        if ended is None:
            code = entry.process.exitcode or 0
            how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
            likely = "Most often the kernel ran out of memory: fewer workers, or a smaller batch_size. "
            hint = f"{likely if -code == signal.SIGKILL else ''}Its output: {log}"
            return CellFailed(f"{entry.job.name}: its process {how}", hint=hint)
        if ended.kind == "bug" and "No space left on device" in ended.words:  # however a library wraps it
            words = f"{entry.job.name}: no space left on the disk of {entry.job.folder.parent}"
            return MissingError(words, hint="Free some space and run again; finished work is kept.")
        if ended.kind == "bug":
            last = ended.words.strip().splitlines()[-1]
            return RsaOpsError(f"{entry.job.name}: {last}", hint=f"The whole traceback is in {log}")
        return ended.error

    def _log(self, job: Job) -> Path:
        return self.logs / f"{job.name}.log"


def _start_fork_server() -> None:
    # A Ctrl-C while it imports would end it with a traceback. What is blocked here stays blocked in it.
    resource_tracker.ensure_running()  # first, because it unblocks the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
