"""Stage: every trained cell scored on the test split, one row per example."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rsa_ops.core.benchmark import BaseScores, CellScores
from rsa_ops.core.cell import Cell
from rsa_ops.core.validation import Validation
from rsa_ops.data.records import parse_record
from rsa_ops.evaluation.base import BASE, BaseTask, benchmark_base
from rsa_ops.evaluation.base import SCORES as BASE_SCORES
from rsa_ops.evaluation.benchmark import PREDICTIONS, SCORES, BenchmarkTask, benchmark_cell
from rsa_ops.evaluation.forgetting import text_digest
from rsa_ops.execution.cached_map import Item, cached_map
from rsa_ops.execution.key import content_key
from rsa_ops.files import digest_folder, read_record
from rsa_ops.models.base import resolve_base
from rsa_ops.stages.config import PipelineConfig
from rsa_ops.stages.run import Run
from rsa_ops.stages.train import Trained
from rsa_ops.stages.validate import Data, split_file
from rsa_ops.tracking.runs import CellLog, RunFacts


@dataclass(frozen=True)
class Scored:
    """One benchmarked cell: its scores and its predictions table."""

    folder: Path
    scores: CellScores

    @property
    def cell(self) -> Cell:
        """Arm and seed."""
        return self.scores.cell

    @property
    def predictions(self) -> Path:
        """`predictions.parquet`."""
        return self.folder / PREDICTIONS


@dataclass(frozen=True)
class ScoredBase:
    """The untrained base, benchmarked: its scores and its predictions table."""

    folder: Path
    scores: BaseScores

    @property
    def predictions(self) -> Path:
        """`predictions.parquet`."""
        return self.folder / PREDICTIONS


def benchmark(run: Run, data: Data, models: tuple[Trained, ...]) -> tuple[Scored, ...]:
    """Score every cell that no finished run holds; in a generation task also the untrained base.

    Raises:
        CellFailed, IntegrityError: an artifact that changes nothing, or that stands on another base.
    """
    run.progress.stage("benchmark", f"{data.validation.split('test').rows} test examples")
    scored = score_artifacts(run, data, [(model.cell, model.artifact) for model in models], "benchmark")
    for entry in scored:
        run.keep(entry.scores, f"benchmark/{entry.cell.name}.json")
    base = score_base(run, data)
    if base is not None:
        run.keep(base.scores, BASE_SCORES)
    return scored


def score_base(run: Run, data: Data) -> ScoredBase | None:
    """The untrained base on the test split, scored once; None where a new head makes it unable to do the task."""
    config = run.config
    if config.task != "generation":
        return None
    base = resolve_base(config.model.base, expected=config.model.base_digest)
    task = BaseTask(
        model=config.model,
        base_digest=base.digest,
        test_file=split_file(data.folder, "test"),
        test_digest=data.validation.split("test").digest,
        batch_size=config.benchmark.batch_size,
        threads=run.threads,
        read_record=parse_record,
    )
    settings = {
        "model": config.model.model_dump(mode="json", exclude={"base", "base_digest"}),
        "batch_size": task.batch_size,
    }
    key = content_key("benchmark-base", settings, base.digest, task.test_digest)
    log = CellLog(run.store, run.run_id, "benchmark-base", _base_facts)
    (found,) = cached_map(
        benchmark_base,
        [Item("benchmark-base", BASE.arm, key, task)],
        root=run.cells,
        log=log,
        executor=run.executor,
        progress=run.progress,
    )
    return ScoredBase(found.folder, read_record(BaseScores, found.folder / BASE_SCORES))


def score_artifacts(run: Run, data: Data, artifacts: list[tuple[Cell, Path]], stage: str) -> tuple[Scored, ...]:
    """Score artifacts, wherever they come from, on the test split of this run."""
    items = [_item(run, data, cell, artifact, stage) for cell, artifact in artifacts]
    log = CellLog(run.store, run.run_id, stage, _facts)
    results = cached_map(
        benchmark_cell, items, root=run.cells, log=log, executor=run.executor, progress=run.progress
    )
    return tuple(Scored(found.folder, read_record(CellScores, found.folder / SCORES)) for found in results)


def benchmark_task(
    config: PipelineConfig,
    validation: Validation,
    data: Path,
    cell: Cell,
    artifact: Path,
    *,
    threads: int,
    split: str,
) -> BenchmarkTask:
    """What a worker needs to score `artifact` on the file of `split` in `data`."""
    return BenchmarkTask(
        cell=cell,
        artifact=artifact,
        base=config.model.base,
        test_file=split_file(data, split),
        test_digest=validation.split(split).digest,
        config=config.benchmark,
        threads=threads,
        read_record=parse_record,
    )


def _item(run: Run, data: Data, cell: Cell, artifact: Path, stage: str) -> Item:
    task = benchmark_task(
        run.config, data.validation, data.folder, cell, artifact, threads=run.threads, split="test"
    )
    settings = {
        "cell": cell.model_dump(mode="json"),
        "benchmark": task.config.model_dump(mode="json"),
        "general_text": text_digest(),  # package data, which the digest of the source does not cover
    }
    return Item(
        stage, cell.name, content_key("benchmark", settings, digest_folder(artifact), task.test_digest), task
    )


def _facts(folder: Path) -> RunFacts:
    found = read_record(CellScores, folder / SCORES)
    metrics = dict(found.metrics)
    metrics |= {f"robustness.{name}": value for name, value in found.robustness.items()}
    metrics |= {f"latency_ms.{name}": value for name, value in found.latency_ms.items()}
    metrics[f"forgetting.{found.forgetting.kind}"] = found.forgetting.value
    return RunFacts(
        params={"arm": found.cell.arm, "seed": str(found.cell.seed)},
        metrics=metrics,
        tags={"digest.sha256": found.artifact_digest, "test.sha256": found.test_digest},
    )


def _base_facts(folder: Path) -> RunFacts:
    found = read_record(BaseScores, folder / BASE_SCORES)
    return RunFacts(
        params={"base_model": found.base_model},
        metrics=found.metrics,
        tags={"base.sha256": found.base_digest, "test.sha256": found.test_digest},
    )
