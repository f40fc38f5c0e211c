"""Predictions to the rows of the predictions table: one example each, with its score."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from rsa_ops.core.benchmark import GROUP, PREDICTIONS_SCHEMA, SCORE_PREFIX, SLICE_PREFIX
from rsa_ops.core.cell import Cell
from rsa_ops.evaluation import metrics
from rsa_ops.evaluation.predict import Predictions
from rsa_ops.evaluation.scorers import PRIMARY, SCORERS, score_texts
from rsa_ops.models.task import Task

if TYPE_CHECKING:
    import pandas as pd

ReadRecord = Callable[[str], Mapping[str, str]]
"""The fields of a source text, which a generated text should state."""


def scored_rows(
    made: Predictions, table: pd.DataFrame, cell: Cell, condition: str, task: Task, read_record: ReadRecord
) -> pd.DataFrame:
    """Rows in the columns of `PREDICTION_COLUMNS`, with group, slices and, for generation, every scorer.

    Args:
        made: one prediction for each row of `table`, in its order.
        table: `example_id`, `text`, `label`, slice columns, and `group` where examples come in groups.
        cell: arm and seed that made them.
        condition: `CLEAN`, or the perturbation of `text`.
        task: decides how a prediction is scored.
        read_record: gives the fields of a text.
    """
    import pandas as pd

    rows = pd.DataFrame(
        {
            "example_id": table["example_id"].to_numpy(),
            "arm": cell.arm,
            "seed": cell.seed,
            "condition": condition,
            "label": table["label"].to_numpy(),
            "prediction": made.outputs,
        }
    )
    if task == "classification":
        rows["score"] = (rows["label"] == rows["prediction"]).astype(float)
    else:
        records = [read_record(text) for text in table["text"]]
        scored = score_texts(made.outputs, table["label"].tolist(), records)
        rows["score"] = scored[PRIMARY]
        for name in SCORERS:
            rows[f"{SCORE_PREFIX}{name}"] = scored[name]
    rows["confidence"] = made.confidences if made.confidences is not None else float("nan")
    rows["latency_ms"] = float("nan")
    for name in (column for column in table.columns if column == GROUP or column.startswith(SLICE_PREFIX)):
        rows[name] = table[name].to_numpy()
    rows.attrs["schema"] = PREDICTIONS_SCHEMA
    return rows


def cell_metrics(clean: pd.DataFrame, task: Task, labels: tuple[str, ...]) -> dict[str, float]:
    """The metrics of a task over undisturbed rows."""
    if task == "classification":
        return metrics.classification_metrics(clean, labels)
    return {name: float(clean[f"{SCORE_PREFIX}{name}"].mean()) for name in SCORERS}
