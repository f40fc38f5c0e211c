"""The per-arm table as rows of text, one column an arm; shared by terminal, Markdown and HTML."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import fmean

from rsa_ops.core.comparison import ArmSummary, Comparison, WorstSliceDrop
from rsa_ops.core.costs import Tco
from rsa_ops.core.measurements import Measurements
from rsa_ops.reporting import text


@dataclass(frozen=True)
class Shown:
    """One cell: the value, and in smaller print what qualifies it."""

    value: str
    note: str = ""


@dataclass(frozen=True)
class ArmRow:
    """One quantity over all arms."""

    label: str
    cells: tuple[Shown, ...]


_NONE = Shown(text.MISSING)


def arm_names(comparison: Comparison | None, measurements: tuple[Measurements, ...]) -> tuple[str, ...]:
    """Arms in the order of the comparison, then those only measured."""
    compared = [arm.arm for arm in comparison.arms] if comparison else []
    return tuple(dict.fromkeys([*compared, *(entry.cell.arm for entry in measurements)]))


def headline_rows(
    comparison: Comparison | None,
    measurements: tuple[Measurements, ...],
    tco: Tco | None,
    names: tuple[str, ...],
) -> tuple[ArmRow, ...]:
    """What one table must hold: metrics, worst slice and its drop, forgetting, share, time, memory, cost."""
    return (
        *metric_rows(comparison, names),
        *_per_summary(comparison, names),
        *_drops(comparison, names),
        *_forgetting(comparison, names),
        *_per_cells(measurements, names),
        *_per_cost(tco, names),
    )


def metric_rows(
    comparison: Comparison | None, names: tuple[str, ...], *, others: bool = False
) -> tuple[ArmRow, ...]:
    """One row a metric: the headline metrics, or (`others`) the rest."""
    if comparison is None:
        return ()
    present = dict.fromkeys(metric for arm in comparison.arms for metric in arm.metrics)
    headline = [metric for metric in text.HEADLINE_METRICS if metric in present]
    if comparison.primary_metric in present and comparison.primary_metric not in headline:
        headline.insert(0, comparison.primary_metric)
    chosen = [metric for metric in present if metric not in headline] if others else headline
    return tuple(
        ArmRow(text.metric_label(metric), tuple(_metric(comparison.arm(name), metric) for name in names))
        for metric in chosen
    )


def cells_of(measurements: tuple[Measurements, ...], arm: str) -> tuple[Measurements, ...]:
    """The cells of one arm."""
    return tuple(entry for entry in measurements if entry.cell.arm == arm)


def spread(values: list[float], write: Callable[[float], str]) -> Shown:
    """The mean over seeds, with the range as a note where the seeds differ as printed."""
    if not values:
        return _NONE
    low, high = write(min(values)), write(max(values))
    return Shown(write(fmean(values)), "" if low == high else text.span(low, high))


def peak_memory(cell: Measurements) -> int:
    """Peak bytes of the device, or of the host where training ran on the CPU."""
    return cell.peak_host_memory_bytes if cell.peak_device_memory_bytes is None else cell.peak_device_memory_bytes


def _metric(arm: ArmSummary | None, metric: str) -> Shown:
    if arm is None or metric not in arm.metrics:
        return _NONE
    found = arm.metrics[metric]
    return Shown(text.score(found.value, metric), text.interval(found, metric))


def _per_summary(comparison: Comparison | None, names: tuple[str, ...]) -> tuple[ArmRow, ...]:
    if comparison is None:
        return ()
    cells = []
    for name in names:
        arm = comparison.arm(name)
        worst = arm.worst_slice if arm else None
        if worst is None:
            cells.append(_NONE)
            continue
        # A blank instead of "=", so that a narrow cell breaks between name and value.
        cells.append(Shown(text.score(worst.score.value, comparison.primary_metric), worst.slice.replace("=", " ")))
    return (ArmRow("Worst slice", tuple(cells)),)


def _drops(comparison: Comparison | None, names: tuple[str, ...]) -> tuple[ArmRow, ...]:
    """One row a reference: the drop of each arm's worst slice, and the slice."""
    if comparison is None:
        return ()
    rows = []
    for reference in dict.fromkeys(drop.reference for drop in comparison.drops):
        found = {drop.arm: drop for drop in comparison.drops if drop.reference == reference}
        cells = tuple(_drop(found.get(name), comparison.primary_metric) for name in names)
        rows.append(ArmRow(f"Worst slice against {reference}", cells))
    return tuple(rows)


def _drop(drop: WorstSliceDrop | None, metric: str) -> Shown:
    if drop is None:
        return _NONE
    if drop.difference is None or drop.slice is None:
        return Shown("not assessable")
    return Shown(text.points(drop.difference, metric), drop.slice.replace("=", " "))


def _forgetting(comparison: Comparison | None, names: tuple[str, ...]) -> tuple[ArmRow, ...]:
    """One row a kind of measurement: loss per token gained on general text, or drift of its vectors."""
    if comparison is None:
        return ()
    found = {name: arm.forgetting if (arm := comparison.arm(name)) else () for name in names}
    kinds = dict.fromkeys(entry.kind for entries in found.values() for entry in entries)
    return tuple(
        ArmRow(
            text.forgetting_label(kind),
            tuple(
                spread([e.value for e in found[name] if e.kind == kind], partial(text.forgetting, kind=kind))
                for name in names
            ),
        )
        for kind in kinds
    )


def _per_cells(measurements: tuple[Measurements, ...], names: tuple[str, ...]) -> tuple[ArmRow, ...]:
    if not measurements:
        return ()
    on_device = any(entry.peak_device_memory_bytes is not None for entry in measurements)
    grid = [cells_of(measurements, name) for name in names]
    return (
        ArmRow("Trainable share", tuple(spread([c.trainable_share for c in cells], text.share) for cells in grid)),
        ArmRow("Training time", tuple(spread([c.wall_seconds for c in cells], text.seconds) for cells in grid)),
        ArmRow(
            "Peak device memory" if on_device else "Peak memory",
            tuple(spread([float(peak_memory(c)) for c in cells], text.size) for cells in grid),
        ),
        ArmRow("Artifact", tuple(spread([float(c.artifact_bytes) for c in cells], text.size) for cells in grid)),
    )


def _per_cost(tco: Tco | None, names: tuple[str, ...]) -> tuple[ArmRow, ...]:
    if tco is None:
        return ()
    costs = [tco.arm(name) for name in names]
    return (
        ArmRow("Cost per training", tuple(Shown(text.money(c.per_training)) if c else _NONE for c in costs)),
        ArmRow(
            f"Total, {tco.horizon_months} months",
            tuple(Shown(text.money(c.total)) if c else _NONE for c in costs),
        ),
    )
