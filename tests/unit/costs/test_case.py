"""Laws of the business case; the world is small, and its figures are worked by hand beside each test."""

from __future__ import annotations

from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rsa_ops.core.business_case import CATEGORIES, BusinessCase, CaseLine
from rsa_ops.core.costs import Basis
from rsa_ops.core.measurements import Energy
from rsa_ops.core.money import Money
from rsa_ops.costs import CostConfig, default_book, load_book
from rsa_ops.costs.case import Measured, arm_case, business_case, net_present_value, portfolio
from rsa_ops.costs.scenario import EMBEDDED, Inputs, load_scenario
from rsa_ops.errors import ConfigError, MissingError, UsageError
from rsa_ops.reporting.focus import monthly_amounts

from ...worlds import comparison, world
from ...worlds import measured as cell

TODAY = date(2026, 11, 26)


def case(named: str = "pilot", seen: Measured | None = None, **changes: object) -> BusinessCase:
    scenario = load_scenario(named).model_copy(update={"draws": 400, **changes})
    return business_case(seen or world(), default_book(), CostConfig(), scenario, TODAY)


def with_inputs(named: str, **values: Decimal) -> Inputs:
    inputs = load_scenario(named).inputs
    fixed = {
        name: getattr(inputs, name).model_copy(update={"value": value, "low": value, "high": value})
        for name, value in values.items()
    }
    return inputs.model_copy(update=fixed)


INPUTS = {
    "variants": st.integers(1, 60).map(Decimal),
    "requests_per_month": st.integers(0, 10**6).map(Decimal),
    "trainings_per_year": st.decimals(0, 52, places=1),
    "wage_factor": st.decimals("0.1", 3, places=2),
    "cost_per_wrong_answer": st.decimals(0, 900, places=2),
    "exchange_rate_factor": st.decimals("0.5", 2, places=3),
}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.fixed_dictionaries(INPUTS), st.sampled_from(["JPY", "USD"]), st.integers(1, 60))
def test_rounded_lines_add_up_to_every_total_in_every_currency(
    values: dict[str, Decimal], currency: str, horizon: int
) -> None:
    inputs = with_inputs("pilot", **values)
    found = case(inputs=inputs, currency=currency, horizon_months=horizon, draws=100)
    step = Decimal(1) if currency == "JPY" else Decimal("0.01")
    for arm in found.arms:
        own = [line for line in found.lines if line.arm == arm.arm]
        assert sum(line.amount.amount for line in own) == arm.total.amount
        assert sum(entry.amount.amount for entry in arm.categories) == arm.total.amount
        for line in own:
            exact = line.quantity * line.unit_price.amount * (line.last - line.first + 1)
            assert line.amount.amount == exact.quantize(step, rounding=ROUND_HALF_UP)
    assert found.saving.amount == found.arm("full").total.amount - found.arm("rsa").total.amount
    # month by month the same money, up to half a unit for each line
    assert abs(sum(found.cash_flows) - found.saving.amount) <= step / 2 * len(found.lines) + Decimal("0.001")


@st.composite
def drawn_lines(draw: st.DrawFn) -> list[CaseLine]:
    """Lines of two arms over a year, in one currency, of any quantity and price that a case can hold."""
    currency = draw(st.sampled_from(["JPY", "USD"]))
    lines = []
    for _ in range(draw(st.integers(1, 30))):
        first, last = sorted((draw(st.integers(0, 12)), draw(st.integers(0, 12))))
        price = Money(amount=draw(st.decimals(0, 10**6, places=6)), currency=currency)
        quantity = draw(st.decimals(0, 10**6, places=9))
        line = CaseLine(
            arm=draw(st.sampled_from(["rsa", "full"])),
            category=draw(st.sampled_from(CATEGORIES)),
            description="",
            quantity=quantity,
            unit="hour",
            quantity_basis=Basis.ASSUMED,
            unit_price=price,
            price_basis=Basis.ASSUMED,
            first=first,
            last=last,
            amount=price.times(quantity * (last - first + 1)).rounded(),
            source="",
        )
        lines.append(line)
    return lines


@given(drawn_lines())
def test_whatever_the_lines_are_they_add_up_to_the_total_and_so_do_their_months(lines: list[CaseLine]) -> None:
    currency = lines[0].amount.currency
    for arm in ("rsa", "full"):
        found = arm_case(arm, lines, currency)
        own = [line for line in lines if line.arm == arm]
        assert found.total.amount == sum(line.amount.amount for line in own)
        assert found.total.amount == sum(entry.amount.amount for entry in found.categories)
        assert found.total == found.total.rounded()  # nothing smaller than a yen or a cent is left
        assert found.total.amount == sum(amount for line in own for amount in monthly_amounts(line))


@pytest.mark.parametrize("named", EMBEDDED)
def test_the_npv_is_that_of_the_printed_cash_flows(named: str) -> None:
    found = case(named)
    assert abs(net_present_value(found) - found.npv.amount) <= Decimal("0.51")
    assert len(found.cash_flows) == found.horizon_months + 1


def test_one_training_is_the_mean_cell_at_the_price_of_its_machine() -> None:
    inputs = with_inputs("pilot", variants=Decimal(2), tries_per_training=Decimal(3))
    found = case(inputs=inputs)
    line = next(line for line in found.lines if (line.arm, line.category) == ("rsa", "training"))
    # (360 + 720) / 2 s = 0.15 h x 2 threads = 0.3 core-hours; x 2 variants x 3 tries
    assert line.quantity == Decimal("1.8")
    assert line.unit_price.amount == Decimal("6.324000")  # 0.0408 USD x 155
    assert line.quantity_basis is Basis.MEASURED


def test_full_models_need_machines_of_their_own_and_adapters_share() -> None:
    inputs = with_inputs(
        "pilot", variants=Decimal(12), requests_per_month=Decimal(10), adapters_per_replica=Decimal(5)
    )
    found = case(inputs=inputs)
    hours = {line.arm: line.quantity for line in found.lines if line.category == "serving"}
    assert hours == {"rsa": 3 * Decimal(730), "full": 12 * Decimal(730)}


def test_only_the_candidate_pays_for_its_introduction_its_comparison_and_its_risk() -> None:
    found = case()
    assert {line.arm for line in found.lines if line.category in ("adoption", "requalification", "risk")} == {"rsa"}


def test_the_risk_is_chance_times_loss_times_volume_times_price() -> None:
    inputs = with_inputs(
        "pilot", variants=Decimal(1), requests_per_month=Decimal(1000), cost_per_wrong_answer=Decimal(100)
    )
    found = case(inputs=inputs, seen=world(about=comparison(value=-0.02)))
    line = next(line for line in found.lines if line.category == "risk")
    expected = Decimal(repr(found.harm.probability)) * Decimal(repr(found.harm.mean_loss)) * 1000
    assert line.quantity == expected.quantize(Decimal("1e-9"))
    assert line.unit_price.amount == 100


def test_twice_the_chance_of_harm_never_saves_more() -> None:
    worse, better = (case(seen=world(about=comparison(value=value))) for value in (-0.029, 0.0))
    assert worse.harm.probability > better.harm.probability
    assert worse.npv.amount < better.npv.amount
    assert worse.simulation.probability_npv_positive <= better.simulation.probability_npv_positive + 0.02


def test_the_same_case_draws_the_same_numbers() -> None:
    assert case().simulation == case().simulation


def test_without_any_uncertainty_every_draw_is_the_case() -> None:
    inputs = load_scenario("department").inputs
    fixed = with_inputs("department", **{name: entry.value for name, entry in inputs.each()})
    certain = comparison(value=0.01, error=1e-9)
    found = case("department", seen=world(about=certain), inputs=fixed)
    sure = found.simulation
    assert sure.npv_p10 == sure.npv_p90 == found.npv
    assert sure.payback_p50 == found.payback.value
    assert sure.probability_npv_positive == float(found.npv.amount > 0)
    assert found.tornado == ()


def test_the_tornado_is_widest_first_and_holds_the_case_between_its_ends() -> None:
    found = case("department")
    widths = [swing.width for swing in found.tornado]
    assert widths == sorted(widths, reverse=True)
    for swing in found.tornado:
        ends = sorted((swing.npv_at_low.amount, swing.npv_at_high.amount))
        # adding an integer number of machines is the only thing that is not monotonic, and it needs many
        if swing.input not in ("variants", "requests_per_month", "requests_per_replica"):
            assert ends[0] <= found.npv.amount <= ends[1]


def test_it_breaks_even_at_the_smallest_number_of_models_that_pays() -> None:
    at = case("department").breakeven_variants.value
    assert at is not None
    before, there = (
        case("department", inputs=with_inputs("department", variants=count)).npv.amount for count in (at - 1, at)
    )
    assert before <= 0 < there


def test_shares_add_up_to_one() -> None:
    shares = case().shares
    assert shares.measured + shares.quoted + shares.assumed + shares.derived == pytest.approx(1)


def test_a_portfolio_is_the_sum_of_its_cases() -> None:
    one, other = case(), case(seen=world(about=comparison(value=-0.02)))
    both = portfolio([one, other])
    assert both.saving.amount == one.saving.amount + other.saving.amount
    assert both.npv.amount == one.npv.amount + other.npv.amount
    assert both.cash_flows[3] == one.cash_flows[3] + other.cash_flows[3]


def test_cases_of_two_currencies_or_horizons_do_not_add_up() -> None:
    for other in (case(currency="USD"), case(horizon_months=24)):
        with pytest.raises(UsageError, match="do not add up"):
            portfolio([case(), other])
    with pytest.raises(UsageError, match="no business cases"):
        portfolio([])


def test_carbon_is_energy_times_the_grids_factor() -> None:
    energy = Energy(energy_kwh=0.5, source="rapl counter")
    seen = world(cell("rsa", 1, energy=energy), cell("full", 1, energy=energy))
    assert case(seen=seen).carbon_kg.value == Decimal("0.485392")  # 1 kWh in Japan, 2023


@pytest.mark.parametrize(
    ("seen", "missing"),
    [
        (world(cell("rsa", 1)), "no measurements of the arm full"),
        (world(evaluations={"rsa": 1.0}), "no evaluation time for the arm full"),
        (world(about=comparison(difference=False)), "the risk has no price"),
    ],
)
def test_a_hole_is_named_and_never_filled(seen: Measured, missing: str) -> None:
    with pytest.raises(MissingError, match=missing):
        case(seen=seen)


def test_a_price_that_the_book_lacks_is_named_with_what_needs_it() -> None:
    with pytest.raises(MissingError, match="no price `gpu-mine-hour`, which serving needs"):
        case(serving_line="gpu-mine-hour")


def test_energy_on_top_needs_a_measurement_and_is_warned_about() -> None:
    with pytest.raises(MissingError, match="the scenario prices energy"):
        case(include_energy=True)
    energy = Energy(energy_kwh=0.5, source="rapl counter")
    found = case(include_energy=True, seen=world(cell("rsa", 1, energy=energy), cell("full", 1, energy=energy)))
    assert any("on top of the machine" in words for words in found.warnings)
    assert {line.category for line in found.lines} >= {"energy"}


def test_a_stale_book_is_said_to_be_stale() -> None:
    scenario = load_scenario("pilot").model_copy(update={"draws": 100})
    found = business_case(world(), default_book(), CostConfig(), scenario, date(2028, 1, 1))
    assert any("is stale" in words for words in found.warnings)


def test_an_owned_machine_that_serves_has_its_electricity_once(tmp_path: Path) -> None:
    path = tmp_path / "ours.yaml"
    text = """
    id: ours
    date: 2026-10-01
    owned:
      - {key: our-server-hour, unit: machine-hour, price: "1000000", life_years: "5", hours_per_year: "2000",
         watts: "WATTS", currency: JPY, basis: quoted, source: invoice 12, as_of: 2026-10-01}
    """
    energy = Energy(energy_kwh=0.5, source="rapl counter")
    seen = world(cell("rsa", 1, energy=energy), cell("full", 1, energy=energy))
    for watts, priced, words in (("200", True, "prices the energy again"), ("0", False, "prices none")):
        path.write_text(text.replace("WATTS", watts), encoding="utf-8")
        changes = {"serving_line": "our-server-hour", "draws": 100}
        for include in (priced, not priced):
            scenario = load_scenario("pilot").model_copy(update={**changes, "include_energy": include})
            found = business_case(seen, load_book(path), CostConfig(), scenario, TODAY)
            assert any(words in warning for warning in found.warnings) is (include == priced)
            serving = next(line for line in found.lines if line.category == "serving")
            assert serving.unit_price.amount == (Decimal("106.2") if watts == "200" else 100)


def test_a_run_that_needed_more_trainings_than_the_scenario_pays_for_says_so() -> None:
    tried = world(*(cell(arm, 1, attempts=count) for arm, count in (("rsa", 3), ("full", 5))))
    assert (
        "this run began 4.0 trainings for each that it kept, the scenario pays for 3" in case(seen=tried).warnings
    )
    assert not any("this run began" in words for words in case().warnings)


def test_how_far_the_energy_may_be_off_is_said_with_what_is_not_known() -> None:
    guess = Energy(energy_kwh=1.0, source="estimate from processor power", relative_uncertainty=0.5)
    count = Energy(energy_kwh=1.0, source="nvml counter", relative_uncertainty=0.05)
    for energy, words in ((guess, "may be off by 50%"), (count, "better than 5%")):
        seen = world(cell("rsa", 1, energy=energy), cell("full", 1, energy=energy))
        assert any(words in sentence for sentence in case(seen=seen).unknowns)


def assumed(name: str, value: str, low: str, high: str) -> str:
    return f'{name}: {{value: "{value}", low: "{low}", high: "{high}", basis: assumed, source: x}}'


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("horizon_months: 0", "greater than or equal to 1"),
        ("currency: EUR", "'JPY' or 'USD'"),
        (assumed("engineer_hours", "-1", "-2", "0"), "greater than or equal to 0"),
        (assumed("discount_rate", "0", "0", "0"), "greater than 0"),
        (assumed("variants", "9", "10", "12"), "low <= value <= high"),
    ],
)
def test_a_scenario_that_cannot_be_is_refused_with_its_line(line: str, problem: str, tmp_path) -> None:
    from importlib import resources

    text = resources.files("rsa_ops.costs.scenarios").joinpath("pilot.yaml").read_text("utf-8")
    name, lines = line.split(":", 1)[0], []
    for old in text.splitlines():
        indent = old[: len(old) - len(old.lstrip())]
        lines.append(indent + line if old.strip().split(":", 1)[0] == name else old)
    file = tmp_path / "mine.yaml"
    file.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(ConfigError) as found:
        load_scenario(str(file))
    assert problem in str(found.value)
    assert "line" in str(found.value)


def test_a_scenario_that_is_not_there_is_missing() -> None:
    with pytest.raises(MissingError, match="no scenario 'dream'"):
        load_scenario("dream")
