"""Resident adapters: values written into the frozen weight, and everything that keeps this from doing harm.

While an adapter is resident, the weight of its layer holds `base + values` at the adapter's places, and the
originals are kept aside, so that leaving restores every bit. The forward pass is then the frozen layer's. What must
stay true:

- values that changed are written anew: by a hook on every torch optimizer's step, by the next eager forward pass,
  and by `train()` or `eval()`. (An assignment through `.data` is seen by the last alone.)
- a model that is moved or converted is moved without its values, which return with the next forward pass;
- one adapter at a time writes to a weight: a weight that is tied, sharded, quantised, on the meta device or in use
  by another model's adapter is refused;
- whoever asks for the base's `state_dict` gets the base: the adapter leaves first and returns with the next
  forward;
- a graph from before a switch is not used after it (`Stamp`).

Sources: in-place values are S2FT's and LoSiA's idea; neither restores the base, saves an adapter or accumulates.
"""

from __future__ import annotations

import os
import sys
import weakref
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from rsa_ops.tuners.rsa.blocks import read_entries, spread_over_rows, write_entries
from rsa_ops.tuners.rsa.delta import RsaDelta


class Stamp:
    """Counts the rewrites of a weight; a graph remembers the count it was built at."""

    def __init__(self) -> None:
        self.count = 0


@dataclass
class Stay:
    """An adapter's stay in a weight.

    Attributes:
        name: the adapter.
        delta: its values and places.
        weight: the parameter it was written to; sharding and quantising put another in its place.
        rows: row indices at the time of entering, or None.
        columns: column indices at the time of entering.
        originals: the weight's own entries there.
        seen: versions of values, columns, rows and scales when last written, and the parameter's identity.
    """

    name: str
    delta: RsaDelta
    weight: Tensor
    rows: Tensor | None
    columns: Tensor
    originals: Tensor
    seen: tuple[int, ...]

    def current(self) -> bool:
        """Whether the weight holds the adapter as it is now."""
        return self.seen == versions(self.delta)

    def mark(self) -> None:
        """The values are written now. The places are those of entering, whatever they are by now."""
        now = versions(self.delta)
        self.seen = (now[0], *self.seen[1:3], *now[3:])

    def moved(self) -> bool:
        """Whether the places changed since entering."""
        return self.seen[1:3] != versions(self.delta)[1:3]


def versions(delta: RsaDelta) -> tuple[int, ...]:
    """Version counters of values, columns, rows and scales, with the identity of the parameter."""
    tensors = (delta.weight, delta.columns, delta.rows, delta.scale)
    counts = tuple(0 if t is None or t.is_inference() else t._version for t in tensors)  # noqa: SLF001
    return (*counts, id(delta.weight))


def matrix_of(base: nn.Module) -> Tensor:
    """The base weight as [out, in]: a view where the layer keeps it transposed (Conv1D)."""
    weight: Tensor = base.weight  # type: ignore[assignment]
    return weight.T if type(base).__name__ == "Conv1D" else weight


def enter(base: nn.Module, name: str, delta: RsaDelta) -> Stay:
    """Write the adapter into the base weight."""
    with torch.inference_mode(mode=False), torch.no_grad():  # in this order: the first turns gradients on
        rows = None if delta.rows is None else delta.rows.clone()
        # Whole columns are written with 64-bit indices, which are kept at hand; the others are too many to keep.
        columns = delta.columns.long() if delta.layout.structure == "columns" else delta.columns.clone()
        originals = read_entries(matrix_of(base), delta.layout, rows, columns)
        weight: Tensor = base.weight  # type: ignore[assignment]
        stay = Stay(name, delta, weight, rows, columns, originals, versions(delta))
        rewrite([(base, stay)])
    return stay


def rewrite(stays: Sequence[tuple[nn.Module, Stay]]) -> None:
    """Write the values of adapters that have not moved. One rounding: summed in the wider type, then stored.

    All layers at once, since on a GPU a hundred layers of small kernels would take longer to launch than to run.
    """
    if not stays:
        return
    with torch.inference_mode(mode=False), torch.no_grad():
        values = acting_values([stay.delta for _, stay in stays])
        originals = [stay.originals for _, stay in stays]
        wide = [torch.empty_like(one) for one in values]
        torch._foreach_copy_(wide, originals)
        torch._foreach_add_(wide, values)
        entries = [
            one if one.dtype == kept.dtype else torch.empty_like(kept)
            for one, kept in zip(wide, originals, strict=True)
        ]
        if entries[0] is not wide[0]:
            torch._foreach_copy_(entries, wide)
        for (base, stay), entry in zip(stays, entries, strict=True):
            write_entries(matrix_of(base), stay.delta.layout, stay.rows, stay.columns, entry)
            stay.mark()


def acting_values(deltas: Sequence[RsaDelta]) -> list[Tensor]:
    """The values of adapters as they act, detached: scaled where they carry scales."""
    weights = [delta.weight.detach() for delta in deltas]
    scales = [None if delta.scale is None else spread_over_rows(delta.layout, delta.scale) for delta in deltas]
    whole = [scale for scale in scales if scale is not None]
    if len(whole) == len(weights):  # the usual case, by one call for all layers
        return list(torch._foreach_mul(weights, whole))  # noqa: SLF001
    return [delta.values().detach() for delta in deltas]


def leave(base: nn.Module, stay: Stay) -> None:
    """Put the base's own entries back, bit for bit."""
    with torch.inference_mode(mode=False), torch.no_grad():  # in this order: the first turns gradients on
        matrix = matrix_of(base)
        originals = stay.originals.to(device=matrix.device, dtype=matrix.dtype)
        write_entries(matrix, stay.delta.layout, stay.rows, stay.columns, originals)


def obstacle(base: nn.Module) -> str | None:
    """Why no adapter may be resident in this layer; None when one may.

    Looked at when a forward pass begins, because sharding and quantising come after the adapter is made.
    """
    weight: Any = base.weight
    if type(weight) is not nn.Parameter:  # a plain Tensor is a view of FSDP 1, or torch.func's
        return f"its weight is a {type(weight).__name__}"
    if weight.device.type == "meta":
        return "its weight is on the meta device"
    if weight.dtype not in {torch.float64, torch.float32, torch.bfloat16, torch.float16}:
        return f"its weight is {weight.dtype}"
    if weight.dim() != 2:  # sharded by FSDP 1 or DeepSpeed
        return f"its weight has the shape {tuple(weight.shape)}"
    for switch, engine in (("ACCELERATE_USE_FSDP", "FSDP"), ("ACCELERATE_USE_DEEPSPEED", "DeepSpeed")):
        if os.environ.get(switch, "").lower() in {"1", "true"}:
            return f"the model is trained with {engine}"
    return sharded(weight)


_KNOWN: dict[int, weakref.ref[Tensor]] = {}
"""Identity of a parameter -> itself, for every parameter that stood in a layer when nothing had been sharded."""


def know(*parameters: Any) -> None:
    """Remember parameters that are whole; see `sharded`."""
    for parameter in parameters:
        if type(parameter) is nn.Parameter and sharded(parameter) is None:
            _KNOWN[id(parameter)] = weakref.ref(parameter)
            weakref.finalize(parameter, _KNOWN.pop, id(parameter), None)


def sharded(parameter: Any) -> str | None:
    """Why a parameter may be a part of one, or one that FSDP 2 gathers for each pass and then drops; else None.

    While a module runs, FSDP 2 puts plain parameters in the place of its shards, which nothing marks. They are told
    apart by not being the parameter that was there before, in a process that has sharded any model.
    """
    if type(parameter) is not nn.Parameter:
        return f"its values are a {type(parameter).__name__}"
    module = sys.modules.get("torch.distributed.fsdp")
    if module is None or not module.FSDPModule.__subclasses__():
        return None
    known = _KNOWN.get(id(parameter))
    return None if known is not None and known() is parameter else "its weight is sharded by FSDP 2"


_TENANTS: dict[int, weakref.ref[Any]] = {}
"""Address of a weight -> the layer whose adapter is resident in it."""

_LAYERS: dict[int, weakref.ref[Any]] = {}
"""Identity of a values parameter -> the layer that must be rewritten when an optimizer changes it."""

_HOOKED: list[Any] = []


def claim(layer: Any, delta: RsaDelta) -> None:
    """Register `layer` as the one that writes to its weight."""
    _TENANTS[layer.base_layer.weight.data_ptr()] = weakref.ref(layer)
    _LAYERS[id(delta.weight)] = weakref.ref(layer)
    if not _HOOKED:
        _HOOKED.append(register_optimizer_step_post_hook(_after_step))


def other_tenant(layer: Any) -> Any:
    """The layer of another model whose adapter stands in `layer`'s weight now, or None."""
    if not _TENANTS or obstacle(layer.base_layer) is not None:
        return None
    address = layer.base_layer.weight.data_ptr()
    known = _TENANTS.get(address)
    tenant = None if known is None else known()
    if tenant is None or tenant is layer or tenant.resident_adapter is None:
        return None
    return tenant if tenant.base_layer.weight.data_ptr() == address else None  # it may have moved since


def release(layer: Any, delta: RsaDelta) -> None:
    """Undo `claim`."""
    address = layer.get_base_layer().weight.data_ptr()
    known = _TENANTS.get(address)
    if known is not None and known() in {None, layer}:
        del _TENANTS[address]
    _LAYERS.pop(id(delta.weight), None)


def tied_addresses(model: nn.Module) -> frozenset[int]:
    """Addresses of parameters that more than one place of the model uses."""
    seen: set[int] = set()
    tied: set[int] = set()
    for _, parameter in model.named_parameters(remove_duplicate=False):
        if parameter.device.type == "meta" or parameter.numel() == 0 or type(parameter) is not nn.Parameter:
            continue
        address = parameter.data_ptr()
        (tied if address in seen else seen).add(address)
    return frozenset(tied)


def _after_step(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:  # noqa: ARG001  torch's signature
    stale = []
    for parameter in _parameters(optimizer):
        known = _LAYERS.get(id(parameter))
        layer = None if known is None else known()
        if layer is not None and layer.stay is not None and layer.stay.delta.weight is parameter:
            stale.append(layer)
    rewrite([(layer.base_layer, layer.stay) for layer in stale])
    for layer in stale:
        layer.stamp.count += 1


def _parameters(optimizer: torch.optim.Optimizer) -> Iterable[Tensor]:
    for group in optimizer.param_groups:
        yield from group["params"]
