"""The untrained base model on the test split: what every arm of a generation task started from."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rsa_ops.core.benchmark import CLEAN, BaseScores
from rsa_ops.core.cell import Cell
from rsa_ops.core.digest import Digest
from rsa_ops.evaluation import metrics
from rsa_ops.evaluation.predict import generate
from rsa_ops.evaluation.rows import ReadRecord, cell_metrics, scored_rows
from rsa_ops.files import digest_file, write_record
from rsa_ops.models.base import resolve_base
from rsa_ops.models.task import LoadedModel, ModelConfig, load_base_model, load_tokenizer, pick_device

PREDICTIONS = "predictions.parquet"
SCORES = "base.json"
BASE = Cell(arm="base", seed=0)
"""How the base is called in tables of predictions; no arm is trained under this name."""


@dataclass(frozen=True)
class BaseTask:
    """All that a worker needs to score the base model of a generation task."""

    model: ModelConfig
    base_digest: Digest
    test_file: Path
    test_digest: Digest
    batch_size: int
    threads: int
    read_record: ReadRecord


def benchmark_base(job: BaseTask, out: Path, progress: Callable[[float, str], None]) -> BaseScores:
    """Let the base answer the test split as the arms do, without noise; writes its predictions and the record.

    Raises:
        IntegrityError: another base.
    """
    import pandas as pd
    import torch

    torch.set_num_threads(job.threads)
    start = time.perf_counter()
    test = pd.read_parquet(job.test_file)
    base = resolve_base(job.model.base, expected=job.base_digest)
    device = pick_device()
    model = load_base_model(base.folder, job.model, "generation", (), seed=0).to(device).eval()
    loaded = LoadedModel(model=model, tokenizer=load_tokenizer(base.folder), device=device)
    done = 0

    def tick(count: int) -> None:
        nonlocal done
        done += count
        progress(done / len(test), f"{done}/{len(test)} examples")

    made = generate(loaded, test["text"].tolist(), job.model, job.batch_size, tick)
    rows = scored_rows(made, test, BASE, CLEAN, "generation", job.read_record)
    rows.to_parquet(out / PREDICTIONS, index=False)
    scores = BaseScores(
        base_model=base.name,
        base_digest=base.digest,
        test_digest=job.test_digest,
        predictions_digest=digest_file(out / PREDICTIONS),
        examples=len(test),
        metrics=cell_metrics(rows, "generation", ()),
        slices=metrics.slice_scores(rows),
        wall_seconds=time.perf_counter() - start,
    )
    write_record(out / SCORES, scores)
    return scores
