"""Several tests read as one: p-values adjusted so that one false alarm among them all is as rare as alpha."""

from __future__ import annotations

from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Adjusted p-values in the order given, valid whatever their dependence; Holm 1979, Scand J Stat 6:65.

    The k-th smallest of m is multiplied by m - k + 1, never falls below the one before, and ends at 1.
    """
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    adjusted, last = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        last = max(last, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = last
    return tuple(adjusted)
