"""docs/tco.md says what its script says, and the script works every line of the case twice."""

from __future__ import annotations

import json
import re
from decimal import Decimal

import pytest
import tco_doc
import tco_worked


@pytest.fixture(scope="module")
def found() -> dict[str, tco_worked.Case]:
    record = json.loads(tco_doc.RECORD.read_text(encoding="utf-8"))
    return tco_doc.cases(tco_doc.measured(record["measured"]))


def test_every_table_of_the_page_is_made_by_the_script(found) -> None:
    page = tco_doc.PAGE.read_text(encoding="utf-8")
    assert tco_doc.written(page, found) == page
    assert len(re.findall(r"<!-- table: [\w-]+ -->\n\| ", page)) == page.count("<!-- table: ")


def test_the_record_holds_the_figures_of_today(found) -> None:
    record = json.loads(tco_doc.RECORD.read_text(encoding="utf-8"))
    assert record["figures"] == tco_doc.figures(found)
    assert record["price_book"] == found["pilot"].book.digest()


@pytest.mark.parametrize("scenario", ["pilot", "department", "company"])
def test_every_line_of_every_scenario_is_worked_again(scenario: str, found) -> None:
    one = found[scenario]
    assert len(tco_worked.worked_lines(one)) == len(one.case.lines)


def test_a_line_that_is_not_its_formula_stops_the_script(found) -> None:
    one = found["pilot"]
    wrong = one.case.lines[0].model_copy(update={"quantity": one.case.lines[0].quantity + Decimal("0.1")})
    case = one.case.model_copy(update={"lines": (wrong, *one.case.lines[1:])})
    with pytest.raises(SystemExit, match="worked"):
        tco_worked.worked_lines(tco_worked.Case(one.seen, one.scenario, case, one.book))


def test_the_line_that_carries_the_saving_is_the_one_that_the_page_names(found) -> None:
    case = found[tco_doc.WORKED].case
    ours, theirs = (
        {entry.category: entry.amount.amount for entry in case.arm(arm).categories}
        for arm in (case.candidate, case.baseline)
    )
    saved = {name: theirs.get(name, Decimal(0)) - ours.get(name, Decimal(0)) for name in {*ours, *theirs}}
    assert max(saved, key=lambda name: saved[name]) == "serving"
    assert saved["serving"] > case.saving.amount  # without it there is none
    small = sum(saved[name] for name in ("training", "retraining", "storage", "transfer"))
    assert small < saved["serving"] / 100


def test_every_link_of_the_page_leads_somewhere() -> None:
    links = re.findall(r"\]\(([\w./-]+)\)", tco_doc.PAGE.read_text(encoding="utf-8"))
    assert links
    assert all((tco_doc.PAGE.parent / link).is_file() for link in links)
