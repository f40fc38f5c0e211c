"""`hotswap`: a saved adapter takes the place of a loaded one of equal shapes, in the same tensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig
from peft.utils import get_peft_model_state_dict, load_peft_weights
from torch import Tensor, nn

from rsa_ops.tuners.rsa.config import RsaConfig
from rsa_ops.tuners.rsa.layer import Linear
from rsa_ops.tuners.rsa.model import rsa_layers
from rsa_ops.tuners.rsa.switching import settle

BESIDE = "Load it beside the other: model.load_adapter(folder, name)."


@torch.no_grad()
def hotswap(model: nn.Module, folder: str | Path, adapter_name: str = "default") -> None:
    """Copy the adapter saved in `folder` over the loaded `adapter_name`: values, places, scales, modules to save.

    The tensors stay the same ones, so that a compiled model is not compiled anew and an optimizer keeps its
    parameters. Its state (moments) is left alone, and belongs to the old values: make a new optimizer to train on.
    A resident adapter is rewritten at once. Nothing is changed when the swap is refused.

    Args:
        model: what `get_peft_model` or `PeftModel.from_pretrained` gave, or a transformers model with adapters;
            compiled or not.
        folder: as `save_pretrained` wrote it.
        adapter_name: the loaded adapter to overwrite.

    Raises:
        FileNotFoundError: there is no adapter in `folder`.
        ValueError: the saved adapter differs in PEFT type, structure, targets or shapes; no such adapter is loaded;
            it is merged, or sharded.
    """
    inner: Any = getattr(model, "_orig_mod", model)
    place = Path(folder)
    if not (place / "adapter_config.json").is_file():
        raise FileNotFoundError(f"hotswap: expected a saved adapter, found no adapter_config.json in {place}.")
    layers = _swappable(inner, place, adapter_name)
    own = get_peft_model_state_dict(inner, adapter_name=adapter_name, save_embedding_layers=False)
    new = _fitting(own, load_peft_weights(str(place), device="cpu"), place)
    for key, tensor in own.items():
        tensor.copy_(new[key])
    settle(layers)


def _swappable(model: Any, place: Path, adapter_name: str) -> list[Linear]:
    """The layers that carry the adapter; ValueError where it can not be swapped for the one in `place`."""
    configs: Mapping[str, Any] = getattr(model, "peft_config", {})
    loaded, saved = configs.get(adapter_name), PeftConfig.from_pretrained(str(place))
    kind = "expected a Robust Sparse Adapter"
    if not isinstance(loaded, RsaConfig):
        found = {name: type(one).__name__ for name, one in configs.items()}
        raise ValueError(f"hotswap: {kind} {adapter_name!r} in the model, found {found}.")  # noqa: TRY004
    if not isinstance(saved, RsaConfig):
        raise ValueError(f"hotswap: {kind}, found one of type {saved.peft_type.value} in {place}.")  # noqa: TRY004
    if saved.structure != loaded.structure:
        raise ValueError(
            f"hotswap: expected structure {loaded.structure!r} as in adapter {adapter_name!r}, found "
            f"{saved.structure!r} in {place}. {BESIDE}"
        )
    layers = [layer for layer in rsa_layers(model) if adapter_name in layer.rsa_delta]
    if any(layer.merged for layer in layers):
        raise ValueError("hotswap: an adapter is merged into the base; call unmerge_adapter() first.")
    if any(type(layer.delta(adapter_name).weight) is not nn.Parameter for layer in layers):
        raise ValueError(f"hotswap: adapter {adapter_name!r} is sharded; swap before the model is sharded.")
    return layers


def _fitting(own: Mapping[str, Tensor], saved: Mapping[str, Tensor], place: Path) -> dict[str, Tensor]:
    """The saved tensors under the model's keys; ValueError where one is missing, left over or of another shape."""
    # The file's keys are those of a PeftModel; a transformers model with adapters has no such prefix.
    prefix = "" if any(key in saved for key in own) else "base_model.model."
    new = {key: saved[prefix + key] for key in own if prefix + key in saved}
    missing, extra = sorted(set(own) - set(new)), sorted(set(saved) - {prefix + key for key in new})
    if missing or extra:
        where = f"no {missing[0]!r}" if missing else f"{extra[0]!r}, which the loaded one lacks"
        raise ValueError(f"hotswap: expected the loaded adapter's layers, found {where} in {place}. {BESIDE}")
    for key, tensor in own.items():
        if tensor.shape != new[key].shape or tensor.is_floating_point() != new[key].is_floating_point():
            raise ValueError(
                f"hotswap: expected {key!r} as {tensor.dtype} of shape {tuple(tensor.shape)}, found "
                f"{new[key].dtype} of shape {tuple(new[key].shape)} in {place}. {BESIDE}"
            )
    return new
