"""Laws of the total cost. Expected values are worked by hand beside each test."""

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rsa_ops.core.costs import Basis, Tco
from rsa_ops.core.measurements import Energy, Measurements
from rsa_ops.costs import CostConfig, FxRate, PriceBook, PriceLine, default_book, total_cost
from rsa_ops.errors import ConfigError, MissingError, UsageError

from ...worlds import measured

TODAY = date(2026, 11, 24)


def book(*lines: PriceLine, fx: FxRate | None = None, day: str = "2026-11-24") -> PriceBook:
    return PriceBook(id="test", date=day, fx=fx, lines=lines)


def line(key: str, unit: str, price: str, currency: str = "JPY", as_of: str = "2026-11-01") -> PriceLine:
    return PriceLine(
        key=key,
        unit=unit,
        price=Decimal(price),
        currency=currency,  # type: ignore[arg-type]
        source="a contract",
        as_of=as_of,
        basis=Basis.QUOTED,
    )


CORE = line("cpu-core-hour", "core-hour", "10")
MACHINE = line("cpu-machine-hour", "machine-hour", "20")
STORE = line("storage-gb-month", "GB-month", "4")
RATE = FxRate(jpy_per_usd=Decimal(150), date="2026-11-24", source="TTM")


def amounts(tco: Tco, arm: str, category: str) -> list[Decimal]:
    return [entry.amount.amount for entry in tco.items if (entry.arm, entry.category) == (arm, category)]


def test_worked_example_by_hand() -> None:
    """Two seeds of an adapter, one of full fine-tuning, 12 months, 4 trainings a year, 2 copies.

    rsa: training 1 h x 2 cores x 10 = 20, and 0.5 h x 2 x 10 = 10; mean 15. Evaluation 360 s = 0.1 h x 2 x 10 = 2.
    Retraining: (20 + 10 + 2) / 2 cells x 4 = 64. Storage: 0.001 GB x 24 GB-months x 4 = 0.096;
    base 25e6 x 4 bytes = 0.1 GB x 24 x 4 = 9.6. Total 20 + 10 + 2 + 64 + 0.096 + 9.6 = 105.696.
    full: 40 + 2 + 4 x 42 = 210, storage 0.1 GB x 24 x 4 = 9.6: 219.6.
    Measured: rsa 32, full 42, of 325.296.
    """
    tco = total_cost(
        (
            measured("rsa", 1),
            measured("rsa", 2, wall_seconds=1800.0),
            measured("full", 1, wall_seconds=7200.0, artifact_bytes=100_000_000),
        ),
        {"rsa": 360.0, "full": 360.0},
        book(CORE, STORE),
        CostConfig(),
        TODAY,
    )
    rsa, full = tco.arm("rsa"), tco.arm("full")
    assert rsa is not None
    assert full is not None
    assert rsa.per_training.amount == 15
    assert rsa.total.amount == Decimal("105.696")
    assert full.total.amount == Decimal("219.6")
    assert amounts(tco, "rsa", "training") == [20, 10]
    assert amounts(tco, "rsa", "retraining") == [64]
    assert amounts(tco, "rsa", "storage") == [Decimal("0.096"), Decimal("9.6")]
    assert tco.measured_share == pytest.approx(74 / 325.296)
    assert tco.warnings == ()


def test_every_line_is_quantity_times_price_and_carries_both_bases() -> None:
    tco = total_cost((measured(),), {"rsa": 1.0}, default_book(), CostConfig(), TODAY)
    for entry in tco.items:
        assert entry.amount.amount == entry.quantity * entry.unit_price.amount
        assert entry.price_basis in (Basis.QUOTED, Basis.ASSUMED)
    bases = {entry.category: entry.quantity_basis for entry in tco.items}
    assert bases == {
        "training": Basis.MEASURED,
        "evaluation": Basis.MEASURED,
        "retraining": Basis.DERIVED,
        "storage": Basis.DERIVED,
    }


@settings(max_examples=60, deadline=None)
@given(
    seconds=st.lists(st.floats(0, 1e7), min_size=1, max_size=4),
    attempts=st.integers(1, 4),
    price=st.decimals("0", "9999", places=4),
    rate=st.decimals("50", "500", places=2),
    currency=st.sampled_from(["JPY", "USD"]),
    yearly=st.decimals("0", "400", places=1),
    size=st.integers(0, 10**12),
)
def test_line_items_sum_to_the_totals_in_either_currency(
    seconds, attempts, price, rate, currency, yearly, size
) -> None:
    priced = book(
        line("cpu-core-hour", "core-hour", str(price), "USD"),
        STORE,
        fx=FxRate(jpy_per_usd=rate, date="2026-11-24", source="TTM"),
    )
    cells = tuple(
        measured(arm, seed, wall_seconds=wall, attempts=attempts, artifact_bytes=size)
        for arm in ("rsa", "full")
        for seed, wall in enumerate(seconds)
    )
    config = CostConfig(currency=currency, trainings_per_year=yearly)
    tco = total_cost(cells, {"rsa": 1.5, "full": 2.5}, priced, config, TODAY)
    for arm in tco.arms:
        lines = [entry for entry in tco.items if entry.arm == arm.arm]
        assert sum((entry.amount.amount for entry in lines), Decimal(0)) == arm.total.amount
        assert {entry.amount.currency for entry in lines} == {currency} == {arm.total.currency}
    assert 0 <= tco.measured_share <= 1


def test_cells_that_shared_a_machine_share_its_price() -> None:
    """Two cells at a time for an hour each: half of 20 each. By the core: 1 thread x 10. The same."""
    cells = (measured(workers=2, threads=1),)
    by_machine = total_cost(
        cells, {"rsa": 0.0}, book(MACHINE, STORE), CostConfig(compute_line="cpu-machine-hour"), TODAY
    )
    by_core = total_cost(cells, {"rsa": 0.0}, book(CORE, STORE), CostConfig(), TODAY)
    assert amounts(by_machine, "rsa", "training") == amounts(by_core, "rsa", "training") == [10]


def test_failed_attempts_cost_as_much_as_the_one_that_worked_and_are_assumed() -> None:
    tco = total_cost((measured(attempts=3),), {"rsa": 0.0}, book(CORE, STORE), CostConfig(), TODAY)
    failed = [entry for entry in tco.items if entry.category == "failed attempts"]
    assert [entry.amount.amount for entry in failed] == [40]
    assert failed[0].quantity_basis is Basis.ASSUMED
    assert tco.arms[0].per_training.amount == 60


def test_failed_attempts_that_were_timed_cost_what_they_took_and_are_measured() -> None:
    cell = measured(attempts=3).model_copy(update={"failed_seconds": 1800.0})
    tco = total_cost((cell,), {"rsa": 0.0}, book(CORE, STORE), CostConfig(), TODAY)
    (failed,) = (entry for entry in tco.items if entry.category == "failed attempts")
    assert failed.amount.amount == 10  # half an hour x 2 cores x 10
    assert failed.quantity_basis is Basis.MEASURED
    assert tco.arms[0].per_training.amount == 30


def test_no_retraining_means_no_line() -> None:
    config = CostConfig(trainings_per_year=Decimal(0))
    tco = total_cost((measured(),), {"rsa": 0.0}, book(CORE, STORE), config, TODAY)
    assert not amounts(tco, "rsa", "retraining")


def test_a_shared_base_is_charged_by_its_share() -> None:
    alone = total_cost((measured(),), {"rsa": 0.0}, book(CORE, STORE), CostConfig(), TODAY)
    shared = total_cost((measured(),), {"rsa": 0.0}, book(CORE, STORE), CostConfig(adapters_per_base=10), TODAY)
    assert amounts(alone, "rsa", "storage")[1] == 10 * amounts(shared, "rsa", "storage")[1]


@pytest.mark.parametrize(
    ("device", "key"),
    [
        ("NVIDIA H100 80GB HBM3", "gpu-h100-hour"),
        ("NVIDIA A100-SXM4-80GB", "gpu-a100-hour"),
        ("NVIDIA L4", "gpu-l4-hour"),
        ("cpu, 2 threads", "cpu-core-hour"),
    ],
)
def test_the_machine_price_follows_the_measured_device(device: str, key: str) -> None:
    tco = total_cost((measured(device=device),), {"rsa": 0.0}, default_book(), CostConfig(), TODAY)
    assert tco.items[0].source.startswith(f"{key},")


def test_an_l40s_never_takes_the_price_of_an_l4() -> None:
    with pytest.raises(MissingError, match="NVIDIA L40S") as refused:
        total_cost((measured(device="NVIDIA L40S"),), {"rsa": 0.0}, default_book(), CostConfig(), TODAY)
    assert "gpu-l40s-hour" in refused.value.hint


def test_missing_prices_name_the_key_and_where_to_add_it() -> None:
    with pytest.raises(MissingError, match="storage-gb-month") as refused:
        total_cost((measured(),), {"rsa": 0.0}, book(CORE), CostConfig(), TODAY)
    assert "cost.price_book" in refused.value.hint


def test_no_total_with_a_hole_in_it() -> None:
    with pytest.raises(MissingError, match="no measurements"):
        total_cost((), {}, default_book(), CostConfig(), TODAY)
    with pytest.raises(MissingError, match="no evaluation time for the arm rsa"):
        total_cost((measured(),), {"full": 1.0}, default_book(), CostConfig(), TODAY)
    with pytest.raises(MissingError, match="no energy"):
        total_cost((measured(),), {"rsa": 0.0}, default_book(), CostConfig(include_energy=True), TODAY)


@pytest.mark.parametrize(
    "cell",
    [measured(wall_seconds=-1.0), measured(workers=0), measured(attempts=0), measured(artifact_bytes=-1)],
    ids=["seconds", "workers", "attempts", "bytes"],
)
def test_negative_quantities_are_refused(cell: Measurements) -> None:
    with pytest.raises(UsageError, match="rsa"):
        total_cost((cell,), {"rsa": 0.0}, default_book(), CostConfig(), TODAY)


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf")])
def test_evaluation_time_must_be_a_time(seconds: float) -> None:
    with pytest.raises(UsageError, match="cannot have been measured"):
        total_cost((measured(),), {"rsa": seconds}, default_book(), CostConfig(), TODAY)


def test_mixed_currencies_without_a_rate_are_refused() -> None:
    dollars = line("cpu-core-hour", "core-hour", "1", "USD")
    with pytest.raises(UsageError, match="no rate between them"):
        total_cost((measured(),), {"rsa": 0.0}, book(dollars, STORE), CostConfig(), TODAY)


def test_the_frozen_rate_converts_both_ways() -> None:
    """2 core-hours at 1 USD = 2 USD = 300 JPY at 150; storage at 4 JPY = 0.026667 USD, to six decimals."""
    mixed = book(line("cpu-core-hour", "core-hour", "1", "USD"), STORE, fx=RATE)
    yen = total_cost((measured(),), {"rsa": 0.0}, mixed, CostConfig(), TODAY)
    dollars = total_cost((measured(),), {"rsa": 0.0}, mixed, CostConfig(currency="USD"), TODAY)
    assert yen.arms[0].per_training.amount == 300
    assert dollars.arms[0].per_training.amount == 2
    assert dollars.items[-1].unit_price.amount == Decimal("0.026667")
    assert "150 JPY" in yen.fx_note


def test_a_stale_book_and_a_stale_price_are_said_to_be_stale() -> None:
    old = book(CORE, line("storage-gb-month", "GB-month", "4", as_of="2024-01-01"), day="2025-01-01")
    tco = total_cost((measured(),), {"rsa": 0.0}, old, CostConfig(), TODAY)
    assert tco.warnings == (
        "price book test is stale: 692 days old, more than 365",
        "price `storage-gb-month` is stale: of 2024-01-01, 1058 days old",
    )


def test_counters_are_measured_and_estimates_are_assumed() -> None:
    priced = book(CORE, STORE, line("electricity-kwh", "kWh", "31"))
    config = CostConfig(include_energy=True)
    counted = measured(energy=Energy(energy_kwh=2.0, source="nvml counter"))
    guessed = measured(energy=Energy(energy_kwh=2.0, source="estimate from processor power"))
    for cell, basis in ((counted, Basis.MEASURED), (guessed, Basis.ASSUMED)):
        tco = total_cost((cell,), {"rsa": 0.0}, priced, config, TODAY)
        energy = next(entry for entry in tco.items if entry.category == "energy")
        assert (energy.amount.amount, energy.quantity_basis) == (62, basis)
        assert any("energy is priced on top" in warning for warning in tco.warnings)


def test_a_machine_is_not_paid_by_the_gigabyte() -> None:
    with pytest.raises(UsageError, match="per GB-month"):
        total_cost((measured(),), {"rsa": 0.0}, book(STORE), CostConfig(compute_line="storage-gb-month"), TODAY)


def test_a_horizon_of_zero_is_a_configuration_problem() -> None:
    from rsa_ops.config import load_config

    with pytest.raises(ConfigError, match="horizon_months"):
        load_config(CostConfig, "horizon_months: 0\n", "pipeline.yaml")


def test_the_record_reads_back_as_it_was() -> None:
    tco = total_cost((measured(),), {"rsa": 3.0}, default_book(), CostConfig(), TODAY)
    assert Tco.from_json(tco.to_json(), "tco.json") == tco
