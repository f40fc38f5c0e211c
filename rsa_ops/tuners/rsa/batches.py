"""Training batches for scoring: the first ones, without moving what training will see, over all processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

import torch
from torch import Tensor, distributed, nn

from rsa_ops.tuners.rsa.scoring import Batch, BlockScores, ScoreMap, adapted_layers, kept_random_state


def first_batches(loader: Any, count: int) -> list[Batch]:
    """The first `count` batches that training would see (all, where there are fewer), leaving it to see them anew.

    The plain loader inside accelerate's is read: accelerate's own iteration counts epochs and marks the end of
    data. Generators of loader and sampler are put back. NumPy's global generator is not: a collator that draws from
    it will draw other numbers in training.
    """
    plain = getattr(loader, "base_dataloader", loader)
    holders = (
        plain,
        getattr(plain, "sampler", None),
        getattr(getattr(plain, "batch_sampler", None), "sampler", None),
    )
    generators = [g for g in (getattr(h, "generator", None) for h in holders) if isinstance(g, torch.Generator)]
    with kept_random_state(), _kept_generators(generators):
        return list(islice(iter(plain), count))


def to_device(batch: Batch, model: nn.Module) -> Batch:
    """The batch with its tensors on the model's device."""
    device = next(model.parameters()).device
    return {key: value.to(device) if isinstance(value, Tensor) else value for key, value in batch.items()}


def tokens_in(batches: Sequence[Batch]) -> int | None:
    """Attended positions; None when the batches do not tell."""
    if all("attention_mask" in batch for batch in batches):
        return sum(int(batch["attention_mask"].sum()) for batch in batches)
    if all("input_ids" in batch for batch in batches):
        return sum(int(batch["input_ids"].numel()) for batch in batches)
    return None


def over_processes(model: nn.Module, adapter_name: str, scores: ScoreMap) -> ScoreMap:
    """Scores summed over all training processes, so that every one of them picks the same blocks."""
    if not (distributed.is_available() and distributed.is_initialized()) or distributed.get_world_size() == 1:
        return scores
    summed: ScoreMap = {}
    for name, layer in adapted_layers(model, adapter_name).items():
        delta = layer.delta(adapter_name)
        shape, device = delta.layout.score_shape, delta.columns.device
        own = scores.get(name)
        if own is None:  # all must take part, whether or not a gradient reached them
            zeros = torch.zeros(shape, device=device)
            own = BlockScores(zeros, zeros, 0, torch.zeros(layer.in_features, device=device))
        parts = (own.total, own.squares, own.power, torch.tensor([own.batches], device=device))
        flat = torch.cat([part.float().flatten() for part in parts])
        distributed.all_reduce(flat)
        size = own.total.numel()
        batches = int(flat[-1])
        if batches:
            total, squares = flat[:size].view(shape), flat[size : 2 * size].view(shape)
            summed[name] = BlockScores(total, squares, batches, flat[2 * size : -1])
    return summed


@contextmanager
def _kept_generators(generators: Sequence[torch.Generator]) -> Iterator[None]:
    states = [generator.get_state() for generator in generators]
    try:
        yield
    finally:
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)
