"""Benchmark one trained cell on the test split: predictions.parquet and benchmark.json."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rsa_ops.core.benchmark import CLEAN, CellScores, Forgetting
from rsa_ops.core.cell import Cell
from rsa_ops.core.digest import Digest
from rsa_ops.errors import MissingError
from rsa_ops.evaluation import metrics
from rsa_ops.evaluation.config import BenchmarkConfig
from rsa_ops.evaluation.forgetting import forgetting, read_general_text
from rsa_ops.evaluation.noop import base_side, changed_share, probe_logits
from rsa_ops.evaluation.perturb import perturb
from rsa_ops.evaluation.predict import predict_one_by_one, predict_texts
from rsa_ops.evaluation.rows import cell_metrics, scored_rows
from rsa_ops.files import digest_file, digest_folder, write_record, write_text
from rsa_ops.models.task import LoadedModel, pick_device
from rsa_ops.models.trained import TrainedModel, load_trained

if TYPE_CHECKING:
    import pandas as pd

PREDICTIONS = "predictions.parquet"
SCORES = "benchmark.json"
PROBE = "probe.json"
"""Texts predicted one at a time, with the answers; a registered model must repeat them."""


@dataclass(frozen=True)
class BenchmarkTask:
    """All that a worker needs to score one cell. `records` gives the fields of a source text by example."""

    cell: Cell
    artifact: Path
    base: str
    test_file: Path
    test_digest: Digest
    config: BenchmarkConfig
    threads: int
    read_record: Callable[[str], Mapping[str, str]]


def benchmark_cell(job: BenchmarkTask, out: Path, progress: Callable[[float, str], None]) -> CellScores:
    """Score the artifact; writes `out/predictions.parquet` (one row per example and condition) and the record.

    Raises:
        IntegrityError: another base, or an artifact that changes nothing.
        MissingError: the test split is empty.
    """
    import pandas as pd
    import torch

    torch.set_num_threads(job.threads)
    start = time.perf_counter()
    test = pd.read_parquet(job.test_file)
    if test.empty:
        raise MissingError(f"{job.test_file} has no rows")
    loaded, spec = load_trained(job.artifact, device=pick_device(), base=job.base)
    changed, forgotten = _against_base(loaded, spec, test["text"].tolist(), job.artifact)
    rows = _predicted(job, loaded, spec, _conditions(test, job.config), progress)
    probe = test["text"].head(job.config.latency_examples).tolist()
    timed = predict_one_by_one(loaded, spec, probe)
    write_text(out / PROBE, json.dumps({"texts": probe, "outputs": timed.outputs}, ensure_ascii=False, indent=1))
    rows.loc[: len(probe) - 1, "latency_ms"] = timed.latency_ms  # clean rows come first, in the test split's order
    clean = rows[rows["condition"] == CLEAN]
    rows.to_parquet(out / PREDICTIONS, index=False)
    scores = CellScores(
        cell=job.cell,
        artifact_digest=digest_folder(job.artifact),
        test_digest=job.test_digest,
        predictions_digest=digest_file(out / PREDICTIONS),
        examples=len(test),
        metrics=cell_metrics(clean, spec.task, spec.labels),
        robustness=_robustness(rows),
        classes=metrics.group_scores(clean, "label") if spec.task == "classification" else (),
        slices=metrics.slice_scores(clean),
        latency_ms=metrics.latency_percentiles(timed.latency_ms),
        changed_against_base=changed,
        forgetting=forgotten,
        wall_seconds=time.perf_counter() - start,
    )
    write_record(out / SCORES, scores)
    return scores


def _predicted(
    job: BenchmarkTask,
    loaded: LoadedModel,
    spec: TrainedModel,
    conditions: Mapping[str, pd.DataFrame],
    progress: Callable[[float, str], None],
) -> pd.DataFrame:
    """Rows of every condition, in their order."""
    import pandas as pd

    total = sum(len(table) for table in conditions.values())
    done = 0

    def tick(count: int) -> None:
        nonlocal done
        done += count
        progress(done / total, f"{done}/{total} examples")

    found = []
    for name, table in conditions.items():
        made = predict_texts(loaded, spec, table["text"].tolist(), batch=job.config.batch_size, tick=tick)
        found.append(scored_rows(made, table, job.cell, name, spec.task, job.read_record))
    return pd.concat(found).reset_index(drop=True)


def _against_base(
    loaded: LoadedModel, spec: TrainedModel, texts: list[str], artifact: Path
) -> tuple[float, Forgetting]:
    """What the artifact changes: the share of probe texts, and the reading of general text."""
    after, trained = probe_logits(loaded.model, loaded, spec, texts), read_general_text(loaded.model, loaded, spec)
    with base_side(loaded, spec) as base:
        before, untrained = probe_logits(base, loaded, spec, texts), read_general_text(base, loaded, spec)
    return changed_share(after, before, artifact), forgetting(trained, untrained)


def _conditions(test: pd.DataFrame, config: BenchmarkConfig) -> dict[str, pd.DataFrame]:
    subset = test.sort_values("example_id").head(config.robustness_examples)
    conditions = {CLEAN: test}
    if subset.empty:
        return conditions
    for kind in config.perturbations:
        texts = [
            perturb(text, kind, example_id=example_id, rate=config.rate, seed=config.perturbation_seed)
            for text, example_id in zip(subset["text"], subset["example_id"], strict=True)
        ]
        conditions[kind] = subset.assign(text=texts)
    return conditions


def _robustness(rows: pd.DataFrame) -> dict[str, float]:
    disturbed = rows[rows["condition"] != CLEAN]
    return {str(name): float(score) for name, score in disturbed.groupby("condition")["score"].mean().items()}
