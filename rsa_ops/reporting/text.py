"""Numbers as people read them: percent, points, seconds, bytes, money; one grammar for every renderer."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

from rsa_ops.core.estimate import Answer, Estimate, PairedResult
from rsa_ops.core.money import Money
from rsa_ops.core.verdict import Verdict

MISSING = "–"
MINUS = "\u2212"

_METRICS: dict[str, tuple[str, str]] = {
    "accuracy": ("Accuracy", " %"),
    "macro_f1": ("Macro-F1", " %"),
    "field_coverage": ("Fields stated", " %"),
    "chrf": ("chrF", ""),
    "bleu": ("BLEU", ""),
    "rouge_l": ("ROUGE-L", ""),
    "ece": ("Calibration error (ECE)", " %"),
}
"""Known metrics lie in [0, 1] and are printed times 100; any other is printed in its own units."""

HEADLINE_METRICS = ("accuracy", "macro_f1", "chrf", "bleu", "rouge_l", "field_coverage")
"""The metrics of a short table, in the order in which they are printed."""


def metric_label(metric: str) -> str:
    """`macro_f1` -> `Macro-F1`; an unknown metric by its own name."""
    return _METRICS.get(metric, (metric, ""))[0]


def metric_unit(metric: str) -> str:
    """What follows a score of this metric: ` %` or nothing."""
    return _METRICS.get(metric, ("", ""))[1]


def scale(metric: str) -> float:
    """What a score is multiplied by to be printed."""
    return 100.0 if metric in _METRICS else 1.0


def difference_unit(metric: str) -> str:
    """`points`, or nothing for a metric in its own units."""
    return " points" if metric in _METRICS else ""


def decimals(metric: str) -> int:
    """Decimals that a score is printed with: one of a percentage, four in own units."""
    return 1 if metric in _METRICS else 4


def number(value: float, metric: str, places: int | None = None) -> str:
    """A score without its unit: `87.3`, or four decimals in own units; or with `places` decimals."""
    return f"{value * scale(metric):.{decimals(metric) if places is None else places}f}"


def score(value: float, metric: str) -> str:
    """A score in [0, 1] as `87.3 %` (or `54.2` for chrF and its like)."""
    return f"{number(value, metric)}{metric_unit(metric)}"


def interval(estimate: Estimate, metric: str) -> str:
    """The interval of a score, `86.1 to 88.5`."""
    return f"{number(estimate.low, metric)} to {number(estimate.high, metric)}"


def points(value: float, metric: str, places: int | None = None) -> str:
    """A signed difference of scores in points of 100: `+1.2`, `−0.4`, `0.0`."""
    shown = number(abs(value), metric, places)
    if float(shown) == 0:
        return shown
    return f"{'+' if value > 0 else MINUS}{shown}"


def forgetting_label(kind: str) -> str:
    """What a measurement on general text is called in tables."""
    return {"loss_per_token": "Forgetting, nats a token", "vector_drift": "Drift on general text"}.get(kind, kind)


def forgetting(value: float, kind: str) -> str:
    """`+0.052` nats a token that were not there before training; a drift in [0, 2] has no sign."""
    shown = f"{abs(value):.3f}"
    if kind != "loss_per_token" or float(shown) == 0:
        return shown
    return f"{'+' if value > 0 else MINUS}{shown}"


def difference(result: PairedResult, metric: str) -> str:
    """`−0.4 [−1.9, +1.1]`, with more decimals where an end is near a border; a dash where there is none."""
    if result.difference is None:
        return MISSING
    found = result.difference
    places = result.decimals(decimals(metric), scale=scale(metric))
    value, low, high = (points(number, metric, places) for number in (found.value, found.low, found.high))
    return f"{value} [{low}, {high}]"


def more_needed(result: PairedResult) -> str:
    """How much more would decide, when the data did not."""
    if result.answer is not Answer.INCONCLUSIVE:
        return ""
    ways = [
        f"{count:,} more {what}"
        for count, what in ((result.more_examples, "examples"), (result.more_seeds, "seeds"))
        if count is not None
    ]
    joined = " together with " if result.more_together else " or "
    return f"{joined.join(ways)} would decide." if ways else "No amount of the same data would decide."


def reason(result: PairedResult) -> str:
    """Why, and how much more data would decide where the reason does not say so itself."""
    told = "would decide" in result.reason
    return f"{sentence(result.reason)} {'' if told else more_needed(result)}".strip()


def verdict_sentence(verdict: Verdict) -> str:
    """The verdict's sentence without the outcome in front, which every renderer prints in its own way.

    No capital is made: the sentence may begin with the name of an arm.
    """
    return stopped(verdict.sentence.removeprefix(f"{verdict.outcome.value.upper()}: "))


def share(value: float) -> str:
    """A share in [0, 1] as percent with two figures at least: `0.63 %`, `12 %`, `100 %`."""
    percent = value * 100
    if percent and percent < 0.01:
        return "under 0.01 %"
    return f"{percent:.2f} %" if percent < 1 else f"{percent:.1f} %" if percent < 10 else f"{percent:.0f} %"


def seconds(value: float) -> str:
    """`41.2 s`, `412 s`, `32 min 30 s`, `3 h 05 min`."""
    if value < 1000:
        return f"{value:.1f} s" if value < 100 else f"{value:.0f} s"
    whole = round(value)
    if whole < 7200:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60:02d} min"


def span(low: str, high: str) -> str:
    """`63.0 to 65.0 s`: two quantities as printed, the unit once where it is the same."""
    number, _, unit = low.rpartition(" ")
    if number.replace(",", "").replace(".", "").isdigit() and high.endswith(f" {unit}"):
        return f"{number} to {high}"
    return f"{low} to {high}"


def size(count: float) -> str:
    """Bytes in decimal units: `512 B`, `1.3 MB`, `2.41 GB`."""
    for unit, step in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= step:
            shown = count / step
            return f"{shown:.0f} {unit}" if shown >= 100 else f"{shown:.3g} {unit}"
    return f"{count:.0f} B"


def money(value: Money) -> str:
    """Whole yen or cents; below a hundred of them three figures, so that a small cost does not read as none."""
    whole = value.rounded()
    hundred = 100 if value.currency == "JPY" else 1
    if value.amount == 0 or abs(value.amount) >= hundred:
        return str(whole)
    sign = {"JPY": "¥", "USD": "$"}[value.currency]
    digits = max(0, 2 - value.amount.copy_abs().adjusted())
    step = Decimal(1).scaleb(-digits)
    return f"{sign}{value.amount.quantize(step, rounding=ROUND_HALF_UP):f}"


def money_change(candidate: Money, baseline: Money) -> str:
    """`−¥120 (−38 %)`: the candidate's cost minus the baseline's."""
    gap = candidate + Money(amount=-baseline.amount, currency=baseline.currency)
    sign = "+" if gap.amount > 0 else MINUS if gap.amount < 0 else ""
    size_of_gap = money(Money(amount=abs(gap.amount), currency=gap.currency))
    if baseline.amount == 0:
        return f"{sign}{size_of_gap}"
    percent = abs(gap.amount) / baseline.amount * 100
    return f"{sign}{size_of_gap} ({sign}{percent:.0f} %)"


def stopped(words: str) -> str:
    """`words` with a full stop at the end."""
    return words if words.endswith((".", "!", "?")) or not words else f"{words}."


def sentence(words: str) -> str:
    """`words` with a capital first and a full stop at the end."""
    return stopped(f"{words[:1].upper()}{words[1:]}")


def examples(count: int, groups: int | None) -> str:
    """`590 examples`, or `590 examples in 120 groups`."""
    return f"{count:,} examples" + (f" in {groups:,} groups" if groups is not None else "")


def count(value: int) -> str:
    """`22,713,612`."""
    return f"{value:,}"
