"""The workbook's formulas give the record's figures, also when LibreOffice works them out again."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
import zipfile
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from rsa_ops.core.business_case import BusinessCase
from rsa_ops.costs import CostConfig, default_book
from rsa_ops.costs.case import business_case
from rsa_ops.costs.scenario import load_scenario
from rsa_ops.reporting.workbook import render_workbook

from ...worlds import world


def case(currency: str) -> BusinessCase:
    scenario = load_scenario("department").model_copy(update={"draws": 200, "currency": currency})
    return business_case(world(), default_book(), CostConfig(), scenario, date(2026, 11, 26))


def test_the_same_case_gives_the_same_bytes() -> None:
    assert render_workbook(case("JPY"), "ja") == render_workbook(case("JPY"), "ja")


def test_no_amount_is_written_as_a_number_where_it_can_be_a_formula(tmp_path: Path) -> None:
    file = tmp_path / "case.xlsx"
    file.write_bytes(render_workbook(case("JPY"), "en"))
    with zipfile.ZipFile(file) as archive:
        decision = archive.read("xl/worksheets/sheet1.xml").decode()
        names = archive.read("xl/workbook.xml").decode()
    assert len(re.findall(r"<f>", decision)) == 5
    assert "discount_rate" in names


@pytest.mark.parametrize("currency", ["JPY", "USD"])
def test_libreoffice_works_out_the_same_totals(currency: str, tmp_path: Path) -> None:
    office = shutil.which("soffice") or shutil.which("libreoffice")
    if office is None:
        pytest.skip("there is no LibreOffice on this machine")
    found = case(currency)
    file = tmp_path / "case.xlsx"
    file.write_bytes(_without_results(render_workbook(found, "en")))
    profile = (tmp_path / "profile").as_uri()
    subprocess.run(
        [
            office,
            f"-env:UserInstallation={profile}",
            "--headless",
            "--convert-to",
            "csv",
            "--outdir",
            tmp_path,
            file,
        ],
        check=True,
        capture_output=True,
        timeout=240,
    )
    rows = list(csv.reader((tmp_path / "case.csv").read_text("utf-8").splitlines()))
    values = [Decimal(row[1].replace(",", "")) for row in rows[1:6]]
    wanted = [found.arm("rsa").total, found.arm("full").total, found.saving, found.npv, found.investment]
    assert values == [amount.amount for amount in wanted]


def _without_results(data: bytes) -> bytes:
    """The workbook without the stored results of its formulas, so that what is read back was worked out."""
    import io

    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            text = old.read(name)
            if name.startswith("xl/worksheets/"):
                text = re.sub(rb"(</f>)<v>[^<]*</v>", rb"\1", text)
            new.writestr(name, text)
    return out.getvalue()
