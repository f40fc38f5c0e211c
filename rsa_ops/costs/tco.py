"""Total cost per arm: training as measured, its repetitions, evaluation, retraining and storage over a horizon.

Left out, and to be added by hand until the book has them: people, serving, transfer.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import ROUND_HALF_UP, Decimal

from rsa_ops.core.costs import ArmCost, Basis, LineItem, Tco
from rsa_ops.core.measurements import Measurements
from rsa_ops.core.money import Currency, Money
from rsa_ops.costs.config import CostConfig
from rsa_ops.costs.items import ONE_TRAINING, arm_items
from rsa_ops.costs.lines import QUANTITY_STEP, Priced, Till
from rsa_ops.costs.pricebook import PriceBook
from rsa_ops.errors import MissingError


def total_cost(
    measurements: tuple[Measurements, ...],
    evaluations: Mapping[str, float],
    book: PriceBook,
    config: CostConfig,
    today: date,
) -> Tco:
    """Line items and totals of every arm in `measurements`.

    `evaluations`: wall seconds that judging took, summed over the cells of each arm; 0 leaves the line out.
    `today`: the day that a book's age is counted to.

    Raises:
        MissingError: no measurements, no evaluation time of an arm, a price that the book lacks, or energy
            that is asked for and was not measured.
        UsageError: a negative quantity, or currencies without a rate between them.
    """
    if not measurements:
        raise MissingError("no measurements to price", hint="`rsa-ops train` writes a measurements.json per cell.")
    till = Till(book=book, config=config)
    priced: list[Priced] = []
    costs: list[ArmCost] = []
    for arm in dict.fromkeys(entry.cell.arm for entry in measurements):
        cells = tuple(entry for entry in measurements if entry.cell.arm == arm)
        entries = arm_items(till, cells, _evaluation_seconds(arm, evaluations))
        costs.append(_arm_cost(arm, [entry.item for entry in entries], len(cells)))
        priced += entries
    items = [entry.item for entry in priced]
    return Tco(
        currency=config.currency,
        horizon_months=config.horizon_months,
        price_book=book.id,
        price_book_digest=book.digest(),
        price_book_date=book.date,
        fx_note=book.fx.note if book.fx else "no rate: all prices are in one currency",
        items=tuple(items),
        arms=tuple(costs),
        measured_share=_measured_share(items),
        warnings=_warnings(book, priced, config, today),
    )


def _evaluation_seconds(arm: str, evaluations: Mapping[str, float]) -> float:
    if arm not in evaluations:
        raise MissingError(
            f"no evaluation time for the arm {arm}",
            hint="`rsa-ops benchmark` writes one per cell; a total with a hole in it is no total.",
        )
    return evaluations[arm]


def _arm_cost(arm: str, lines: list[LineItem], cells: int) -> ArmCost:
    currency = lines[0].amount.currency
    training = _sum(currency, [item for item in lines if item.category in ONE_TRAINING])
    return ArmCost(arm=arm, per_training=_mean(training, cells), total=_sum(currency, lines))


def _sum(currency: Currency, items: list[LineItem]) -> Money:
    total = Money(amount=Decimal(0), currency=currency)
    for item in items:
        total += item.amount
    return total


def _mean(total: Money, count: int) -> Money:
    mean = (total.amount / count).quantize(QUANTITY_STEP, rounding=ROUND_HALF_UP)
    return Money(amount=mean, currency=total.currency)


def _measured_share(items: list[LineItem]) -> float:
    total = sum((item.amount.amount for item in items), Decimal(0))
    measured = sum((i.amount.amount for i in items if i.quantity_basis is Basis.MEASURED), Decimal(0))
    return float(measured / total) if total else 0.0


def _warnings(book: PriceBook, priced: list[Priced], config: CostConfig, today: date) -> tuple[str, ...]:
    """What a reader must know about the prices that were used: a stale book, stale lines, an assumed rate."""
    used = {entry.line.key for entry in priced}
    found = list(book.stale(today, config.stale_after_days, lambda key: key in used))
    foreign = any(line.key in used and line.currency != config.currency for line in book.lines)
    if foreign and book.fx is not None and book.fx.basis is Basis.ASSUMED:
        found.append(f"the rate of {book.fx.jpy_per_usd} JPY per USD is assumed, not quoted")
    if config.include_energy:
        found.append("energy is priced on top of the machine: right only if the machine's price excludes it")
    return tuple(found)
