"""Many trials on one device: worker processes, each of which runs a few trials side by side.

A process alternates between its trials step by step; on a GPU each has its own stream, so that the small kernels
of one fill what those of another leave idle. The parent decides what runs next (`plan.next_trials`) and writes
every result as it comes. A worker in which a step could not be recorded as a CUDA graph ends; the parent starts
another, and that method runs eagerly from then on.
"""

from __future__ import annotations

import gc
import math
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from quality.plan import Study, Trial, next_trials
from quality.records import Record, finished, mend, read, to_line
from quality.tasks import TASKS

PRELOAD = ("torch", "transformers", "peft", "quality.training", "rsa_ops.tuners", "rsa_ops.training.optimizer")
MOST_ERRORS = 2
"""A trial that ended in an error so often is not tried again; its study then waits for a person."""


OUTSIDE_THE_STEP = {"delta_decay", "trust_ratio"}
"""Flags of `Robustness` that act between steps; the others change the step, and may wait for the host in it."""


@dataclass(frozen=True)
class Order:
    """A trial for a worker, and whether its steps are to be recorded."""

    trial: Trial
    graphs: bool


@dataclass(frozen=True)
class Settings:
    """How a run uses the machine.

    Attributes:
        workers: processes.
        streams: trials side by side in each.
        minutes: no trial is started after this time.
        graphs: whether steps are recorded as CUDA graphs, where there is CUDA.
        eager: methods whose steps are not recorded in any case.
    """

    workers: int = 5
    streams: int = 2
    minutes: float = 9.0
    graphs: bool = True
    eager: tuple[str, ...] = ()


def score_of(record: Record) -> float:
    """The score that decides, higher is better; -inf of a training that diverged."""
    if record["diverged"]:
        return -math.inf
    task = TASKS[record["task"]]
    return float(record["metrics"]["accuracy"] if task.higher_is_better else -record["metrics"]["nll"])


# --- The worker's side ---------------------------------------------------------------------------------------


class _Side:
    """A trial under way, with its stream and its random state, so that trials do not disturb one another."""

    def __init__(self, order: Order, steps: Any, device: str, stream: Any) -> None:
        import torch

        self.order, self.stream, self._steps = order, stream, steps
        self._cuda = torch.cuda.default_generators[torch.cuda.current_device()] if device == "cuda" else None
        self._random = torch.get_rng_state() if self._cuda is None else self._cuda.clone_state()

    def advance(self) -> Record | None:
        """Run to the next pause; the result when the trial has ended."""
        import torch

        # A recorded step draws from the state it was recorded with, so on CUDA the state itself changes hands.
        if self._cuda is not None:
            self._cuda.graphsafe_set_state(self._random)
        else:
            torch.set_rng_state(self._random)
        with torch.cuda.stream(self.stream) if self.stream is not None else nullcontext():
            try:
                next(self._steps)
            except StopIteration as end:
                return dict(end.value)
        if self._cuda is None:
            self._random = torch.get_rng_state()
        return None


def work(pipe: Connection, folder: Path, device: str, count: int) -> None:
    """A worker's life: take orders, run them side by side, send results; ends with the pipe or on None."""
    import torch

    from quality.bench import Bench
    from quality.stepping import CaptureError
    from quality.training import train

    torch.set_num_threads(1)
    torch.set_float32_matmul_precision("high")
    bench = Bench(folder, device)
    # Memory of one stream is not given to another, so the streams are few and are used again.
    streams = [torch.cuda.Stream() if device == "cuda" else None for _ in range(count)]
    sides: list[_Side] = []
    gc.freeze()
    open_ = True
    while open_ or sides:
        while open_ and pipe.poll(0 if sides else None):
            order = pipe.recv()
            if order is None:
                open_ = False
            else:
                free = next(
                    stream for stream in streams if stream is None or all(stream is not s.stream for s in sides)
                )
                sides.append(_Side(order, train(bench, order.trial, graphs=order.graphs), device, free))
        for side in list(sides):
            try:
                result = side.advance()
            except CaptureError as error:
                pipe.send(("unrecorded", side.order, str(error)))
                return
            except Exception:  # noqa: BLE001  whatever a method throws, the others go on
                result = {"error": traceback.format_exc(limit=8)}
            if result is not None:
                sides.remove(side)
                pipe.send(("done", side.order, result))
                del side
                gc.collect()  # adapted models hold themselves in cycles
                if device == "cuda":
                    torch.cuda.empty_cache()


# --- The parent's side ---------------------------------------------------------------------------------------


@dataclass
class _Worker:
    process: Any
    pipe: Connection
    orders: dict[str, Order] = field(default_factory=dict)


class Pool:
    """Runs studies until they are done or the time is over."""

    def __init__(self, folder: Path, out: Path, settings: Settings, device: str) -> None:
        self.folder, self.out, self.settings, self.device = folder, out, settings, device
        self.context = get_context("forkserver")
        self.context.set_forkserver_preload(list(PRELOAD))
        self.eager = set(settings.eager)
        self.records: dict[str, Record] = {}
        self.errors: dict[str, float] = {}
        self.workers: list[_Worker] = []
        self.started = time.monotonic()

    def run(self, studies: Iterable[Study], known: Iterable[Path], note: Callable[[str], None] = print) -> int:
        """Run what `known` files and `out` do not hold yet; returns how many trials were added."""
        studies = tuple(studies)
        self.out.parent.mkdir(parents=True, exist_ok=True)
        self.records = finished(read([*known, *([self.out] if self.out.exists() else [])]))
        before = len(self.records)
        mend(self.out)
        try:
            while self._feed(studies) or any(worker.orders for worker in self.workers):
                self._listen(note)
        finally:
            for worker in self.workers:
                _end(worker, hard=bool(worker.orders))
        return len(self.records) - before

    @property
    def over(self) -> bool:
        """Whether the time is over."""
        return time.monotonic() - self.started > 60 * self.settings.minutes

    def _feed(self, studies: tuple[Study, ...]) -> bool:
        """Give free places what is wanted most; whether anything was given."""
        if self.over:
            return False
        running = {key for worker in self.workers for key in worker.orders}
        done = {key: score_of(record) for key, record in self.records.items()}
        lost = {key for key, count in self.errors.items() if count >= MOST_ERRORS}
        gave = False
        for trial in next_trials(studies, done, frozenset(running | lost)):
            worker = self._free()
            if worker is None:
                break
            order = Order(trial, self._graphs(trial))
            try:
                worker.pipe.send(order)
            except (BrokenPipeError, ConnectionResetError):
                self._bury(worker)
                continue
            worker.orders[trial.key] = order
            gave = True
        return gave

    def _graphs(self, trial: Trial) -> bool:
        variant = trial.variant
        robust = bool({flag for flag, _ in variant.robustness} - OUTSIDE_THE_STEP)
        return self.device == "cuda" and self.settings.graphs and not robust and variant.method not in self.eager

    def _free(self) -> _Worker | None:
        """The worker with the fewest trials, a new one while there may be more; None when all are full."""
        idle = min(self.workers, key=lambda worker: len(worker.orders), default=None)
        if (idle is None or idle.orders) and len(self.workers) < self.settings.workers:
            ours, theirs = self.context.Pipe()
            process = self.context.Process(
                target=work, args=(theirs, self.folder, self.device, self.settings.streams), daemon=True
            )
            process.start()
            theirs.close()
            idle = _Worker(process, ours)
            self.workers.append(idle)
        return idle if idle is not None and len(idle.orders) < self.settings.streams else None

    def _listen(self, note: Callable[[str], None]) -> None:
        for pipe in wait([worker.pipe for worker in self.workers], timeout=1.0):
            worker = next(one for one in self.workers if one.pipe is pipe)
            try:
                kind, order, content = worker.pipe.recv()
            except (EOFError, OSError):
                worker.process.join(timeout=5)
                note(f"a worker died ({worker.process.exitcode}); its {len(worker.orders)} trials run again")
                for key in worker.orders:  # which of them it was is not known
                    self.errors[key] = self.errors.get(key, 0.0) + 1 / len(worker.orders)
                self._bury(worker)
                continue
            if kind == "unrecorded":
                self.eager.add(order.trial.variant.method)
                note(f"{order.trial.variant.method} runs eagerly from now on: {content}")
                self._bury(worker)
            else:
                worker.orders.pop(order.trial.key)
                self._keep(order, content, note)

    def _bury(self, worker: _Worker) -> None:
        self.workers.remove(worker)
        _end(worker, hard=True)

    def _keep(self, order: Order, content: Record, note: Callable[[str], None]) -> None:
        trial = order.trial
        record = {
            "key": trial.key,
            "task": trial.task,
            "variant": asdict(trial.variant),
            "rate": trial.rate,
            "seed": trial.seed,
            "split": trial.split,
            **content,
        }
        with self.out.open("a", encoding="utf-8") as lines:
            lines.write(to_line(record))
        if "error" in record:
            self.errors[trial.key] = self.errors.get(trial.key, 0) + 1
            note(f"{trial.key}: {content['error']}")
            return
        self.records[trial.key] = record
        clock = time.monotonic() - self.started
        figures = {name: round(value, 4) for name, value in content.get("metrics", {}).items()}
        note(f"{clock:6.1f} s  {trial.key}  {figures or 'diverged'}  {content['seconds']:.1f} s")


def _end(worker: _Worker, *, hard: bool) -> None:
    """Let a worker go; a `hard` end does not wait for what it is at."""
    if hard:
        worker.process.kill()
    else:
        try:
            worker.pipe.send(None)
        except OSError:
            worker.process.kill()
    worker.process.join(timeout=20)
    worker.pipe.close()
    sys.stdout.flush()
