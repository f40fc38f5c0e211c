"""Count, mean and squared deviations of a stream, merged chunk by chunk.

Source: the updating formula of Chan, Golub and LeVeque 1983, Am Stat 37:242 (Welford 1962 is the case of one new
observation). Other chunks of the same stream give the same value up to rounding.
"""

from __future__ import annotations

from typing import Self

import numpy as np
from numpy.typing import ArrayLike
from pydantic import model_validator

from rsa_ops.core.record import Value
from rsa_ops.errors import IntegrityError
from rsa_ops.stats.inputs import as_row


class Moments(Value):
    """`count` observations with their mean and the sum of squared deviations from it.

    Raises:
        ValueError: a negative count or sum of squares.
    """

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.count < 0 or self.squares < 0:
            raise ValueError(
                f"expected count >= 0 and squares >= 0, found {self.count} and {self.squares}: "
                "make moments with Moments.of"
            )
        return self

    @classmethod
    def of(cls, scores: ArrayLike) -> Self:
        """The moments of `scores` [observations].

        Raises:
            UsageError: no row of numbers.
            IntegrityError: NaN or infinite.
        """
        found = as_row(scores)
        if not np.isfinite(found).all():
            raise IntegrityError(
                "a score is NaN or infinite", hint="Missing is never a number: leave the unit out."
            )
        if not found.size:
            return cls()
        mean = float(found.mean())
        return cls(count=found.size, mean=mean, squares=float(((found - mean) ** 2).sum()))

    def __add__(self, other: Moments) -> Moments:
        if not self.count or not other.count:
            return self if self.count else other
        count, gap = self.count + other.count, other.mean - self.mean
        return Moments(
            count=count,
            mean=self.mean + gap * other.count / count,
            squares=self.squares + other.squares + gap * gap * self.count * other.count / count,
        )

    @property
    def variance(self) -> float:
        """The unbiased variance; zero for fewer than two observations."""
        return self.squares / (self.count - 1) if self.count > 1 else 0.0
