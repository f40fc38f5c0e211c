"""Forgetting: what training cost on everyday English that no task here is about, against the base.

The text is carried with the package (`general_text.txt`, 60 short sentences written for it, shortest first); its
digest stands in every record, so that two numbers are compared only where they are about the same text. A base that
reads no English has a number too, which then says little.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from rsa_ops.core.benchmark import Forgetting
from rsa_ops.core.digest import Digest, digest_bytes
from rsa_ops.errors import CellFailed
from rsa_ops.models.task import LoadedModel
from rsa_ops.models.trained import TrainedModel

BATCH = 20  # the file is in order of length, so that a batch holds little padding


@cache
def general_text() -> tuple[str, ...]:
    """The sentences."""
    return tuple(_file().decode("utf-8").splitlines())


@cache
def text_digest() -> Digest:
    """SHA-256 of the file that holds them."""
    return digest_bytes(_file())


def _file() -> bytes:
    return files("rsa_ops.evaluation").joinpath("general_text.txt").read_bytes()


@dataclass(frozen=True)
class Reading:
    """How one model read the text: loss a token (language models) or a vector a sentence (classifiers)."""

    tokens: int
    loss: float | None
    vectors: Any


def read_general_text(model: Any, loaded: LoadedModel, spec: TrainedModel) -> Reading:
    """Let `model` (the artifact's, or its base) read the text; the tokenizer is left as found."""
    import torch

    sentences, tokenizer = general_text(), loaded.tokenizer
    side, tokenizer.padding_side = tokenizer.padding_side, "right"  # positions count from the first word
    tokens, losses, vectors = 0, 0.0, []
    try:
        with torch.inference_mode():
            for start in range(0, len(sentences), BATCH):
                batch = tokenizer(
                    list(sentences[start : start + BATCH]),
                    truncation=True,
                    max_length=spec.model.max_length,
                    padding=True,
                    return_tensors="pt",
                ).to(loaded.device)
                if spec.task == "generation":
                    summed, counted = _loss(model, batch)
                    losses, tokens = losses + summed, tokens + counted
                else:
                    vectors.append(_vectors(model, batch))
                    tokens += int(batch["attention_mask"].sum())
    finally:
        tokenizer.padding_side = side
    if spec.task == "generation":
        return Reading(tokens, losses / tokens, None)
    return Reading(tokens, None, torch.cat(vectors))


def forgetting(trained: Reading, base: Reading) -> Forgetting:
    """The change from `base` to `trained`.

    Raises:
        CellFailed: it is no number.
    """
    kind: Literal["loss_per_token", "vector_drift"] = "loss_per_token"
    if trained.loss is not None and base.loss is not None:
        value = trained.loss - base.loss
    else:
        import torch

        kind = "vector_drift"
        value = max(0.0, 1 - float(torch.cosine_similarity(trained.vectors, base.vectors, dim=-1).mean()))
    if not math.isfinite(value):
        raise CellFailed(
            f"{kind} on general text is {value}", hint="The model holds NaN or infinity. Train the cell again."
        )
    return Forgetting(
        kind=kind,
        value=value,
        trained=trained.loss,
        base=base.loss,
        sentences=len(general_text()),
        tokens=trained.tokens,
        text_digest=text_digest(),
    )


def _loss(model: Any, batch: Any) -> tuple[float, int]:
    """Summed cross-entropy of each next token within its sentence, and how many there were."""
    from torch.nn.functional import cross_entropy

    logits = model(**batch).logits[:, :-1].float()
    wanted = batch["input_ids"][:, 1:].masked_fill(batch["attention_mask"][:, 1:] == 0, -100)
    summed = cross_entropy(logits.flatten(0, 1), wanted.flatten(), ignore_index=-100, reduction="sum")
    return float(summed), int((wanted != -100).sum())


def _vectors(model: Any, batch: Any) -> Any:
    """Mean of the last states over attended tokens, [sentences, hidden]."""
    states = model(**batch, output_hidden_states=True).hidden_states[-1].double()
    weights = batch["attention_mask"][..., None].to(states)
    return (states * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)
