"""The price book: dated prices with their sources, and one frozen rate between yen and dollar.

Nothing is looked up at run time: a figure that changes by itself cannot be audited.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date as calendar_day
from decimal import ROUND_HALF_UP, Decimal
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from rsa_ops.config import load_config, read_config
from rsa_ops.core.costs import Basis
from rsa_ops.core.money import Currency, Money
from rsa_ops.core.record import Record, Value
from rsa_ops.errors import MissingError, UsageError

DEFAULT_BOOK = "price_book_2026_11.yaml"
PRICE_STEP = Decimal("0.000001")
"""Converted unit prices keep six decimals, so that every product below stays exact."""

PriceBasis = Literal[Basis.QUOTED, Basis.ASSUMED]


def _iso_date(text: str) -> str:
    calendar_day.fromisoformat(text)  # ValueError says what is wrong with it
    return text


IsoDate = Annotated[str, AfterValidator(_iso_date)]


class FxRate(Value):
    """One frozen rate: yen for one dollar, of a day, from somewhere."""

    jpy_per_usd: Decimal = Field(gt=0)
    date: IsoDate
    source: str
    basis: PriceBasis = Basis.QUOTED

    @property
    def note(self) -> str:
        """The rate in one sentence, for reports."""
        return f"1 USD = {self.jpy_per_usd} JPY, frozen on {self.date} ({self.basis}: {self.source})"


class PriceLine(Value):
    """One price for one unit. `source` says who published it, or why it is assumed."""

    key: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")
    unit: str
    price: Decimal = Field(ge=0)
    currency: Currency
    source: str = Field(min_length=1)
    as_of: IsoDate
    basis: PriceBasis


class Factor(Value):
    """A figure that is no price: how much of something comes with one of something else (kg of CO2e with a kWh)."""

    key: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")
    unit: str
    value: Decimal = Field(ge=0)
    source: str = Field(min_length=1)
    as_of: IsoDate
    basis: PriceBasis


class PriceBook(Record):
    """A dated set of prices. `currency` is the one its owner keeps accounts in; lines may be in either.

    `factors`: what is counted without being priced, such as the carbon of a grid's electricity.
    """

    schema_: Literal["rsa_ops/price-book/v1"] = Field(default="rsa_ops/price-book/v1", alias="schema")

    id: str
    date: IsoDate
    currency: Currency = "JPY"
    fx: FxRate | None = None
    lines: tuple[PriceLine, ...]
    factors: tuple[Factor, ...] = ()

    @model_validator(mode="after")
    def _keys_stand_once(self) -> Self:
        keys = [line.key for line in self.lines]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        if twice:
            raise ValueError(f"the price of {', '.join(twice)} stands twice")
        return self

    def line(self, key: str, needed_for: str) -> PriceLine:
        """The price called `key`.

        Raises:
            MissingError: there is none; says what needed it and what to add.
        """
        found = next((line for line in self.lines if line.key == key), None)
        if found is None:
            known = ", ".join(line.key for line in self.lines)
            raise MissingError(
                f"price book {self.id} has no price `{key}`, which {needed_for} needs",
                hint=f"Add a line with `key: {key}` to the YAML that `cost.price_book` names. It has: {known}.",
            )
        return found

    def factor(self, key: str, needed_for: str) -> Factor:
        """The factor called `key`.

        Raises:
            MissingError: there is none; says what needed it and what to add.
        """
        found = next((factor for factor in self.factors if factor.key == key), None)
        if found is None:
            raise MissingError(
                f"price book {self.id} has no factor `{key}`, which {needed_for} needs",
                hint=f"Add one with `key: {key}` under `factors:` of the YAML that `cost.price_book` names.",
            )
        return found

    def stale(self, today: calendar_day, days: int, used: Callable[[PriceLine], bool]) -> Iterator[str]:
        """A sentence for the book and for each used line that is older than `days` on the day `today`."""
        age = (today - calendar_day.fromisoformat(self.date)).days
        if age > days:
            yield f"price book {self.id} is stale: {age} days old, more than {days}"
        for line in self.lines:
            old = (today - calendar_day.fromisoformat(line.as_of)).days
            if used(line) and old > days:
                yield f"price `{line.key}` is stale: of {line.as_of}, {old} days old"

    def price(self, line: PriceLine, currency: Currency) -> Money:
        """The unit price of `line` in `currency`, by the book's frozen rate.

        Raises:
            UsageError: the currencies differ and the book has no rate.
        """
        if line.currency == currency:
            return Money(amount=line.price, currency=currency)
        if self.fx is None:
            raise UsageError(
                f"price `{line.key}` is in {line.currency}, the costs are in {currency}, "
                f"and price book {self.id} has no rate between them",
                hint="Add `fx: {jpy_per_usd: ..., date: ..., source: ...}` to the book.",
            )
        rate = self.fx.jpy_per_usd
        amount = line.price * rate if currency == "JPY" else line.price / rate
        return Money(amount=amount.quantize(PRICE_STEP, rounding=ROUND_HALF_UP), currency=currency)


def default_book() -> PriceBook:
    """The embedded price book."""
    text = resources.files("rsa_ops.costs").joinpath(DEFAULT_BOOK).read_text(encoding="utf-8")
    return load_config(PriceBook, text, DEFAULT_BOOK)


def load_book(path: Path | None) -> PriceBook:
    """The embedded book, its lines overridden by those of `path` where one is given.

    Raises:
        MissingError: no such file.
        ConfigError: not a price book (each problem with its line).
    """
    book = default_book()
    return book if path is None else overridden(book, read_config(PriceBook, path))


def overridden(book: PriceBook, own: PriceBook) -> PriceBook:
    """`book` with the lines, rate and currency of `own` in their place; as old as the older of the two."""
    mine = {line.key for line in own.lines}
    mine_factors = {factor.key for factor in own.factors}
    kept = tuple(line for line in book.lines if line.key not in mine)
    return PriceBook(
        id=f"{own.id} over {book.id}",
        date=min(own.date, book.date),
        currency=own.currency,
        fx=own.fx or book.fx,
        lines=own.lines + kept,
        factors=own.factors + tuple(each for each in book.factors if each.key not in mine_factors),
    )
