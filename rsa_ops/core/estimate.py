"""Estimates with their uncertainty, and the five answers to "is it worse by more than the margin?"."""

from __future__ import annotations

from enum import StrEnum

from rsa_ops.core.record import Value


class Estimate(Value):
    """A number with its interval.

    `low` and `high` are the ends (both included) of a two-sided interval at `confidence`.
    `degrees_of_freedom` is None where the method has none (bootstrap).
    """

    value: float
    low: float
    high: float
    confidence: float
    method: str
    examples: int
    seeds: int
    standard_error: float | None = None
    degrees_of_freedom: float | None = None


class Answer(StrEnum):
    """What a comparison can say (DESIGN section 4, rule 3)."""

    NON_INFERIOR = "non-inferior"
    SUPERIOR = "superior"
    INFERIOR = "inferior"
    INCONCLUSIVE = "inconclusive"
    INVALID = "invalid"


class PairedResult(Value):
    """Candidate minus baseline on the same examples, judged against a margin.

    `difference` is None exactly when `answer` is INVALID; its interval is two-sided at 1 - 2*alpha, so
    that its lower end is the one-sided 1 - alpha bound which the margin is compared with.
    `more_examples` / `more_seeds`: how many more (beyond those used) would decide if the observed
    difference and variances held; None when no number would, or when the answer is decided. Each is a way of its
    own, except where `more_together`: then neither alone would decide, and both at once would.
    """

    answer: Answer
    margin: float
    alpha: float
    difference: Estimate | None
    p_noninferior: float | None
    variance_share_seeds: float | None
    more_examples: int | None
    more_seeds: int | None
    reason: str
    more_together: bool = False

    def decimals(self, least: int, *, scale: float = 1.0) -> int:
        """Decimals, `least` or up to three more, at which no end of the interval reads as the border it stands off.

        The borders are the margin and zero. `scale` is what numbers are multiplied by before they are printed.
        """
        if self.difference is None:
            return least
        ends = (self.difference.low * scale, self.difference.high * scale)
        apart = [(end, border) for end in ends for border in (-self.margin * scale, 0.0) if end != border]
        for count in range(least, least + 3):
            if all(round(end, count) != round(border, count) for end, border in apart):
                return count
        return least + 3
