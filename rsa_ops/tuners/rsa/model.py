"""`RsaModel`: puts the adapted layers into a model. Everything else a tuner does is PEFT's `BaseTuner`."""

from __future__ import annotations

import difflib
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer
from peft.utils import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING, resolve_quantization_backend
from torch import nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from rsa_ops.tuners.registration import PREFIX
from rsa_ops.tuners.rsa.config import RsaConfig
from rsa_ops.tuners.rsa.delta import RsaDelta
from rsa_ops.tuners.rsa.layer import Linear
from rsa_ops.tuners.rsa.residency import tied_addresses
from rsa_ops.tuners.rsa.siblings import family


class RsaModel(BaseTuner):  # type: ignore[misc]
    """A model whose target linear layers carry Robust Sparse Adapters. Made by `peft.get_peft_model`.

    Raises:
        TypeError: a target is not a linear layer that an adapter can stand beside.
        ValueError: a target name matches nothing, or no target can hold the budget.
    """

    prefix = PREFIX
    tuner_layer_cls = Linear
    target_module_mapping = TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING

    def _pre_injection_hook(self, model: nn.Module, config: RsaConfig, adapter_name: str) -> None:  # noqa: ARG002
        refuse_unknown_targets(model, config)

    def _post_injection_hook(self, model: nn.Module, config: RsaConfig, adapter_name: str) -> None:
        tied = tied_addresses(model)
        layers = [module for module in model.modules() if isinstance(module, Linear)]
        for layer in layers:
            weight = layer.base_layer.weight
            layer.tied = type(weight) is nn.Parameter and weight.data_ptr() in tied
        carrying = [layer for layer in layers if adapter_name in layer.rsa_delta]
        refuse_impossible_budget(config, carrying)

    @staticmethod
    def _check_target_module_exists(peft_config: RsaConfig, key: str) -> Any:
        pattern = peft_config.budget_pattern
        if pattern is not None and not pattern.get(key):
            return False
        return BaseTuner._check_target_module_exists(peft_config, key)  # noqa: SLF001  PEFT's own hook

    def _create_and_replace(  # the signature is PEFT's
        self,
        peft_config: RsaConfig,
        adapter_name: str,
        target: nn.Module,
        target_name: str,
        parent: nn.Module,
        current_key: str,
        parameter_name: str | None = None,  # noqa: ARG002
    ) -> None:
        layer = target if isinstance(target, Linear) else None
        if layer is None:
            layer = Linear(supported(target, current_key), features(target))
        delta = self._delta(peft_config, adapter_name, layer, parent, current_key)
        layer.add(adapter_name, peft_config, delta)
        if layer is target:
            return
        if adapter_name not in self.active_adapters:  # a second adapter does not learn until it is made active
            layer.requires_grad_(requires_grad=False)
        self._replace_module(parent, target_name, layer, target)

    def _delta(self, config: RsaConfig, adapter_name: str, layer: Linear, parent: nn.Module, key: str) -> RsaDelta:
        siblings = self._siblings(config, layer.in_features, parent, key)
        multiple = 1.0 if config.budget_pattern is None else config.budget_pattern[key]
        layout = config.layout(
            layer.in_features, layer.out_features, [features(s)[1] for s in siblings.values()], multiple
        )
        leader = next(
            (
                s.delta(adapter_name)
                for s in siblings.values()
                if isinstance(s, Linear) and adapter_name in s.rsa_delta
            ),
            None,
        )
        rows, columns = layout.random_index(config.seed, key)
        return RsaDelta(
            layout, rows, columns, scaled=config.has_scales, leader=None if leader is None else leader.leader
        )

    def _siblings(self, config: RsaConfig, in_features: int, parent: nn.Module, key: str) -> dict[str, nn.Module]:
        """The other target layers beside `key` that share its columns."""
        if not config.share_siblings or config.structure != "columns":
            return {}
        found = {}
        for name in family(key):
            module = getattr(parent, name.rpartition(".")[2], None)
            if (
                name == key
                or not isinstance(module, nn.Module)
                or not self._check_target_module_exists(config, name)
            ):
                continue
            if not hasattr(module, "weight") or features(module)[0] != in_features:
                continue
            _same_multiple(config, key, name)
            found[name] = module
        return found


def features(module: nn.Module) -> tuple[int, int]:
    """(in, out) of a linear layer, adapted or plain, or of GPT-2's Conv1D."""
    if type(module).__name__ == "Conv1D":
        rows, columns = module.weight.shape  # type: ignore[misc]
        return int(rows), int(columns)
    return int(module.in_features), int(module.out_features)  # type: ignore[arg-type]


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
    if resolve_quantization_backend(target) is not None:
        return target
    # Layers that inherit nn.Linear's data but not its product (fused, quantised elsewhere) would train wrongly.
    plain = isinstance(target, nn.Linear) and type(target).forward is nn.Linear.forward
    if not plain and type(target).__name__ != "Conv1D":
        raise TypeError(f"{found}. Name linear layers in `target_modules`, or add this one to `exclude_modules`.")
    weight: Any = target.weight
    if weight.dtype not in {torch.float64, torch.float32, torch.bfloat16, torch.float16}:
        raise TypeError(f"{found} with a weight of {weight.dtype}. Load the base model in bfloat16 or float32.")
    return target


def refuse_unknown_targets(model: nn.Module, config: RsaConfig) -> None:
    """Raise ValueError for a name in `target_modules` or `budget_pattern` that no module has, with the nearest."""
    names = [name for name, _ in model.named_modules() if name]
    ends = {name.rpartition(".")[2] for name in names}
    wanted = config.target_modules if isinstance(config.target_modules, set) else set()
    for target in sorted(wanted):
        if target not in ends and not any(name == target or name.endswith(f".{target}") for name in names):
            raise ValueError(f"RsaConfig.target_modules: {_unknown(target, sorted(ends | set(names)))}")
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


def _unknown(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"no module of the model is called {name!r}.{hint}"


def _same_multiple(config: RsaConfig, key: str, sibling: str) -> None:
    pattern = config.budget_pattern
    if pattern is not None and pattern[key] != pattern[sibling]:
        raise ValueError(
            f"RsaConfig.budget_pattern: {key!r} and {sibling!r} share one column set and need one multiple, found "
            f"{pattern[key]} and {pattern[sibling]}. Give them the same, or set share_siblings=False."
        )
