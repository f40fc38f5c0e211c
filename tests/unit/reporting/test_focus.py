"""Laws of FOCUS data that need no validator; `ci/focus.py` runs the official one."""

from __future__ import annotations

import csv
import io
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsa_ops.core.business_case import BusinessCase, CaseLine
from rsa_ops.core.costs import Basis
from rsa_ops.core.money import Money
from rsa_ops.costs import CostConfig, default_book
from rsa_ops.costs.case import business_case
from rsa_ops.costs.scenario import load_scenario
from rsa_ops.errors import UsageError
from rsa_ops.reporting.focus import focus_csv, focus_parquet, monthly_amounts
from rsa_ops.stages.business import write_focus

from ...worlds import world, write_results

START = date(2026, 11, 24)
# FOCUS 1.2: mandatory without a condition. The same 21 as in the model of the validator (focus-validator 2.2.1,
# model 1.2.0.1: Presence, MUST, no criteria), which refuses a file without the 3 recommended ones too.
MANDATORY = {
    *("BilledCost", "BillingAccountId", "BillingAccountName", "BillingCurrency", "BillingPeriodEnd"),
    *("BillingPeriodStart", "ChargeCategory", "ChargeClass", "ChargeDescription", "ChargePeriodEnd"),
    *("ChargePeriodStart", "ContractedCost", "EffectiveCost", "InvoiceIssuerName", "ListCost", "PricingQuantity"),
    *("PricingUnit", "ProviderName", "PublisherName", "ServiceCategory", "ServiceName"),
}
RECOMMENDED = {"ChargeFrequency", "InvoiceId", "ServiceSubcategory"}


def case(currency: str = "JPY", **changes: object) -> BusinessCase:
    scenario = load_scenario("department").model_copy(update={"draws": 100, "currency": currency, **changes})
    return business_case(world(), default_book(), CostConfig(), scenario, date(2026, 11, 26))


def rows(found: BusinessCase, start: date = START) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(focus_csv(found, start))))


def table(found: BusinessCase) -> Any:
    return pq.read_table(io.BytesIO(focus_parquet(found, START)))


def test_the_columns_are_those_of_focus_and_ours() -> None:
    names = list(rows(case())[0])
    assert {name for name in names if not name.startswith("x_")} == MANDATORY | RECOMMENDED
    assert len(MANDATORY) == 21
    assert names == table(case()).column_names
    assert len(names) == len(set(names))


@pytest.mark.parametrize("currency", ["JPY", "USD"])
def test_effective_cost_adds_up_to_the_total_of_each_arm_to_the_last_unit(currency: str) -> None:
    found = case(currency)
    for arm in found.arms:
        own = [row for row in rows(found) if row["x_Arm"] == arm.arm]
        assert sum(Decimal(row["EffectiveCost"]) for row in own) == arm.total.amount
        for category in arm.categories:
            amounts = [Decimal(row["EffectiveCost"]) for row in own if row["ServiceName"] == category.category]
            assert sum(amounts) == category.amount.amount
    for row in rows(found):
        assert row["BillingCurrency"] == currency
        assert row["EffectiveCost"] == row["ListCost"] == row["ContractedCost"]
        if currency == "JPY":
            assert Decimal(row["EffectiveCost"]) % 1 == 0  # whole yen


@given(st.decimals(0, 10**9, places=9), st.decimals(0, 10**5, places=6), st.integers(1, 240), st.booleans())
def test_the_months_of_a_line_add_up_to_it(quantity: Decimal, price: Decimal, months: int, yen: bool) -> None:
    unit = Money(amount=price, currency="JPY" if yen else "USD")
    line = CaseLine(
        arm="rsa",
        category="storage",
        description="",
        quantity=quantity,
        unit="GB-month",
        quantity_basis=Basis.DERIVED,
        unit_price=unit,
        price_basis=Basis.QUOTED,
        first=1,
        last=months,
        amount=unit.times(quantity * months).rounded(),
        source="",
    )
    amounts = list(monthly_amounts(line))
    assert len(amounts) == months
    assert sum(amounts) == line.amount.amount
    step = Decimal(1) if yen else Decimal("0.01")
    assert all(abs(amount - line.monthly) < step for amount in amounts)


def test_a_forecast_was_not_billed_and_has_no_invoice() -> None:
    for row in rows(case()):
        assert (row["BilledCost"], row["InvoiceId"]) == ("0.00", "")
        assert "forecast" in row["InvoiceIssuerName"]


def test_charge_periods_are_whole_months_from_the_month_of_the_run_on() -> None:
    found = rows(case(horizon_months=3))
    periods = sorted({(row["ChargePeriodStart"], row["ChargePeriodEnd"]) for row in found})
    assert periods == [
        ("2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z"),
        ("2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"),
        ("2027-01-01T00:00:00Z", "2027-02-01T00:00:00Z"),
        ("2027-02-01T00:00:00Z", "2027-03-01T00:00:00Z"),
    ]
    assert all(
        (row["BillingPeriodStart"], row["BillingPeriodEnd"]) == (row["ChargePeriodStart"], row["ChargePeriodEnd"])
        for row in found
    )
    assert {row["ChargePeriodStart"] for row in found if row["ChargeFrequency"] == "One-Time"} == {periods[0][0]}


def test_no_number_is_a_float() -> None:
    found = table(case())
    assert not any(pa.types.is_floating(field.type) for field in found.schema)
    for row in rows(case("USD")):
        for name in ("EffectiveCost", "PricingQuantity", "x_UnitPrice"):
            assert "e" not in row[name].lower()


def test_csv_and_parquet_hold_the_same() -> None:
    for text, typed in zip(rows(case()), table(case()).to_pylist(), strict=True):
        for name, cell in typed.items():
            if cell is None:
                assert text[name] == ""
            elif isinstance(cell, Decimal):
                assert Decimal(text[name]) == cell
            elif isinstance(cell, datetime):
                assert datetime.fromisoformat(text[name]) == cell
            else:
                assert text[name] == cell


def test_text_comes_back_as_it_was_whatever_stands_in_it() -> None:
    awkward = 'a "quoted", comma;\nand a line\tbreak, 稟議書 №7'
    found = case().model_copy(update={"pipeline": awkward, "fx_note": awkward})
    for back in (rows(found), table(found).to_pylist()):
        assert {row["BillingAccountId"] for row in back} == {awkward}
        assert {row["x_FxNote"] for row in back} == {awkward}


def test_a_price_of_more_decimals_than_a_file_holds_is_rounded_in_both() -> None:
    found = case()
    fine = found.lines[0].model_copy(
        update={"unit_price": Money(amount=Decimal("0.12345678901234567895"), currency="JPY")}
    )
    found = found.model_copy(update={"lines": (fine,)})
    assert rows(found)[0]["x_UnitPrice"] == "0.123456789012345679"
    assert table(found).to_pylist()[0]["x_UnitPrice"] == Decimal("0.123456789012345679")


def test_only_csv_and_parquet_are_written(tmp_path: Path) -> None:
    results = write_results(tmp_path / "results", "triage", "sqlite:///x.db", "r1")
    with pytest.raises(UsageError, match=r"\.csv or \.parquet"):
        write_focus(case(), results, tmp_path / "focus.xlsx")
    for name in ("focus.csv", "focus.parquet"):
        write_focus(case(), results, tmp_path / name)
        assert (tmp_path / name).stat().st_size > 1000
