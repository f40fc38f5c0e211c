"""The worked example of docs/tco.md: every formula with the figures of one real run, worked twice.

Run: python benchmarks/tco_doc.py                 prices the committed measurements, writes the record and the page
     python benchmarks/tco_doc.py --from RESULTS  takes the measurements of a run's results folder first
     python benchmarks/tco_doc.py --check         fails where the page or the record is not what the script says

The figures of a line come from `rsa_ops.costs`; `tco_worked.py` works each quantity again in plain arithmetic, and
the script stops where the two differ. Nothing in the tables is counted or written by hand.
"""

from __future__ import annotations

import json
import sys
from datetime import date
from pathlib import Path
from typing import Any

import tco_tables
from doc_tables import with_tables
from tco_worked import Case, worked_lines

from rsa_ops.core.comparison import Comparison
from rsa_ops.core.measurements import Measurements
from rsa_ops.costs import CostConfig, default_book
from rsa_ops.costs.case import Measured, business_case
from rsa_ops.costs.scenario import EMBEDDED, load_scenario
from rsa_ops.stages.report import read_results

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "tco.md"
RECORD = HERE / "results" / "tco.json"
WORKED = "department"
PRICED_ON = date(2026, 11, 26)


def taken_from(results: Path) -> dict[str, Any]:
    """What a run measured of the candidate and its baseline, as the record keeps it."""
    records = read_results(results)
    if records.comparison is None:
        raise SystemExit(f"{results} holds no comparison")
    comparison = records.comparison
    arms = (comparison.candidate, comparison.baselines[0])
    contrast = comparison.contrast(comparison.primary_metric, arms[1])
    seconds: dict[str, float] = dict.fromkeys(arms, 0.0)
    for entry in records.scores:
        if entry.cell.arm in arms:
            seconds[entry.cell.arm] += entry.wall_seconds
    small = comparison.model_copy(
        update={"baselines": arms[1:], "contrasts": (contrast,), "arms": (), "drops": (), "design_digest": None}
    )
    return {
        "pipeline": records.pipeline,
        "cells": [cell.model_dump(mode="json") for cell in records.measurements if cell.cell.arm in arms],
        "evaluations": seconds,
        "comparison": small.model_dump(mode="json"),
    }


def measured(record: dict[str, Any]) -> Measured:
    """The record's measurements as the package reads them."""
    return Measured(
        record["pipeline"],
        tuple(Measurements.from_json(json.dumps(cell), "tco.json") for cell in record["cells"]),
        record["evaluations"],
        Comparison.from_json(json.dumps(record["comparison"]), "tco.json"),
    )


def cases(seen: Measured) -> dict[str, Case]:
    """The case of every embedded scenario."""
    book, found = default_book(), {}
    for name in EMBEDDED:
        scenario = load_scenario(name)
        case = business_case(seen, book, CostConfig(), scenario, PRICED_ON)
        found[name] = Case(seen, scenario, case, book)
    return found


def figures(found: dict[str, Case]) -> dict[str, Any]:
    """The key figures of each scenario, for the record."""
    keys = ("saving", "npv", "investment", "roi", "payback", "discounted_payback", "irr", "shares", "simulation")
    return {name: json.loads(each.case.model_dump_json(include=set(keys))) for name, each in found.items()}


def written(page: str, found: dict[str, Case]) -> str:
    """The page with every marked table written anew."""
    return with_tables(page, tco_tables.tables(found, WORKED), PAGE.name)


def main() -> None:
    """Take, price and write, or check."""
    words = sys.argv[1:]
    if "--from" in words:
        run = taken_from(Path(words[words.index("--from") + 1]))
    else:
        run = json.loads(RECORD.read_text(encoding="utf-8"))["measured"]
    found = cases(measured(run))
    worked_lines(found[WORKED])
    record = {
        "script": "benchmarks/tco_doc.py",
        "priced_on": PRICED_ON.isoformat(),
        "price_book": default_book().digest(),
        "measured": run,
        "figures": figures(found),
    }
    text = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
    page = PAGE.read_text(encoding="utf-8")
    new = written(page, found)
    if "--check" in words:
        if new != page or text != RECORD.read_text(encoding="utf-8"):
            raise SystemExit("docs/tco.md or its record is stale; run python benchmarks/tco_doc.py")
        return
    RECORD.write_text(text, encoding="utf-8")
    PAGE.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
