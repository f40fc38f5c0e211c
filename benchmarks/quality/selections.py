"""Which columns an RSA adapter chose, as bits, and how far two choices agree."""

from __future__ import annotations

from typing import Any

import numpy as np


def chosen_columns(model: Any, adapter: str = "default") -> np.ndarray:
    """Packed bits of the chosen columns, all groups of all layers one after the other; siblings count once.

    Meaningful for columns and spread alone; empty for the other structures.
    """
    from rsa_ops.tuners.rsa.selection import units

    parts = []
    for unit in units(model, adapter):
        if unit.layout.structure not in {"columns", "spread"}:
            return np.zeros(0, dtype=np.uint8)
        columns = unit.delta.columns.reshape(-1, unit.delta.columns.shape[-1]).cpu().numpy()
        bits = np.zeros((len(columns), unit.layout.in_features), dtype=bool)
        np.put_along_axis(bits, columns.astype(np.int64), values=True, axis=1)
        parts.append(bits.ravel())
    return np.packbits(np.concatenate(parts))


def jaccard(one: np.ndarray, other: np.ndarray) -> float:
    """Overlap of two packed choices: blocks in both over blocks in either; 1.0 of two empty ones.

    Raises:
        ValueError: they are not of one model and structure.
    """
    if one.shape != other.shape:
        raise ValueError(f"choices of different models or structures: {one.shape} and {other.shape} bytes")
    both, either = (int(np.unpackbits(found).sum()) for found in (one & other, one | other))
    return both / either if either else 1.0


def chance(picks: int, candidates: int) -> float:
    """Overlap of two independent random choices of `picks` of `candidates`: k / (2n - k)."""
    return picks / (2 * candidates - picks)
