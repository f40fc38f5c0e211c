"""The loss that one is ready to accept: in score units, or as a share of a value that was fixed beforehand."""

from __future__ import annotations

import math
from typing import Self

from rsa_ops.core.record import Value
from rsa_ops.errors import UsageError


class Margin(Value):
    """`loss` in score units; with `of`, a share of that reference value.

    The reference is a number that was written down before the scores existed (last year's accuracy, a contract),
    never the baseline that is observed: a margin that moves with the data is itself random, and a test that takes
    it for fixed is wrong (as in one public non-inferiority metric, research/ab_tco.md section 2.2).
    """

    loss: float
    of: float | None = None

    @classmethod
    def relative(cls, share: float, *, of: float) -> Self:
        """`share` of the reference `of`: `Margin.relative(0.02, of=0.9)` is 0.018 in score units.

        Raises:
            UsageError: a reference that is not a number above zero.
        """
        if not (math.isfinite(of) and of > 0):
            raise UsageError(f"a relative margin needs a reference above zero, found {of}")
        return cls(loss=float(share), of=float(of))

    @property
    def in_units(self) -> float:
        """The loss in score units."""
        return self.loss if self.of is None else self.loss * self.of
