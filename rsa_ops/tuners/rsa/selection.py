"""From scores to places: which blocks an adapter trains.

A *pool* is a set of blocks among which one quota is filled: the columns of a layer, the columns of one row group
("spread"), the tiles or the entries of a layer. Quotas are per pool and never shared between layers, because
coverage matters as much as importance. Layers that share columns are scored together, as one stacked matrix.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rsa_ops.tuners.rsa.delta import RsaDelta
from rsa_ops.tuners.rsa.layer import Linear
from rsa_ops.tuners.rsa.layout import Layout
from rsa_ops.tuners.rsa.scoring import BlockScores, ScoreMap, adapted_layers

_SCALE_BOUND = 8.0  # a column that is nearly always silent would else get an enormous scale


@dataclass(frozen=True)
class Unit:
    """Layers that choose their places together: one, or siblings that share columns.

    Attributes:
        names: module names, the leader first.
        layers: the layers, in that order.
        delta: the leader's delta, which holds the places.
    """

    names: tuple[str, ...]
    layers: tuple[Linear, ...]
    delta: RsaDelta

    @property
    def layout(self) -> Layout:
        """The leader's layout."""
        return self.delta.layout

    def scores(self, scores: ScoreMap) -> BlockScores | None:
        """The scores of the stacked matrix; None when no member has any."""
        found = [scores[name] for name in self.names if name in scores]
        if not found:
            return None
        total = sum((one.total for one in found[1:]), found[0].total)
        # Batches are the same for every member, so squares of the sum are bounded by the members' correlation; the
        # sum of root squares, squared, assumes full correlation and errs on the side of a larger error.
        squares = sum((one.squares.sqrt() for one in found[1:]), found[0].squares.sqrt()).square()
        return BlockScores(total, squares, max(one.batches for one in found), found[0].power)


def units(model: nn.Module, adapter_name: str) -> tuple[Unit, ...]:
    """The model's layers grouped by whose columns they use, in the model's order."""
    grouped: dict[int, list[tuple[str, Linear]]] = {}
    leaders: dict[int, RsaDelta] = {}
    for name, layer in adapted_layers(model, adapter_name).items():
        leader = layer.delta(adapter_name).leader
        leaders[id(leader)] = leader
        grouped.setdefault(id(leader), []).append((name, layer))
    found = []
    for key, members in grouped.items():
        first = [member for member in members if member[1].delta(adapter_name) is leaders[key]]
        ordered = first + [member for member in members if member not in first]
        names, layers = zip(*ordered, strict=True)
        found.append(Unit(names, layers, leaders[key]))
    return tuple(found)


def select_blocks(
    model: nn.Module, adapter_name: str, scores: ScoreMap, *, choice: str = "top", seed: int = 0
) -> tuple[str, ...]:
    """Point the adapter at each layer's best blocks. In place: no parameter and no shape changes.

    Ties go to the lower index. A layer without scores keeps its seeded random blocks.

    Returns:
        Names of the layers that were given places, in the model's order.

    Raises:
        ValueError: the adapter is unknown, merged, or has learnt already (its values would end up under other
            places); `scores` names a layer that does not carry it, or has the wrong shape.
    """
    every = units(model, adapter_name)
    _refuse_foreign(every, adapter_name, scores)
    if is_trained(model, adapter_name):
        raise ValueError(
            f"select_blocks: adapter {adapter_name!r} has learnt (its values are not zero), and new places would "
            "give its values a new meaning. Select before training, or add a fresh adapter."
        )
    chosen: set[str] = set()
    for number, unit in enumerate(every):
        score = unit.scores(scores)
        if score is None:
            continue
        picks, rows = choose(unit.layout, score.total, choice, seed + number)
        write_places(unit.delta, *unit.layout.index(picks, rows))
        scale = unit.delta.scale
        if scale is not None:
            scale.copy_(torch.ones_like(scale))
        chosen |= set(unit.names)
    return tuple(name for name in adapted_layers(model, adapter_name) if name in chosen)


def choose(layout: Layout, score: Tensor, choice: str, seed: int) -> tuple[Tensor, Tensor | None]:
    """Blocks to train, as `Layout.index` takes them: (picks, rows of a subnet or None).

    Args:
        layout: how many of which.
        score: in `Layout.score_shape`, 0 or more.
        choice: "top", or "sample": without replacement, with probability proportional to the root of the score
            (Gumbel top-k).
        seed: of the sample.
    """
    generator = torch.Generator(device="cpu").manual_seed(seed)
    pools = as_pools(layout, score)
    picks = _best(pools, layout.picks, choice, generator)
    picks = picks if layout.structure == "spread" else picks[0]
    if layout.structure != "subnet":
        return picks, None
    rows = score[:, : layout.out_features]
    return picks, _best(rows, layout.rows, choice, generator)[0]


def as_pools(layout: Layout, score: Tensor) -> Tensor:
    """Scores as [pools, candidates]; of a subnet, those of its columns."""
    if layout.structure == "subnet":
        return score[:, layout.out_features :]
    return score.reshape(-1, layout.candidates)


def top(scores: Tensor, count: int) -> Tensor:
    """Indices of the `count` largest in each row of [pools, n], ascending; ties go to the lower index."""
    return torch.argsort(scores, dim=-1, descending=True, stable=True)[..., :count].sort(dim=-1).values


def activation_scales(power: Tensor) -> Tensor:
    """Scale of every column from its sum of squared inputs [in]: inverse rms, relative to the layer's median.

    Values of 1 move the output by the same amount whatever column they stand in. Bounded to 1/8 to 8. The median,
    because a few large inputs, which language models have, would else raise the rates of the whole layer. All 1
    where more than half of the inputs are silent.
    """
    rms = power.clamp_min(0).sqrt()
    typical = rms.median()
    scales = (typical / rms.clamp_min(torch.finfo(rms.dtype).tiny)).clamp(1 / _SCALE_BOUND, _SCALE_BOUND)
    return torch.where(typical > 0, scales, torch.ones_like(scales))


@torch.no_grad()
def write_places(delta: RsaDelta, rows: Tensor | None, columns: Tensor) -> None:
    """Copy indices into the leader's buffers; every sibling follows."""
    delta.columns.copy_(columns)
    if delta.rows is not None and rows is not None:
        delta.rows.copy_(rows)


@torch.no_grad()
def scale_by_activation(model: nn.Module, adapter_name: str, scores: ScoreMap) -> None:
    """Multiply the scales of chosen blocks by their columns' `activation_scales`, where inputs were measured."""
    for unit in units(model, adapter_name):
        score, delta = unit.scores(scores), unit.delta
        if score is not None and delta.scale is not None:
            delta.scale.mul_(activation_scales(score.power)[delta.columns.long()])


def is_trained(model: nn.Module, adapter_name: str) -> bool:
    """Whether any value of the adapter has left zero."""
    return any(
        bool(layer.delta(adapter_name).weight.any()) for layer in adapted_layers(model, adapter_name).values()
    )


def overlap(first: Tensor, second: Tensor) -> float:
    """Jaccard overlap of two sets of whole numbers without repeats; 1.0 of two empty ones."""
    one, other = set(first.flatten().tolist()), set(second.flatten().tolist())
    return len(one & other) / len(one | other) if one or other else 1.0


def chance_overlap(candidates: int, picks: int) -> float:
    """Overlap of two independent random choices of `picks` of `candidates`: about k / (2n - k)."""
    return picks / (2 * candidates - picks)


def _best(pools: Tensor, count: int, choice: str, generator: torch.Generator) -> Tensor:
    if choice == "top":
        return top(pools, count)
    noise = torch.rand(pools.shape, generator=generator, device="cpu").clamp(1e-12, 1 - 1e-7).to(pools.device)
    gumbel = -torch.log(-torch.log(noise))
    floor = pools.mean(dim=-1, keepdim=True) * 1e-6 + torch.finfo(torch.float32).tiny
    return top(torch.log(pools + floor) / 2 + gumbel, count)


def _refuse_foreign(every: tuple[Unit, ...], adapter_name: str, scores: Mapping[str, BlockScores]) -> None:
    layouts = {name: layer.delta(adapter_name).layout for name, layer in _members(every)}
    for name, score in scores.items():
        if name not in layouts:
            raise ValueError(f"{name!r} carries no adapter {adapter_name!r}. Score the same model.")
        if tuple(score.total.shape) != layouts[name].score_shape:
            raise ValueError(
                f"{name!r} expects scores of shape {layouts[name].score_shape}, found {tuple(score.total.shape)}."
            )


def _members(every: tuple[Unit, ...]) -> Iterator[tuple[str, Linear]]:
    for unit in every:
        yield from zip(unit.names, unit.layers, strict=True)
