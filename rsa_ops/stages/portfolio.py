"""What the dashboard shows: every run of a store in one line, the records of one run, and the ledger's last words.

Reads only. Nothing here decides or writes.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rsa_ops.core.headline import Headline
from rsa_ops.errors import MissingError
from rsa_ops.tracking.listing import RunLine, list_runs, run_folder
from rsa_ops.tracking.store import local_database, read_store

# The list of runs is what a reader waits for: the rooms of the ledger and of the records are imported where used.
if TYPE_CHECKING:
    from rsa_ops.governance.entry import Sealed
    from rsa_ops.reporting.inputs import ReportInputs

DATABASE = "mlflow.db"


@dataclass(frozen=True)
class PortfolioRun:
    """One run: what MLflow knows of it, and its headline; None where it came to no verdict."""

    line: RunLine
    headline: Headline | None


@dataclass(frozen=True)
class LedgerReading:
    """How many entries a ledger has, and the newest of them, newest first; not verified."""

    address: str
    count: int
    newest: tuple[Sealed, ...]


def find_store(named: str | None) -> str:
    """The store that is meant: the one named (address or working folder), else MLFLOW_TRACKING_URI, else here.

    Raises:
        MissingError: there is none in the usual places.
    """
    named = named or os.environ.get("MLFLOW_TRACKING_URI")
    if named is not None and "://" in named:
        database = local_database(named)
        if database is not None and not database.is_file():
            raise MissingError(f"there is no MLflow store at {database}", hint="Give --store.")
        return named
    places = [Path(named)] if named is not None else [Path("rsa-ops-run"), Path("rsa-ops-demo"), Path()]
    for place in places:
        file = place if place.suffix == ".db" else place / DATABASE
        if file.is_file():
            return f"sqlite:///{file.resolve()}"
    raise MissingError(
        f"there is no MLflow store in {', '.join(str(place) for place in places)}",
        hint="Give --store: a working folder of `rsa-ops run`, or the address of an MLflow server.",
    )


def find_ledger(named: str | None, store: str) -> str | None:
    """The ledger that is meant: the one named, else the file beside a local store; None where there is none."""
    from rsa_ops.stages.ledger import beside

    if named is not None:
        return named
    address = beside(store)
    return address if address is not None and Path(address).is_file() else None


def read_portfolio(store: str) -> tuple[PortfolioRun, ...]:
    """Every pipeline run of a store, newest first, without opening an artifact.

    Raises:
        MissingError: the store does not answer. IntegrityError: a headline that somebody wrote by hand.
    """
    return tuple(PortfolioRun(line, _headline(line)) for line in list_runs(store))


def read_run(store: str, run_id: str, ledger: str | None = None) -> ReportInputs:
    """All records of one run: read where they lie on this machine, or brought from the store.

    Raises:
        MissingError: the store has no such run, or no records of it; no such ledger.
    """
    from rsa_ops.stages.report import read_results
    from rsa_ops.tracking.runs import fetch_files

    near = run_folder(store, run_id)
    if near is not None:
        return read_results(near, ledger)
    opened = read_store(store)
    with tempfile.TemporaryDirectory() as folder:
        return read_results(fetch_files(opened, run_id, "", Path(folder)), ledger)


def read_named(run: str, store: str | None, ledger: str | None) -> ReportInputs:
    """All records of the run that is meant: a results folder, or the id of a run in a store.

    Raises:
        MissingError: neither a folder nor a run of the store.
    """
    from rsa_ops.stages.report import read_results

    if Path(run).is_dir():
        return read_results(Path(run), ledger)
    if "/" in run or "\\" in run:
        raise MissingError(f"there is no folder {run}", hint="Give a results folder, or an MLflow run's id.")
    return read_run(find_store(store), run, ledger)


def read_ledger(address: str, newest: int) -> LedgerReading:
    """The `newest` entries of a ledger.

    Raises:
        MissingError: there is no ledger. IntegrityError: an entry that cannot be read.
    """
    from rsa_ops.governance.store import open_ledger

    with closing(open_ledger(address, write=False)) as ledger, ledger.view() as view:
        head = view.head()
        count = 0 if head is None else head.entry.sequence + 1
        return LedgerReading(ledger.address, count, tuple(view.find(newest_first=True, limit=newest)))


def _headline(line: RunLine) -> Headline | None:
    return (
        None if line.headline is None else Headline.from_json(line.headline, f"the headline of run {line.run_id}")
    )
