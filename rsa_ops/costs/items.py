"""The line items of one arm: what was measured, what it implies for retraining, and what must be kept.

What is kept for an arm is one model in `copies` copies: the whole checkpoint of full fine-tuning, or the
adapter and its share of the base model. A base is stored once for all `adapters_per_base` adapters on it.
"""

from __future__ import annotations

from decimal import Decimal

from rsa_ops.core.costs import Basis
from rsa_ops.core.measurements import Measurements
from rsa_ops.costs.lines import (
    ENERGY_KEY,
    GB,
    STORAGE_KEY,
    Priced,
    Till,
    billed_hours,
    compute_line,
    decimal,
    energy_basis,
)
from rsa_ops.costs.pricebook import PriceLine
from rsa_ops.errors import MissingError, UsageError

FULL = "full"
ONE_TRAINING = ("training", "failed attempts", "energy")
"""Categories that make up the cost of one training."""

_BYTES_PER_PARAMETER = 4


def arm_items(till: Till, cells: tuple[Measurements, ...], evaluation_seconds: float) -> tuple[Priced, ...]:
    """Every line of one arm, whose cells are `cells`.

    Raises:
        MissingError: a price that the book lacks, or energy that is asked for and was not measured.
        UsageError: a negative quantity, or currencies without a rate between them.
    """
    training = [_training(till, cell) for cell in cells]
    failed = [_failed(till, cell) for cell in cells if cell.attempts != 1]
    energy = [_energy(till, cell) for cell in cells] if till.config.include_energy else []
    evaluation = [_evaluation(till, cells[0], evaluation_seconds, len(cells))] if evaluation_seconds != 0 else []
    once = (*training, *failed, *energy, *evaluation)
    return (*once, *_retraining(till, once, len(cells)), *_storage(till, cells))


def _training(till: Till, cell: Measurements) -> Priced:
    line = compute_line(till.book, till.config, cell)
    hours = billed_hours(line, cell.wall_seconds, cell)
    text = f"seed {cell.cell.seed}: {cell.wall_seconds:.1f} s on {cell.device}"
    return till.item(cell.cell.arm, "training", text, line, hours, Basis.MEASURED)


def _failed(till: Till, cell: Measurements) -> Priced:
    """What failed or was repeated, by its own seconds; where they were not kept, as long as the one that worked."""
    if cell.attempts < 1:
        raise UsageError(f"{cell.cell.name}: {cell.attempts} attempts cannot have trained it")
    line = compute_line(till.book, till.config, cell)
    others = cell.attempts - 1
    if cell.failed_seconds is not None:
        text = f"seed {cell.cell.seed}: {others} failed or repeated, {cell.failed_seconds:.1f} s in all"
        hours = billed_hours(line, cell.failed_seconds, cell)
        return till.item(cell.cell.arm, "failed attempts", text, line, hours, Basis.MEASURED)
    hours = billed_hours(line, cell.wall_seconds, cell) * others
    text = f"seed {cell.cell.seed}: {others} failed, each taken as long as the one that worked"
    return till.item(cell.cell.arm, "failed attempts", text, line, hours, Basis.ASSUMED)


def _evaluation(till: Till, cell: Measurements, seconds: float, cells: int) -> Priced:
    line = compute_line(till.book, till.config, cell)
    hours = billed_hours(line, seconds, cell)
    text = f"{cells} cells: {seconds:.1f} s"
    return till.item(cell.cell.arm, "evaluation", text, line, hours, Basis.MEASURED)


def _energy(till: Till, cell: Measurements) -> Priced:
    if cell.energy.energy_kwh is None:
        raise MissingError(
            f"{cell.cell.name}: `cost.include_energy` is on, but no energy was measured or estimated",
            hint="Turn it off (a cloud price contains the energy), or train where a counter can be read.",
        )
    line = till.book.line(ENERGY_KEY, f"the energy of {cell.cell.name}")
    text = f"seed {cell.cell.seed}: {cell.energy.source}"
    return till.item(cell.cell.arm, "energy", text, line, decimal(cell.energy.energy_kwh), energy_basis(cell))


def _retraining(till: Till, once: tuple[Priced, ...], cells: int) -> tuple[Priced, ...]:
    """The first round again at its own prices, for the mean cell, as often as the configuration assumes."""
    times = till.config.trainings_per_year * till.config.horizon_months / 12
    if times == 0:
        return ()
    used: dict[str, tuple[PriceLine, Decimal]] = {}
    for entry in once:
        before = used.get(entry.line.key, (entry.line, Decimal(0)))[1]
        used[entry.line.key] = (entry.line, before + entry.item.quantity)
    shown = f"{times:.0f}" if times == times.to_integral_value() else f"{times:.1f}"
    text = f"{shown} retrainings assumed, each like the mean cell of this run"
    return tuple(
        till.item(once[0].item.arm, "retraining", text, line, quantity / cells * times, Basis.DERIVED)
        for line, quantity in used.values()
    )


def _storage(till: Till, cells: tuple[Measurements, ...]) -> tuple[Priced, ...]:
    config, first = till.config, cells[0]
    line = till.book.line(STORAGE_KEY, f"storing {first.cell.arm}")
    months = config.horizon_months * config.copies
    kept = Decimal(sum(cell.artifact_bytes for cell in cells)) / len(cells)
    what = "full checkpoint" if first.method == FULL else "adapter"
    text = f"{what}, {_size(kept)} x {config.copies} copies x {config.horizon_months} months"
    own = till.item(first.cell.arm, "storage", text, line, kept / GB * months, Basis.DERIVED)
    if first.method == FULL:
        return (own,)
    base = Decimal(first.total_parameters * _BYTES_PER_PARAMETER)
    sharing = f"shared by {config.adapters_per_base} adapters" if config.adapters_per_base > 1 else "not shared"
    text = f"base model, {_size(base)} (parameters x 4 bytes), {sharing}, x {config.copies} copies"
    quantity = base / GB * months / config.adapters_per_base
    return (own, till.item(first.cell.arm, "storage", text, line, quantity, Basis.DERIVED))


def _size(count: Decimal) -> str:
    return f"{count / 10**9:.2f} GB" if count >= 10**9 else f"{count / 10**6:.2f} MB"
