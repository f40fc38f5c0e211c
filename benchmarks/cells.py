"""Every cell of a pipeline on the device that this machine has: time, memory, energy and scores of each arm.

Run: rsa-ops validate PIPELINE -o DATA, then
     python benchmarks/cells.py PIPELINE DATA OUT.json
It needs neither MLflow nor Great Expectations, so that it runs on a bare GPU machine. OUT.json is written anew
after every cell.
"""

import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from rsa_ops.core.benchmark import CellScores
from rsa_ops.core.cell import Cell
from rsa_ops.core.measurements import Measurements
from rsa_ops.core.validation import Validation
from rsa_ops.evaluation.benchmark import SCORES, BenchmarkTask, benchmark_cell
from rsa_ops.execution.key import library_versions
from rsa_ops.execution.local import Job, LocalExecutor
from rsa_ops.execution.progress import Silent
from rsa_ops.files import read_record
from rsa_ops.models.base import resolve_base
from rsa_ops.stages.benchmark import benchmark_task
from rsa_ops.stages.config import PipelineConfig, read_pipeline
from rsa_ops.stages.run import PRELOAD, split_machine
from rsa_ops.stages.train import train_task
from rsa_ops.training.cell import ARTIFACT, MEASUREMENTS, TrainTask, train_cell


def attempt(tasks: tuple[TrainTask, BenchmarkTask], out: Path, progress: Any) -> None:
    """Train one cell and score it."""
    train, judge = tasks
    train_cell(train, out, progress)
    benchmark_cell(replace(judge, artifact=out / ARTIFACT), out, progress)


def tasks(
    config: PipelineConfig, data: Path, cell: Cell, *, workers: int, threads: int, split: str = "test"
) -> tuple[TrainTask, BenchmarkTask]:
    """What `attempt` needs to train a cell and to score it on `split`."""
    validation = read_record(Validation, data / "validation.json")
    base = resolve_base(config.model.base).digest
    return (
        train_task(config, validation, data, cell, base, workers=workers, threads=threads),
        benchmark_task(config, validation, data, cell, data, threads=threads, split=split),
    )


def row(folder: Path) -> dict[str, Any]:
    """What one cell took and scored."""
    took, scored = read_record(Measurements, folder / MEASUREMENTS), read_record(CellScores, folder / SCORES)
    return {
        "arm": took.cell.arm,
        "seed": took.cell.seed,
        "device": took.device,
        "learning_rate": took.learning_rate,
        "train_seconds": round(took.wall_seconds, 2),
        "selection_seconds": round(took.selection_seconds, 2),
        "tokens_per_second": round(took.tokens / took.wall_seconds),
        "peak_device_memory_bytes": took.peak_device_memory_bytes,
        "peak_host_memory_bytes": took.peak_host_memory_bytes,
        "energy_kwh": took.energy.energy_kwh,
        "energy_source": took.energy.source,
        "trainable_parameters": took.trainable_parameters,
        "artifact_bytes": took.artifact_bytes,
        "benchmark_seconds": round(scored.wall_seconds, 2),
        "metrics": {name: round(value, 4) for name, value in scored.metrics.items()},
        "latency_ms": {name: round(value, 1) for name, value in scored.latency_ms.items()},
    }


class Lines(Silent):
    """One line for each cell that ended."""

    def finish(self, job: str, words: str) -> None:
        """One line."""
        print(job, words, flush=True)


def main() -> None:
    """Train and score all cells, one after the other; the first is trained twice, so that none pays the warm-up."""
    pipeline, data, out = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
    config, _, _ = read_pipeline(pipeline)
    validation = read_record(Validation, data / "validation.json")
    _, threads = split_machine(config)
    cells = [Cell(arm=arm, seed=seed) for seed in config.train.seeds for arm in config.train.arms]
    record: dict[str, Any] = {
        "script": f"benchmarks/cells.py {config.name}",
        "versions": library_versions(),
        "rows": {split.name: split.rows for split in validation.splits},
        "cells": [],
    }
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        executor = LocalExecutor(1, home / "logs", PRELOAD)
        for number, cell in enumerate([cells[0], *cells]):
            job = Job(
                cell.name,
                attempt,
                tasks(config, data, cell, workers=1, threads=threads),
                home / f"{number}-{cell.name}",
            )
            (error,) = executor.run([job], Lines()).values()
            if error is not None:
                raise SystemExit(f"{error}\n{(home / 'logs' / f'{cell.name}.log').read_text()}")
            if number:
                record["cells"].append(row(job.folder))
                out.write_text(json.dumps(record, indent=2) + "\n")
    for entry in record["cells"]:
        print({key: entry[key] for key in ("arm", "seed", "train_seconds", "peak_device_memory_bytes", "metrics")})


if __name__ == "__main__":
    main()
