"""One run of a pipeline: its configuration, its working folder, its parent MLflow run, and who watches."""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import rsa_ops
from rsa_ops.core.record import Record
from rsa_ops.errors import RsaOpsError
from rsa_ops.execution.local import LocalExecutor
from rsa_ops.execution.progress import Progress
from rsa_ops.files import process_alive, write_record
from rsa_ops.gates.policy import Policy
from rsa_ops.governance.notary import Notary
from rsa_ops.stages.config import PipelineConfig
from rsa_ops.stages.ledger import LedgerChoice, run_notary
from rsa_ops.tracking.context import source_tags
from rsa_ops.tracking.run_context import origin, within_run
from rsa_ops.tracking.runs import RunFacts, end_run, log_facts, log_files, start_run, sweep_stale
from rsa_ops.tracking.store import Store, open_store

PRELOAD = (
    "pandas",
    "pyarrow.parquet",
    "sklearn.metrics",
    "torch",
    "transformers.trainer",
    "peft",
    "rsa_ops.tuners",
    "rsa_ops.models.heads",
    "rsa_ops.training.cell",
    "rsa_ops.evaluation.benchmark",
    "rsa_ops.evaluation.base",
)
"""Slow imports that the workers share. Imports only: no thread is started, no device touched before the fork."""


@dataclass(frozen=True)
class Run:
    """What every stage is handed. `folder` holds pipeline.yaml, `work` everything that is made.

    `work/results` holds the records of this run, `work/cells` the finished cells of all runs. `language` is that of
    the decision sheet.
    """

    config: PipelineConfig
    policy: Policy
    folder: Path
    work: Path
    store: Store
    run_id: str
    executor: LocalExecutor
    threads: int
    progress: Progress
    notary: Notary
    language: str = "en"

    @property
    def cells(self) -> Path:
        """Finished cells of all runs, by stage and key."""
        return self.work / "cells"

    @property
    def results(self) -> Path:
        """The records of this run."""
        return self.work / "results"

    @property
    def mlflow_command(self) -> str:
        """The command, or the address, that opens MLflow on this run's store."""
        if not self.store.uri.startswith("sqlite:"):
            return self.store.uri
        return shlex.join([mlflow_program(), "ui", "--backend-store-uri", self.store.uri])

    def keep(self, record: Record, name: str) -> Path:
        """Write a record to the results and to the parent run's artifacts."""
        path = self.results / name
        write_record(path, record)
        return self.keep_file(path)

    def keep_file(self, path: Path) -> Path:
        """Copy a file of the results to the parent run's artifacts."""
        log_files(self.store, self.run_id, path, path.parent.relative_to(self.results).as_posix().strip("."))
        return path

    def tag(self, tags: dict[str, str]) -> None:
        """Set tags (under `rsa.`) on the parent run."""
        log_facts(self.store, self.run_id, RunFacts(tags=tags))


@contextmanager
def open_run(
    config: PipelineConfig,
    policy: Policy,
    folder: Path,
    work: Path,
    progress: Progress,
    ledger: LedgerChoice,
    language: str = "en",
) -> Iterator[Run]:
    """Open store and ledger, start the parent run, and end it as it deserves: FINISHED, FAILED or KILLED."""
    shutil.rmtree(work / "results", ignore_errors=True)  # records of an earlier run; MLflow keeps them
    uri = tracking_uri(config, work)
    progress.stage("store", uri)
    store = open_store(uri, config.name, work / "artifacts")
    notary = run_notary(ledger, store.uri, work, progress.note)
    host = socket.gethostname()
    sweep_stale(store, process_alive, host)
    tags = {"pipeline": config.name, "host": host, "driver_pid": str(os.getpid()), "version": rsa_ops.__version__}
    run_id = start_run(store, config.name, {**origin(folder, os.environ), **source_tags(folder), **tags})
    workers, threads = split_machine(config)
    run = Run(
        config=config,
        policy=policy,
        folder=folder,
        work=work,
        store=store,
        run_id=run_id,
        executor=LocalExecutor(workers, work / "logs", PRELOAD),
        threads=threads,
        progress=progress,
        notary=notary,
        language=language,
    )
    status = "KILLED"
    try:
        with within_run(folder):
            yield run
        status = "FINISHED"
    except RsaOpsError:
        status = "FAILED"
        raise
    finally:
        _end_quietly(run, status)
        notary.ledger.close()


def mlflow_program() -> str:
    """What starts the `mlflow` of this Python: its name where the shell finds it, else its path."""
    ours = Path(sys.executable).with_name("mlflow")
    found = shutil.which("mlflow")
    if found is not None and Path(found) == ours:
        return "mlflow"
    here = Path.cwd()
    return str(ours.relative_to(here) if ours.is_relative_to(here) else ours)


def tracking_uri(config: PipelineConfig, work: Path) -> str:
    """Where MLflow keeps its records: pipeline.yaml, then MLFLOW_TRACKING_URI, then the working folder."""
    return (
        config.tracking.uri
        or os.environ.get("MLFLOW_TRACKING_URI")
        or f"sqlite:///{(work / 'mlflow.db').resolve()}"
    )


def split_machine(config: PipelineConfig) -> tuple[int, int]:
    """(workers, threads for each): on a CPU one thread a worker, which wastes least; on a GPU one worker.

    Generation keeps to two workers, because each holds a whole language model with its optimizer state.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = config.execution.workers
    if workers == 0:
        cells = len(config.train.arms) * len(config.train.seeds)
        limit = 2 if config.task == "generation" else 8
        workers = 1 if _has_gpu() else max(1, min(cores, cells, limit))
    return workers, config.execution.threads or max(1, cores // workers)


def _has_gpu() -> bool:
    return any(Path(place).exists() for place in ("/dev/nvidia0", "/dev/nvidiactl", "/proc/driver/nvidia/version"))


def _end_quietly(run: Run, status: str) -> None:
    # The store may be what failed; its error must not hide the one that is on its way up.
    try:
        end_run(run.store, run.run_id, status)
    except RsaOpsError as error:
        run.progress.note(f"the run could not be closed in MLflow: {error.message}")
