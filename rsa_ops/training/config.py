"""The `train:` section of pipeline.yaml: which arms, how long, at which learning rates."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, JsonValue, model_validator

from rsa_ops.core.record import Value

Method = Literal["rsa", "lora", "shira", "peft", "full"]


class ArmConfig(Value):
    """One way of training.

    `method: peft` takes any other PEFT method by its `peft_type` (IA3, VERA, ...). `options` go to the
    method's PEFT configuration as they are. `learning_rate` is per arm: sparse values want several times
    LoRA's rate, and full fine-tuning a much lower one, so a common rate would decide the comparison. `robustness`
    names flags of `rsa_ops.tuners.Robustness` with their strengths; they belong to `method: rsa`.
    """

    method: Method
    learning_rate: float = Field(gt=0, le=1)
    peft_type: str | None = None
    options: dict[str, JsonValue] = Field(default_factory=dict)
    robustness: dict[str, float] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _peft_type_only_where_it_means_something(self) -> Self:
        if (self.method == "peft") != (self.peft_type is not None):
            raise ValueError("`peft_type` goes with `method: peft`, and only with it")
        if self.method == "full" and self.options:
            raise ValueError("`method: full` trains every parameter and takes no options")
        if self.robustness and self.method != "rsa":
            raise ValueError("`robustness` goes with `method: rsa`, and only with it")
        return self


class TrainConfig(Value):
    """Everything but the arms is the same for every arm: seeds, data, epochs, batches, schedule.

    A new classification head learns at `head_learning_rate` in every arm: at full fine-tuning's low rate it
    would hardly move in a short training, and the comparison would be one of heads.
    `effort` is printed in the report: how each arm's learning rate was found.
    """

    arms: dict[str, ArmConfig] = Field(min_length=1)
    seeds: tuple[int, ...] = Field(min_length=1)
    epochs: float = Field(default=3.0, gt=0)
    batch_size: int = Field(default=16, ge=1)
    gradient_accumulation_steps: int = Field(default=1, ge=1)
    head_learning_rate: float = Field(default=1e-3, gt=0, le=1)
    warmup_share: float = Field(default=0.06, ge=0, lt=1)
    weight_decay: float = Field(default=0.01, ge=0)
    max_grad_norm: float = Field(default=1.0, gt=0)
    effort: str = "learning rates as set in pipeline.yaml; no search"

    @model_validator(mode="after")
    def _names_and_seeds_are_distinct(self) -> Self:
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds repeat: {list(self.seeds)}")
        return self
