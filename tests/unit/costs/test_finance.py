"""Laws of the key figures. Expected values: published examples and closed forms, named beside each."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsa_ops.costs.finance import annuity, irr, npv, payback_month, sign_changes, straight_line_hour
from rsa_ops.errors import UsageError

FLOWS = st.lists(st.integers(-(10**6), 10**6).map(Decimal), min_size=1, max_size=40)
EXAMPLE = [Decimal(flow) for flow in (-40000, 5000, 8000, 12000, 30000)]


def test_the_npv_is_that_of_numpy_financials_own_example() -> None:
    # numpy-financial 1.0.0, docstring of npv: 3065.22267
    assert round(npv(EXAMPLE, Decimal("0.08"), per_year=1), 5) == Decimal("3065.22267")


def test_a_spreadsheets_npv_is_ours_one_period_later() -> None:
    # NPV(8 %; the same list) in a spreadsheet: 2838.169
    later = [Decimal(0), *EXAMPLE]
    assert round(npv(later, Decimal("0.08"), per_year=1), 3) == Decimal("2838.169")


def test_at_a_rate_of_zero_the_npv_is_the_sum() -> None:
    assert npv(EXAMPLE, Decimal(0)) == sum(EXAMPLE)


@given(FLOWS, st.integers(1, 50))
def test_a_years_flow_is_worth_its_value_over_one_plus_the_rate(flows: list[Decimal], percent: int) -> None:
    rate = Decimal(percent) / 100
    later = [Decimal(0)] * 12 + flows
    assert abs(npv(later, rate) - npv(flows, rate) / (1 + rate)) < Decimal("1e-20") * (1 + sum(map(abs, flows)))


@pytest.mark.parametrize("rate", ["-1", "-2"])
def test_a_rate_of_minus_one_hundred_per_cent_has_no_value(rate: str) -> None:
    with pytest.raises(UsageError, match="no meaning"):
        npv(EXAMPLE, Decimal(rate))


def test_no_flows_have_no_value() -> None:
    with pytest.raises(UsageError, match="no cash flows"):
        npv([], Decimal("0.05"))


def test_payback_is_the_month_from_which_on_the_sum_stays_above_zero() -> None:
    flows = [Decimal(flow) for flow in (-100, 60, 60, -50, 40)]
    assert payback_month(flows) == 4  # 20 in month 2, -30 in month 3, 10 in month 4
    assert payback_month([Decimal(-100), *[Decimal(10)] * 9]) is None
    assert payback_month([Decimal(0), Decimal(5)]) == 0


@given(FLOWS)
def test_a_discounted_payback_of_one_investment_is_never_earlier(flows: list[Decimal]) -> None:
    one = [-abs(flows[0]) - 1, *map(abs, flows[1:])]
    plain, discounted = payback_month(one), payback_month(one, Decimal("0.1"))
    assert discounted is None or (plain is not None and plain <= discounted)


def test_the_rate_of_return_of_a_doubling_in_a_year_is_one_hundred_per_cent() -> None:
    found = irr([Decimal(-100), *[Decimal(0)] * 11, Decimal(200)])
    assert found is not None
    assert abs(found - 1) < Decimal("1e-10")


@given(FLOWS)
def test_the_npv_at_the_rate_of_return_is_nothing(flows: list[Decimal]) -> None:
    found = irr(flows)
    if found is not None:
        size = sum(map(abs, flows))
        assert abs(npv(flows, found)) < Decimal("1e-3") * size


@pytest.mark.parametrize("flows", [(1, 2, 3), (-1, 3, -2), (0, 0)])
def test_without_exactly_one_change_of_sign_there_is_no_rate(flows: tuple[int, ...]) -> None:
    found = [Decimal(flow) for flow in flows]
    assert sign_changes(found) != 1
    assert irr(found) is None


def test_an_annuity_is_the_closed_form() -> None:
    monthly = Decimal("1.12") ** (Decimal(1) / 12)
    closed = (1 - monthly**-24) / (monthly - 1)
    assert abs(annuity(1, 24, Decimal("0.12")) - closed) < Decimal("1e-20")


def test_straight_line_depreciation_gives_the_price_back_over_its_life() -> None:
    hour = straight_line_hour(Decimal(3_000_000), Decimal(0), Decimal(5), Decimal(2000))
    assert hour * 5 * 2000 == 3_000_000


@pytest.mark.parametrize(("salvage", "life", "hours"), [(0, 0, 1), (0, 5, 0), (9, 5, 1), (-1, 5, 1)])
def test_a_machine_without_life_hours_or_a_right_salvage_is_refused(salvage: int, life: int, hours: int) -> None:
    with pytest.raises(UsageError):
        straight_line_hour(Decimal(5), Decimal(salvage), Decimal(life), Decimal(hours))
