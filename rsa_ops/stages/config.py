"""pipeline.yaml: what a pipeline does. Each room owns its own section; this only puts them side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from rsa_ops.config import read_config
from rsa_ops.core.record import Record, Value
from rsa_ops.costs.config import CostConfig
from rsa_ops.data.config import DataConfig
from rsa_ops.errors import ConfigError, MissingError, Problem
from rsa_ops.evaluation.config import BenchmarkConfig
from rsa_ops.gates.policy import Policy
from rsa_ops.models.task import ModelConfig, Task
from rsa_ops.training.config import TrainConfig

PIPELINE_FILE = "pipeline.yaml"
PRIMARY: dict[Task, str] = {"classification": "accuracy", "generation": "chrf"}
"""The metric that an example's score is, by task."""


class ExecutionConfig(Value):
    """How many cells at once, and threads for each. 0 means: as many as the machine has room for."""

    workers: int = Field(default=0, ge=0)
    threads: int = Field(default=0, ge=0)


class TrackingConfig(Value):
    """`uri` of the MLflow store; without it, a database in the working folder (or MLFLOW_TRACKING_URI)."""

    uri: str | None = None


class PipelineConfig(Record):
    """pipeline.yaml. `release_seed` names, before any score exists, the seed whose adapter is released."""

    schema_: Literal["rsa_ops/pipeline/v1"] = Field(default="rsa_ops/pipeline/v1", alias="schema")

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,60}$")]
    description: str = ""
    task: Task
    data: DataConfig
    model: ModelConfig
    train: TrainConfig
    benchmark: BenchmarkConfig = BenchmarkConfig()
    cost: CostConfig = CostConfig()
    policy: str = "policy.yaml"
    release_seed: int | None = None
    execution: ExecutionConfig = ExecutionConfig()
    tracking: TrackingConfig = TrackingConfig()

    @model_validator(mode="after")
    def _release_seed_is_trained(self) -> Self:
        if self.release_seed is not None and self.release_seed not in self.train.seeds:
            raise ValueError(f"release_seed {self.release_seed} is not one of train.seeds {list(self.train.seeds)}")
        return self

    @property
    def released_seed(self) -> int:
        """The seed whose adapter becomes a version: `release_seed`, or the first."""
        return self.train.seeds[0] if self.release_seed is None else self.release_seed

    @property
    def settings_note(self) -> str:
        """What the trainer is told, for every arm alike, in one paragraph for the report."""
        train, model = self.train, self.model
        rates = ", ".join(f"{name} {arm.learning_rate:g}" for name, arm in train.arms.items())
        head = f"; new classification head {train.head_learning_rate:g}" if self.task == "classification" else ""
        return (
            f"Every arm: {train.epochs:g} epochs, batches of {train.batch_size}, at most {model.max_length} "
            f"tokens, AdamW, linear schedule. Learning rates: {rates}{head}. Effort: {train.effort}."
        )


def read_pipeline(place: Path) -> tuple[PipelineConfig, Policy, Path]:
    """The configuration and policy of a pipeline folder (or of a pipeline.yaml), and the folder.

    Raises:
        MissingError: no such folder or file.
        ConfigError: every problem of a file at once; arms that the policy names but the pipeline lacks.
    """
    file = place if place.suffix in (".yaml", ".yml") else place / PIPELINE_FILE
    if not file.is_file():
        raise MissingError(f"{file} is not there", hint="Give a pipeline folder; `rsa-ops init DIR` makes one.")
    config = read_config(PipelineConfig, file)
    policy = read_config(Policy, file.parent / config.policy)
    unknown = sorted({policy.candidate, *policy.arms} - set(config.train.arms))
    if unknown:
        known = ", ".join(config.train.arms)
        problem = Problem("rules", f"names the arms {', '.join(unknown)}, but pipeline.yaml trains {known}")
        raise ConfigError(str(file.parent / config.policy), (problem,))
    return config, policy, file.parent
