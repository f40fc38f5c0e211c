"""Arms are data: what each trains, at which rate, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from rsa_ops.errors import ConfigError, UsageError
from rsa_ops.models.task import ModelConfig, load_base_model
from rsa_ops.training.arms import apply_arm, count_parameters, peft_config, rsa_callback
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


@pytest.mark.parametrize(("task", "kind"), [("classification", "SEQ_CLS"), ("generation", "CAUSAL_LM")])
@pytest.mark.parametrize("method", ["rsa", "lora", "shira"])
def test_an_arm_reaches_every_linear_layer_for_its_task(method: str, task: Any, kind: str) -> None:
    chosen = arm(method, options={"density": 0.1} if method == "rsa" else {"r": 2})
    config = peft_config(chosen, "arm", task, seed=3)
    assert config.target_modules == "all-linear"
    assert str(getattr(config.task_type, "value", config.task_type)) == kind


def test_the_seed_of_the_cell_reaches_a_method_that_draws_and_options_go_before_it() -> None:
    drawing = {
        "rsa": ("seed", {"density": 0.1}),
        "shira": ("random_seed", {"r": 2}),
        "VERA": ("projection_prng_key", {"r": 2, "target_modules": ["query"]}),
    }
    for method, (option, options) in drawing.items():
        which = {"method": "peft", "peft_type": method} if method == "VERA" else {"method": method}
        chosen = arm(**which, options=options)
        assert getattr(peft_config(chosen, "arm", "classification", seed=11), option) == 11
        pinned = arm(**which, options={**options, option: 5})
        assert getattr(peft_config(pinned, "arm", "classification", seed=11), option) == 5


def test_only_an_rsa_arm_brings_a_callback(make_encoder: Callable[..., Path]) -> None:
    from rsa_ops.tuners import RsaCallback

    for method, options in (("rsa", {"density": 0.1}), ("lora", {"r": 2}), ("shira", {"r": 2})):
        folder = make_encoder()
        bare = load_base_model(folder, ModelConfig(base=str(folder)), "classification", LABELS, seed=0)
        _, callbacks = apply_arm(bare, arm(method, options=options), method, "classification", seed=0)
        assert [type(callback) for callback in callbacks] == ([RsaCallback] if method == "rsa" else [])


def test_robustness_of_an_arm_reaches_its_callback_and_a_wrong_flag_is_named() -> None:
    from rsa_ops.tuners import Robustness

    callback = rsa_callback(arm("rsa", robustness={"neftune_alpha": 5.0}), "ours")
    assert callback.robustness == Robustness(neftune_alpha=5.0)
    with pytest.raises(ConfigError, match="did you mean `neftune_alpha`"):
        rsa_callback(arm("rsa", robustness={"neftune": 5.0}), "ours")
    with pytest.raises(ConfigError, match="expected a number above 0"):
        rsa_callback(arm("rsa", robustness={"rdrop": -1.0}), "ours")
    with pytest.raises(ValidationError, match="only with it"):
        arm("lora", robustness={"rdrop": 1.0})


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("  metod: lora\n  learning_rate: 1e-3", "did you mean `method`"),
        ("  method: lora\n  learning_rat: 1e-3", "did you mean `learning_rate`"),
        ("  method: lorra\n  learning_rate: 1e-3", "'lora'"),
    ],
)
def test_an_arm_misspelt_in_the_file_is_refused_with_its_line(tmp_path: Path, wrong: str, words: str) -> None:
    from rsa_ops.config import read_config

    file = tmp_path / "arm.yaml"
    file.write_text("\n".join(line.strip() for line in wrong.splitlines()) + "\n")
    with pytest.raises(ConfigError, match=words) as caught:
        read_config(ArmConfig, file)
    assert {problem.line for problem in caught.value.problems} & {1, 2}


def test_all_problems_of_the_options_are_told_at_once(model: Any) -> None:
    chosen = arm("lora", options={"lora_alhpa": 3, "ranck": 2})
    with pytest.raises(ConfigError) as caught:
        apply_arm(model, chosen, "mine", "classification", seed=0)
    assert [problem.where for problem in caught.value.problems] == [
        "train.arms.mine.options.lora_alhpa",
        "train.arms.mine.options.ranck",
    ]


def test_the_effort_is_stated_even_where_nobody_stated_it() -> None:
    assert TrainConfig(arms={"full": arm("full")}, seeds=(1,)).effort == (
        "learning rates as set in pipeline.yaml; no search"
    )


def test_nothing_but_the_learning_rate_and_the_method_can_differ_between_arms() -> None:
    # The same effort for every arm: epochs, batches, schedule, decay and seeds belong to all of them together.
    # `options` and `robustness` say what the method is.
    assert set(ArmConfig.model_fields) == {"method", "learning_rate", "peft_type", "options", "robustness"}
    with pytest.raises(ValidationError, match="epochs"):
        arm("full", epochs=9)


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
