"""Money: a decimal amount with its currency; amounts of two currencies never meet by accident."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from typing import Literal

from rsa_ops.core.record import Value
from rsa_ops.errors import UsageError

Currency = Literal["JPY", "USD"]

_MINOR_UNITS: dict[Currency, int] = {"JPY": 0, "USD": 2}


class Money(Value):
    """An exact amount. Rounding happens only in `rounded`, when people read it."""

    amount: Decimal
    currency: Currency

    def __add__(self, other: Money) -> Money:
        """Sum of two amounts of the same currency.

        Raises:
            UsageError: the currencies differ; convert first, with a rate that has a date.
        """
        if self.currency != other.currency:
            raise UsageError(
                f"cannot add {other.currency} to {self.currency}",
                hint="Convert one side with the frozen rate of the price book first.",
            )
        return Money(amount=self.amount + other.amount, currency=self.currency)

    def times(self, quantity: Decimal) -> Money:
        """`quantity` of this unit price."""
        return Money(amount=self.amount * quantity, currency=self.currency)

    def rounded(self) -> Money:
        """To the currency's own unit (whole yen, cents), half up as accountants do."""
        step = Decimal(1).scaleb(-_MINOR_UNITS[self.currency])
        return Money(amount=self.amount.quantize(step, rounding=ROUND_HALF_UP), currency=self.currency)

    def __str__(self) -> str:
        sign = {"JPY": "¥", "USD": "$"}[self.currency]
        amount = self.rounded().amount
        return f"{'-' if amount < 0 else ''}{sign}{abs(amount):,}"
