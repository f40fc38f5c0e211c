"""Sequential, conservative selection: several rounds, each admitting only blocks that clear the threshold for sure.

In every round the affordable blocks of a pool are those that its share of the budget so far allows, less those
admitted before; what a round does not spend carries over. A block is admitted when its mean score less z standard
errors reaches the k-th largest mean among the candidates, k being the affordable number. z falls to 0 in the last
round, which fills the budget: by the mean, or by lot where the two halves of its batches still disagree. LoSiA
(EMNLP 2025) and AdaLoRA multiply a score by its uncertainty; here it is subtracted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from rsa_ops.tuners.rsa.delta import RsaDelta
from rsa_ops.tuners.rsa.scoring import BlockScores
from rsa_ops.tuners.rsa.selection import as_pools, overlap, top, write_places

STABLE = 0.5
"""Overlap of the halves' choices below which a round spends half, and the last one draws lots."""


@dataclass(frozen=True)
class Admission:
    """What one round did in one unit.

    Attributes:
        admitted: blocks admitted in this round.
        drawn: of these, by lot.
        waiting: blocks of the budget still without a place.
        stability: overlap of the choices of the two halves of the round's batches; None from fewer than two
            batches.
    """

    admitted: int
    drawn: int
    waiting: int
    stability: float | None


@dataclass(frozen=True)
class Round:
    """Which round of how many, and how sure it wants to be.

    Attributes:
        number: from 0.
        of: rounds in all.
        confidence: z of the first round.
    """

    number: int
    of: int
    confidence: float

    @property
    def last(self) -> bool:
        """Whether the budget must be filled now."""
        return self.number == self.of - 1

    @property
    def z(self) -> float:
        """Standard errors that a block must clear."""
        return 0.0 if self.last else self.confidence * (1 - self.number / (self.of - 1))

    def ceiling(self, picks: int) -> int:
        """Blocks that may be admitted by the end of this round."""
        return math.ceil(picks * (self.number + 1) / self.of)


@torch.no_grad()
def empty_places(delta: RsaDelta) -> None:
    """Mark every block as not admitted: scale 0, hence no effect, no gradient and nothing to decay."""
    if delta.scale is None:
        raise ValueError("selection in rounds needs RsaConfig(selection='rounds'), so that blocks carry scales")
    delta.scale.zero_()


@torch.no_grad()
def admit(
    delta: RsaDelta, scores: BlockScores, halves: tuple[BlockScores, ...], round_: Round, seed: int
) -> Admission:
    """Admit blocks of one unit. In place: indices and scales of free slots change, nothing else does.

    Args:
        delta: the unit's leader.
        scores: of all batches of this round, and of earlier runs where there are any.
        halves: of the two halves of this round's batches, whose agreement is looked at; one, where there was one.
        round_: which round.
        seed: of the lot.
    """
    layout = delta.layout
    mean, error = as_pools(layout, scores.mean), as_pools(layout, scores.error)
    if layout.structure == "subnet" and round_.number == 0 and delta.rows is not None:
        delta.rows.copy_(top(scores.total[:, : layout.out_features], layout.rows)[0].to(torch.int32))
    held = held_blocks(delta)
    stability = _stability(delta, halves, held)
    generator = torch.Generator(device="cpu").manual_seed(seed)
    admitted = drawn = 0
    for pool in range(mean.shape[0]):
        spend = round_.ceiling(layout.picks) - int(held[pool].sum())
        if stability is not None and stability < STABLE and not round_.last:
            spend //= 2
        free = mean[pool].masked_fill(held[pool], -torch.inf)
        if round_.last and stability is not None and stability < STABLE:
            picks = _drawn(held[pool], spend, generator)
            drawn += picks.numel()
        else:
            picks = _sure(free, error[pool], spend, round_.z)
        place(delta, pool, picks)
        admitted += picks.numel()
    waiting = mean.shape[0] * layout.picks - int(held.sum()) - admitted
    return Admission(admitted, drawn, waiting, stability)


def held_blocks(delta: RsaDelta) -> Tensor:
    """Mask [pools, candidates] of the blocks that are admitted."""
    layout = delta.layout
    pools = layout.groups if layout.structure == "spread" else 1
    held = torch.zeros(pools, layout.candidates, dtype=torch.bool, device=delta.columns.device)
    blocks, active = slots_of(delta)
    for pool in range(pools):
        held[pool, blocks[pool][active[pool]]] = True
    return held


def slots_of(delta: RsaDelta) -> tuple[Tensor, Tensor]:
    """Block numbers and admission [pools, picks] of the adapter's slots."""
    layout, columns, scale = delta.layout, delta.columns.long(), delta.scale
    if scale is None:
        raise ValueError("blocks carry no scales")
    if layout.structure in {"columns", "subnet"}:
        return columns[None], (scale != 0)[None]
    if layout.structure == "spread":
        return columns, scale != 0
    rows = delta.rows
    if rows is None:
        raise ValueError("tiles and elements have rows")
    across = layout.score_shape[1]
    if layout.structure == "elements":
        return (rows.long() * across + columns)[None], (scale != 0)[None]
    down, over = rows[:, 0].long() // layout.rows, columns[:, 0] // layout.columns
    return (down * across + over)[None], (scale[:, 0] != 0)[None]


def place(delta: RsaDelta, pool: int, picks: Tensor) -> None:
    """Put blocks into free slots of a pool, with scale 1.

    A slot that waits with one of these blocks takes it, so that no block ever stands in two slots: a resident
    adapter would write both.
    """
    layout, scale = delta.layout, delta.scale
    if scale is None or picks.numel() == 0:
        return
    blocks, active = slots_of(delta)
    free = (~active[pool]).nonzero().flatten()
    waiting = blocks[pool][free]
    at_home = torch.isin(waiting, picks)
    moving = picks[~torch.isin(picks, waiting)]
    slots = torch.cat([free[at_home], free[~at_home][: moving.numel()]])
    picks = torch.cat([waiting[at_home], moving])
    columns = delta.columns.clone()
    rows = None if delta.rows is None else delta.rows.clone()
    if layout.structure == "spread":
        columns[pool, slots], scale[pool, slots] = picks.to(torch.int32), 1.0
    elif layout.structure in {"columns", "subnet"}:
        columns[slots], scale[slots] = picks.to(torch.int32), 1.0
    else:
        down, over = layout.index(picks)
        columns[slots], scale[slots] = over, 1.0
        if rows is not None and down is not None:
            rows[slots] = down
    write_places(delta, rows, columns)


def _sure(mean: Tensor, error: Tensor, spend: int, z: float) -> Tensor:
    """Candidates whose lower bound reaches the `spend`-th largest mean, best first, at most `spend`."""
    spend = min(spend, int(torch.isfinite(mean).sum()))
    if spend <= 0:
        return torch.empty(0, dtype=torch.int64, device=mean.device)
    best = top(mean[None], spend)[0]
    threshold = mean[best].min()
    # One batch has no standard error: it is then as unsure as can be, and only z = 0 admits.
    bound = mean[best] - (z * error[best] if z else 0)
    return best[bound >= threshold]


def _drawn(held: Tensor, count: int, generator: torch.Generator) -> Tensor:
    free = (~held).nonzero().flatten().cpu()
    order = torch.randperm(free.numel(), generator=generator, device="cpu")
    return free[order[: max(0, count)]].sort().values.to(held.device)


def _stability(delta: RsaDelta, halves: tuple[BlockScores, ...], held: Tensor) -> float | None:
    """Mean over pools of the overlap of what each half would choose among the free candidates."""
    if len(halves) != 2:
        return None
    layout = delta.layout
    ones, others = (as_pools(layout, half.total).masked_fill(held, -torch.inf) for half in halves)
    found = []
    for pool in range(held.shape[0]):
        count = layout.picks - int(held[pool].sum())
        if count > 0:
            found.append(overlap(top(ones[pool][None], count), top(others[pool][None], count)))
    return sum(found) / len(found) if found else None
