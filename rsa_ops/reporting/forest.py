"""What a forest plot shows: differences with their intervals, each against its margin, on one axis.

The drawing is in `forest_text` (terminals, pull requests) and `forest_svg` (the HTML report).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from rsa_ops.core.comparison import ALL, Comparison, Contrast
from rsa_ops.core.estimate import Answer
from rsa_ops.errors import UsageError
from rsa_ops.reporting import text
from rsa_ops.stats.guardrails import Action

OPEN = frozenset({Answer.INCONCLUSIVE.value, Answer.INVALID.value, Action.CONTINUE.value, Action.HOLD.value})
HARMFUL = frozenset({Answer.INFERIOR.value, Action.ROLLBACK.value})
MOST_ROWS = 24
"""More rows than this make no readable picture; the table beside it holds all."""


@dataclass(frozen=True)
class ForestRow:
    """One difference. All positions are in the units of the axis.

    `margin` is where the margin is drawn: below zero where higher scores are better, above zero for harm.
    `estimate`, `low` and `high` are all None where the answer is that there is none. `verdict`: one of the five
    answers, or the action of a rollout. `shown`: the numbers as printed. `note`: smaller print, the examples say.

    Raises:
        UsageError: a number that is NaN or infinite, an interval without its estimate, or one that excludes it.
    """

    label: str
    estimate: float | None
    low: float | None
    high: float | None
    margin: float
    verdict: str
    shown: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        ends = (self.low, self.estimate, self.high)
        known = [end for end in ends if end is not None]
        if not all(math.isfinite(number) for number in (*known, self.margin)):
            raise UsageError(f"{self.label}: expected finite numbers in a forest plot, found {ends}, {self.margin}")
        if known and (len(known) < len(ends) or known != sorted(known)):
            raise UsageError(f"{self.label}: expected low <= estimate <= high, or none of them, found {ends}")


@dataclass(frozen=True)
class Forest:
    """Rows on one axis. `title` names the difference, `unit` the axis; `omitted` rows are in the table alone."""

    title: str
    unit: str
    rows: tuple[ForestRow, ...]
    omitted: int = 0

    @property
    def span(self) -> tuple[float, float]:
        """The ends of the axis: all intervals, margins and zero, and some air."""
        marks = [0.0]
        for row in self.rows:
            marks += [end for end in (row.low, row.high, row.margin) if end is not None]
        low, high = min(marks), max(marks)
        air = 0.05 * (high - low) or 1.0
        return low - air, high + air

    @property
    def common_margin(self) -> float | None:
        """The margin of all rows, or None where they differ."""
        margins = {row.margin for row in self.rows}
        return margins.pop() if len(margins) == 1 else None


def forests(comparison: Comparison) -> tuple[Forest, ...]:
    """Differences over all examples, one forest for each unit: points of 100, and a metric's own."""
    shown = [entry for entry in comparison.contrasts if entry.population == ALL]
    scales = dict.fromkeys(text.scale(entry.metric) for entry in shown)
    return tuple(
        _forest(comparison, [e for e in shown if text.scale(e.metric) == scale], scale) for scale in scales
    )


def slice_forests(comparison: Comparison) -> tuple[Forest, ...]:
    """Differences on slices, the lowest first, one forest for each unit."""
    found = [e for e in comparison.contrasts if e.population != ALL and e.result.difference]
    found.sort(key=lambda entry: entry.result.difference.low if entry.result.difference else 0.0)
    scales = dict.fromkeys(text.scale(entry.metric) for entry in found)
    return tuple(
        _forest(comparison, [e for e in found if text.scale(e.metric) == scale], scale, where=" on slices")
        for scale in scales
    )


def _forest(comparison: Comparison, entries: list[Contrast], scale: float, where: str = "") -> Forest:
    metrics = {entry.metric for entry in entries}
    alone = metrics.pop() if len(metrics) == 1 else None
    return Forest(
        title=f"{text.metric_label(alone) + where + ', ' if alone else ''}{comparison.candidate} minus baseline",
        unit="points of 100" if scale == 100 else "in units of the metric",
        rows=tuple(
            _row(entry, scale, named=alone is None, groups=comparison.groups if entry.population == ALL else None)
            for entry in entries[:MOST_ROWS]
        ),
        omitted=max(0, len(entries) - MOST_ROWS),
    )


def _row(entry: Contrast, scale: float, *, named: bool, groups: int | None) -> ForestRow:
    found = entry.result.difference
    parts = ["" if entry.population == ALL else entry.population, text.metric_label(entry.metric) if named else ""]
    return ForestRow(
        label=", ".join([*(part for part in parts if part), f"against {entry.baseline}"]),
        estimate=found.value * scale if found else None,
        low=found.low * scale if found else None,
        high=found.high * scale if found else None,
        margin=-entry.result.margin * scale,
        verdict=entry.result.answer.value,
        shown=text.difference(entry.result, entry.metric),
        note=text.examples(found.examples, groups) if found else "",
    )


def signed(value: float) -> str:
    """A position on the axis: `−2`, `0`, `+1.5`."""
    return f"{text.MINUS if value < 0 else '+' if value > 0 else ''}{abs(value):.4g}"


def plain(words: str) -> str:
    """`words` on one line and without letters that steer a terminal or are none in XML."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in " ".join(words.split()))


def decided(verdict: str) -> bool:
    """Whether the mark of this verdict is drawn full."""
    return verdict not in OPEN


def harmful(verdict: str) -> bool:
    """Whether this verdict says that something is worse."""
    return verdict in HARMFUL
