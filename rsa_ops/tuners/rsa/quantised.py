"""Merging into quantised weights (bitsandbytes 4-bit and 8-bit), and putting back what was there, bit for bit.

A quantised weight is written whole: dequantised, added to, quantised anew. That rounds every entry once more, so
what arrives of an adapter is measured (`merge_into`). Unmerging puts back the kept weight; to subtract would round
a second time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

BACKENDS = ("bnb 4bit", "bnb 8bit")
"""PEFT's names of the kinds of quantised weight that an adapter can stand beside."""


@dataclass(frozen=True)
class Kept:
    """A quantised weight before a merge.

    Attributes:
        weight: the parameter itself.
        marks: its Python attributes, which PEFT's writer changes in the old parameter too.
        state: attributes of the layer's `state`, where 8-bit layers keep their scales; empty for others.
    """

    weight: Any
    marks: dict[str, Any]
    state: dict[str, Any]


def unpack(base: Any) -> None:
    """Bring a 4-bit weight into the order that it is read in.

    On a CPU with AVX512-BF16, the first forward pass in evaluation mode lets bitsandbytes reorder the weight, for
    good, and round its scales to bfloat16. Its own `state_dict` undoes the order, of which PEFT's reader knows
    nothing.
    """
    if getattr(getattr(base.weight, "quant_state", None), "packing_format_for_cpu", False):
        base.state_dict()


def keep(base: Any) -> Kept:
    """What `put_back` needs."""
    unpack(base)
    state = getattr(base, "state", None)
    return Kept(base.weight, dict(vars(base.weight)), {} if state is None else dict(vars(state)))


def put_back(base: Any, kept: Kept) -> None:
    """The weight as it was."""
    _replace(vars(kept.weight), kept.marks)
    base.weight = kept.weight
    if hasattr(base, "quant_state"):
        base.quant_state = kept.weight.quant_state
    if kept.state:
        _replace(vars(base.state), kept.state)


@torch.no_grad()
def merge_into(layer: Any, dense: Tensor) -> float:
    """Add `dense` [out, in] to the quantised weight of `layer`.

    Returns:
        The error of the stored weight, as a share of the norm of `dense`: 0 is exact; at 1, rounding moved the
        weight as far as the adapter does.
    """
    backend, base = layer.quantization_backend, layer.base_layer
    before = backend.get_base_weight(base)
    wanted = before.float() + dense.float()
    backend.set_base_weight(layer, wanted.to(before.dtype))
    missed = backend.get_base_weight(base).float() - wanted
    return float(missed.norm() / dense.float().norm().clamp_min(torch.finfo(torch.float32).tiny))


def _replace(now: dict[str, Any], then: dict[str, Any]) -> None:
    now.clear()
    now.update(then)
