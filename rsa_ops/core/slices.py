"""Many slices of one comparison at once: which are worse, and whether the worst is more than chance."""

from __future__ import annotations

from rsa_ops.core.estimate import Answer, PairedResult
from rsa_ops.core.record import Value


class SliceDifference(Value):
    """One slice. `result`, `low`, `high`, `p_harmed` are None where it is not assessable; that is never a pass.

    `result` is the slice alone at alpha, for "all must pass". `low` and `high` hold for all assessable slices at
    once (Bonferroni). `p_harmed` is adjusted after Holm: below alpha the slice is surely worse than the margin.
    """

    slice: str
    examples: int
    assessable: bool
    result: PairedResult | None = None
    low: float | None = None
    high: float | None = None
    p_harmed: float | None = None


class SlicesResult(Value):
    """All slices of one comparison at one margin. `examples_needed`: of groups, where examples come in groups."""

    margin: float
    alpha: float
    examples_needed: int
    slices: tuple[SliceDifference, ...]

    @property
    def judged(self) -> tuple[SliceDifference, ...]:
        """The slices that are large enough."""
        return tuple(entry for entry in self.slices if entry.assessable)

    @property
    def all_pass(self) -> bool:
        """Whether every slice, none left out as too small, is not worse by more than the margin."""
        passing = (Answer.NON_INFERIOR, Answer.SUPERIOR)
        return bool(self.slices) and all(
            entry.result is not None and entry.result.answer in passing for entry in self.slices
        )

    @property
    def harmed(self) -> tuple[str, ...]:
        """Slices surely worse by more than the margin, with at most alpha for one false name among them all."""
        return tuple(
            entry.slice for entry in self.slices if entry.p_harmed is not None and entry.p_harmed < self.alpha
        )

    @property
    def worst(self) -> SliceDifference | None:
        """The assessable slice with the lowest difference; its `low` and `high` allow for having been picked."""
        return min(self.judged, key=_difference_of, default=None)


class WorstSlice(Value):
    """The lowest difference over the slices, and how often chance alone would give one as low.

    `expected` is the mean of that lowest difference where both arms are the same.
    """

    slice: str
    difference: float
    expected: float
    p_value: float
    slices: int
    draws: int


def _difference_of(entry: SliceDifference) -> float:
    found = entry.result.difference if entry.result is not None else None
    return found.value if found is not None else float("inf")
