"""Stage: what was measured x the price book."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from rsa_ops.core.costs import Tco
from rsa_ops.core.measurements import Measurements
from rsa_ops.costs.pricebook import load_book
from rsa_ops.costs.tco import total_cost
from rsa_ops.stages.benchmark import Scored
from rsa_ops.stages.run import Run
from rsa_ops.stages.train import Trained

RECORD = "tco.json"


def cost(run: Run, models: tuple[Trained, ...], scores: tuple[Scored, ...]) -> Tco:
    """Line items and totals of every arm.

    Raises:
        MissingError: the price book lacks a price that is needed.
    """
    run.progress.stage("cost", run.config.cost.price_book or "embedded price book")
    book_path = run.config.cost.price_book
    book = load_book(run.folder / Path(book_path) if book_path else None)
    evaluations: dict[str, float] = {}
    for entry in scores:
        evaluations[entry.cell.arm] = evaluations.get(entry.cell.arm, 0.0) + entry.scores.wall_seconds
    measured: tuple[Measurements, ...] = tuple(model.measurements for model in models)
    tco = total_cost(measured, evaluations, book, run.config.cost, datetime.now(UTC).date())
    run.keep(tco, RECORD)
    return tco
