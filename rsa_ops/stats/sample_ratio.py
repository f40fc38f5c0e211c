"""Do the arms get the shares of the traffic that were agreed? A sample-ratio check that may be looked at any time.

Source: Lindon and Malek 2022, Anytime-valid inference for multinomial count data (NeurIPS 35): the
multinomial likelihood of the counts, mixed over a Dirichlet prior around the agreed shares, over that at the agreed
shares. Under the right assignment it is a martingale from 1; at 1 / 0.001 it raises a false alarm in one rollout
of a thousand at most, while a chi-square test at 0.001 that is looked at 100 times does so in fifteen.
"""

from __future__ import annotations

import math
from typing import Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, model_validator

from rsa_ops.core.record import Record
from rsa_ops.errors import IntegrityError

Floats = NDArray[np.float64]


class SampleRatio(Record):
    """The units assigned to each arm against the shares that were agreed; Lindon and Malek 2022.

    Count every assigned unit, also those whose outcome is not known yet: a check on known outcomes alone would be
    blind to the arm whose outcomes get lost.

    Args:
        shares: of the arms, each in (0, 1), adding up to 1.
        alpha: probability of a false alarm over the whole life, in (0, 1).
        concentration: sum of the Dirichlet parameters; the larger, the sooner small differences are found.
        assigned: units of each arm so far; empty for none.

    Raises:
        ValueError: shares that are none, negative counts, or terms outside their ranges.
    """

    schema_: Literal["rsa_ops/sample-ratio/v1"] = Field(default="rsa_ops/sample-ratio/v1", alias="schema")

    shares: tuple[float, ...]
    alpha: float = 0.001
    concentration: float = 200.0
    assigned: tuple[int, ...] = ()

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if len(self.shares) < 2 or min(self.shares) <= 0 or abs(math.fsum(self.shares) - 1) > 1e-9:
            raise ValueError(
                f"expected two shares or more, each above 0, that add up to 1, found {self.shares}: "
                "give the share of the traffic that each arm was promised"
            )
        if not 0 < self.alpha < 1 or self.concentration <= 0:
            raise ValueError(
                f"expected 0 < alpha < 1 and concentration > 0, found {self.alpha} and {self.concentration}: "
                "alpha is the probability of a false alarm, 0.001 say"
            )
        if self.assigned and (len(self.assigned) != len(self.shares) or min(self.assigned) < 0):
            raise ValueError(
                f"expected {len(self.shares)} counts >= 0, found {self.assigned}: one for each arm, in order"
            )
        return self

    def update(self, assigned: tuple[int, ...]) -> Self:
        """The state after these newly assigned units of each arm.

        Raises:
            IntegrityError: a negative count, or not one for each arm.
        """
        if len(assigned) != len(self.shares) or min(assigned) < 0:
            raise IntegrityError(
                f"expected {len(self.shares)} counts >= 0 of newly assigned units, found {assigned}",
                hint="Give what came since the last update, one count for each arm; totals go into `read`.",
            )
        before = self.assigned or (0,) * len(self.shares)
        return self.model_copy(update={"assigned": tuple(a + b for a, b in zip(before, assigned, strict=True))})

    def read(self, assigned: tuple[int, ...]) -> Self:
        """The state at these totals of each arm.

        Raises:
            IntegrityError: a total that fell, or not one for each arm.
        """
        before = self.assigned or (0,) * len(self.shares)
        if len(assigned) != len(before) or any(now < then for now, then in zip(assigned, before, strict=True)):
            raise IntegrityError(
                f"the counts of assigned units went backwards: expected at least {before}, found {assigned}",
                hint="Assignments are never taken back: rows were lost, or another experiment was read.",
            )
        return self.model_copy(update={"assigned": assigned})

    @property
    def log_e(self) -> float:
        """Log e-value against "the shares are as agreed"."""
        return float(assignment_log_e(self.assigned or (0,) * len(self.shares), self.shares, self.concentration))

    @property
    def mismatch(self) -> bool:
        """Whether the evidence has passed 1 / alpha: then no comparison of the arms means what it says."""
        return self.log_e >= math.log(1 / self.alpha)


def assignment_log_e(assigned: ArrayLike, shares: tuple[float, ...], concentration: float) -> Floats:
    """Log e-value of counts [..., arms] against the shares, mixed over Dirichlet(concentration * shares)."""
    from scipy.special import gammaln

    counts, agreed = np.asarray(assigned, dtype=np.float64), np.asarray(shares)
    prior, total = concentration * agreed, counts.sum(axis=-1)
    per_arm = gammaln(prior + counts) - gammaln(prior) - counts * np.log(agreed)
    found: Floats = per_arm.sum(axis=-1) + math.lgamma(concentration) - gammaln(concentration + total)
    return found
