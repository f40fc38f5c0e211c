"""What a caller gives, made into arrays, or an error that says what is wrong; nothing is guessed or dropped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rsa_ops.errors import DataRefused, IntegrityError, UsageError

Scores = NDArray[np.float64]
Codes = NDArray[np.intp]


@dataclass(frozen=True)
class Sampling:
    """How the examples were drawn.

    `codes` [examples]: which of `number` groups each example belongs to; None: each is its own.
    `weights` [examples], mean 1: how much each counts; None: all the same.
    """

    examples: int
    codes: Codes | None = None
    number: int | None = None
    weights: Scores | None = None

    @property
    def groups(self) -> int:
        """How many independent draws there are."""
        return self.examples if self.number is None else self.number

    def mean(self, table: Scores) -> Scores:
        """The mean of each row of `table` [..., examples]."""
        return table.mean(axis=-1) if self.weights is None else table @ self.weights / self.examples

    def weighted(self, values: Scores) -> Scores:
        """`values` [examples], each times its weight."""
        return values if self.weights is None else values * self.weights

    def sums(self, values: Scores) -> Scores:
        """The sum of `values` [examples] over each group, [groups]."""
        if self.codes is None:
            return values
        return np.bincount(self.codes, weights=values, minlength=self.groups).astype(np.float64, copy=False)


def sampling(examples: int, groups: ArrayLike | None = None, weights: ArrayLike | None = None) -> Sampling:
    """The design that groups and weights describe.

    Args:
        examples: how many there are.
        groups: a label for each example (customer, document); examples of one label are one draw together.
        weights: how much each example counts, none negative; they sum to 1 or to `examples`.

    Raises:
        UsageError: another number of labels or weights than of examples, or weights that do not sum.
        DataRefused: an example without a label.
    """
    codes, number = (None, None) if groups is None else _codes(groups, examples)
    return Sampling(examples, codes, number, None if weights is None else _weights(weights, examples))


def labels_of(values: ArrayLike, examples: int, what: str) -> tuple[Codes, list[str]]:
    """Labels as codes [examples] and the names they stand for, in sorted order.

    Raises:
        UsageError: another number of labels than of examples.
        DataRefused: an example without a label.
    """
    found = np.asarray(values)
    if found.shape != (examples,):
        raise UsageError(f"expected one {what} for each of {examples} examples, found shape {found.shape}")
    lacking = [index for index, value in enumerate(found.tolist()) if _is_null(value)] if _may_lack(found) else []
    if lacking:
        raise DataRefused(
            f"{len(lacking)} of {examples} examples have no {what}, first example {lacking[0]}",
            hint=f"Name the {what} of every example, also where it is 'other'; none is guessed or dropped.",
        )
    names, codes = np.unique(found.astype(str) if found.dtype == object else found, return_inverse=True)
    return codes.astype(np.intp), [str(name) for name in names.tolist()]


def aligned(candidate_ids: Sequence[str], baseline_ids: Sequence[str]) -> Codes:
    """The places at which the baseline's scores stand in the candidate's order: `baseline[..., places]`.

    Raises:
        IntegrityError: an id twice on one side, or on one side only; says how many and names one.
    """
    for side, ids in (("candidate", candidate_ids), ("baseline", baseline_ids)):
        if len(set(ids)) < len(ids):
            twice = next(name for place, name in enumerate(ids) if name in ids[:place])
            raise IntegrityError(f"the {side} has {len(ids) - len(set(ids))} duplicated ids, first {twice!r}")
    only = sorted(set(candidate_ids) ^ set(baseline_ids))
    if only:
        raise IntegrityError(
            f"{len(only)} examples are only on one side, first {only[0]!r}",
            hint="Score both sides on the same examples; a part of them cannot be compared unseen.",
        )
    places = {name: place for place, name in enumerate(baseline_ids)}
    return np.array([places[name] for name in candidate_ids], dtype=np.intp)


def as_table(scores: ArrayLike) -> Scores:
    """`scores` as float64 [seeds, examples].

    Raises:
        UsageError: not a rectangular table of numbers.
    """
    return _as_floats(scores, "[seeds, examples]", axes=2)


def as_row(scores: ArrayLike) -> Scores:
    """`scores` as float64 [examples].

    Raises:
        UsageError: not a row of numbers.
    """
    return _as_floats(scores, "[examples]", axes=1)


def right_or_wrong(scores: Scores) -> bool:
    """Whether every score is 0 or 1."""
    return all(bool(((row == 0) | (row == 1)).all()) for row in _rows(scores))


def all_finite(scores: Scores) -> bool:
    """Whether no score is NaN or infinite."""
    return all(bool(np.isfinite(row).all()) for row in _rows(scores))


def _rows(scores: Scores) -> Iterator[Scores]:
    yield from (scores if scores.ndim == 2 else scores[np.newaxis])


def _as_floats(scores: ArrayLike, shape: str, *, axes: int) -> Scores:
    try:
        found = np.asarray(scores, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise UsageError(f"expected numbers {shape}: {error}") from error
    if found.ndim != axes:
        raise UsageError(f"expected scores {shape}, found {found.ndim} axes: shape {found.shape}")
    return found


def _codes(groups: ArrayLike, examples: int) -> tuple[Codes, int]:
    codes, names = labels_of(groups, examples, "group")
    return codes, len(names)


def _weights(weights: ArrayLike, examples: int) -> Scores:
    found = _as_floats(weights, "[examples]", axes=1)
    if len(found) != examples:
        raise UsageError(f"expected one weight for each of {examples} examples, found {len(found)}")
    if not np.isfinite(found).all() or found.min() < 0:
        raise UsageError("a weight is negative, NaN or infinite")
    total = float(found.sum())
    if min(abs(total - 1), abs(total / examples - 1)) > 1e-6:
        raise UsageError(
            f"weights must sum to 1 or to the number of examples, {examples}; they sum to {total:.6g}",
            hint="Say what the rest stands for: weights that do not sum often miss a stratum.",
        )
    return found * (examples / total)


def _may_lack(found: NDArray[np.generic]) -> bool:
    return found.dtype == object or np.issubdtype(found.dtype, np.floating)


def _is_null(value: object) -> bool:
    if value is None:
        return True
    try:
        return bool(value != value)  # noqa: PLR0124  NaN, the one value that differs from itself
    except TypeError:
        return True  # a missing-value marker that refuses to be compared
