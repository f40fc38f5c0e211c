"""What the slices say together, in one or two lines for each baseline; the same words for every renderer."""

from __future__ import annotations

from rsa_ops.core.comparison import Comparison, SliceFamily
from rsa_ops.core.slices import SliceDifference
from rsa_ops.reporting import text

_NAMED = 5
"""More harmed slices than this are counted, and named in the table of slices."""


def family_lines(comparison: Comparison) -> tuple[str, ...]:
    """One paragraph for each family of slices: who is harmed, the worst slice, and what chance makes of it."""
    return tuple(" ".join(_sentences(family)) for family in comparison.families)


def _sentences(family: SliceFamily) -> list[str]:
    found, metric = family.result, family.metric
    judged, small = len(found.judged), len(found.slices) - len(found.judged)
    start = f"Slices against {family.baseline}, {text.metric_label(metric)}:"
    lowest = found.worst
    if lowest is None:
        return [f"{start} none of {small} is large enough to be judged."]
    rest = f", {small} not assessable" if small else ""
    margin = f"{text.points(-found.margin, metric)}{text.difference_unit(metric)}"
    count = str(len(found.harmed)) if found.harmed else "none"
    harm = f"{start} {count} surely worse than {margin} (Holm; {judged} judged{rest})"
    return [f"{harm}{_names(found.harmed)}.", _worst(family, lowest)]


def _names(harmed: tuple[str, ...]) -> str:
    more = f" and {len(harmed) - _NAMED} more" if len(harmed) > _NAMED else ""
    return f": {', '.join(harmed[:_NAMED])}{more}" if harmed else ""


def _worst(family: SliceFamily, lowest: SliceDifference) -> str:
    difference = lowest.result.difference if lowest.result else None
    if difference is None or lowest.low is None or lowest.high is None:
        return ""
    ends = (difference.value, lowest.low, lowest.high)
    value, low, high = (text.points(number, family.metric) for number in ends)
    told = f"Lowest: {lowest.slice}, {value} [{low}, {high}] (bounds for all slices at once)"
    if family.worst is None:
        return f"{told}."
    usual, p_value = text.points(family.worst.expected, family.metric), family.worst.p_value
    shown = f"{p_value:.3f}" if p_value < 0.1 else f"{p_value:.2f}"
    return f"{told}; were both arms the same, the lowest would be about {usual}, and this low with p = {shown}."
