"""What the cost stage hands on: line items with their basis, and totals per arm."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import Literal

from pydantic import Field

from rsa_ops.core.digest import Digest
from rsa_ops.core.money import Currency, Money
from rsa_ops.core.record import Record, Value


class Basis(StrEnum):
    """Where a figure comes from (DESIGN section 4, rule 7)."""

    MEASURED = "measured"
    QUOTED = "quoted"
    ASSUMED = "assumed"
    DERIVED = "derived"


class LineItem(Value):
    """One cost: quantity x unit price = amount, with the basis and source of both factors."""

    arm: str
    category: str
    description: str
    quantity: Decimal
    unit: str
    quantity_basis: Basis
    unit_price: Money
    price_basis: Basis
    amount: Money
    source: str


class ArmCost(Value):
    """One arm: the mean cost of one training, and the total over the horizon."""

    arm: str
    per_training: Money
    total: Money


class Tco(Record):
    """`tco.json`. `measured_share` is the share of the grand total whose quantity was measured, in [0, 1]."""

    schema_: Literal["rsa_ops/tco/v1"] = Field(default="rsa_ops/tco/v1", alias="schema")

    currency: Currency
    horizon_months: int
    price_book: str
    price_book_digest: Digest
    price_book_date: str
    fx_note: str
    items: tuple[LineItem, ...]
    arms: tuple[ArmCost, ...]
    measured_share: float
    warnings: tuple[str, ...] = ()

    def arm(self, name: str) -> ArmCost | None:
        """The totals of one arm, or None."""
        return next((arm for arm in self.arms if arm.arm == name), None)
