"""Stage: the records of a run as one HTML file."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import rsa_ops
from rsa_ops.core.benchmark import CellScores
from rsa_ops.core.business_case import BusinessCase
from rsa_ops.core.comparison import Comparison
from rsa_ops.core.costs import Tco
from rsa_ops.core.measurements import Measurements
from rsa_ops.core.record import Record
from rsa_ops.core.run_record import RunRecord
from rsa_ops.core.validation import Validation
from rsa_ops.core.verdict import Verdict
from rsa_ops.files import read_record, write_text
from rsa_ops.reporting.decision import render_decision
from rsa_ops.reporting.html import render_report
from rsa_ops.reporting.inputs import ReportInputs, TrailEntry
from rsa_ops.stages.ledger import beside
from rsa_ops.stages.run import Run
from rsa_ops.stages.trail import run_trail
from rsa_ops.stages.validate import RUN_RECORD

REPORT = "report.html"
DECISION = "decision.html"
R = TypeVar("R", bound=Record)


def report(run: Run) -> Path:
    """Render the records of this run; returns the path of the technical report.

    Beside it, where there is a business case, stands the decision sheet in the run's language.
    """
    run.progress.stage("report", str(run.results / REPORT))
    records = read_results(run.results, run.notary.ledger.address)
    write_text(run.results / REPORT, render_report(records))
    if records.case is not None and records.comparison is not None:
        write_text(run.results / DECISION, render_decision(records, run.language))
        run.keep_file(run.results / DECISION)
    return run.keep_file(run.results / REPORT)


def read_results(folder: Path, ledger: str | None = None) -> ReportInputs:
    """All records of a results folder. What is not there is None, and the report says that it is missing.

    `ledger`: where the run's entries are; None is the file beside the run's store, where there is one.

    Raises:
        MissingError: the folder has no run.json, so nothing says which run this is; or no such ledger.
    """
    run = read_record(RunRecord, folder / RUN_RECORD)
    validation = optional_record(Validation, folder / "validation.json")
    return ReportInputs(
        pipeline=run.pipeline,
        task=run.task,
        generated_at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        version=rsa_ops.__version__,
        validation=validation,
        comparison=optional_record(Comparison, folder / "comparison.json"),
        measurements=all_records(Measurements, folder / "measurements"),
        scores=all_records(CellScores, folder / "benchmark"),
        tco=optional_record(Tco, folder / "tco.json"),
        case=optional_record(BusinessCase, folder / "business_case.json"),
        verdict=optional_record(Verdict, folder / "verdict.json"),
        settings_note=run.settings_note,
        sizes_note=validation.sampling if validation is not None else "",
        mlflow_hint=run.mlflow_hint,
        trail=_trail(run, ledger),
    )


def _trail(run: RunRecord, ledger: str | None) -> tuple[TrailEntry, ...]:
    address = ledger or beside(run.store)
    if address is None or (ledger is None and not Path(address).is_file()):
        return ()
    return run_trail(address, run.run_id)


def all_records(kind: type[R], folder: Path) -> tuple[R, ...]:
    """Every record of `kind` in a folder, sorted by file name."""
    return tuple(read_record(kind, file) for file in sorted(folder.glob("*.json")))


def optional_record(kind: type[R], path: Path) -> R | None:
    """The record in `path`, or None where there is no such file."""
    return read_record(kind, path) if path.is_file() else None
