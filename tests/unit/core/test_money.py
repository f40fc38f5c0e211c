"""Money: exact, in one currency, rounded as accountants do and only for people."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from rsa_ops.core.money import Money
from rsa_ops.errors import UsageError

AMOUNTS = st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**9), max_value=10**9)


def yen(amount: str) -> Money:
    return Money(amount=Decimal(amount), currency="JPY")


def dollars(amount: str) -> Money:
    return Money(amount=Decimal(amount), currency="USD")


def test_two_currencies_do_not_add_up() -> None:
    with pytest.raises(UsageError, match="cannot add USD to JPY") as caught:
        yen("1") + dollars("1")
    assert "rate" in caught.value.hint


@given(AMOUNTS, AMOUNTS)
def test_a_sum_is_exact(one: Decimal, other: Decimal) -> None:
    total = Money(amount=one, currency="JPY") + Money(amount=other, currency="JPY")
    # Exact in whole millionths, the finest step that the amounts have.
    assert int(total.amount * 10**6) == int(one * 10**6) + int(other * 10**6)


def test_a_tenth_added_ten_times_is_one() -> None:
    total = dollars("0")
    for _ in range(10):
        total += dollars("0.1")
    assert total == dollars("1.0")


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        ("0.5", "1"),
        ("1.5", "2"),
        ("2.5", "3"),
        ("2.4999", "2"),
        ("-0.5", "-1"),
        ("-2.5", "-3"),
        ("1234567", "1234567"),
    ],
)
def test_yen_round_half_away_from_zero_to_whole_yen(amount: str, shown: str) -> None:
    assert str(yen(amount).rounded().amount) == shown


@pytest.mark.parametrize(
    ("amount", "shown"), [("0.005", "0.01"), ("0.015", "0.02"), ("1.004", "1.00"), ("3", "3.00")]
)
def test_dollars_round_half_up_to_cents(amount: str, shown: str) -> None:
    assert str(dollars(amount).rounded().amount) == shown


@pytest.mark.parametrize(
    ("money", "shown"),
    [
        (yen("1234567.5"), "¥1,234,568"),
        (dollars("1234.5"), "$1,234.50"),
        (yen("-1234.5"), "-¥1,235"),
        (yen("0"), "¥0"),
    ],
)
def test_money_is_shown_with_its_sign_and_thousands(money: Money, shown: str) -> None:
    assert str(money) == shown


def test_a_quantity_of_a_unit_price_keeps_every_digit() -> None:
    assert yen("31.2345").times(Decimal("0.001")) == yen("0.0312345")


@pytest.mark.parametrize("amount", [0.1, "1", 1])
def test_only_a_decimal_is_an_amount(amount: object) -> None:
    with pytest.raises(ValidationError):
        Money(amount=amount, currency="JPY")  # type: ignore[arg-type]


def test_an_unknown_currency_is_refused() -> None:
    with pytest.raises(ValidationError):
        Money(amount=Decimal(1), currency="EUR")  # type: ignore[arg-type]
