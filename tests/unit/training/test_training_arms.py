"""Arms are data: what each trains, at which rate, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from rsa_ops.errors import ConfigError, UsageError
from rsa_ops.models.task import ModelConfig, load_base_model
from rsa_ops.training.arms import apply_arm, count_parameters, peft_config
from rsa_ops.training.config import ArmConfig, TrainConfig
from rsa_ops.training.optimizer import optimizer

LABELS = ("a", "b", "c")


def arm(method: str, **more: Any) -> ArmConfig:
    return ArmConfig.model_validate({"method": method, "learning_rate": 1e-3, **more})


@pytest.fixture
def model(encoder: Path) -> Any:
    return load_base_model(encoder, ModelConfig(base=str(encoder)), "classification", LABELS, seed=0)


@pytest.mark.parametrize(
    ("chosen", "kind"),
    [
        (arm("rsa", options={"density": 0.1}), "ROBUST_SPARSE"),
        (arm("lora", options={"r": 2}), "LORA"),
        (arm("shira", options={"r": 2}), "SHIRA"),
        (arm("peft", peft_type="ia3", options={"target_modules": ["query"], "feedforward_modules": []}), "IA3"),
        (arm("peft", peft_type="VERA", options={"r": 2, "target_modules": ["query", "value"]}), "VERA"),
    ],
)
def test_an_adapter_arm_trains_its_adapter_and_the_head_alone(model: Any, chosen: ArmConfig, kind: str) -> None:
    of_the_base = {name for name, _ in model.named_parameters()}
    config = peft_config(chosen, "arm", "classification", seed=3)
    assert str(getattr(config.peft_type, "value", config.peft_type)) == kind
    adapted, _ = apply_arm(model, chosen, "arm", "classification", seed=3)
    learning = [name for name, value in adapted.named_parameters() if value.requires_grad]
    assert any("classifier" in name for name in learning)
    assert not {name.removeprefix("base_model.model.") for name in learning} & of_the_base
    trainable, total = count_parameters(adapted)
    assert 0 < trainable < total / 2


def test_full_fine_tuning_trains_everything(model: Any) -> None:
    trained, callbacks = apply_arm(model, arm("full"), "full", "classification", seed=3)
    trainable, total = count_parameters(trained)
    assert trainable == total == sum(value.numel() for value in model.parameters())
    assert callbacks == []


def test_a_lora_of_rank_r_has_r_parameters_a_row_and_column(model: Any) -> None:
    # Hu et al. 2021: A is [r, in], B is [out, r].
    import torch

    head = sum(value.numel() for value in model.classifier.parameters())
    sizes = [
        m.in_features + m.out_features
        for n, m in model.named_modules()
        if isinstance(m, torch.nn.Linear) and n != "classifier"
    ]
    adapted, _ = apply_arm(model, arm("lora", options={"r": 3}), "lora", "classification", seed=0)
    assert count_parameters(adapted)[0] == 3 * sum(sizes) + head


def test_an_rsa_of_r_has_at_most_the_parameters_of_a_lora_of_that_rank(make_encoder: Callable[..., Path]) -> None:
    counts = {}
    for method in ("rsa", "lora"):
        folder = make_encoder()
        bare = load_base_model(folder, ModelConfig(base=str(folder)), "classification", LABELS, seed=0)
        adapted, _ = apply_arm(bare, arm(method, options={"r": 4}), method, "classification", seed=0)
        counts[method] = count_parameters(adapted)[0]
    assert 0.9 * counts["lora"] <= counts["rsa"] <= counts["lora"]


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        (arm("peft", peft_type="LORRA"), "did you mean `LORA`"),
        (arm("lora", options={"lora_alhpa": 3}), r"options\.lora_alhpa: unknown option; did you mean `lora_alpha`"),
        (arm("rsa", options={"density": 0.1, "scorring": "fisher"}), "did you mean `scoring`"),
        (arm("rsa", options={"density": 7}), "density"),
        (arm("lora", options={"r": 2, "target_modules": ["no_such_module"]}), "target_modules"),
    ],
)
def test_what_a_method_does_not_know_is_refused_with_the_nearest(model: Any, chosen: ArmConfig, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        apply_arm(model, chosen, "mine", "classification", seed=0)
    assert "train.arms.mine" in str(caught.value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"method": "peft"},
        {"method": "lora", "peft_type": "LORA"},
        {"method": "full", "options": {"r": 3}},
        {"method": "lora", "learning_rate": 0},
        {"method": "bitfit"},
    ],
)
def test_an_arm_that_cannot_be_meant_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ArmConfig.model_validate({"learning_rate": 1e-3, **wrong})


def test_repeated_seeds_are_refused() -> None:
    with pytest.raises(ValidationError, match="seeds repeat"):
        TrainConfig(arms={"full": arm("full")}, seeds=(1, 2, 1))


def test_nothing_to_learn_is_an_error(model: Any) -> None:
    with pytest.raises(UsageError, match="no parameter would learn"):
        count_parameters(model.requires_grad_(requires_grad=False))


def test_the_head_has_its_rate_and_only_matrices_decay(model: Any) -> None:
    train = TrainConfig(arms={"full": arm("full")}, seeds=(1,), head_learning_rate=0.5, weight_decay=0.25)
    made = optimizer(model, 0.125, train)
    names = {id(value): name for name, value in model.named_parameters()}
    seen: dict[str, tuple[float, float]] = {}
    for group in made.param_groups:
        for value in group["params"]:
            assert names[id(value)] not in seen
            seen[names[id(value)]] = (group["lr"], group["weight_decay"])
    expected = {
        name: (0.5 if name.startswith("classifier.") else 0.125, 0.25 if value.ndim > 1 else 0.0)
        for name, value in model.named_parameters()
    }
    assert seen == expected
