"""A saved artifact predicts as the model did that was saved, on its own base and on no other."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from rsa_ops.core.cell import Cell
from rsa_ops.core.digest import digest_bytes
from rsa_ops.errors import ExitCode, IntegrityError, MissingError
from rsa_ops.models.base import resolve_base
from rsa_ops.models.task import ModelConfig, Task, load_base_model
from rsa_ops.models.trained import (
    SPEC_FILE,
    TrainedModel,
    attach_adapter,
    base_of,
    load_trained,
    read_spec,
    save_trained,
)
from rsa_ops.training.arms import apply_arm
from rsa_ops.training.config import ArmConfig

IDS = torch.tensor([[2, 7, 8, 9, 3], [2, 10, 11, 12, 3]])
METHODS: dict[str, dict[str, Any]] = {
    "rsa": {"options": {"density": 0.1}},
    "lora": {"options": {"r": 2}},
    "shira": {"options": {"r": 2}},
    "peft": {"peft_type": "VERA", "options": {"r": 2, "target_modules": "all-linear"}},
    "full": {},
}
Saved = Callable[..., tuple[Path, torch.Tensor]]


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model.eval()(IDS).logits
    return found


@pytest.fixture
def saved(encoder: Path, causal: Path, tmp_path: Path) -> Saved:
    """Folder of a model whose trainable values were moved, and its logits before it was saved."""

    def make(method: str, task: Task = "classification") -> tuple[Path, torch.Tensor]:
        base = encoder if task == "classification" else causal
        config = ModelConfig(base=str(base))
        labels = ("a", "b", "c") if task == "classification" else ()
        arm = ArmConfig.model_validate({"method": method, "learning_rate": 1e-3, **METHODS[method]})
        bare = load_base_model(base, config, task, labels, seed=4)
        model, _ = apply_arm(bare, arm, "arm", task, seed=4)
        before = logits(model)
        generator = torch.Generator().manual_seed(7)
        for value in model.parameters():
            if value.requires_grad:
                value.data.add_(0.1 * torch.randn(value.shape, generator=generator))
        spec = TrainedModel(
            cell=Cell(arm="arm", seed=4),
            method=method,
            task=task,
            model=config,
            base_digest=resolve_base(str(base)).digest,
            labels=labels,
            data_digest=digest_bytes(b"data"),
        )
        folder = tmp_path / "artifact"
        folder.mkdir()
        save_trained(folder, model, spec)
        after = logits(model)
        assert not torch.allclose(before, after, atol=1e-3)
        assert read_spec(folder) == spec
        return folder, after

    return make


@pytest.mark.parametrize("method", list(METHODS))
def test_a_classifier_predicts_as_before_it_was_saved(saved: Saved, method: str) -> None:
    folder, expected = saved(method)
    loaded, spec = load_trained(folder, device="cpu")
    assert torch.equal(logits(loaded.model), expected)
    assert spec.is_adapter is (method != "full")
    assert not loaded.model.training
    assert base_of(loaded.model).config.id2label == {0: "a", 1: "b", 2: "c"}


@pytest.mark.parametrize("method", ["rsa", "lora", "full"])
def test_a_language_model_predicts_as_before_it_was_saved(saved: Saved, method: str) -> None:
    folder, expected = saved(method, "generation")
    assert torch.equal(logits(load_trained(folder, device="cpu")[0].model), expected)


@pytest.mark.parametrize("method", ["rsa", "full"])
def test_an_artifact_is_its_tensors_its_configuration_and_its_record(saved: Saved, method: str) -> None:
    kind = "" if method == "full" else "adapter_"
    names = {file.name for file in saved(method)[0].iterdir()}
    assert names == {SPEC_FILE, f"{kind}config.json", f"{kind}model.safetensors"}


def test_the_base_may_lie_elsewhere_when_its_bytes_are_the_same(
    saved: Saved, encoder: Path, tmp_path: Path
) -> None:
    folder, expected = saved("rsa")
    moved = shutil.copytree(encoder, tmp_path / "moved")
    assert torch.equal(logits(load_trained(folder, device="cpu", base=str(moved))[0].model), expected)


@pytest.mark.parametrize("method", ["rsa", "full"])
def test_a_base_of_other_bytes_is_refused(saved: Saved, make_encoder: Callable[..., Path], method: str) -> None:
    folder, _ = saved(method)
    with pytest.raises(IntegrityError, match="was declared") as caught:
        load_trained(folder, device="cpu", base=str(make_encoder(seed=5)))
    assert caught.value.exit_code is ExitCode.INTEGRITY


@pytest.mark.parametrize(
    ("method", "lost"),
    [
        ("rsa", "adapter_model.safetensors"),
        ("rsa", "adapter_config.json"),
        ("full", "model.safetensors"),
        ("full", "config.json"),
        ("rsa", SPEC_FILE),
    ],
)
def test_a_folder_that_lacks_a_file_is_refused_by_its_name(saved: Saved, method: str, lost: str) -> None:
    folder, _ = saved(method)
    (folder / lost).unlink()
    with pytest.raises(MissingError, match=lost.replace(".", r"\.")) as caught:
        load_trained(folder, device="cpu")
    assert caught.value.exit_code is ExitCode.MISSING
    assert str(folder) in str(caught.value)


def test_a_folder_that_is_not_there_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="is not there"):
        read_spec(tmp_path / "nothing")


def test_a_pickle_is_no_weights(saved: Saved) -> None:
    folder, _ = saved("lora")
    torch.save(load_file(folder / "adapter_model.safetensors"), folder / "adapter_model.bin")
    (folder / "adapter_model.safetensors").unlink()
    with pytest.raises(MissingError, match="has no adapter_model"):
        load_trained(folder, device="cpu")


@pytest.mark.parametrize("method", ["rsa", "lora", "full"])
def test_half_a_weight_file_is_a_matter_of_integrity(saved: Saved, method: str) -> None:
    folder, _ = saved(method)
    weights = next(folder.glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-50])
    with pytest.raises(IntegrityError, match="weights are damaged") as caught:
        load_trained(folder, device="cpu")
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize("change", ["renamed", "removed", "added"])
def test_an_adapter_whose_tensors_find_no_place_is_refused(saved: Saved, encoder: Path, change: str) -> None:
    folder, _ = saved("lora")
    file = folder / "adapter_model.safetensors"
    tensors = load_file(file)
    name = next(key for key in tensors if "query" in key)
    other = name.replace("query", "no_such_layer")
    if change == "renamed":
        tensors[other] = tensors.pop(name)
    elif change == "removed":
        del tensors[name]
    else:
        tensors[other] = tensors[name].clone()
    save_file(tensors, file)
    bare = load_base_model(encoder, ModelConfig(base=str(encoder)), "classification", ("a", "b", "c"), seed=4)
    with pytest.raises(IntegrityError, match="do not match the places"):
        attach_adapter(bare, folder)
