"""What a forest plot shows: differences with their intervals, each against its margin, on one axis.

The drawing is in `forest_text` (terminals, pull requests) and `forest_svg` (the HTML report).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

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
class ForestWords:
    """What a plot says in its own words; `answers` names verdicts, one that it lacks by its own name."""

    minus: str = "{candidate} minus baseline"
    on_slices: str = " on slices"
    against: str = "against {baseline}"
    points: str = "points of 100"
    own_unit: str = "in units of the metric"
    examples: str = "{count} examples"
    groups: str = " in {groups} groups"
    margin: str = "margin"
    margins: str = "dashed: the margin of each row"
    more: str = "{count} more in the table"
    none: str = "no estimate"
    answers: Mapping[str, str] = field(default_factory=dict)

    def verdict(self, row: ForestRow) -> str:
        """The verdict of a row in these words."""
        return self.answers.get(row.verdict, row.verdict)

    def drawn_from(self, examples: int, groups: int | None) -> str:
        """`590 examples in 120 groups`."""
        told = self.examples.format(count=f"{examples:,}")
        return told if groups is None else told + self.groups.format(groups=f"{groups:,}")


ENGLISH = ForestWords()


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


def forests(comparison: Comparison, words: ForestWords = ENGLISH) -> tuple[Forest, ...]:
    """Differences over all examples, one forest for each unit: points of 100, and a metric's own."""
    shown = [entry for entry in comparison.contrasts if entry.population == ALL]
    scales = dict.fromkeys(text.scale(entry.metric) for entry in shown)
    return tuple(
        _forest(comparison, [e for e in shown if text.scale(e.metric) == scale], scale, words) for scale in scales
    )


def slice_forests(comparison: Comparison, words: ForestWords = ENGLISH) -> tuple[Forest, ...]:
    """Differences on slices, the lowest first, one forest for each unit."""
    found = [e for e in comparison.contrasts if e.population != ALL and e.result.difference]
    found.sort(key=lambda entry: entry.result.difference.low if entry.result.difference else 0.0)
    scales = dict.fromkeys(text.scale(entry.metric) for entry in found)
    return tuple(
        _forest(comparison, [e for e in found if text.scale(e.metric) == scale], scale, words, words.on_slices)
        for scale in scales
    )


def _forest(
    comparison: Comparison, entries: list[Contrast], scale: float, words: ForestWords, where: str = ""
) -> Forest:
    minus = words.minus.format(candidate=comparison.candidate)
    metrics = {entry.metric for entry in entries}
    alone = metrics.pop() if len(metrics) == 1 else None
    return Forest(
        title=f"{text.metric_label(alone) + where + ', ' if alone else ''}{minus}",
        unit=words.points if scale == 100 else words.own_unit,
        rows=tuple(
            _row(entry, scale, words, named=alone is None, groups=None if where else comparison.groups)
            for entry in entries[:MOST_ROWS]
        ),
        omitted=max(0, len(entries) - MOST_ROWS),
    )


def _row(entry: Contrast, scale: float, words: ForestWords, *, named: bool, groups: int | None) -> ForestRow:
    found = entry.result.difference
    parts = ["" if entry.population == ALL else entry.population, text.metric_label(entry.metric) if named else ""]
    return ForestRow(
        label=", ".join([*(part for part in parts if part), words.against.format(baseline=entry.baseline)]),
        estimate=found.value * scale if found else None,
        low=found.low * scale if found else None,
        high=found.high * scale if found else None,
        margin=-entry.result.margin * scale,
        verdict=entry.result.answer.value,
        shown=text.difference(entry.result, entry.metric),
        note=words.drawn_from(found.examples, groups) if found else "",
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
