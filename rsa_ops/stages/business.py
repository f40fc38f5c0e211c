"""The business case of finished runs, again and with other scenarios: from their results folders."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from rsa_ops.core.business_case import BusinessCase, Portfolio
from rsa_ops.core.run_record import RunRecord
from rsa_ops.costs.case import Measured, business_case, portfolio
from rsa_ops.costs.config import CostConfig
from rsa_ops.costs.pricebook import PriceBook, load_book
from rsa_ops.costs.scenario import Scenario, load_scenario
from rsa_ops.errors import MissingError, UsageError
from rsa_ops.files import read_record, write_bytes, write_text
from rsa_ops.reporting.focus import focus_csv, focus_parquet
from rsa_ops.reporting.inputs import ReportInputs
from rsa_ops.stages.report import read_results
from rsa_ops.stages.validate import RUN_RECORD


def case_of(results: Path, scenario: str, book: Path | None) -> BusinessCase:
    """The business case of the run in a results folder, made now with a scenario (a name or a file).

    Raises:
        MissingError: no run there, no comparison, no such scenario, a price that is missing.
    """
    return remade(read_results(results), load_scenario(scenario), load_book(book))


def remade(records: ReportInputs, scenario: Scenario, book: PriceBook) -> BusinessCase:
    """The business case of a run's records under a scenario.

    Raises:
        MissingError: the records hold no comparison, or no measurements.
    """
    if records.comparison is None:
        raise MissingError(f"{records.pipeline}: no comparison.json, so the risk has no price")
    seconds: dict[str, float] = {}
    for entry in records.scores:
        seconds[entry.cell.arm] = seconds.get(entry.cell.arm, 0.0) + entry.wall_seconds
    known = Measured(records.pipeline, records.measurements, seconds, records.comparison)
    config = CostConfig(currency=scenario.currency)
    return business_case(known, book, config, scenario, datetime.now(UTC).date())


def portfolio_of(results: Sequence[Path], scenario: str, book: Path | None) -> Portfolio:
    """Several runs under one scenario, added up.

    Raises:
        MissingError, UsageError: as `case_of`; cases that do not add up.
    """
    return portfolio([case_of(folder, scenario, book) for folder in results])


def write_focus(case: BusinessCase, results: Path, target: Path) -> None:
    """Write the case as FOCUS 1.2 data that begins in the month of its run: CSV or Parquet, by the file's ending.

    Raises:
        UsageError: another ending.
    """
    start = datetime.fromisoformat(read_record(RunRecord, results / RUN_RECORD).started_at).date()
    if target.suffix == ".csv":
        write_text(target, focus_csv(case, start))
    elif target.suffix == ".parquet":
        write_bytes(target, focus_parquet(case, start))
    else:
        raise UsageError(f"{target}: FOCUS data is written as .csv or .parquet", hint="Name the file so.")
