"""Moving weak blocks later in training: those whose values stayed smallest go, the best-scored free ones come.

Off by default: static masks were found as good (arXiv 2412.13488). A dropped block returns to zero, so the base is
what it was there, and the optimizer's moments of its place are cleared, so that the new block starts like a new
one; only its step count is older (SpIEL, arXiv 2401.16405, keeps an age for each entry).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from rsa_ops.tuners.rsa.layout import Layout
from rsa_ops.tuners.rsa.rounds import held_blocks, place, slots_of
from rsa_ops.tuners.rsa.scoring import ScoreMap
from rsa_ops.tuners.rsa.selection import Unit, activation_scales, as_pools, top, units

TIMES = 10
"""Later selections, evenly spaced between the end of the rounds and `END` of training."""

END = 0.6


def regrow_steps(after: int, max_steps: int) -> tuple[int, ...]:
    """Optimizer steps after which blocks are moved."""
    stride = (END * max_steps - after) / TIMES
    return tuple(round(after + stride * number) for number in range(1, TIMES + 1)) if stride > 0 else ()


@torch.no_grad()
def regrow(
    model: nn.Module, adapter_name: str, scores: ScoreMap, share: float, optimizer: Any, *, scaled: bool = False
) -> int:
    """Move `share` of every unit's blocks; returns how many moved.

    Args:
        model: the adapted model.
        adapter_name: the adapter, made with `regrow` above 0, so that its blocks carry scales.
        scores: of this moment.
        share: of the blocks of each pool, in [0, 1].
        optimizer: whose moments of the moved places are set to zero; None where there is none.
        scaled: whether new blocks get the scale of their activations, as the first ones did.
    """
    moved = 0
    states: Mapping[Tensor, dict[str, Any]] = {} if optimizer is None else optimizer.state
    for unit in units(model, adapter_name):
        score = unit.scores(scores)
        count = round(share * unit.layout.picks)
        if score is not None and count:
            pools = as_pools(unit.layout, score.total)
            fresh = _move(unit, adapter_name, pools, count, states)
            moved += int(fresh.sum()) // (unit.layout.columns if unit.layout.structure == "tiles" else 1)
            if scaled and unit.delta.scale is not None:
                scales = activation_scales(score.power)[unit.delta.columns.long()]
                unit.delta.scale.copy_(torch.where(fresh, scales, unit.delta.scale))
    return moved


def _move(
    unit: Unit, adapter_name: str, pools: Tensor, count: int, states: Mapping[Tensor, dict[str, Any]]
) -> Tensor:
    """Move up to `count` blocks of each pool; returns a mask of the new ones, in the shape of the scales."""
    layout, scale = unit.layout, unit.delta.scale
    if scale is None:
        raise ValueError("regrow needs blocks with scales: RsaConfig(regrow=...) above 0")
    held = held_blocks(unit.delta)
    deltas = [layer.delta(adapter_name) for layer in unit.layers]
    _, active = slots_of(unit.delta)
    fresh = torch.zeros_like(scale, dtype=torch.bool)
    for pool in range(pools.shape[0]):
        strength = sum(_strength(layout, delta.weight, pool) for delta in deltas)
        weakest = top(-torch.where(active[pool], strength, torch.inf)[None], count)[0]
        weakest = weakest[active[pool][weakest]]
        picks = top(pools[pool].masked_fill(held[pool], -torch.inf)[None], weakest.numel())[0]
        picks = picks[~held[pool][picks]]
        weakest = weakest[: picks.numel()]
        for delta in deltas:
            where = _at(layout, pool, weakest)
            for tensor in (delta.weight, *_moments(states, delta.weight)):
                tensor[where] = 0
        scale[_scale_at(layout, pool, weakest)] = 0
        idle = scale == 0
        place(unit.delta, pool, picks)
        fresh |= idle & (scale != 0)
    return fresh


def _strength(layout: Layout, weight: Tensor, pool: int) -> Tensor:
    """Sum of squared values of every slot of a pool."""
    squares = weight.square()
    if layout.structure in {"columns", "subnet"}:
        return squares.sum(0)
    if layout.structure == "spread":
        return squares[pool].sum(0)
    return squares.flatten(1).sum(1) if layout.structure == "tiles" else squares


def _at(layout: Layout, pool: int, slots: Tensor) -> tuple[Any, ...]:
    """Index of slots in the values."""
    if layout.structure in {"columns", "subnet"}:
        return (slice(None), slots)
    return (pool, slice(None), slots) if layout.structure == "spread" else (slots,)


def _scale_at(layout: Layout, pool: int, slots: Tensor) -> tuple[Any, ...]:
    return (pool, slots) if layout.structure == "spread" else (slots,)


def _moments(states: Mapping[Tensor, dict[str, Any]], weight: Tensor) -> list[Tensor]:
    known = states.get(weight, {})
    return [one for one in known.values() if isinstance(one, Tensor) and one.shape == weight.shape]
