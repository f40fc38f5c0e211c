"""Exposures and bad events of two arms: what the e-processes for rates are fed with.

An exposure is one independently assigned unit (a customer, a case), never a request of one. It is counted once
its outcome is final: when labels come late, count good and bad alike only after the label window of that exposure
has closed. Counting what happens to be known today favours the arm whose bad news travels more slowly.
"""

from __future__ import annotations

from typing import Self

import numpy as np
from numpy.typing import ArrayLike
from pydantic import model_validator

from rsa_ops.core.record import Value
from rsa_ops.errors import IntegrityError, UsageError


class ArmCounts(Value):
    """How many units of one arm have a final outcome, and how many of these are bad.

    Raises:
        ValueError: a negative count, or more bad events than exposures.
    """

    exposures: int = 0
    bad: int = 0

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if not 0 <= self.bad <= self.exposures:
            raise ValueError(
                f"expected 0 <= bad <= exposures, found {self.bad} bad of {self.exposures}: "
                "count units and not events, and count a bad unit as an exposure too"
            )
        return self

    @classmethod
    def of(cls, outcomes: ArrayLike) -> Self:
        """Count `outcomes` [units]: 1 or True is bad, 0 or False is good.

        Raises:
            UsageError: no row of numbers.
            IntegrityError: anything but 0 and 1, NaN among it.
        """
        try:
            found = np.asarray(outcomes, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise UsageError(f"expected outcomes [units] of 0 and 1: {error}") from error
        if found.ndim != 1:
            raise UsageError(f"expected outcomes [units], found {found.ndim} axes: shape {found.shape}")
        strange = found[(found != 0) & (found != 1)]
        if strange.size:
            raise IntegrityError(
                f"expected outcomes of 0 (good) and 1 (bad), found {strange[0]} and {strange.size - 1} more",
                hint="Leave a unit out until its outcome is known; scores go into a ConfidenceSequence.",
            )
        return cls(exposures=found.size, bad=int(found.sum()))

    def __add__(self, other: ArmCounts) -> ArmCounts:
        return ArmCounts(exposures=self.exposures + other.exposures, bad=self.bad + other.bad)


class TwoArmCounts(Value):
    """Both arms of a rollout. Counts are sufficient: any chunks of the same stream add up to the same value."""

    challenger: ArmCounts = ArmCounts()
    baseline: ArmCounts = ArmCounts()

    def plus(self, challenger: ArmCounts, baseline: ArmCounts) -> TwoArmCounts:
        """These counts and the new ones."""
        return TwoArmCounts(challenger=self.challenger + challenger, baseline=self.baseline + baseline)

    def until(self, challenger: ArmCounts, baseline: ArmCounts) -> TwoArmCounts:
        """The totals that were read off a store, which never fall.

        Raises:
            IntegrityError: a total, or its number of good outcomes, is smaller than before.
        """
        for arm, before, now in (
            ("challenger", self.challenger, challenger),
            ("baseline", self.baseline, baseline),
        ):
            good = (before.exposures - before.bad, now.exposures - now.bad)
            if now.bad < before.bad or good[1] < good[0]:
                raise IntegrityError(
                    f"the counts of the {arm} went backwards: expected at least {before.bad} bad and {good[0]} "
                    f"good, found {now.bad} and {good[1]}",
                    hint="Outcomes were counted before they were final, or rows were lost: count again from zero.",
                )
        return TwoArmCounts(challenger=challenger, baseline=baseline)
