"""Line items: one measured or assumed quantity, one price, the amount; exact to the last decimal kept.

Hours of machine: a line in `core-hour` counts wall time x threads of the cell, a line in `machine-hour` or
`gpu-hour` counts wall time / workers, because that many cells shared the machine. GB are 10**9 bytes.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from rsa_ops.core.costs import Basis, LineItem
from rsa_ops.core.measurements import Measurements
from rsa_ops.costs.config import CostConfig
from rsa_ops.costs.pricebook import PriceBook, PriceLine
from rsa_ops.errors import MissingError, UsageError

QUANTITY_STEP = Decimal("0.000000001")
GB = Decimal(10**9)
CPU_KEY = "cpu-core-hour"
STORAGE_KEY = "storage-gb-month"
ENERGY_KEY = "electricity-kwh"
_SHARED_UNITS = ("machine-hour", "gpu-hour")


@dataclass(frozen=True)
class Priced:
    """A line item with the price line behind it."""

    line: PriceLine
    item: LineItem


@dataclass(frozen=True)
class Till:
    """Prices quantities with one book, in one currency."""

    book: PriceBook
    config: CostConfig

    def item(
        self,
        arm: str,
        category: str,
        description: str,
        line: PriceLine,
        quantity: Decimal,
        basis: Basis,
    ) -> Priced:
        """`quantity` at the price of `line`. Quantities keep nine decimals.

        Raises:
            UsageError: the quantity is negative, or the currency cannot be converted.
        """
        if quantity < 0:
            raise UsageError(f"{arm}, {description}: a cost needs a quantity of 0 or more; found {quantity}")
        rounded = quantity.quantize(QUANTITY_STEP, rounding=ROUND_HALF_UP)
        price = self.book.price(line, self.config.currency)
        priced = LineItem(
            arm=arm,
            category=category,
            description=description,
            quantity=rounded,
            unit=line.unit,
            quantity_basis=basis,
            unit_price=price,
            price_basis=line.basis,
            amount=price.times(rounded),
            source=f"{line.key}, {line.as_of}: {line.source}",
        )
        return Priced(line=line, item=priced)


def decimal(value: float) -> Decimal:
    """The shortest decimal that reads as `value`, so that 0.1 stays 0.1."""
    return Decimal(repr(value))


def compute_line(book: PriceBook, config: CostConfig, measured: Measurements) -> PriceLine:
    """The price of the machine that trained a cell: the configured line, else the one of its device.

    A GPU is matched by its name: `NVIDIA H100 80GB HBM3` takes `gpu-h100-hour`, and an L40S never takes
    the price of an L4.

    Raises:
        MissingError: the book has no price for that device.
    """
    needed_for = f"training {measured.cell.name} on {measured.device}"
    if config.compute_line is not None:
        return book.line(config.compute_line, needed_for)
    words = re.findall(r"[a-z0-9]+", measured.device.lower())
    if "cpu" in words:
        return book.line(CPU_KEY, needed_for)
    known = {line.key for line in book.lines}
    for word in words:
        if f"gpu-{word}-hour" in known:
            return book.line(f"gpu-{word}-hour", needed_for)
    model = next((word for word in words if any(letter.isdigit() for letter in word)), "yours")
    raise MissingError(
        f"price book {book.id} has no price for the device {measured.device!r} of {measured.cell.name}",
        hint=f"Add a line with `key: gpu-{model}-hour` to the YAML that `cost.price_book` names, "
        "or name an existing line in `cost.compute_line`.",
    )


def billed_hours(line: PriceLine, seconds: float, measured: Measurements) -> Decimal:
    """Hours that `line` charges for `seconds` of wall time of a cell that ran as `measured` says.

    Raises:
        UsageError: negative time, no workers or threads, or a unit that is no time of a machine.
    """
    if not (math.isfinite(seconds) and seconds >= 0) or measured.workers < 1 or measured.threads < 1:
        raise UsageError(
            f"{measured.cell.name}: {seconds} s on {measured.workers} workers with {measured.threads} threads "
            "cannot have been measured",
            hint="Measure the cell again; seconds are 0 or more, workers and threads 1 or more.",
        )
    hours = decimal(seconds) / 3600
    if line.unit == "core-hour":
        return hours * measured.threads
    if line.unit in _SHARED_UNITS:
        return hours / measured.workers
    raise UsageError(
        f"price `{line.key}` is per {line.unit}, but a machine is paid per core-hour, machine-hour or gpu-hour",
        hint="Correct the unit in the price book, or name another line in `cost.compute_line`.",
    )


def energy_basis(measured: Measurements) -> Basis:
    """Counters are measured; an estimate from processor power is assumed."""
    return Basis.MEASURED if measured.energy.source.endswith("counter") else Basis.ASSUMED
