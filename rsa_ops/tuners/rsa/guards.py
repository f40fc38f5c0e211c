"""What is done to an adapter's values after an optimizer step: decay towards the base, and a bound per block.

Both write the parameter in place, so that a resident adapter is written into the weight again. Sources: decoupled
decay is AdamW's (Loshchilov and Hutter 2019), which on a delta that starts at zero is L2-SP's pull towards the
pretrained weights (Li et al. 2018), decoupled; the bound relative to the norm of the weight is after LARS's trust
ratio (You et al. 2017), on the distance gone in place of the step.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rsa_ops.tuners.rsa.blocks import read_entries
from rsa_ops.tuners.rsa.layer import Linear
from rsa_ops.tuners.rsa.scoring import adapted_layers
from rsa_ops.tuners.rsa.switching import settle

_WITHIN = {"columns": (0,), "subnet": (0,), "spread": (1, 2), "tiles": (1, 2), "elements": (0,)}
"""Structure -> dimensions of the values that lie within one block. Free elements of a layer are one block: a bound
on each by itself would forbid entries that are nearly zero in the base to move."""


def guarded_layers(model: nn.Module, adapter_name: str) -> tuple[Linear, ...]:
    """The layers of `model` that carry the adapter.

    Raises:
        ValueError: there is none, or an adapter is merged into one of them.
    """
    return tuple(adapted_layers(model, adapter_name).values())


@torch.no_grad()
def decay_values(layers: Sequence[Linear], adapter_name: str, amount: float) -> None:
    """Multiply the values by 1 - amount; `amount` is the learning rate times the decay.

    Raises:
        ValueError: `amount` above 1, which would turn the values round.
    """
    if not 0 <= amount <= 1:
        raise ValueError(
            f"robustness: learning rate times delta_decay must lie in [0, 1], found {amount:g}. Lower delta_decay; "
            "at a learning rate of 3e-3, 0.01 to 10 are usual."
        )
    torch._foreach_mul_([layer.delta(adapter_name).weight for layer in layers], 1 - amount)


@torch.no_grad()
def limit_blocks(layers: Sequence[Linear], adapter_name: str, ratio: float) -> int:
    """Shrink each block that is longer than `ratio` times the base entries it stands on, onto that bound.

    Blocks are columns (of "columns" and "subnet"), the groups of "spread", tiles, or all free elements of a layer.
    Norms are Frobenius norms of the values as they act, with their scales. A block within its bound keeps its bits,
    and one over base entries that are all zero stays at zero.

    Returns:
        How many blocks were shrunk.
    """
    settle(layers)  # all at once, and not one by one as their entries are read
    shrunk: list[Tensor] = []
    for layer in layers:
        delta = layer.delta(adapter_name)
        within = _WITHIN[delta.layout.structure]
        norm = _norms(delta.values(), within)
        bound = ratio * _norms(base_entries(layer, adapter_name), within).to(norm)
        beyond = norm > bound
        delta.weight.mul_(torch.where(beyond, bound / norm, 1.0).to(delta.weight.dtype))
        shrunk.append(beyond.sum())
    return int(torch.stack([count.to(shrunk[0].device) for count in shrunk]).sum())


def base_entries(layer: Linear, adapter_name: str) -> Tensor:
    """The base's own entries at the adapter's places, in the shape of the values; also while it is resident."""
    layer.settle()
    if layer.stay is not None and layer.stay.name == adapter_name:
        return layer.stay.originals
    delta = layer.delta(adapter_name)
    return read_entries(layer.matrix(), delta.layout, delta.rows, delta.columns)


def _norms(values: Tensor, within: tuple[int, ...]) -> Tensor:
    wide = torch.promote_types(values.dtype, torch.float32)
    found: Tensor = torch.linalg.vector_norm(values, dim=within, keepdim=True, dtype=wide)
    return found
