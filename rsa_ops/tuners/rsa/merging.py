"""Merging adapters into base weights, and taking them out again, bit for bit; many layers at once.

What was there is kept, so that nothing is subtracted. A quantised weight is written whole (`quantised`); of any
other only the adapter's places are, in the way of a resident adapter (`residency`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from peft.tuners.tuners_utils import check_adapters_to_merge
from torch import Tensor, nn

from rsa_ops.tuners.rsa.quantised import Kept, keep, merge_into, put_back
from rsa_ops.tuners.rsa.residency import Stay, leave, stand, sums, write
from rsa_ops.tuners.rsa.switching import Host, make_room, vacate


class Mergeable(Host, Protocol):
    """A layer as it is seen here; `Linear` says what its parts are."""

    rsa_delta: nn.ModuleDict
    quantization_backend: Any
    merged_adapters: list[str]
    merge_error: dict[str, float]
    kept: dict[str, Stay | Kept]


def merge(layers: Sequence[Mergeable], adapter_names: list[str] | None, *, safe: bool) -> None:
    """Write the active (or the named) adapters into the base weights, in this order, and keep what was there.

    Raises:
        ValueError: `safe`, and the entries of an adapter would hold NaN or infinity somewhere. That adapter is then
            merged into no weight (quantised ones apart); those before it stay merged.
        TypeError: a weight is sharded, or computed from other parameters (parametrised). Nothing was merged.
    """
    vacate(layers)
    for layer in layers:
        make_room(layer)
        _refuse_partial(layer)
    queues = []
    for layer in layers:
        names = check_adapters_to_merge(layer, adapter_names)
        queues.append((layer, [name for name in names if name in layer.rsa_delta]))
    for turn in range(max((len(names) for _, names in queues), default=0)):
        now = [(layer, names[turn]) for layer, names in queues if turn < len(names)]
        _merge_entries([(layer, name) for layer, name in now if layer.quantization_backend is None], safe=safe)
        for layer, name in now:
            if layer.quantization_backend is not None:
                _merge_quantised(layer, name, safe=safe)


def unmerge(layers: Sequence[Mergeable]) -> None:
    """Put the base weights back: last in, first out, since adapters may share places."""
    while merged := [layer for layer in layers if layer.merged_adapters]:
        stays = []
        for layer in merged:
            name = layer.merged_adapters.pop()
            layer.merge_error.pop(name, None)
            kept = layer.kept.pop(name)
            if isinstance(kept, Kept):
                put_back(layer.base_layer, kept)
            else:
                stays.append(kept)
        leave(stays)


def _refuse_partial(layer: Mergeable) -> None:
    weight = layer.base_layer.weight
    if layer.quantization_backend is None and type(weight) is not nn.Parameter:
        raise TypeError(
            f"merge: expected a whole weight, found a {type(weight).__name__}, which is sharded or computed. "
            "Load the adapter on an unsharded base to merge it."
        )


def _merge_entries(pairs: Sequence[tuple[Mergeable, str]], *, safe: bool) -> None:
    stays = stand([(layer.base_layer, name, layer.delta(name)) for layer, name in pairs])
    entries = sums(stays)
    if safe:
        for stay, entry in zip(stays, entries, strict=True):
            _refuse_broken(entry, stay.name, stay.delta)
    write(stays, entries)
    for (layer, name), stay in zip(pairs, stays, strict=True):
        layer.kept[name] = stay
        layer.merged_adapters.append(name)


@torch.no_grad()
def _merge_quantised(layer: Mergeable, name: str, *, safe: bool) -> None:
    delta = layer.delta(name)
    dense = delta.dense()
    if safe:
        _refuse_broken(dense, name, delta)
    layer.kept[name] = keep(layer.base_layer)
    layer.merge_error[name] = merge_into(layer, dense)
    layer.merged_adapters.append(name)


def _refuse_broken(entries: Tensor, name: str, delta: Any) -> None:
    if not torch.isfinite(entries).all():
        raise ValueError(
            f"merge of adapter {name!r}: expected finite weights, found NaN or infinity in a "
            f"{delta.layout.out_features}x{delta.layout.in_features} layer. Retrain the adapter or merge another."
        )
