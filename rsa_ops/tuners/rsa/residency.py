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
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn
from torch._utils import _unflatten_dense_tensors
from torch.optim.optimizer import register_optimizer_step_post_hook

from rsa_ops.tuners.rsa.blocks import KEPT_WIDE, read_entries, scaled_form, version_of, write_entries
from rsa_ops.tuners.rsa.delta import RsaDelta


class Stamp:
    """Counts the rewrites of a weight; a graph remembers the count it was built at."""

    def __init__(self) -> None:
        self.count = 0


@dataclass
class Stay:
    """An adapter's stay in a weight.

    Attributes:
        base: the layer whose weight it is.
        name: the adapter.
        delta: its values and places.
        weight: the parameter it was written to; sharding and quantising put another in its place.
        rows: row indices at the time of entering, or None.
        columns: column indices at the time of entering.
        originals: the weight's own entries there.
        form: sets of scales, rows of values that share a set, and values in a row.
        seen: versions of values, columns, rows and scales when last written, and the parameter's identity.
    """

    base: nn.Module
    name: str
    delta: RsaDelta
    weight: Tensor
    rows: Tensor | None
    columns: Tensor
    originals: Tensor
    form: tuple[int, int, int]
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
    parts = delta.parts()
    return (*map(version_of, parts), id(parts[0]))


def matrix_of(base: nn.Module) -> Tensor:
    """The base weight as [out, in]: a view where the layer keeps it transposed (Conv1D)."""
    weight: Tensor = base.weight  # type: ignore[assignment]
    return weight.T if type(base).__name__ == "Conv1D" else weight


def stand(entering: Sequence[tuple[nn.Module, str, RsaDelta]]) -> list[Stay]:
    """What is needed to write adapters into their base weights, and to take them out: nothing is written yet."""
    with torch.inference_mode(mode=False), torch.no_grad():  # in this order: the first turns gradients on
        columns = _own_columns([delta for _, _, delta in entering])
        stays = []
        for (base, name, delta), over in zip(entering, columns, strict=True):
            rows = None if delta.rows is None else delta.rows.clone()
            originals = read_entries(matrix_of(base), delta.layout, rows, over)
            weight: Tensor = base.weight  # type: ignore[assignment]
            form = scaled_form(delta.layout)
            stays.append(Stay(base, name, delta, weight, rows, over, originals, form, versions(delta)))
    return stays


def _own_columns(deltas: Sequence[RsaDelta]) -> list[Tensor]:
    """Copies of the column indices, which others may rewrite: 64-bit ones at hand where these are few.

    Those of all layers are copied at once, and siblings, which share theirs, share the copy.
    """
    given = [delta.parts()[1] for delta in deltas]
    few = [delta.layout.structure in KEPT_WIDE for delta in deltas]
    wide = {id(columns): columns for columns, kept in zip(given, few, strict=True) if kept}
    made: dict[int, Tensor] = {}
    for device in {one.device for one in wide.values()}:
        here = {key: one for key, one in wide.items() if one.device == device}
        flat = torch.cat([one.flatten() for one in here.values()]).long()
        parts = torch.split(flat, [one.numel() for one in here.values()])
        made |= {key: part.view(one.shape) for (key, one), part in zip(here.items(), parts, strict=True)}
    return [made[id(columns)] if id(columns) in made else columns.clone() for columns in given]


def rewrite(stays: Sequence[Stay]) -> None:
    """Write the values of adapters that have not moved."""
    write(stays, sums(stays))


def write(stays: Sequence[Stay], entries: Sequence[Tensor]) -> None:
    """Put `entries`, which are the `sums` of these stays, into the weights."""
    with torch.inference_mode(mode=False), torch.no_grad():
        for stay, entry in zip(stays, entries, strict=True):
            write_entries(matrix_of(stay.base), stay.delta.layout, stay.rows, stay.columns, entry)
            stay.mark()


def sums(stays: Sequence[Stay]) -> list[Tensor]:
    """Base plus values at each adapter's places. One rounding: added in the wider type, then stored in the base's.

    Layers of one device and type are one long vector here, since on a GPU a hundred layers of small kernels would
    take longer to launch than to run.
    """
    found: dict[int, Tensor] = {}
    with torch.inference_mode(mode=False), torch.no_grad():
        for alike in _alike(stays):
            originals = [stay.originals for stay in alike]
            values = torch.cat([stay.delta.parts()[0].flatten() for stay in alike])  # a copy, also of one alone
            if alike[0].delta.scale is not None:
                _scale(values, alike)
            wide = torch.cat([kept.flatten() for kept in originals])
            parts = _unflatten_dense_tensors((values + wide).to(wide.dtype), originals)  # type: ignore[no-untyped-call]
            found |= {id(stay): part for stay, part in zip(alike, parts, strict=True)}
    return [found[id(stay)] for stay in stays]


LONGEST = 2**25
"""Values that are added up at once: more would take memory and save no time."""


def _alike(stays: Sequence[Stay]) -> Iterator[list[Stay]]:
    """The stays by device, types, and whether they have scales, those of one form beside each other."""
    groups: dict[tuple[object, ...], list[Stay]] = {}
    for stay in sorted(stays, key=_form):
        (weight, _, _, scale), kept = stay.delta.parts(), stay.originals
        key = (kept.device, kept.dtype, weight.device, weight.dtype, scale is None)
        groups.setdefault(key, []).append(stay)
    for group in groups.values():
        part: list[Stay] = []
        length = 0
        for stay in group:
            length += stay.originals.numel()
            if part and length > LONGEST:
                yield part
                part, length = [], stay.originals.numel()
            part.append(stay)
        yield part


def _form(stay: Stay) -> tuple[int, int, int]:
    return stay.form


def _scale(values: Tensor, stays: Sequence[Stay]) -> None:
    """Multiply the values of all stays, one long vector, by their scales: at once for all of one form."""
    start = 0
    for (sets, rows, width), group in groupby(stays, key=_form):
        scales = [scale for scale in (stay.delta.parts()[3] for stay in group) if scale is not None]
        end = start + len(scales) * sets * rows * width
        part = values[start:end].view(len(scales) * sets, rows, width)
        part *= torch.cat([scale.view(-1, 1, width) for scale in scales])
        start = end


def leave(stays: Sequence[Stay]) -> None:
    """Put the base's own entries back, bit for bit."""
    with torch.inference_mode(mode=False), torch.no_grad():  # in this order: the first turns gradients on
        for stay in stays:
            matrix = matrix_of(stay.base)
            originals = stay.originals.to(device=matrix.device, dtype=matrix.dtype)
            rows = None if stay.rows is None else stay.rows.to(matrix.device)
            write_entries(matrix, stay.delta.layout, rows, stay.columns.to(matrix.device), originals)


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
        if layer is not None and layer.stay is not None and layer.stay.delta.parts()[0] is parameter:
            stale.append(layer)
    rewrite([layer.stay for layer in stale])
    for layer in stale:
        layer.stamp.count += 1


def _parameters(optimizer: torch.optim.Optimizer) -> Iterable[Tensor]:
    for group in optimizer.param_groups:
        yield from group["params"]
