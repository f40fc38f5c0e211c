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
