"""What is refused before any training, and in which words: targets, weights, budgets, adapters of another base."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import resolve_quantization_backend
from torch import Tensor, nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from rsa_ops.tuners.rsa.config import RsaConfig
from rsa_ops.tuners.rsa.delta import RsaDelta
from rsa_ops.tuners.rsa.layer import Linear
from rsa_ops.tuners.rsa.quantised import BACKENDS


def supported(target: nn.Module, name: str) -> nn.Module:
    """`target`, if an adapter can stand beside it: a float `nn.Linear` or `Conv1D`, or a quantised linear.

    Raises:
        TypeError: it is something else; the message says what and what to do.
    """
    found = f"target module {name!r}: expected a linear layer, found {type(target).__name__}"
    if isinstance(target, BaseTunerLayer):
        raise TypeError(
            f"{found} of another PEFT method. Two methods in one layer are not supported; merge or delete the "
            "other adapter first."
        )
    if isinstance(target, NonDynamicallyQuantizableLinear):
        raise TypeError(
            f"{found}, the output projection of torch.nn.MultiheadAttention. It is read as a weight and never "
            "called, so an adapter in it would do nothing. Add its name to `exclude_modules`."
        )
    weight: Any = getattr(target, "weight", None)
    if weight is not None and weight.device.type == "meta":
        raise TypeError(
            f"target module {name!r}: expected a weight with values, found one on the meta device. Load the base "
            "model's weights first, without offloading them (device_map), then add the adapter."
        )
    backend = resolve_quantization_backend(target)
    if backend is not None and backend.backend_name in BACKENDS:
        return target
    if backend is not None:
        raise TypeError(
            f"{found} with weights of {backend.backend_name}. Among quantised bases, bitsandbytes' 4-bit and 8-bit "
            "are supported; load the base in one of these, or in bfloat16."
        )
    # Layers that inherit nn.Linear's data but not its product (fused, quantised elsewhere) would train wrongly.
    plain = isinstance(target, nn.Linear) and type(target).forward is nn.Linear.forward
    if not plain and type(target).__name__ != "Conv1D":
        raise TypeError(f"{found}. Name linear layers in `target_modules`, or add this one to `exclude_modules`.")
    if weight.dtype not in {torch.float64, torch.float32, torch.bfloat16, torch.float16}:
        raise TypeError(
            f"target module {name!r}: expected a weight of floating point numbers, found {weight.dtype}. Load the "
            "base model in bfloat16 or float32."
        )
    return target


def refuse_unknown_targets(model: nn.Module, config: RsaConfig) -> None:
    """Raise ValueError for a name in `target_modules` or `budget_pattern` that no module has, with the nearest."""
    names = [name for name, _ in model.named_modules() if name]
    ends = {name.rpartition(".")[2] for name in names}
    targets = config.target_modules
    for target in sorted(targets) if isinstance(targets, set) else ():
        if target not in ends and not any(name == target or name.endswith(f".{target}") for name in names):
            raise ValueError(f"RsaConfig.target_modules: {_unknown(target, sorted(ends | set(names)))}")
    pattern = targets if isinstance(targets, str) and targets.lower() != "all-linear" else None
    if pattern is not None and not any(re.fullmatch(pattern, name) for name in names):
        # Without its signs, a pattern resembles the name that it was meant for.
        bare = re.sub(r"\W+", ".", re.sub(r"\\[a-zA-Z]", "", pattern)).strip(".")
        raise ValueError(
            f"RsaConfig.target_modules: the pattern {pattern!r} matches no module's whole name."
            f"{_nearest(bare, sorted(ends | set(names)))} Names look like {names[-1]!r}; begin the pattern with "
            "'.*' to match their ends."
        )
    for target in config.budget_pattern or {}:
        if target not in names:
            raise ValueError(f"RsaConfig.budget_pattern: {_unknown(target, names)}")


def refuse_impossible_budget(config: RsaConfig, layers: list[Linear]) -> None:
    """Raise ValueError when every layer is smaller than its budget, so that none can hold it."""
    if layers and all(
        config.budget(layer.in_features, layer.out_features) > layer.in_features * layer.out_features
        for layer in layers
    ):
        largest = max(layers, key=lambda layer: layer.in_features * layer.out_features)
        raise ValueError(
            f"RsaConfig.r={config.r}: no target module can hold r * (in + out) parameters; the largest is "
            f"{largest.out_features}x{largest.in_features}. Lower r, or train the modules in full with "
            "`modules_to_save`."
        )


def refuse_other_base(model: nn.Module, adapter_name: str, state: Mapping[str, Tensor]) -> None:
    """Raise ValueError where saved tensors `state` do not fit the adapter that stands in `model`.

    Nothing at all is no error: with FSDP, one process may read the file for all.
    """
    hint = "It was trained on another base or with another config; load the base model that it names."
    for name, layer in model.named_modules() if state else ():
        if not isinstance(layer, Linear) or adapter_name not in layer.rsa_delta:
            continue
        plain = name.replace("_fsdp_wrapped_module.", "")
        for part, (shape, limit) in saved_parts(layer.delta(adapter_name)).items():
            key = f"{plain}.rsa_delta.{adapter_name}.{part}"
            tensor = state.get(key)
            if tensor is None:
                raise ValueError(f"adapter {adapter_name!r}: expected a saved {key!r}, found none. {hint}")
            if tuple(tensor.shape) != shape:
                raise ValueError(
                    f"adapter {adapter_name!r}: expected {key!r} of shape {shape}, found "
                    f"{tuple(tensor.shape)}. {hint}"
                )
            if limit and tensor.numel() and not 0 <= int(tensor.min()) <= int(tensor.max()) < limit:
                raise ValueError(
                    f"adapter {adapter_name!r}: expected indices from 0 to {limit - 1} in {key!r}, found "
                    f"{int(tensor.min())} to {int(tensor.max())}. {hint}"
                )


def saved_parts(delta: RsaDelta) -> dict[str, tuple[tuple[int, ...], int]]:
    """What a delta saves: name -> (shape, number that indices stay below; 0 for values)."""
    layout = delta.layout
    parts: dict[str, tuple[tuple[int, ...], int]] = {"weight": (layout.weight_shape, 0)}
    if layout.rows_shape is not None:
        parts["rows"] = (layout.rows_shape, layout.out_features)
    if delta.leader is delta:
        parts["columns"] = (layout.columns_shape, layout.in_features)
        if delta.scale is not None:
            parts["scale"] = (layout.columns_shape, 0)
    return parts


def _unknown(name: str, known: list[str]) -> str:
    return f"no module of the model is called {name!r}.{_nearest(name, known)}"


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def refuse_uneven_siblings(config: RsaConfig, key: str, sibling: str) -> None:
    """Raise ValueError when two layers that share one column set have two multiples in `budget_pattern`."""
    pattern = config.budget_pattern
    if pattern is not None and pattern[key] != pattern[sibling]:
        raise ValueError(
            f"RsaConfig.budget_pattern: {key!r} and {sibling!r} share one column set and need one multiple, found "
            f"{pattern[key]} and {pattern[sibling]}. Give them the same, or set share_siblings=False."
        )
