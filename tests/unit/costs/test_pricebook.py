"""Laws of the price book."""

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from rsa_ops.config import load_config
from rsa_ops.core.costs import Basis
from rsa_ops.costs import PriceBook, default_book, load_book
from rsa_ops.errors import ConfigError, MissingError

OWN = """
id: ours
date: 2026-10-01
lines:
  - {key: cpu-core-hour, unit: core-hour, price: "4.2", currency: JPY, basis: quoted, source: contract 7,
     as_of: 2026-10-01}
"""


def test_every_embedded_price_says_where_it_comes_from() -> None:
    book = default_book()
    assert {line.basis for line in book.lines} == {Basis.QUOTED, Basis.ASSUMED}
    for line in book.lines:
        assert len(line.source) > 20
        assert date.fromisoformat(line.as_of) <= date.fromisoformat(book.date)
    assert {"cpu-core-hour", "gpu-h100-hour", "storage-gb-month", "electricity-kwh"} <= {x.key for x in book.lines}


def test_eight_gpus_of_the_cited_machine_cost_what_the_source_says() -> None:
    """digiterialabs.com, Q1 2026: p5.48xlarge 80.62 USD/h; usage.ai, 2026-06-24: p4d.24xlarge 32.77 USD/h."""
    book = default_book()
    assert book.line("gpu-h100-hour", "a test").price * 8 == Decimal("80.62")
    assert book.line("gpu-a100-hour", "a test").price * 8 == Decimal("32.77")


def test_own_lines_override_by_key_and_the_rest_stays(tmp_path: Path) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text(OWN)
    book = load_book(path)
    assert book.id == "ours over rsa-ops-2026-11"
    assert book.line("cpu-core-hour", "a test").price == Decimal("4.2")
    assert len(book.lines) == len(default_book().lines)
    assert book.fx == default_book().fx
    assert book.date == "2026-10-01"
    assert book.digest() != default_book().digest()


def test_a_book_that_is_not_there_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingError):
        load_book(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (('price: "4.2"', 'price: "-1"'), "lines.0.price"),
        (("currency: JPY", "currency: EUR"), "lines.0.currency"),
        (("as_of: 2026-10-01", "as_of: yesterday"), "lines.0.as_of"),
        (("basis: quoted", "basis: measured"), "lines.0.basis"),
        (("source: contract 7", "sourc: contract 7"), "did you mean `source`"),
    ],
)
def test_a_wrong_line_is_named(change: tuple[str, str], where: str) -> None:
    with pytest.raises(ConfigError, match=where):
        load_config(PriceBook, OWN.replace(*change), "prices.yaml")


def test_a_key_stands_once() -> None:
    entry = OWN.partition("lines:\n")[2]
    with pytest.raises(ConfigError, match="stands twice"):
        load_config(PriceBook, OWN + entry, "prices.yaml")


MACHINE = """
id: ours
date: 2026-10-01
owned:
  - {key: our-server-hour, unit: machine-hour, price: "1000000", salvage: "100000", life_years: "5",
     hours_per_year: "1800", watts: "200", pue: "1.5", currency: JPY, basis: quoted, source: invoice 12,
     as_of: 2026-10-01}
"""


def with_machine(tmp_path: Path, *changes: tuple[str, str]) -> PriceBook:
    text = MACHINE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / "machine.yaml"
    path.write_text(text)
    return load_book(path)


def test_the_hour_of_an_owned_machine_is_its_depreciation_and_its_electricity(tmp_path: Path) -> None:
    # (1,000,000 - 100,000) / 5 / 1,800 = 100; 0.2 kW x 1.5 x 31 JPY/kWh = 9.30
    line = with_machine(tmp_path).line("our-server-hour", "a test")
    assert (line.price, line.currency, line.unit) == (Decimal("109.300000"), "JPY", "machine-hour")
    assert line.basis is Basis.QUOTED  # the invoice, and the guide price of electricity
    assert "invoice 12" in line.source
    assert "200 W x PUE 1.5 x 31 a kWh" in line.source


def test_without_watts_there_is_no_electricity_in_the_hour(tmp_path: Path) -> None:
    line = with_machine(tmp_path, ('watts: "200"', 'watts: "0"')).line("our-server-hour", "a test")
    assert line.price == 100
    assert "kWh" not in line.source


def test_an_own_price_of_electricity_changes_the_hour_and_an_assumed_one_its_basis(tmp_path: Path) -> None:
    own = OWN.partition("lines:\n")[2].replace("cpu-core-hour, unit: core-hour", "electricity-kwh, unit: kWh")
    own = own.replace('"4.2", currency: JPY, basis: quoted', '"0.2", currency: USD, basis: assumed')
    dearer = ("owned:", f"lines:\n{own}owned:")
    line = with_machine(tmp_path, dearer).line("our-server-hour", "a test")
    assert line.price == Decimal("109.300000")  # 0.2 USD x 155 = 31 JPY
    assert line.basis is Basis.ASSUMED


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (('life_years: "5"', 'life_years: "0"'), "owned.0.life_years"),
        (('hours_per_year: "1800"', 'hours_per_year: "9000"'), "owned.0.hours_per_year"),
        (('salvage: "100000"', 'salvage: "2000000"'), "more than the price"),
        (('watts: "200"', 'watts: "-1"'), "owned.0.watts"),
    ],
)
def test_a_machine_that_cannot_be_is_refused(change: tuple[str, str], problem: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=problem):
        with_machine(tmp_path, change)


def test_a_key_is_a_line_or_a_machine_and_not_both(tmp_path: Path) -> None:
    own = OWN.partition("lines:\n")[2].replace("cpu-core-hour", "our-server-hour")
    both = ("owned:", f"lines:\n{own}owned:")
    with pytest.raises(ConfigError, match="stands twice"):
        with_machine(tmp_path, both)


def test_a_line_of_your_own_overrides_an_embedded_machine(tmp_path: Path) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text(OWN.replace("cpu-core-hour", "owned-server-hour").replace("core-hour,", "machine-hour,"))
    assert load_book(path).line("owned-server-hour", "a test").price == Decimal("4.2")


def test_the_embedded_machines_live_as_long_as_the_tax_law_says() -> None:
    # Ministerial ordinance on useful lives, table 1: servers 5 years, other personal computers 4.
    lives = {machine.key: machine.life_years for machine in default_book().owned}
    assert lives == {"owned-server-hour": 5, "owned-gpu-hour": 4}
    # (800,000 - 1) / 5 / 2,000 = 79.9999; 0.15 kW x 1.5 x 31 = 6.975
    assert default_book().line("owned-server-hour", "a test").price == Decimal("86.974900")


def test_a_factor_of_your_own_overrides_the_embedded_one(tmp_path: Path) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text(
        OWN + 'factors:\n  - {key: grid-jp, unit: kg CO2e per kWh, value: "0.380", basis: quoted,'
        " source: contract 8, as_of: 2026-04-01}\n"
    )
    book = load_book(path)
    assert book.factor("grid-jp", "a test").value == Decimal("0.380")
    assert book.factor("grid-jp-tokyo-cloud", "a test").value == Decimal("0.459")
