"""Is the challenger's mean score worse by more than `margin`? Exact, for scores within known bounds.

With scores mapped to s in [0, 1], higher worse, and a centre c fixed beforehand, a unit of the challenger pays
g = (s - c) / w - margin and one of the baseline g = -(s - c) / (1 - w) - margin, w being the challenger's share.
The mean of g is the difference of the means minus the margin. "No harm beyond the margin" makes every stake
lambda >= 0 on g a losing or fair game: the wealth, a product of 1 + lambda g > 0, is an e-process, and so is its
mean over a fixed grid of lambda. Source: Waudby-Smith and Ramdas 2024, Estimating means of bounded random variables
by betting, JRSS B 86:1 (the capital process of section 4), with inverse-probability weights for the two arms.

What is guaranteed, exactly: the same two cases as for `BernoulliEProcess`. The centre should be near the mean
scores: a bad guess costs power and never the guarantee.
"""

from __future__ import annotations

from typing import Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, model_validator

from rsa_ops.core.record import Record
from rsa_ops.errors import IntegrityError
from rsa_ops.stats.guardrails import Guardrail
from rsa_ops.stats.inputs import as_row

Floats = NDArray[np.float64]
STAKES = tuple(0.5 * 2.0**-step for step in range(10))
"""Shares of the largest stake that cannot ruin: 1/2, 1/4, ... 1/1024."""


class BettingEProcess(Record):
    """The wealth of every stake, and all that the e-process of a difference of mean scores needs to go on.

    Waudby-Smith and Ramdas 2024, JRSS B 86:1, the capital process of section 4.

    Args:
        lowest: the lowest score that can occur.
        highest: the highest score that can occur, > `lowest`.
        margin: how much worse the challenger's mean may be, in [0, highest - lowest).
        allocation: the challenger's share w of the units, in (0, 1).
        centre: a guess of the mean score, in [lowest, highest].
        worse: which way is worse.
        harm: log wealth of each stake on harm beyond the margin.
        safe: log wealth of each stake on the opposite.

    Raises:
        ValueError: terms that do not fit together, or NaN.
    """

    schema_: Literal["rsa_ops/betting-e-process/v1"] = Field(default="rsa_ops/betting-e-process/v1", alias="schema")

    lowest: float
    highest: float
    margin: float
    allocation: float
    centre: float
    worse: Literal["higher", "lower"] = "lower"
    harm: tuple[float, ...] = (0.0,) * len(STAKES)
    safe: tuple[float, ...] = (0.0,) * len(STAKES)

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if not self.lowest <= self.centre <= self.highest or self.lowest == self.highest:
            raise ValueError(
                f"expected lowest <= centre <= highest, found {self.lowest}, {self.centre}, {self.highest}: "
                "give the bounds of the score and a guess of its mean"
            )
        if not 0 <= self.margin < self.highest - self.lowest:
            raise ValueError(
                f"expected 0 <= margin < highest - lowest, found {self.margin}: it is the loss that is acceptable"
            )
        if not 0 < self.allocation < 1:
            raise ValueError(
                f"expected 0 < allocation < 1, found {self.allocation}: it is the challenger's share of the traffic"
            )
        if len(self.harm) != len(STAKES) or len(self.safe) != len(STAKES):
            raise ValueError(
                f"expected the wealth of {len(STAKES)} stakes, found {len(self.harm)}, {len(self.safe)}"
            )
        return self

    def update(self, challenger: ArrayLike, baseline: ArrayLike) -> Self:
        """The state after these new scores [units] of the two arms.

        Raises:
            UsageError: no rows of numbers.
            IntegrityError: a score is NaN or outside the bounds.
        """
        w, c = self.allocation, float(self._mapped(np.array([self.centre]))[0])
        margin = self.margin / (self.highest - self.lowest)
        pay = np.concatenate(
            [(self._mapped(as_row(challenger)) - c) / w, -(self._mapped(as_row(baseline)) - c) / (1 - w)]
        )
        most, least = max((1 - c) / w, c / (1 - w)) - margin, min(-c / w, -(1 - c) / (1 - w)) - margin
        harm = _grown(self.harm, pay - margin, -least)
        safe = _grown(self.safe, margin - pay, most)
        return self.model_copy(update={"harm": harm, "safe": safe})

    @property
    def log_e_harm(self) -> float:
        """Log e-value against "worse by the margin at most"; reject at log(1 / alpha)."""
        return _mean(self.harm)

    @property
    def log_e_safe(self) -> float:
        """Log e-value against "worse by the margin or more"."""
        return _mean(self.safe)

    def guardrail(self, name: str) -> Guardrail:
        """The evidence of this moment, for `decide_rollout`."""
        return Guardrail(name=name, log_e_harm=self.log_e_harm, log_e_safe=self.log_e_safe, guarantee="exact")

    def _mapped(self, scores: Floats) -> Floats:
        outside = ~((scores >= self.lowest) & (scores <= self.highest))
        if outside.any():
            raise IntegrityError(
                f"expected scores from {self.lowest} to {self.highest}, found {scores[outside][0]}",
                hint="The guarantee rests on them: clip the score by definition, or start again with wider ones.",
            )
        share = (scores - self.lowest) / (self.highest - self.lowest)
        return share if self.worse == "higher" else 1 - share


def _grown(wealth: tuple[float, ...], pay: Floats, worst: float) -> tuple[float, ...]:
    """Log wealth after `pay`, of which none is below -`worst`."""
    stakes = np.array(STAKES) / worst
    return tuple((np.array(wealth) + np.log1p(stakes * pay[:, None]).sum(axis=0)).tolist())


def _mean(wealth: tuple[float, ...]) -> float:
    return float(np.logaddexp.reduce(wealth) - np.log(len(wealth)))
