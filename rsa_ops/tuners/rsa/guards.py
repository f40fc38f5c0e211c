"""What is done to an adapter's values after an optimizer step: decay towards the base, and a bound per block.

Both write in place under `no_grad`, which raises the parameter's version: a resident adapter sees it and is written
into the weight again. Sources: decoupled decay is AdamW's (Loshchilov and Hutter 2019), which on a delta that
starts at zero is L2-SP's pull towards the pretrained weights (Li et al. 2018), decoupled; the bound relative to the
norm of the weight is after LARS's trust ratio (You et al. 2017), on the distance gone in place of the step.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn


@runtime_checkable
class Blocks(Protocol):
    """An adapted layer, as the guards see it."""

    rsa_delta: nn.ModuleDict

    def delta_blocks(self, adapter_name: str) -> Iterable[tuple[Tensor, Tensor]]:
        """(values, original base entries) in equal shapes; the first dimension counts blocks.

        `values` are views of the parameter; originals are the frozen base's also while the adapter is resident.
        """


def guarded_layers(model: nn.Module, adapter_name: str) -> list[Blocks]:
    """The layers of `model` that carry the adapter.

    Raises:
        ValueError: there is none.
    """
    layers: list[Blocks] = [
        module for module in model.modules() if isinstance(module, Blocks) and adapter_name in module.rsa_delta
    ]
    if not layers:
        raise ValueError(
            f"robustness: delta_decay and trust_ratio act on a Robust Sparse Adapter, and {type(model).__name__} "
            f"has none called {adapter_name!r}. Make one with peft.get_peft_model(model, RsaConfig(...))."
        )
    return layers


@torch.no_grad()
def decay_values(layers: Iterable[Blocks], adapter_name: str, amount: float) -> None:
    """Multiply the values by 1 - amount; `amount` is the learning rate times the decay.

    Raises:
        ValueError: `amount` above 1, which would turn the values round.
    """
    if not 0 <= amount <= 1:
        raise ValueError(
            f"robustness: learning rate times delta_decay must lie in [0, 1], found {amount:g}. Lower delta_decay; "
            "at a learning rate of 3e-3, 0.01 to 10 are usual."
        )
    for layer in layers:
        for values, _ in layer.delta_blocks(adapter_name):
            values.mul_(1 - amount)


@torch.no_grad()
def limit_blocks(layers: Iterable[Blocks], adapter_name: str, ratio: float) -> int:
    """Shrink each block whose norm exceeds `ratio` times that of the base entries it stands on, onto that bound.

    A block within its bound keeps its bits. A block over base entries that are all zero stays at zero.

    Returns:
        How many blocks were shrunk.
    """
    shrunk: list[Tensor] = []
    for layer in layers:
        for values, original in layer.delta_blocks(adapter_name):
            norm = _norms(values)
            bound = ratio * _norms(original).to(norm)
            beyond = norm > bound
            factor = torch.where(beyond, bound / norm, 1.0)
            values.mul_(factor.view(-1, *(1,) * (values.dim() - 1)).to(values.dtype))
            shrunk.append(beyond.sum())
    return int(torch.stack(shrunk).sum()) if shrunk else 0


def _norms(blocks: Tensor) -> Tensor:
    wide = torch.promote_types(blocks.dtype, torch.float32)
    if blocks.dim() == 1:  # blocks of one entry
        return blocks.to(wide).abs()
    found: Tensor = torch.linalg.vector_norm(blocks, dim=tuple(range(1, blocks.dim())), dtype=wide)
    return found
