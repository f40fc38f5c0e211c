"""Worked examples that others have published, to the digits that they print. NPV has its own in test_finance.py."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from rsa_ops.core.costs import Basis
from rsa_ops.core.measurements import Energy, kilowatt_hours
from rsa_ops.core.money import Money
from rsa_ops.costs import CostConfig, FxRate, PriceBook, PriceLine, default_book
from rsa_ops.costs.case import business_case
from rsa_ops.costs.pricebook import Factor, overridden
from rsa_ops.costs.scenario import load_scenario

from ...worlds import measured, world

LLAMA_2 = ((184_320, "31.22"), (368_640, "62.44"), (1_720_320, "291.42"))
"""GPU hours and tCO2eq of the 7B, 13B and 70B models, 400 W each: Llama 2 model card, "Carbon Footprint"."""


def carbon_kg(kwh: float, factor: Decimal, pue: str = "1") -> Decimal:
    """What a case says of a run that took `kwh`, on a grid of `factor`."""
    own = Factor(key="grid-jp", unit="kg", value=factor, source="a test", as_of="2026-01-01", basis=Basis.ASSUMED)
    book = overridden(default_book(), PriceBook(id="grid", date="2026-01-01", factors=(own,)))
    scenario = load_scenario("pilot").model_copy(update={"draws": 100, "pue": Decimal(pue)})
    energy = (Energy(energy_kwh=each, source="nvml counter") for each in (kwh, 0.0))
    cells = (measured(arm, 1, energy=each) for arm, each in zip(("rsa", "full"), energy, strict=True))
    found = business_case(world(*cells), book, CostConfig(), scenario, date(2026, 11, 26)).carbon_kg.value
    assert found is not None
    return found


@pytest.mark.parametrize(("hours", "tonnes"), LLAMA_2[:2])
def test_the_carbon_of_llama_2(hours: int, tonnes: str) -> None:
    # Its factor is not printed; 0.42345 kg/kWh lies in what its first two rows allow.
    energy = kilowatt_hours(400, hours * 3600)
    assert energy == hours * 0.4
    assert round(carbon_kg(energy, Decimal("0.42345")) / 1000, 2) == Decimal(tonnes)


def test_no_one_factor_gives_all_three_rows_of_the_card_and_the_nearest_misses_by_two_hundredths_of_a_tonne() -> (
    None
):
    half = Decimal("0.005")
    low, high = (
        choose((Decimal(tonnes) + sign * half) * 1000 / (hours * Decimal("0.4")) for hours, tonnes in LLAMA_2)
        for choose, sign in ((max, -1), (min, 1))
    )
    assert low > high  # what the second row allows ends below where the third begins
    middle = (low + high) / 2
    for hours, tonnes in LLAMA_2:
        assert abs(carbon_kg(hours * 0.4, middle) / 1000 - Decimal(tonnes)) < Decimal("0.02")


def test_the_carbon_card_of_a_model_with_seven_gpus() -> None:
    # 350 W x 7 x 377.8 h x 1.53 = 1416.183 kWh; x 120 g = 169.942 kg (arithmetic of a model card on the hub)
    energy = kilowatt_hours(350 * 7, 377.8 * 3600)
    assert round(energy * 1.53, 3) == 1416.183
    assert round(carbon_kg(energy, Decimal("0.120"), pue="1.53"), 3) == Decimal("169.942")


def test_the_transformer_of_strubell_et_al() -> None:
    # Strubell, Ganesh, McCallum 2019, table 3: 1415.78 W x 12 h x PUE 1.58 = 27 kWh; x 0.954 lb/kWh = 26 lb
    energy = kilowatt_hours(1415.78, 12 * 3600)
    assert round(energy * 1.58) == 27
    assert round(carbon_kg(energy, Decimal("0.954"), pue="1.58")) == 26


def test_a_frozen_rate_converts_to_the_yen_and_the_cent_half_up() -> None:
    # AWS p5.48xlarge 80.62 USD/h (Q1 2026, as the book cites it) over 8 GPUs at 155 JPY: 1562.0125 JPY
    book = default_book()
    gpu = book.line("gpu-h100-hour", "a test")
    assert book.price(gpu, "JPY").amount == Decimal("1562.0125")
    assert book.price(gpu, "JPY").rounded().amount == 1562
    assert Money(amount=Decimal("0.5"), currency="JPY").rounded().amount == 1
    assert Money(amount=Decimal("1562.5"), currency="JPY").rounded().amount == 1563  # to even would be 1562
    assert Money(amount=Decimal("0.125"), currency="USD").rounded().amount == Decimal("0.13")
    assert book.price(book.line("electricity-kwh", "a test"), "USD").amount == Decimal("0.200000")  # 31 / 155


def test_twenty_dollars_are_never_twenty_yen() -> None:
    # cloudypad issue 283: "20", meant as dollars, was set as 20 JPY
    line = PriceLine(
        key="budget-hour",
        unit="hour",
        price=Decimal(20),
        currency="USD",
        source="a test",
        as_of="2026-01-01",
        basis=Basis.QUOTED,
    )
    rate = FxRate(jpy_per_usd=Decimal(155), date="2026-11-24", source="a test")
    book = PriceBook(id="test", date="2026-11-24", fx=rate, lines=(line,))
    assert book.price(line, "JPY").amount == 3100
    assert book.price(line, "USD").amount == 20
