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
GROUP = "group"
"""Which examples are one draw together (one customer, one document); "" for an example that stands alone."""

PREDICTIONS_SCHEMA = "rsa_ops/predictions/v2"
"""Written into the attributes of the table. Version 2 added `group`."""
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
"""Then `group` (str) where `data.columns.group` names one, `slice_<name>` (str) and, for generation,
`score_<scorer>` (float64 in [0, 1])."""


class GroupScore(Value):
    """Score of one class or slice: `examples` rows, mean primary score (recall of the class, for a class)."""

    group: str
    examples: int
    score: float


class Forgetting(Value):
    """What training changed on held-out general text (`sentences`, `tokens` of them scored), against the base.

    `kind` says what `value` is. `loss_per_token`, for language models: mean loss of a token, in nats, of the
    trained model minus the base's (`trained`, `base`); above zero is forgotten. `vector_drift`, for classifiers,
    whose base has no loss on text: 1 - mean cosine between the mean-pooled last states of both, in [0, 2]; it says
    how far the encoder moved, not whether it is worse.
    """

    kind: Literal["loss_per_token", "vector_drift"]
    value: float
    trained: float | None
    base: float | None
    sentences: int
    tokens: int
    text_digest: Digest


class CellScores(Record):
    """`benchmark.json`: one cell on the test split. Version 2 added `forgetting`."""

    schema_: Literal["rsa_ops/benchmark/v2"] = Field(default="rsa_ops/benchmark/v2", alias="schema")

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
    forgetting: Forgetting
    wall_seconds: float


class BaseScores(Record):
    """`base.json`: the untrained base model on the test split, where it can do the task (generation)."""

    schema_: Literal["rsa_ops/base/v1"] = Field(default="rsa_ops/base/v1", alias="schema")

    base_model: str
    base_digest: Digest
    test_digest: Digest
    predictions_digest: Digest
    examples: int
    metrics: dict[str, float]
    slices: tuple[GroupScore, ...]
    wall_seconds: float
