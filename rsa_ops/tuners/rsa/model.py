"""`RsaModel`: puts the adapted layers into a model. Everything else a tuner does is PEFT's `BaseTuner`."""

from __future__ import annotations

from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer
from peft.utils import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING, resolve_quantization_backend
from torch import nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from rsa_ops.tuners.registration import PREFIX
from rsa_ops.tuners.rsa.config import RsaConfig
from rsa_ops.tuners.rsa.layer import Linear


class RsaModel(BaseTuner):  # type: ignore[misc]
    """A model whose target linear layers carry Robust Sparse Adapters. Made by `peft.get_peft_model`.

    Raises:
        TypeError: a target is not a plain `torch.nn.Linear` with a floating-point weight.
    """

    prefix = PREFIX
    tuner_layer_cls = Linear
    target_module_mapping = TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING

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
        if isinstance(target, Linear):
            target.update_layer(adapter_name, peft_config, current_key)
            return
        base = plain_linear(target, current_key)
        layer = Linear(base, adapter_name, peft_config, current_key)
        if adapter_name not in self.active_adapters:  # a second adapter does not learn until it is made active
            layer.requires_grad_(requires_grad=False)
        self._replace_module(parent, target_name, layer, target)


def plain_linear(target: nn.Module, name: str) -> nn.Linear:
    """`target` as the plain linear layer that it must be.

    Raises:
        TypeError: it is something else; the message says what and what to do.
    """
    found = f"target module {name!r}: expected a plain torch.nn.Linear, found {type(target).__name__}"
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
        raise TypeError(
            f"{found}, which is quantised. Quantised bases are not supported yet; load the base model in bfloat16 "
            "or float32."
        )
    # Layers that inherit nn.Linear's data but not its product (quantised, transposed, fused) would train wrongly.
    if not isinstance(target, nn.Linear) or type(target).forward is not nn.Linear.forward:
        hint = ", which keeps its weight transposed" if type(target).__name__ == "Conv1D" else ""
        raise TypeError(
            f"{found}{hint}. Name linear layers in `target_modules`, or add this one to `exclude_modules`."
        )
    return _floating(target, found)


def _floating(target: nn.Linear, found: str) -> nn.Linear:
    weight: Any = target.weight
    if weight.dtype not in {torch.float64, torch.float32, torch.bfloat16, torch.float16}:
        raise TypeError(f"{found} with a weight of {weight.dtype}. Load the base model in bfloat16 or float32.")
    return target
