"""Arms as data: from an `ArmConfig` to a model whose right parameters learn."""

from __future__ import annotations

from typing import Any

from rsa_ops.config.load import unknown_name
from rsa_ops.errors import ConfigError, Problem, UsageError
from rsa_ops.models.task import Task
from rsa_ops.training.config import ArmConfig

_PEFT_NAMES = {"rsa": "ROBUST_SPARSE", "lora": "LORA", "shira": "SHIRA"}


def apply_arm(model: Any, arm: ArmConfig, name: str, task: Task, *, seed: int) -> tuple[Any, list[Any]]:
    """Make `model` learn as `arm` says; returns the model and the Trainer callbacks that the arm needs.

    A new classification head learns in every arm (PEFT saves it beside the adapter).

    Raises:
        ConfigError: the PEFT method is unknown, or refuses its options.
    """
    if arm.method == "full":
        return model, []
    from peft import get_peft_model

    config = peft_config(arm, name, task, seed=seed)
    callbacks = [rsa_callback(arm, name)] if arm.method == "rsa" else []
    try:
        adapted = get_peft_model(model, config)
    except (ValueError, TypeError, KeyError) as error:
        raise ConfigError("pipeline.yaml", (Problem(f"train.arms.{name}", str(error)),)) from error
    return adapted, callbacks


def rsa_callback(arm: ArmConfig, name: str) -> Any:
    """The callback that selects blocks and acts on the arm's `robustness`.

    Raises:
        ConfigError: an unknown flag, or a strength that it refuses.
    """
    from rsa_ops.tuners import Robustness, RsaCallback

    known = tuple(Robustness.__dataclass_fields__)
    path = f"train.arms.{name}.robustness"
    if unknown := [flag for flag in arm.robustness if flag not in known]:
        problems = (Problem(f"{path}.{flag}", unknown_name(flag, known, "flag")) for flag in unknown)
        raise ConfigError("pipeline.yaml", tuple(problems))
    try:
        return RsaCallback(robustness=Robustness(**arm.robustness))
    except (TypeError, ValueError) as error:
        raise ConfigError("pipeline.yaml", (Problem(path, str(error)),)) from error


def peft_config(arm: ArmConfig, name: str, task: Task, *, seed: int) -> Any:
    """The PEFT configuration of an adapter arm.

    Raises:
        ConfigError: unknown method, or options that the method does not have.
    """
    from peft import TaskType
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    import rsa_ops.tuners  # noqa: F401  registers ROBUST_SPARSE

    wanted = (arm.peft_type or _PEFT_NAMES.get(arm.method, "")).upper()
    known = {str(getattr(kind, "value", kind)): config for kind, config in PEFT_TYPE_TO_CONFIG_MAPPING.items()}
    if wanted not in known:
        what = f"{wanted}: {unknown_name(wanted, sorted(known), 'PEFT method')}"
        raise ConfigError("pipeline.yaml", (Problem(f"train.arms.{name}.peft_type", what),))
    kind = known[wanted]
    options = tuple(kind.__dataclass_fields__)
    if unknown := [option for option in arm.options if option not in options]:
        path = f"train.arms.{name}.options"
        problems = (Problem(f"{path}.{option}", unknown_name(option, options, "option")) for option in unknown)
        raise ConfigError("pipeline.yaml", tuple(problems))
    defaults: dict[str, Any] = {"task_type": TaskType.SEQ_CLS if task == "classification" else TaskType.CAUSAL_LM}
    if wanted in _PEFT_NAMES.values():
        defaults["target_modules"] = "all-linear"
    for option in ("seed", "random_seed", "projection_prng_key"):
        if option in options:
            defaults[option] = seed
    try:
        return kind(**{**defaults, **arm.options})
    except (TypeError, ValueError) as error:
        raise ConfigError("pipeline.yaml", (Problem(f"train.arms.{name}.options", str(error)),)) from error


def count_parameters(model: Any) -> tuple[int, int]:
    """(trainable, total) parameters; raises UsageError when nothing would learn."""
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    total = sum(p.numel() for p in model.parameters())
    if trainable == 0:
        raise UsageError("no parameter would learn in this arm", hint="Look at its target_modules.")
    return trainable, total
