"""How much of a finished adapter to keep: base + alpha * delta, for the alpha that serves best on validation data.

Source: WiSE-FT (Wortsman et al. 2022, arXiv 2109.01903), which interpolates between pretrained and fine-tuned
weights; along an adapter that is one number. Departures: alpha may exceed 1, and it is not chosen by the mean
alone, but only among those that keep the worst slice where the base had it. A head or another module that was
trained in full stays as it is: there is nothing in the base to interpolate it with.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import torch
from torch import Tensor, nn

from rsa_ops.tuners.rsa.scoring import adapted_layers

ALPHAS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25)

Evaluate = Callable[[nn.Module], Mapping[str, float]]
"""Slice -> score of a model, higher is better; the same slices at every call."""


@dataclass(frozen=True)
class AlphaPoint:
    """One alpha, evaluated.

    Attributes:
        alpha: share of the adapter.
        scores: slice -> score.
        worst_slice: the slice with the lowest score.
        admitted: whether that score is at least the base's lowest minus the tolerance.
    """

    alpha: float
    scores: Mapping[str, float]
    worst_slice: str
    admitted: bool

    @property
    def worst(self) -> float:
        """Score of the worst slice."""
        return self.scores[self.worst_slice]

    @property
    def mean(self) -> float:
        """Mean score over slices, every slice counting alike."""
        return fmean(self.scores.values())


@dataclass(frozen=True)
class AlphaSweep:
    """All that was tried, in the order of alpha.

    Attributes:
        chosen: the alpha that the adapter now has; None where none was admitted, and then it was left as it was.
        tolerance: how far below the base's worst slice the worst slice may fall.
        base: the model without the adapter.
        points: one entry for each alpha that was asked for.
    """

    chosen: float | None
    tolerance: float
    base: AlphaPoint
    points: tuple[AlphaPoint, ...]


def alpha_sweep(
    model: nn.Module,
    evaluate: Evaluate,
    *,
    alphas: Sequence[float] = ALPHAS,
    tolerance: float,
    adapter_name: str = "default",
) -> AlphaSweep:
    """Evaluate the adapter at several strengths and scale its values, in place, to the best that is admitted.

    An alpha is admitted when its worst slice is not below the base's worst slice (alpha 0) minus `tolerance`. Among
    the admitted the best mean score wins, and of equal ones the largest alpha. Alpha 0 is the base and alpha 1 the
    adapter as it was, both bit for bit. Use validation data: a score that chose alpha is no test score.

    Args:
        model: holds the adapter; not merged. Its mode (training, evaluation) is left to `evaluate`.
        evaluate: called once for each alpha, and once more for the base where 0 is not among them. On several
            processes it must return the same scores on each.
        alphas: finite numbers of 0 or more.
        tolerance: in units of the score, 0 or more.
        adapter_name: which adapter.

    Raises:
        ValueError: no adapter of that name, no alphas, a score that is no number, or other slices at another alpha.
            The values are then as they were.
    """
    wanted = sorted(set(map(float, alphas)))
    if not wanted or not all(math.isfinite(alpha) and alpha >= 0 for alpha in wanted):
        raise ValueError(f"alpha_sweep: expected finite alphas of 0 or more, found {list(alphas)}.")
    if not (math.isfinite(tolerance) and tolerance >= 0):
        raise ValueError(f"alpha_sweep: expected a tolerance of 0 or more, found {tolerance}.")
    values = [layer.delta(adapter_name).weight for layer in adapted_layers(model, adapter_name).values()]
    originals = [value.detach().clone() for value in values]
    chosen: float | None = None
    try:
        tried: dict[float, dict[str, float]] = {}
        for alpha in sorted({0.0, *wanted}):
            _scale(values, originals, alpha)
            tried[alpha] = _checked(evaluate(model), alpha, tried.get(0.0))
        floor = min(tried[0.0].values()) - tolerance
        points = {alpha: _point(alpha, scores, floor) for alpha, scores in tried.items()}
        admitted = [points[alpha] for alpha in wanted if points[alpha].admitted]
        if admitted:
            chosen = max(admitted, key=lambda point: (point.mean, point.alpha)).alpha
    finally:
        _scale(values, originals, 1.0 if chosen is None else chosen)
    return AlphaSweep(chosen, tolerance, points[0.0], tuple(points[alpha] for alpha in wanted))


@torch.no_grad()
def _scale(values: Sequence[Tensor], originals: Sequence[Tensor], alpha: float) -> None:
    # Always from the originals: scaling what was scaled would round twice, and could not come back from 0.
    for value, original in zip(values, originals, strict=True):
        value.copy_(original * alpha if alpha != 1 else original)


def _point(alpha: float, scores: Mapping[str, float], floor: float) -> AlphaPoint:
    worst = min(scores, key=lambda name: scores[name])
    return AlphaPoint(alpha, scores, worst, scores[worst] >= floor)


def _checked(scores: Mapping[str, float], alpha: float, base: Mapping[str, float] | None) -> dict[str, float]:
    found = {str(name): float(score) for name, score in scores.items()}
    if not found or not all(map(math.isfinite, found.values())):
        raise ValueError(f"alpha_sweep: at alpha {alpha:g} expected a finite score for each slice, found {found}.")
    if base is not None and set(found) != set(base):
        raise ValueError(
            f"alpha_sweep: at alpha {alpha:g} the slices are {sorted(found)}, at alpha 0 they were {sorted(base)}."
        )
    return found
