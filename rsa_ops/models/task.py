"""A base model with the head of a task: what classification and generation need, and nothing about arms."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from rsa_ops.core.record import Value

Task = Literal["classification", "generation"]
Head = Literal["mean", "model"]


class ModelConfig(Value):
    """The `model:` section of pipeline.yaml.

    `base`: `asset:<name>`, a local directory or `hub:<id>`. `base_digest` pins its bytes when given.
    `max_length` in tokens (prompt and answer together for generation); longer texts are cut.
    `head` of a classifier: `mean` over the token states (sentence encoders), or the `model`'s own.
    `prompt` holds `{text}` once; the answer follows it, of at most `max_new_tokens` (generation only).
    """

    base: str
    base_digest: str | None = None
    max_length: int = Field(default=128, ge=8, le=8192)
    head: Head = "mean"
    prompt: str = "{text}\nReport:"
    max_new_tokens: int = Field(default=64, ge=1)
    dtype: Literal["float32", "bfloat16"] = "float32"


@dataclass(frozen=True)
class LoadedModel:
    """A model with its tokenizer on one device. `model` is a transformers or PEFT model."""

    model: Any
    tokenizer: Any
    device: str


def pick_device() -> str:
    """`cuda` where there is one, else `cpu`."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a base model, with a padding token."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(folder))
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.model_input_names = ["input_ids", "attention_mask"]  # single texts: no segments
    return tokenizer


def load_base_model(
    folder: Path, config: ModelConfig, task: Task, labels: tuple[str, ...], *, seed: int, checkpoint: bool = False
) -> Any:
    """The model in `folder` with a head for `labels` (classification) or as it is (generation).

    The head of a classifier is new unless `checkpoint`; `seed` decides its values, so that a cell is
    reproducible and its adapter can be loaded onto the same head elsewhere.
    """
    import torch
    from transformers import AutoModelForCausalLM, logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    dtype = getattr(torch, config.dtype)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if task == "generation":
            return AutoModelForCausalLM.from_pretrained(str(folder), dtype=dtype)
        return _classifier(str(folder), config.head, dtype, labels, checkpoint=checkpoint)


def _classifier(folder: str, head: Head, dtype: Any, labels: tuple[str, ...], *, checkpoint: bool) -> Any:
    from transformers import AutoConfig, AutoModelForSequenceClassification

    named: dict[str, Any] = {
        "num_labels": len(labels),
        "id2label": dict(enumerate(labels)),
        "label2id": {label: index for index, label in enumerate(labels)},
    }
    if head == "model":
        return AutoModelForSequenceClassification.from_pretrained(folder, dtype=dtype, **named)
    from rsa_ops.models.heads import mean_pool_from_base, mean_pool_from_checkpoint

    config = AutoConfig.from_pretrained(folder, **named)
    return (mean_pool_from_checkpoint if checkpoint else mean_pool_from_base)(folder, config, dtype)
