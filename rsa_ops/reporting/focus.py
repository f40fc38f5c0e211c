"""A business case as FOCUS 1.2 cost data: one row for each line and month (focus.finops.org, version 1.2).

The columns are the 21 that the specification asks of everybody and the 3 that it recommends, without which the
validator refuses a file; ours begin with `x_`. What holds only for a provider with price lists, regions, tags or
discounts is left out. A forecast is no invoice: BilledCost is 0, InvoiceId empty, EffectiveCost holds the amount.
Amounts are in the currency's own unit, and the months of a line add up to the line to the last yen. `ci/focus.py`
puts a file before the official validator.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Literal, TypeAlias

from rsa_ops.core.business_case import BusinessCase, CaseLine
from rsa_ops.core.money import Money

Kind = Literal["text", "number", "instant"]
Cell: TypeAlias = str | Decimal | datetime | None

COLUMNS: dict[str, Kind] = {
    "BilledCost": "number",
    "BillingAccountId": "text",
    "BillingAccountName": "text",
    "BillingCurrency": "text",
    "BillingPeriodEnd": "instant",
    "BillingPeriodStart": "instant",
    "ChargeCategory": "text",
    "ChargeClass": "text",
    "ChargeDescription": "text",
    "ChargeFrequency": "text",
    "ChargePeriodEnd": "instant",
    "ChargePeriodStart": "instant",
    "ContractedCost": "number",
    "EffectiveCost": "number",
    "InvoiceId": "text",
    "InvoiceIssuerName": "text",
    "ListCost": "number",
    "PricingQuantity": "number",
    "PricingUnit": "text",
    "ProviderName": "text",
    "PublisherName": "text",
    "ServiceCategory": "text",
    "ServiceName": "text",
    "ServiceSubcategory": "text",
    "x_Arm": "text",
    "x_CostBasis": "text",
    "x_FxNote": "text",
    "x_PriceBasis": "text",
    "x_PriceBook": "text",
    "x_PriceBookDigest": "text",
    "x_Scenario": "text",
    "x_ScenarioDigest": "text",
    "x_Source": "text",
    "x_UnitPrice": "number",
}
"""Every column with its kind: what FOCUS 1.2 has as mandatory or recommended without a condition, then ours."""

AMOUNTS = ("ContractedCost", "EffectiveCost", "ListCost")
"""Columns that hold a row's amount; they differ only where a provider gives discounts."""

SERVICES = {
    "adoption": "Management and Governance",
    "people": "Management and Governance",
    "governance": "Management and Governance",
    "labelling": "Management and Governance",
    "risk": "Management and Governance",
    "training": "AI and Machine Learning",
    "retraining": "AI and Machine Learning",
    "requalification": "AI and Machine Learning",
    "evaluation": "AI and Machine Learning",
    "serving": "Compute",
    "energy": "Compute",
    "storage": "Storage",
    "transfer": "Networking",
}
"""Category of ours -> ServiceCategory of FOCUS."""

SUBCATEGORIES = {
    "Management and Governance": "Other (Management and Governance)",
    "AI and Machine Learning": "Machine Learning",
    "Compute": "Virtual Machines",
    "Storage": "Other (Storage)",
    "Networking": "Other (Networking)",
}
"""ServiceCategory -> ServiceSubcategory, both of FOCUS."""

ISSUER = "rsa_ops (forecast)"

UNITS = {
    "core-hour": "Core-Hours",
    "machine-hour": "Machine-Hours",
    "gpu-hour": "GPU-Hours",
    "hour": "Hours",
    "GB-month": "GB-Months",
    "GB": "GB",
    "kWh": "kWh",
    "wrong answers": "Answers",
}
"""Units as FOCUS writes them: capitalised, plural, a time after a hyphen. Others stay as in the price book."""

_DIGITS, _PLACES = 38, 18
_CENT = Decimal("0.01")


def focus_rows(case: BusinessCase, start: date) -> Iterator[dict[str, Cell]]:
    """The rows, month 0 being the month of `start`. Keys are `COLUMNS`, in their order."""
    whole = _same_in_all_rows(case)
    for line in case.lines:
        own = _same_in_all_months(line)
        for month, amount in zip(range(line.first, line.last + 1), monthly_amounts(line), strict=True):
            begin, end = _month(start, month), _month(start, month + 1)
            cells = {**whole, **own, **_period(begin, end), **dict.fromkeys(AMOUNTS, amount)}
            yield {name: cells[name] for name in COLUMNS}


def focus_csv(case: BusinessCase, start: date) -> str:
    """The rows as CSV text, with a header."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(COLUMNS), lineterminator="\n")
    writer.writeheader()
    for row in focus_rows(case, start):
        writer.writerow({name: _text(cell) for name, cell in row.items()})
    return out.getvalue()


def focus_parquet(case: BusinessCase, start: date) -> bytes:
    """The rows as the bytes of a Parquet file: decimals, UTC instants, text; no floating point."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds: dict[Kind, Any] = {
        "text": pa.string(),
        "number": pa.decimal128(_DIGITS, _PLACES),
        "instant": pa.timestamp("ms", tz="UTC"),
    }
    schema = pa.schema([(name, kinds[kind]) for name, kind in COLUMNS.items()])
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(focus_rows(case, start)), schema=schema), out)
    return out.getvalue()


def monthly_amounts(line: CaseLine) -> Iterator[Decimal]:
    """The amount of each month of a line in the currency's own unit; they add up to the line's amount.

    All have two decimals, because the validator takes a column of whole numbers for integers and refuses it.
    Month k gets what the rounded sum of the first k months is more than that of the first k - 1.
    """
    before = Decimal(0)
    for months in range(1, line.last - line.first + 2):
        until = Money(amount=line.monthly * months, currency=line.amount.currency).rounded().amount
        yield (until - before).quantize(_CENT)
        before = until


def _same_in_all_rows(case: BusinessCase) -> dict[str, Cell]:
    return {
        "BilledCost": Decimal(0).quantize(_CENT),
        "BillingAccountId": case.pipeline,
        "BillingAccountName": case.pipeline,
        "BillingCurrency": case.currency,
        "ChargeCategory": "Usage",
        "ChargeClass": None,
        "InvoiceId": None,
        "InvoiceIssuerName": ISSUER,
        "ProviderName": ISSUER,
        "PublisherName": ISSUER,
        "x_FxNote": case.fx_note,
        "x_PriceBook": case.price_book,
        "x_PriceBookDigest": case.price_book_digest,
        "x_Scenario": case.scenario,
        "x_ScenarioDigest": case.scenario_digest,
    }


def _same_in_all_months(line: CaseLine) -> dict[str, Cell]:
    return {
        "ChargeDescription": f"{line.category}: {line.description}",
        "ChargeFrequency": "One-Time" if line.last == 0 else "Recurring",
        "PricingQuantity": line.quantity,
        "PricingUnit": UNITS.get(line.unit, line.unit),
        "ServiceCategory": SERVICES[line.category],
        "ServiceName": line.category,
        "ServiceSubcategory": SUBCATEGORIES[SERVICES[line.category]],
        "x_Arm": line.arm,
        "x_CostBasis": line.quantity_basis.value,
        "x_PriceBasis": line.price_basis.value,
        "x_Source": line.source,
        "x_UnitPrice": _kept(line.unit_price.amount),
    }


def _period(begin: datetime, end: datetime) -> dict[str, Cell]:
    return {
        "BillingPeriodEnd": end,
        "BillingPeriodStart": begin,
        "ChargePeriodEnd": end,
        "ChargePeriodStart": begin,
    }


def _kept(number: Decimal) -> Decimal:
    """A price to the decimals that both files can hold; the price factors of a scenario may give it more."""
    exponent = number.as_tuple().exponent
    many = isinstance(exponent, int) and exponent < -_PLACES
    return number.quantize(Decimal(1).scaleb(-_PLACES)) if many else number


def _month(start: date, months: int) -> datetime:
    index = start.year * 12 + start.month - 1 + months
    return datetime(index // 12, index % 12 + 1, 1, tzinfo=UTC)


def _text(cell: Cell) -> str:
    """A cell as CSV has it: null is empty, numbers without an exponent, instants in ISO 8601 with a Z."""
    if cell is None:
        return ""
    if isinstance(cell, datetime):
        return f"{cell:%Y-%m-%dT%H:%M:%SZ}"
    return f"{cell:f}" if isinstance(cell, Decimal) else cell
