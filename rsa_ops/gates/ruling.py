"""How a ruling is made and worded; the judgement itself is in `rules` and `integrity`."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from rsa_ops.core.estimate import Estimate, PairedResult
from rsa_ops.core.verdict import Outcome, Ruling
from rsa_ops.errors import ExitCode


class Judged(NamedTuple):
    """A ruling, and the exit code it asks for when its outcome is ERROR."""

    ruling: Ruling
    exit_code: ExitCode = ExitCode.DONE


class Sheet(NamedTuple):
    """What every ruling of one rule has in common: its name and what it requires."""

    rule: str
    required: str

    def ruled(self, outcome: Outcome, observed: str, reason: str) -> Judged:
        """A ruling on evidence that is all there."""
        ruling = Ruling(rule=self.rule, required=self.required, observed=observed, outcome=outcome, reason=reason)
        return Judged(ruling)

    def missing(self, what: str) -> Judged:
        """ERROR, exit 8: a piece of evidence is not there."""
        return Judged(self.ruled(Outcome.ERROR, "missing", f"{what} is missing").ruling, ExitCode.MISSING)

    def broken(self, observed: str, reason: str) -> Judged:
        """ERROR, exit 6: the pieces of evidence do not agree."""
        return Judged(self.ruled(Outcome.ERROR, observed, reason).ruling, ExitCode.INTEGRITY)

    def at_least(self, estimate: Estimate, floor: float) -> Judged:
        """Judge an estimate against a floor: by its lower end; surely below only by its upper end."""
        seen = f"{estimate.value:.3f} ({interval(estimate)})"
        if estimate.low >= floor:
            return self.ruled(Outcome.PROMOTE, seen, f"the lower end {estimate.low:.3f} reaches {floor:g}")
        if estimate.high < floor:
            return self.ruled(Outcome.REJECT, seen, f"the upper end {estimate.high:.3f} is below {floor:g}")
        return self.ruled(
            Outcome.INCONCLUSIVE,
            seen,
            f"the interval reaches across {floor:g}; more test examples or seeds narrow it",
        )

    def at_most(self, value: float, limit: float, show: Callable[[float], str]) -> Judged:
        """Judge a measured value, which has no interval, against a limit."""
        if value <= limit:
            return self.ruled(Outcome.PROMOTE, show(value), f"{show(value)} is at most {show(limit)}")
        return self.ruled(Outcome.REJECT, show(value), f"{show(value)} is more than {show(limit)}")


def interval(estimate: Estimate) -> str:
    """`95 % interval 0.810 to 0.874`."""
    return f"{estimate.confidence * 100:.4g} % interval {estimate.low:.3f} to {estimate.high:.3f}"


def observed(result: PairedResult, groups: int | None = None) -> str:
    """`difference +0.004, 90 % interval -0.006 to +0.014, 3 seeds x 900 examples`; more decimals near a border.

    `groups`: of all these examples; ` in 120 groups` is said then.
    """
    found = result.difference
    if found is None:
        return "no difference could be estimated"
    seeds = "1 seed" if found.seeds == 1 else f"{found.seeds} seeds"
    value, low, high = (f"{number:+.{result.decimals(3)}f}" for number in (found.value, found.low, found.high))
    confidence = f"{found.confidence * 100:.4g} %"
    size = f"{seeds} x {found.examples:,} examples" + (f" in {groups:,} groups" if groups is not None else "")
    return f"difference {value}, {confidence} interval {low} to {high}, {size}"


def what_would_decide(result: PairedResult) -> str:
    """`about 400 more test examples or 2 more seeds would decide`, or that nothing practical would."""
    ways = [f"{result.more_examples:,} more test examples"] if result.more_examples is not None else []
    if result.more_seeds is not None:
        ways.append(f"{result.more_seeds:,} more seed{'s' if result.more_seeds > 1 else ''} per arm")
    if not ways:
        return "no practical number of test examples or seeds would decide"
    if result.more_together:
        return (
            f"neither more test examples nor more seeds alone would decide, but about {' with '.join(ways)} would"
        )
    only = "no number of test examples would decide, but " if result.more_examples is None else ""
    return f"{only}about {' or '.join(ways)} would" + ("" if only else " decide")
