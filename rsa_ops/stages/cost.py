"""Stage: what was measured x the price book."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from rsa_ops.core.comparison import Comparison
from rsa_ops.core.costs import Tco
from rsa_ops.core.measurements import Measurements
from rsa_ops.costs.case import Measured, business_case
from rsa_ops.costs.pricebook import load_book
from rsa_ops.costs.scenario import load_scenario
from rsa_ops.costs.tco import total_cost
from rsa_ops.stages.benchmark import Scored
from rsa_ops.stages.run import Run
from rsa_ops.stages.train import Trained

RECORD = "tco.json"
CASE = "business_case.json"


def cost(run: Run, models: tuple[Trained, ...], scores: tuple[Scored, ...], comparison: Comparison) -> Tco:
    """Line items and totals of every arm; and the business case of the candidate, as business_case.json.

    Raises:
        MissingError: the price book lacks a price that is needed, or there is no such scenario.
    """
    run.progress.stage("cost", run.config.cost.price_book or "embedded price book")
    book_path = run.config.cost.price_book
    book = load_book(run.folder / Path(book_path) if book_path else None)
    evaluations: dict[str, float] = {}
    for entry in scores:
        evaluations[entry.cell.arm] = evaluations.get(entry.cell.arm, 0.0) + entry.scores.wall_seconds
    measured: tuple[Measurements, ...] = tuple(model.measurements for model in models)
    today = datetime.now(UTC).date()
    tco = total_cost(measured, evaluations, book, run.config.cost, today)
    run.keep(tco, RECORD)
    scenario = load_scenario(run.config.cost.scenario, run.folder)
    if comparison.assessable:
        known = Measured(run.config.name, measured, evaluations, comparison)
        run.keep(business_case(known, book, run.config.cost, scenario, today), CASE)
    else:
        run.progress.note("no business case: the comparison is invalid, so its risk has no price")
    return tco
