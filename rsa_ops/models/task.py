"""A base model with the head of a task: what classification and generation need, and nothing about arms."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from rsa_ops.core.record import Value
from rsa_ops.errors import IntegrityError, MissingError

Task = Literal["classification", "generation"]
Head = Literal["mean", "model"]
_COPY_TOKENIZER = "Copy the whole model directory; tokenizer.json and tokenizer_config.json belong to it."


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

    @model_validator(mode="after")
    def _the_prompt_holds_the_text_once(self) -> Self:
        fields = [field for _, field, _, _ in Formatter().parse(self.prompt) if field is not None]
        if fields != ["text"]:
            raise ValueError(
                "`prompt` must hold {text} exactly once, and no other braces; {{ and }} stand for braces"
            )
        return self


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
    """The tokenizer of a base model, with a padding token.

    Raises:
        MissingError: the folder has none that can be read, or one without words or without an end.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder))
    except (OSError, ValueError) as error:
        what = f"{folder} has no tokenizer that transformers can read: {str(error).splitlines()[0]}"
        raise MissingError(what, hint=_COPY_TOKENIZER) from error
    if len(tokenizer) <= len(tokenizer.all_special_ids):
        # Without its files transformers makes an empty one, to which every word is unknown.
        raise MissingError(f"{folder} has no tokenizer: its files are not there", hint=_COPY_TOKENIZER)
    if tokenizer.pad_token is None and tokenizer.eos_token is None:
        raise MissingError(f"the tokenizer in {folder} has neither padding nor end token", hint=_COPY_TOKENIZER)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.model_input_names = ["input_ids", "attention_mask"]  # single texts: no segments
    return tokenizer


@contextmanager
def readable_weights(folder: Path) -> Iterator[None]:
    """Turn the error of a damaged safetensors file in `folder` into an IntegrityError that names the folder."""
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        raise IntegrityError(
            f"{folder}: the weights are damaged: {error}",
            hint="A half-finished copy looks like this; copy the whole directory again.",
        ) from error


def load_base_model(
    folder: Path, config: ModelConfig, task: Task, labels: tuple[str, ...], *, seed: int, checkpoint: bool = False
) -> Any:
    """The model in `folder` with a head for `labels` (classification) or as it is (generation).

    The head of a classifier is new unless `checkpoint`; `seed` decides its values, so that a cell is
    reproducible and its adapter can be loaded onto the same head elsewhere.

    Raises:
        IntegrityError: the weights are damaged.
    """
    import torch
    from transformers import AutoModelForCausalLM, logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    dtype = getattr(torch, config.dtype)
    with torch.random.fork_rng(devices=[]), readable_weights(folder):
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
