"""`RsaModel`: puts the adapted layers into a model. Everything else a tuner does is PEFT's `BaseTuner`."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTuner
from peft.utils import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING
from peft.utils.other import AuxiliaryTrainingWrapper
from torch import Tensor, nn

from rsa_ops.tuners.registration import PREFIX
from rsa_ops.tuners.rsa.checks import (
    refuse_impossible_budget,
    refuse_other_base,
    refuse_uneven_siblings,
    refuse_unknown_targets,
    supported,
)
from rsa_ops.tuners.rsa.config import RsaConfig
from rsa_ops.tuners.rsa.delta import RsaDelta
from rsa_ops.tuners.rsa.layer import Linear
from rsa_ops.tuners.rsa.merging import merge, unmerge
from rsa_ops.tuners.rsa.residency import tied_addresses
from rsa_ops.tuners.rsa.siblings import family
from rsa_ops.tuners.rsa.switching import settle, together


class RsaModel(BaseTuner):  # type: ignore[misc]
    """A model whose target linear layers carry Robust Sparse Adapters. Made by `peft.get_peft_model`.

    Raises:
        TypeError: a target is not a linear layer that an adapter can stand beside.
        ValueError: a target name matches nothing, or no target can hold the budget.
    """

    prefix = PREFIX
    tuner_layer_cls = Linear
    target_module_mapping = TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING
    _unsettled = True  # adapters may be on their way in or out: the next forward pass lets all of them, at once

    def inject_adapter(  # the signature is PEFT's, which has no other hook that every new adapter passes
        self,
        model: nn.Module,
        adapter_name: str,
        autocast_adapter_dtype: bool = True,  # noqa: FBT001, FBT002
        low_cpu_mem_usage: bool = False,  # noqa: FBT001, FBT002
        state_dict: dict[str, Tensor] | None = None,
    ) -> None:
        """As PEFT's, with targets and budget checked; what is refused leaves the model as it was."""
        config = self.peft_config[adapter_name]
        before = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
        try:
            refuse_unknown_targets(model, config)
            super().inject_adapter(model, adapter_name, autocast_adapter_dtype, low_cpu_mem_usage, state_dict)
            refuse_impossible_budget(
                config, [layer for layer in rsa_layers(model) if adapter_name in layer.rsa_delta]
            )
        except (TypeError, ValueError):
            for parameter, learns in before:
                parameter.requires_grad_(learns)
            take_out(model, adapter_name)
            raise
        tied = tied_addresses(model)
        for layer in rsa_layers(model):
            weight = layer.base_layer.weight
            layer.tied = type(weight) is nn.Parameter and weight.data_ptr() in tied

    def _check_merge_allowed(self) -> None:
        for name, layer in self.named_modules():
            if isinstance(layer, Linear) and layer.tied and set(layer.rsa_delta) & set(self.active_adapters):
                raise ValueError(
                    f"merge: {name!r} shares its weight with the embedding, which a merge would change too. Load "
                    "the base with tie_word_embeddings=False, or serve the adapter unmerged."
                )

    def merge_adapter(self, adapter_names: list[str] | None = None, safe_merge: bool = False) -> None:  # noqa: FBT001, FBT002
        """As PEFT's; tells what is lost where the base is quantised. A refusal leaves the base as it was."""
        layers = rsa_layers(self.model)
        fresh = [layer for layer in layers if not layer.merged]
        try:
            if _offloads(self.model):  # brings in one layer at a time
                super().merge_adapter(adapter_names, safe_merge)
            else:
                self._check_merge_allowed()
                merge(layers, adapter_names, safe=safe_merge)
        except (TypeError, ValueError):
            unmerge(fresh)
            raise
        tell_merge_error(layers)

    def unmerge_adapter(self) -> None:
        """As PEFT's, for all layers at once."""
        layers = rsa_layers(self.model)
        if _offloads(self.model) or not any(layer.merged for layer in layers):
            super().unmerge_adapter()
        else:
            unmerge(layers)
        self._unsettled = True

    def set_adapter(self, adapter_name: str | list[str], inference_mode: bool = False) -> None:  # noqa: FBT001, FBT002
        """As PEFT's; a resident adapter leaves and the other takes its place, in all layers at once."""
        with together():
            super().set_adapter(adapter_name, inference_mode)
        self._unsettled = True

    def delete_adapter(self, adapter_name: str) -> None:
        """As PEFT's."""
        super().delete_adapter(adapter_name)
        self._unsettled = True

    def train(self, mode: bool = True) -> RsaModel:  # noqa: FBT001, FBT002  the signature is torch's
        """As `nn.Module.train`; values that are resident are written anew, in all layers at once."""
        with together():
            super().train(mode)
        return self

    def _enable_adapter_layers(self, enabled: bool = True) -> None:  # noqa: FBT001, FBT002  PEFT's
        with together():
            super()._enable_adapter_layers(enabled)
        self._unsettled = True

    def _unload_and_optionally_merge(  # the signature is PEFT's
        self,
        merge: bool = True,  # noqa: FBT001, FBT002
        progressbar: bool = False,  # noqa: FBT001, FBT002
        safe_merge: bool = False,  # noqa: FBT001, FBT002
        adapter_names: list[str] | None = None,
    ) -> nn.Module:
        if merge:  # of all layers before the first is taken away, so that a refusal leaves a whole model
            self.merge_adapter(adapter_names, safe_merge)
        plain: nn.Module = super()._unload_and_optionally_merge(merge, progressbar, safe_merge, adapter_names)
        return plain

    def add_weighted_adapter(
        self,
        adapters: list[str],
        weights: list[float],
        adapter_name: str,
        combination_type: str = "linear",
    ) -> None:
        """Not offered: the sum of two sparse adapters has more places than either, and no config describes it.

        Raises:
            TypeError: always; the message says what to do instead.
        """
        raise TypeError(
            f"add_weighted_adapter({adapters}, {weights}, {adapter_name!r}, {combination_type!r}): Robust Sparse "
            "Adapters have no weighted combination. Their sum is `model.base_model.set_adapter([...])`, or in one "
            "model `merge_and_unload(adapter_names=[...])`; scale the values of each beforehand to weigh them."
        )

    @contextmanager
    def _enable_peft_forward_hooks(self, *args: Any, **kwargs: Any) -> Iterator[None]:  # noqa: ARG002  PEFT's
        names = tuple(kwargs.get("adapter_names") or ())
        # A compiled forward pass does not settle, and must not be compiled anew because of what was asked here.
        plain = not torch.compiler.is_compiling() and "_is_replica" not in self.__dict__
        settles = plain and (self._unsettled or names)
        layers = rsa_layers(self.model) if names or settles else []
        if names:
            self._check_rows(names, layers)
        heads = [m for m in self.modules() if isinstance(m, AuxiliaryTrainingWrapper)] if names else []

        def with_names(_: nn.Module, given: tuple[Any, ...], keywords: dict[str, Any]) -> tuple[Any, Any]:
            return given, {**keywords, "adapter_names": list(names)}

        handles = [head.register_forward_pre_hook(with_names, with_kwargs=True) for head in heads]
        for layer in layers:
            layer.rowwise = names
        try:
            if settles:
                settle(layers)
                self._unsettled = bool(names)
            yield
        finally:
            for layer in layers:
                layer.rowwise = ()
            for handle in handles:
                handle.remove()

    def _check_rows(self, names: tuple[str, ...], layers: list[Linear]) -> None:
        unknown = sorted(set(names) - {"__base__"} - set(self.peft_config))
        if unknown:
            raise ValueError(
                f"adapter_names: no adapter is called {unknown[0]!r}; expected some of {sorted(self.peft_config)} "
                "or '__base__'."
            )
        if self.training:
            raise ValueError("adapter_names: rows with adapters of their own are for inference; call model.eval().")
        if any(layer.merged for layer in layers):
            raise ValueError("adapter_names: an adapter is merged into the base; call unmerge_adapter() first.")

    @classmethod
    def _remap_adapter_state_dict_for_load(
        cls, model: nn.Module, config: RsaConfig, adapter_name: str, state_dict: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        found: dict[str, Tensor] = super()._remap_adapter_state_dict_for_load(
            model, config, adapter_name, state_dict
        )
        refuse_other_base(model, adapter_name, found)
        return found

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
        if not config.share_siblings or config.structure not in {"columns", "spread"}:
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
            refuse_uneven_siblings(config, key, name)
            found[name] = module
        return found


def features(module: nn.Module) -> tuple[int, int]:
    """(in, out) of a linear layer, adapted or plain, or of GPT-2's Conv1D."""
    if type(module).__name__ == "Conv1D":
        rows, columns = module.weight.shape  # type: ignore[misc]
        return int(rows), int(columns)
    return int(module.in_features), int(module.out_features)  # type: ignore[arg-type]


def rsa_layers(model: nn.Module) -> list[Linear]:
    """The model's adapted layers, in its order."""
    return [module for module in model.modules() if isinstance(module, Linear)]


def _offloads(model: nn.Module) -> bool:
    """Whether accelerate keeps weights elsewhere and brings them in for each layer."""
    return any(getattr(getattr(module, "_hf_hook", None), "offload", False) for module in model.modules())


def take_out(model: nn.Module, adapter_name: str) -> None:
    """Remove an adapter that was refused half-way, and the layers that carry no other."""
    for parent in list(model.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, Linear) and adapter_name in layer.rsa_delta:
                if len(layer.rsa_delta) == 1:
                    layer.vacate()
                    setattr(parent, name, layer.base_layer)
                else:
                    layer.delete_adapter(adapter_name)


def tell_merge_error(layers: list[Linear]) -> None:
    """Warn of the error that merging into quantised weights made."""
    errors = [error for layer in layers for error in layer.merge_error.values()]
    if errors:
        mean = sum(errors) / len(errors)
        warnings.warn(
            f"merged into quantised weights, which rounded them anew: the error is {mean:.2f} of the adapter's own "
            f"size on average, {max(errors):.2f} at most (see `merge_error` of each layer). Serve the adapter "
            "unmerged, or merge it into a bfloat16 base, where that is too much.",
            stacklevel=3,
        )
