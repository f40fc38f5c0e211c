"""What the benchmark stage hands on: the scores of one cell, and the columns of its predictions table."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rsa_ops.core.cell import Cell
from rsa_ops.core.digest import Digest
from rsa_ops.core.record import Record, Value

CLEAN = "clean"
"""The condition of unperturbed examples; other conditions carry the perturbation's name."""

SLICE_PREFIX = "slice_"
SCORE_PREFIX = "score_"
PREDICTIONS_SCHEMA = "rsa_ops/predictions/v1"
PREDICTION_COLUMNS = (
    "example_id",  # str, unique within (seed, condition)
    "arm",  # str
    "seed",  # int64
    "condition",  # str, CLEAN or a perturbation
    "label",  # str, the true label or the reference text
    "prediction",  # str
    "score",  # float64, primary score of the example in [0, 1]
    "confidence",  # float64, probability of the predicted label; null for generation
    "latency_ms",  # float64; null where not measured
)
"""Then `slice_<name>` (str) and, for generation, `score_<scorer>` (float64 in [0, 1])."""


class GroupScore(Value):
    """Score of one class or slice: `examples` rows, mean primary score (recall of the class, for a class)."""

    group: str
    examples: int
    score: float


class CellScores(Record):
    """`benchmark.json`: one cell on the test split."""

    schema_: Literal["rsa_ops/benchmark/v1"] = Field(default="rsa_ops/benchmark/v1", alias="schema")

    cell: Cell
    artifact_digest: Digest
    test_digest: Digest
    predictions_digest: Digest
    examples: int
    metrics: dict[str, float]
    robustness: dict[str, float]
    classes: tuple[GroupScore, ...]
    slices: tuple[GroupScore, ...]
    latency_ms: dict[str, float]
    changed_against_base: float
    wall_seconds: float
