"""Stage: every cell of the grid, arm x seed, trained once."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from rsa_ops.core.cell import Cell
from rsa_ops.core.digest import Digest, short
from rsa_ops.core.measurements import Measurements
from rsa_ops.core.validation import Validation
from rsa_ops.execution.cached_map import Item, cached_map
from rsa_ops.execution.key import content_key
from rsa_ops.files import read_record
from rsa_ops.models.base import BaseModel, resolve_base
from rsa_ops.stages.config import PipelineConfig
from rsa_ops.stages.run import Run
from rsa_ops.stages.validate import Data, split_file
from rsa_ops.tracking.runs import CellLog, RunFacts
from rsa_ops.training.cell import ARTIFACT, HISTORY, MEASUREMENTS, TrainTask, train_cell
from rsa_ops.training.config import ArmConfig


@dataclass(frozen=True)
class Trained:
    """One trained cell. `folder` holds the artifact folder, measurements and history."""

    folder: Path
    key: Digest
    measurements: Measurements

    @property
    def cell(self) -> Cell:
        """Arm and seed."""
        return self.measurements.cell

    @property
    def artifact(self) -> Path:
        """The adapter directory or checkpoint."""
        return self.folder / ARTIFACT


def train(run: Run, data: Data) -> tuple[Trained, ...]:
    """Train every cell that no finished run holds.

    Raises:
        IntegrityError: the base model is not the declared one.
        CellFailed: a cell diverged or crashed; all others are finished and kept.
    """
    config = run.config
    cells = [Cell(arm=arm, seed=seed) for seed in config.train.seeds for arm in longest_first(config.train.arms)]
    run.progress.stage("train", f"{len(cells)} cells: {', '.join(config.train.arms)}")
    base = resolve_base(config.model.base, expected=config.model.base_digest)
    items = [_item(run, data, base, cell) for cell in cells]
    results = cached_map(
        train_cell, items, root=run.cells, log=train_log(run), executor=run.executor, progress=run.progress
    )
    seeds, arms = list(config.train.seeds), list(config.train.arms)
    found = [
        Trained(result.folder, result.item.key, read_record(Measurements, result.folder / MEASUREMENTS))
        for result in results
    ]
    trained = tuple(sorted(found, key=lambda model: (seeds.index(model.cell.seed), arms.index(model.cell.arm))))
    for model in trained:
        run.keep(model.measurements, f"measurements/{model.cell.name}.json")
    return trained


def longest_first(arms: Mapping[str, ArmConfig]) -> list[str]:
    """Of every seed full fine-tuning begins first: begun last, it would be waited for with idle workers."""
    return sorted(arms, key=lambda name: arms[name].method != "full")


def train_log(run: Run) -> CellLog:
    """The record of trained cells in this run's store."""
    return CellLog(run.store, run.run_id, "train", _facts)


def train_task(
    config: PipelineConfig,
    validation: Validation,
    data: Path,
    cell: Cell,
    base: Digest,
    *,
    workers: int,
    threads: int,
) -> TrainTask:
    """What a worker needs to train `cell` on the split files in `data`, on a base model of this digest."""
    return TrainTask(
        cell=cell,
        arm=config.train.arms[cell.arm],
        train=config.train,
        model=config.model,
        task=config.task,
        labels=validation.labels,
        train_file=split_file(data, "train"),
        data_digest=validation.split("train").digest,
        base_digest=base,
        workers=workers,
        threads=threads,
    )


def _item(run: Run, data: Data, base: BaseModel, cell: Cell) -> Item:
    config = run.config
    task = train_task(
        config,
        data.validation,
        data.folder,
        cell,
        base.digest,
        workers=run.executor.workers,
        threads=run.threads,
    )
    # Neither the other arms nor the other seeds change this cell, so they are not in its key.
    settings = {
        "cell": cell.model_dump(mode="json"),
        "arm": task.arm.model_dump(mode="json"),
        "train": config.train.model_dump(mode="json", exclude={"arms", "seeds", "effort"}),
        "model": config.model.model_dump(mode="json", exclude={"base", "base_digest"}),
        "task": config.task,
        "labels": list(task.labels),
    }
    key = content_key("train", settings, base.digest, task.data_digest)
    marks = run.cells / "tries" / f"{cell.name}-{short(key)}"
    return Item("train", cell.name, key, replace(task, tries=marks))


def _facts(folder: Path) -> RunFacts:
    found = read_record(Measurements, folder / MEASUREMENTS)
    with (folder / HISTORY).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    metrics = {
        "wall_seconds": found.wall_seconds,
        "cpu_seconds": found.cpu_seconds,
        "peak_host_memory_bytes": float(found.peak_host_memory_bytes),
        "trainable_parameters": float(found.trainable_parameters),
        "total_parameters": float(found.total_parameters),
        "artifact_bytes": float(found.artifact_bytes),
        "tokens": float(found.tokens),
        "final_loss": found.final_loss,
    }
    if found.energy.energy_kwh is not None:
        metrics["energy_kwh"] = found.energy.energy_kwh
    return RunFacts(
        params={
            "arm": found.cell.arm,
            "seed": str(found.cell.seed),
            "method": found.method,
            "base_model": found.base_model,
            "learning_rate": str(found.learning_rate),
            "device": found.device,
        },
        metrics=metrics,
        history={"loss": [(int(row["step"]), float(row["loss"])) for row in rows]},
        tags={"base.sha256": found.base_digest, "digest.sha256": found.artifact_digest},
        variant={
            "arm": found.cell.arm,
            "seed": str(found.cell.seed),
            "method": found.method,
            "base_model": found.base_model,
            "base.sha256": found.base_digest,
            "data.sha256": found.data_digest,
        },
    )
