"""How the budget is shared out between layers, before an adapter is made: by depth, by importance within bounds.

Without it every layer has its uniform share. `plan_budget` scores all blocks of all layers by one measure, Fisher
information per parameter, lets the best have the budget, and holds each layer between a floor and a ceiling. Both
are 1 unless they are given, so that shares stay uniform: at every depth that was measured, importance shared the
budget out worse (`docs/tuner.md`, Depth). With `depth` or `coverage` the lowest layers get nothing: then no
gradient is needed below the lowest adapted layer, so the backward pass ends there and nothing below is kept for
it. (Trainer's gradient checkpointing makes the embeddings require a gradient, which undoes that; with a shallow
adapter it is rarely needed.)
"""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rsa_ops.tuners.rsa.config import RsaConfig
from rsa_ops.tuners.rsa.model import RsaModel
from rsa_ops.tuners.rsa.scoring import Batch, LossFunction, score_blocks
from rsa_ops.tuners.rsa.selection import Unit, as_pools, units

_PROBE = "probe"


@dataclass(frozen=True)
class _Share:
    """What a unit may have: names, depth, uniform budget in parameters, and its blocks' scores per parameter."""

    names: tuple[str, ...]
    layer: int | None
    parameters: int
    block: int
    densities: Tensor


def plan_budget(  # noqa: PLR0913  each is one decision of the user's
    model: nn.Module,
    config: RsaConfig,
    batches: Iterable[Batch],
    *,
    depth: float | None = None,
    coverage: float | None = None,
    floor: float = 1.0,
    ceiling: float = 1.0,
    loss_fn: LossFunction | None = None,
) -> RsaConfig:
    """A copy of `config` with a `budget_pattern` that spends the same budget on fewer layers, or by importance.

    Args:
        model: the bare base model; it is left as it was.
        config: the adapter that is wanted, without `budget_pattern`.
        batches: keyword arguments of the model with labels, on its device; a few suffice.
        depth: share of the transformer layers that are adapted, the top ones, in (0, 1].
        coverage: instead of `depth`: as few top layers as hold this share of the importance, in (0, 1].
        floor: least multiple of its uniform budget that an adapted layer gets; below 1 importance has a say.
        ceiling: largest multiple. Where depth takes most layers away, the remaining ones may exceed it alike.
        loss_fn: (model, batch) -> scalar, where the model's own `loss` is not the one that is trained.

    Raises:
        ValueError: an argument is out of range, the model has no numbered layers, or scoring is impossible.
    """
    _check(config, depth, coverage, floor, ceiling)
    shares = _measured(model, config, batches, loss_fn)
    kept = _kept(shares, depth, coverage)
    total = sum(share.parameters for share in shares)
    multiples = _bounded(kept, _wanted(kept, total), total, floor, ceiling)
    planned = copy.deepcopy(config)
    planned.budget_pattern = {
        name: multiple for share, multiple in zip(kept, multiples, strict=True) for name in share.names
    }
    return planned


def _check(config: RsaConfig, depth: float | None, coverage: float | None, floor: float, ceiling: float) -> None:
    if config.budget_pattern is not None:
        raise ValueError("plan_budget: the config has a budget_pattern already; start from one without.")
    if depth is not None and coverage is not None:
        raise ValueError("plan_budget: expected depth or coverage, found both.")
    for name, value in (("depth", depth), ("coverage", coverage)):
        if value is not None and not 0 < value <= 1:
            raise ValueError(f"plan_budget.{name}: expected a share in (0, 1], found {value}.")
    if not 0 <= floor <= 1 <= ceiling:
        raise ValueError(f"plan_budget: expected floor <= 1 <= ceiling, found {floor} and {ceiling}.")


def _measured(
    model: nn.Module, config: RsaConfig, batches: Iterable[Batch], loss_fn: LossFunction | None
) -> list[_Share]:
    """Scores of every unit of a probe adapter, which is taken off again."""
    learns = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    marks = set(vars(model))
    tuner = RsaModel(model, copy.deepcopy(config), _PROBE)
    try:
        scores = score_blocks(model, batches, loss_fn, adapter_name=_PROBE)
        shares = []
        for unit in units(model, _PROBE):
            score = unit.scores(scores)
            if score is not None:
                shares.append(_share(unit, as_pools(unit.layout, score.total)))
    finally:
        tuner.unload()
        for mark in set(vars(model)) - marks:  # PEFT notes its configs on the model itself
            delattr(model, mark)
        for parameter, flag in learns:
            parameter.requires_grad_(flag)
    return shares


def _share(unit: Unit, pools: Tensor) -> _Share:
    layouts = [layer.delta(_PROBE).layout for layer in unit.layers]
    parameters = sum(layout.parameters for layout in layouts)
    block = parameters // (pools.shape[0] * unit.layout.picks)
    numbers = re.findall(r"\.(\d+)\.", f".{unit.names[0]}.")
    return _Share(
        unit.names, int(numbers[0]) if numbers else None, parameters, max(1, block), pools.flatten() / max(1, block)
    )


def _kept(shares: list[_Share], depth: float | None, coverage: float | None) -> list[_Share]:
    """The shares that stay when the lowest layers are given up."""
    if depth is None and coverage is None:
        return shares
    layers = sorted({share.layer for share in shares if share.layer is not None})
    if not layers:
        raise ValueError("plan_budget: depth needs numbered layers in the module names, found none.")
    count = math.ceil((depth or 1) * len(layers))
    if coverage is not None:
        count = _covering(shares, layers, coverage)
    lowest = layers[-count]
    return [share for share in shares if share.layer is None or share.layer >= lowest]


def _covering(shares: list[_Share], layers: list[int], coverage: float) -> int:
    """Top layers that hold `coverage` of the information in what a uniform budget would train."""
    mass: dict[int, float] = dict.fromkeys(layers, 0.0)
    for share in shares:
        if share.layer is not None:
            count = max(1, share.parameters // share.block)
            best = share.densities.sort(descending=True).values[:count]
            mass[share.layer] += float(best.sum()) * share.block
    total, held = sum(mass.values()), 0.0
    for number, layer in enumerate(reversed(layers), start=1):
        held += mass[layer]
        if held >= coverage * total:
            return number
    return len(layers)


def _wanted(shares: list[_Share], total: int) -> list[float]:
    """Multiple of each unit if the best blocks of all, per parameter, had the whole budget."""
    densities = torch.cat([share.densities.cpu() for share in shares])
    costs = torch.cat([torch.full((share.densities.numel(),), float(share.block)) for share in shares])
    order = torch.argsort(densities, descending=True, stable=True)
    paid = costs[order].cumsum(0) <= total
    bought = torch.zeros_like(costs)
    bought[order[paid]] = costs[order[paid]]
    spent = [float(part.sum()) for part in torch.split(bought, [share.densities.numel() for share in shares])]
    return [money / share.parameters for money, share in zip(spent, shares, strict=True)]


def _bounded(shares: list[_Share], wanted: list[float], total: int, floor: float, ceiling: float) -> list[float]:
    """Multiples between the bounds that spend the total; the bounds move together where depth took layers away."""
    stretch = total / sum(share.parameters for share in shares)

    def spend(factor: float) -> tuple[float, list[float]]:
        multiples = [stretch * min(ceiling, max(floor, factor * want / stretch)) for want in wanted]
        return sum(m * share.parameters for m, share in zip(multiples, shares, strict=True)), multiples

    low, high = 0.0, 1.0
    while spend(high)[0] < total and high < 2.0**40:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if spend(middle)[0] < total else (low, middle)
    return [round(multiple, 6) for multiple in spend(high)[1]]
