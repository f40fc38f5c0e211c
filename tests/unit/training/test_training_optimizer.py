"""AdamW's groups, by the names of what is in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rsa_ops.models.task import ModelConfig, load_base_model
from rsa_ops.training.arms import apply_arm
from rsa_ops.training.config import ArmConfig, TrainConfig
from rsa_ops.training.optimizer import optimizer

ARMS = {
    "rsa": ArmConfig(method="rsa", learning_rate=0.01, options={"density": 0.1}),
    "lora": ArmConfig(method="lora", learning_rate=0.02, options={"r": 2}),
    "full": ArmConfig(method="full", learning_rate=0.03),
}
TRAIN = TrainConfig(arms=ARMS, seeds=(1,), head_learning_rate=0.5, weight_decay=0.25)


def groups(base: Path, arm: str, task: Any, labels: tuple[str, ...]) -> dict[str, tuple[float, float]]:
    """Parameter -> (rate, decay), of all that the optimizer holds."""
    bare = load_base_model(base, ModelConfig(base=str(base)), task, labels, seed=0)
    model, _ = apply_arm(bare, ARMS[arm], arm, task, seed=0)
    names = {id(value): name for name, value in model.named_parameters()}
    made = optimizer(model, ARMS[arm].learning_rate, TRAIN)
    found = [
        (names[id(value)], (group["lr"], group["weight_decay"]))
        for group in made.param_groups
        for value in group["params"]
    ]
    assert len(dict(found)) == len(found)  # no parameter is stepped twice
    assert set(dict(found)) == {name for name, value in model.named_parameters() if value.requires_grad}
    return dict(found)


@pytest.mark.parametrize("arm", list(ARMS))
def test_an_arm_learns_at_its_own_rate_and_the_new_head_at_the_heads(encoder: Path, arm: str) -> None:
    rates = {name: rate for name, (rate, _) in groups(encoder, arm, "classification", ("a", "b")).items()}
    heads = {name for name in rates if ".classifier." in f".{name}"}
    assert len(heads) == 2  # weight and bias
    assert {rates[name] for name in heads} == {0.5}
    assert {rates[name] for name in set(rates) - heads} == {ARMS[arm].learning_rate}


@pytest.mark.parametrize("arm", list(ARMS))
def test_a_language_model_has_no_new_head_and_one_rate(causal: Path, arm: str) -> None:
    assert {rate for rate, _ in groups(causal, arm, "generation", ()).values()} == {ARMS[arm].learning_rate}


@pytest.mark.parametrize(("base", "task"), [("encoder", "classification"), ("causal", "generation")])
def test_no_bias_and_no_norm_decays_and_every_matrix_does(
    base: str, task: str, request: pytest.FixtureRequest
) -> None:
    # Devlin et al. 2019, and the GPT recipes: weight decay on all but bias and layer norm.
    labels = ("a", "b") if task == "classification" else ()
    found = groups(request.getfixturevalue(base), "full", task, labels)
    spared = {name for name in found if name.endswith(".bias") or "norm" in name.lower()}
    assert spared
    assert {found[name][1] for name in spared} == {0.0}
    assert {found[name][1] for name in set(found) - spared} == {0.25}
