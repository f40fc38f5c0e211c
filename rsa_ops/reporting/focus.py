"""A business case as FOCUS 1.2 cost data: one row for each line and month (focus.finops.org, version 1.2).

A forecast is no invoice: BilledCost is 0 and EffectiveCost holds the amount. Columns of ours begin with `x_`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import date
from decimal import Decimal

from rsa_ops.core.business_case import BusinessCase, CaseLine

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

ISSUER = "rsa_ops (forecast)"


def focus_rows(case: BusinessCase, start: date) -> Iterator[dict[str, str]]:
    """The rows, month 0 being the month of `start`."""
    for line in case.lines:
        for month in range(line.first, line.last + 1):
            yield _row(case, line, _month(start, month), _month(start, month + 1))


def focus_csv(case: BusinessCase, start: date) -> str:
    """The rows as CSV text, with a header."""
    out = io.StringIO()
    writer: csv.DictWriter[str] | None = None
    for row in focus_rows(case, start):
        if writer is None:
            writer = csv.DictWriter(out, list(row), lineterminator="\n")
            writer.writeheader()
        writer.writerow(row)
    return out.getvalue()


def _row(case: BusinessCase, line: CaseLine, begin: date, end: date) -> dict[str, str]:
    currency, amount = case.currency, _plain(line.monthly)
    return {
        "BilledCost": "0.00",
        "BillingAccountId": case.pipeline,
        "BillingAccountName": case.pipeline,
        "BillingCurrency": currency,
        "BillingPeriodEnd": _instant(end),
        "BillingPeriodStart": _instant(begin),
        "ChargeCategory": "Usage",
        "ChargeClass": "",
        "ChargeDescription": f"{line.category}: {line.description}",
        "ChargeFrequency": "One-Time" if line.first == line.last == 0 else "Recurring",
        "ChargePeriodEnd": _instant(end),
        "ChargePeriodStart": _instant(begin),
        "ConsumedQuantity": _plain(line.quantity),
        "ConsumedUnit": _unit(line.unit),
        "ContractedCost": amount,
        "ContractedUnitPrice": _plain(line.unit_price.amount),
        "EffectiveCost": amount,
        "InvoiceId": "",
        "InvoiceIssuerName": ISSUER,
        "ListCost": amount,
        "ListUnitPrice": _plain(line.unit_price.amount),
        "PricingCategory": "Standard",
        "PricingQuantity": _plain(line.quantity),
        "PricingUnit": _unit(line.unit),
        "ProviderName": ISSUER,
        "PublisherName": ISSUER,
        "ResourceId": f"{case.pipeline}/{line.arm}",
        "ResourceName": line.arm,
        "ResourceType": "model",
        "ServiceCategory": SERVICES[line.category],
        "ServiceName": line.category,
        "ServiceSubcategory": SUBCATEGORIES[SERVICES[line.category]],
        "SkuId": line.source.split(",", 1)[0],
        "SkuPriceId": line.source.split(",", 1)[0],
        "x_Arm": line.arm,
        "x_CostBasis": line.quantity_basis.value,
        "x_PriceBasis": line.price_basis.value,
        "x_PriceBookDigest": case.price_book_digest,
        "x_Scenario": case.scenario,
        "x_Source": line.source,
    }


def _month(start: date, months: int) -> date:
    index = start.year * 12 + start.month - 1 + months
    return date(index // 12, index % 12 + 1, 1)


def _instant(day: date) -> str:
    return f"{day.isoformat()}T00:00:00Z"


def _plain(number: Decimal) -> str:
    return f"{number:f}"


def _unit(unit: str) -> str:
    """Units as FOCUS writes them: words capitalised, plural, a time after a hyphen (`GB-Months`)."""
    known = {
        "core-hour": "Core-Hours",
        "machine-hour": "Machine-Hours",
        "gpu-hour": "GPU-Hours",
        "hour": "Hours",
        "GB-month": "GB-Months",
        "GB": "GB",
        "kWh": "kWh",
        "wrong answers": "Answers",
    }
    return known.get(unit, unit)
