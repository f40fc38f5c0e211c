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
from rsa_ops.costs.finance import straight_line_hour
from rsa_ops.errors import MissingError, UsageError

DEFAULT_BOOK = "price_book_2026_11.yaml"
PRICE_STEP = Decimal("0.000001")
"""Converted unit prices keep six decimals, so that every product below stays exact."""

ELECTRICITY = "electricity-kwh"

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


class OwnedMachine(Value):
    """A machine that you own, as a price of its hour: straight-line depreciation, and the electricity it draws.

    `unit`: machine-hour, or gpu-hour where it has one GPU. `price`, `salvage`: paid for it, and its worth after
    `life_years`. `hours_per_year`: hours in which it works, which carry the depreciation. `watts`: mean draw then;
    times `pue` it is paid at the book's `electricity-kwh`. With 0 watts no electricity is in the price.
    """

    key: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")
    unit: Literal["machine-hour", "gpu-hour"]
    price: Decimal = Field(gt=0)
    salvage: Decimal = Field(default=Decimal(0), ge=0)
    life_years: Decimal = Field(gt=0, le=50)
    hours_per_year: Decimal = Field(gt=0, le=8784)
    watts: Decimal = Field(ge=0)
    pue: Decimal = Field(default=Decimal(1), ge=1, le=3)
    currency: Currency
    source: str = Field(min_length=1)
    as_of: IsoDate
    basis: PriceBasis

    @model_validator(mode="after")
    def _worth_less_afterwards(self) -> Self:
        if self.salvage > self.price:
            raise ValueError(f"a salvage value of {self.salvage} is more than the price of {self.price}")
        return self


class PriceBook(Record):
    """A dated set of prices. `currency` is the one its owner keeps accounts in; lines may be in either.

    `owned`: machines that you own, each as good as a line. `factors`: what is counted without being priced, such as
    the carbon of a grid's electricity.
    """

    schema_: Literal["rsa_ops/price-book/v1"] = Field(default="rsa_ops/price-book/v1", alias="schema")

    id: str
    date: IsoDate
    currency: Currency = "JPY"
    fx: FxRate | None = None
    lines: tuple[PriceLine, ...] = ()
    owned: tuple[OwnedMachine, ...] = ()
    factors: tuple[Factor, ...] = ()

    @model_validator(mode="after")
    def _keys_stand_once(self) -> Self:
        keys = [entry.key for entry in self.entries()]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        if twice:
            raise ValueError(f"the price of {', '.join(twice)} stands twice")
        return self

    def entries(self) -> tuple[PriceLine | OwnedMachine, ...]:
        """Everything that has a price: lines, then owned machines."""
        return (*self.lines, *self.owned)

    def line(self, key: str, needed_for: str) -> PriceLine:
        """The price called `key`.

        Raises:
            MissingError: there is none; says what needed it and what to add.
        """
        found = next((line for line in self.lines if line.key == key), None)
        machine = next((machine for machine in self.owned if machine.key == key), None)
        if machine is not None:
            return self._hour_of(machine)
        if found is None:
            known = ", ".join(entry.key for entry in self.entries())
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

    def stale(self, today: calendar_day, days: int, used: Callable[[str], bool]) -> Iterator[str]:
        """A sentence for the book and for each line, used by its key, that is older than `days` on `today`."""
        age = (today - calendar_day.fromisoformat(self.date)).days
        if age > days:
            yield f"price book {self.id} is stale: {age} days old, more than {days}"
        for line in self.entries():
            old = (today - calendar_day.fromisoformat(line.as_of)).days
            if used(line.key) and old > days:
                yield f"price `{line.key}` is stale: of {line.as_of}, {old} days old"

    def _hour_of(self, machine: OwnedMachine) -> PriceLine:
        """An owned machine as a line; assumed unless its own figures and its electricity's price are quoted."""
        worn = straight_line_hour(machine.price, machine.salvage, machine.life_years, machine.hours_per_year)
        how = f"({machine.price} - {machine.salvage}) / {machine.life_years} years / {machine.hours_per_year} hours"
        basis, power = machine.basis, Decimal(0)
        if machine.watts:
            electricity = self.line(ELECTRICITY, f"the electricity of {machine.key}")
            kwh = self.price(electricity, machine.currency).amount
            power = machine.watts * machine.pue / 1000 * kwh
            how += f" + {machine.watts} W x PUE {machine.pue} x {kwh} a kWh"
            basis = Basis.QUOTED if {basis, electricity.basis} == {Basis.QUOTED} else Basis.ASSUMED
        return PriceLine(
            key=machine.key,
            unit=machine.unit,
            price=(worn + power).quantize(PRICE_STEP, rounding=ROUND_HALF_UP),
            currency=machine.currency,
            source=f"{machine.source}; {how}",
            as_of=machine.as_of,
            basis=basis,
        )

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
    mine = {entry.key for entry in own.entries()}
    mine_factors = {factor.key for factor in own.factors}
    kept = tuple(line for line in book.lines if line.key not in mine)
    return PriceBook(
        id=f"{own.id} over {book.id}",
        date=min(own.date, book.date),
        currency=own.currency,
        fx=own.fx or book.fx,
        lines=own.lines + kept,
        owned=own.owned + tuple(machine for machine in book.owned if machine.key not in mine),
        factors=own.factors + tuple(each for each in book.factors if each.key not in mine_factors),
    )
