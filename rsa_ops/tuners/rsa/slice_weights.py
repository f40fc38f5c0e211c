"""Weights of slices that move towards the slice with the highest loss: group DRO inside an ordinary Trainer.

Source: Sagawa et al. 2020 (arXiv 1911.08731), algorithm 1: in step t, q_g <- q_g * exp(eta * loss_g), normalised;
the model steps on the sum over slices of q_g * loss_g. Departures, because a Trainer's batches are not drawn slice
by slice, and most of them lack most slices:

- The exponent, a sum over steps of eta * loss_g, is eta * steps * (mean loss of the items of g so far). For batches
  that hold all slices alike it is the same; a rare slice does not fall behind for being absent.
- An item of slice g weighs q_g / p_g, with p_g the share of g among the items so far. In a first batch the weighted
  loss is the sum of q_g times the mean loss of g, as in the authors' code; later, a slice that is absent from a
  batch takes nothing from the others.
- q moves once an optimizer step, after it, by all its micro-batches in all processes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, distributed


def _none() -> Tensor:
    return torch.zeros(0, dtype=torch.float64)


@dataclass
class SliceWeights:
    """q and the running shares, by slice id (a small integer, 0 or more).

    Attributes:
        step_size: eta of the paper.
        steps: steps taken so far.
    """

    step_size: float
    steps: int = 0
    _items: Tensor = field(default_factory=_none)
    _loss: Tensor = field(default_factory=_none)
    _new_items: Tensor = field(default_factory=_none)
    _new_loss: Tensor = field(default_factory=_none)

    @property
    def q(self) -> dict[int, float]:
        """Slice id -> weight, over the slices seen so far; they sum to 1."""
        seen = (self._items + self._new_items).nonzero()[:, 0].tolist()
        q = self._q().tolist()
        return {name: q[name] for name in seen}

    def record(self, ids: Tensor, losses: Tensor) -> None:
        """Take note of a micro-batch: slice id and loss of each item, both [items]."""
        if ids.numel() == 0:
            return
        self._grow(int(ids.max()) + 1, ids.device)
        values = losses.detach().to(torch.float64)
        self._new_items.index_add_(0, ids, torch.ones_like(values))
        self._new_loss.index_add_(0, ids, values)

    def of(self, ids: Tensor) -> Tensor:
        """q_g / p_g of each recorded item, float64 [items]; its mean over a first micro-batch is 1."""
        items = self._items + self._new_items
        return (self._q() * items.sum() / items)[ids]

    def step(self) -> None:
        """Move q by what was recorded since the last step; in training processes, by what all of them recorded."""
        self._share_between_processes()
        if not self._new_items.any():
            return
        self.steps += 1
        self._items += self._new_items
        self._loss += self._new_loss
        self._new_items.zero_()
        self._new_loss.zero_()

    def _q(self) -> Tensor:
        known = self._items > 0  # a slice that is new in this step counts with what it has lost in it
        items = torch.where(known, self._items, self._new_items)
        mean = torch.where(known, self._loss, self._new_loss) / items
        return torch.softmax((self.step_size * self.steps * mean).masked_fill(items == 0, float("-inf")), dim=0)

    def _grow(self, size: int, device: torch.device) -> None:
        size = max(size, self._items.numel())
        for name in ("_items", "_loss", "_new_items", "_new_loss"):
            old: Tensor = getattr(self, name)
            new = torch.zeros(size, dtype=torch.float64, device=device)
            new[: old.numel()] = old.to(device)
            setattr(self, name, new)

    def _share_between_processes(self) -> None:
        if not (distributed.is_available() and distributed.is_initialized()) or distributed.get_world_size() == 1:
            return
        size = torch.tensor(self._items.numel(), device=self._items.device)
        distributed.all_reduce(size, distributed.ReduceOp.MAX)
        self._grow(int(size), self._items.device)
        for mine in (self._new_items, self._new_loss):
            distributed.all_reduce(mine)


def read_slice_ids(found: Tensor | None, rows: int) -> Tensor:
    """`slice_ids` of a batch as int64 [rows].

    Raises:
        ValueError: they are missing, of another length, no integers, or below zero.
    """
    if found is None:
        raise ValueError(
            "robustness: worst_slice needs `slice_ids` in every batch, one small integer a row, and found none. "
            "Keep the column through the collator, with TrainingArguments(remove_unused_columns=False)."
        )
    if found.shape != (rows,) or found.is_floating_point() or bool((found < 0).any()):
        raise ValueError(
            f"robustness: expected slice_ids as integers of 0 or more, [{rows}], found {found.dtype} "
            f"{list(found.shape)} with {found.flatten()[:4].tolist()}."
        )
    return found.long()
