"""How numbers read."""

from decimal import Decimal

import pytest

from rsa_ops.core.money import Money
from rsa_ops.reporting import text


def yen(amount: str) -> Money:
    return Money(amount=Decimal(amount), currency="JPY")


@pytest.mark.parametrize(
    ("amount", "reads"),
    [
        ("0", "¥0"),
        ("0.11234", "¥0.112"),
        ("10.52", "¥10.5"),
        ("99.96", "¥100.0"),
        ("100.4", "¥100"),
        ("1234567.5", "¥1,234,568"),
    ],
)
def test_small_yen_never_read_as_nothing(amount: str, reads: str) -> None:
    assert text.money(yen(amount)) == reads


def test_dollars_have_cents_or_three_figures() -> None:
    assert text.money(Money(amount=Decimal("12.345"), currency="USD")) == "$12.35"
    assert text.money(Money(amount=Decimal("0.001234"), currency="USD")) == "$0.00123"


def test_a_change_says_sign_and_share() -> None:
    assert text.money_change(yen("60"), yen("100")) == "−¥40.0 (−40 %)"
    assert text.money_change(yen("300"), yen("100")) == "+¥200 (+200 %)"
    assert text.money_change(yen("5"), yen("5")) == "¥0 (0 %)"
    assert text.money_change(yen("5"), yen("0")) == "+¥5.00"


@pytest.mark.parametrize(("value", "reads"), [(0.0123, "+1.2"), (-0.004, "−0.4"), (0.0, "0.0"), (-0.0001, "0.0")])
def test_differences_are_signed_points_and_zero_has_no_sign(value: float, reads: str) -> None:
    assert text.points(value, "accuracy") == reads


def test_a_metric_of_unknown_range_keeps_its_own_units() -> None:
    assert text.points(-0.02, "score") == "−0.0200"
    assert text.score(31.5, "latency") == "31.5000"


@pytest.mark.parametrize(
    ("value", "reads"),
    [(41.23, "41.2 s"), (412.3, "412 s"), (1950.0, "32 min 30 s"), (11_100.0, "3 h 05 min")],
)
def test_seconds(value: float, reads: str) -> None:
    assert text.seconds(value) == reads


@pytest.mark.parametrize(
    ("value", "reads"), [(0.00001, "under 0.01 %"), (0.00625, "0.62 %"), (0.0138, "1.4 %"), (1.0, "100 %")]
)
def test_shares(value: float, reads: str) -> None:
    assert text.share(value) == reads


@pytest.mark.parametrize(
    ("value", "reads"), [(512, "512 B"), (570_000, "570 kB"), (1_255_000, "1.25 MB"), (2_410_000_000, "2.41 GB")]
)
def test_sizes(value: int, reads: str) -> None:
    assert text.size(value) == reads
