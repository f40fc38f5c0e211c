"""The decision sheet of a run, and the sheet of a whole store: HTML, PDF (printed by Chromium) or a workbook."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from rsa_ops.costs.pricebook import load_book
from rsa_ops.costs.scenario import load_scenario
from rsa_ops.errors import MissingError, UsageError
from rsa_ops.files import write_bytes, write_text
from rsa_ops.reporting.decision import render_decision
from rsa_ops.reporting.inputs import ReportInputs
from rsa_ops.reporting.portfolio import ListedRun, render_portfolio
from rsa_ops.reporting.workbook import render_workbook
from rsa_ops.stages.business import remade
from rsa_ops.stages.portfolio import PortfolioRun, read_portfolio

CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_PRINT_SECONDS = 120


def write_decision(records: ReportInputs, out: Path, language: str, scenario: str | None) -> ReportInputs:
    """Write the sheet of a run, its business case made again where a `scenario` is named; returns what it shows.

    Raises:
        UsageError: no such language or ending. MissingError: no business case, no scenario, no Chromium for a PDF.
    """
    if scenario is not None:
        records = records.model_copy(update={"case": remade(records, load_scenario(scenario), load_book(None))})
    if out.suffix == ".xlsx":
        if records.case is None:
            raise MissingError(f"{records.pipeline}: no business_case.json", hint="Give --scenario pilot.")
        write_bytes(out, render_workbook(records.case, language))
    else:
        write_page(render_decision(records, language), out)
    return records


def write_portfolio(store: str, out: Path, language: str) -> int:
    """Write the sheet of all runs of a store; returns how many there are.

    Raises:
        UsageError: no such language or ending. MissingError: the store does not answer, no Chromium for a PDF.
    """
    runs = tuple(_listed(run) for run in read_portfolio(store))
    write_page(render_portfolio(runs, store, f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC", language), out)
    return len(runs)


def _listed(run: PortfolioRun) -> ListedRun:
    line = run.line
    return ListedRun(
        run_id=line.run_id,
        pipeline=line.pipeline,
        started_at=f"{line.started_at:%Y-%m-%d %H:%M}",
        policy_digest=line.policy_digest or None,
        headline=run.headline,
    )


def write_page(page: str, out: Path) -> None:
    """Write a sheet as .html, or printed as .pdf.

    Raises:
        UsageError: another ending. MissingError: no Chromium for a PDF.
    """
    if out.suffix == ".html":
        write_text(out, page)
    elif out.suffix == ".pdf":
        write_bytes(out, printed(page))
    else:
        raise UsageError(
            f"{out}: a sheet is written as .html or .pdf, a business case as .xlsx too", hint="Name it so."
        )


def locale_language() -> str:
    """`ja` where the locale of the user says so, else `en`."""
    named = next((os.environ[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if os.environ.get(name)), "")
    return "ja" if named.lower().startswith("ja") else "en"


def printed(page: str) -> bytes:
    """The page as a PDF, printed by Chromium, with the fonts that it uses embedded.

    Raises:
        MissingError: there is no Chromium, or it printed nothing.
    """
    browser = next(filter(None, map(shutil.which, CHROMIUMS)), None)
    if browser is None:
        raise MissingError(
            "no Chromium to print the PDF with", hint="Install it, or write .html and print that from any browser."
        )
    with tempfile.TemporaryDirectory() as folder:
        file, target = Path(folder) / "sheet.html", Path(folder) / "sheet.pdf"
        file.write_text(page, encoding="utf-8")
        options = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-pdf-header-footer",
            f"--user-data-dir={folder}",
        ]
        done = subprocess.run(  # noqa: S603  a browser from the user's own path, on a file of ours
            [browser, *options, f"--print-to-pdf={target}", file.as_uri()],
            capture_output=True,
            check=False,
            timeout=_PRINT_SECONDS,
        )
        if done.returncode != 0 or not target.is_file():
            last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
            raise MissingError(f"{browser} printed no PDF: {' '.join(last)}", hint="Write .html and print that.")
        return target.read_bytes()
