"""Predictions of a loaded model: batches sorted by length, results in the order of the input."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from rsa_ops.models.task import LoadedModel, ModelConfig
from rsa_ops.models.trained import TrainedModel

Tick = Callable[[int], None]
"""Called with the number of examples just finished."""


@dataclass(frozen=True)
class Predictions:
    """One entry per input. `confidences` is None for generation; latencies are those of single calls."""

    outputs: list[str]
    confidences: list[float] | None


def predict_texts(
    loaded: LoadedModel,
    spec: TrainedModel,
    texts: Sequence[str],
    *,
    batch: int = 64,
    tick: Tick = lambda _: None,
) -> Predictions:
    """Labels or generated texts, as the task of the artifact says."""
    if spec.task == "classification":
        return classify(loaded, texts, spec.labels, spec.model, batch, tick)
    return generate(loaded, texts, spec.model, batch, tick)


def classify(
    loaded: LoadedModel, texts: Sequence[str], labels: tuple[str, ...], config: ModelConfig, batch: int, tick: Tick
) -> Predictions:
    """The most probable label of each text and its probability (softmax of the logits)."""
    import torch

    outputs = [""] * len(texts)
    confidences = [0.0] * len(texts)
    with torch.inference_mode():
        for rows in _by_length(texts, batch):
            logits = class_logits(loaded, [texts[row] for row in rows], config)
            best = torch.softmax(logits.float(), dim=-1).max(dim=-1)
            for row, value, index in zip(rows, best.values.tolist(), best.indices.tolist(), strict=True):
                outputs[row], confidences[row] = labels[index], float(value)
            tick(len(rows))
    return Predictions(outputs, confidences)


def class_logits(loaded: LoadedModel, texts: list[str], config: ModelConfig):  # type: ignore[no-untyped-def]
    """Logits [texts, labels] of one batch."""
    encoded = loaded.tokenizer(
        texts, truncation=True, max_length=config.max_length, padding=True, return_tensors="pt"
    ).to(loaded.device)
    return loaded.model(**encoded).logits


def generate(loaded: LoadedModel, texts: Sequence[str], config: ModelConfig, batch: int, tick: Tick) -> Predictions:
    """The greedy continuation of each prompt, up to the end token or the first line break."""
    import torch

    outputs = [""] * len(texts)
    tokenizer = loaded.tokenizer
    tokenizer.padding_side, tokenizer.truncation_side = "left", "left"
    room = max(8, config.max_length - config.max_new_tokens)
    with torch.inference_mode():
        for rows in _by_length(texts, batch):
            prompts = [config.prompt.format(text=texts[row]) for row in rows]
            encoded = tokenizer(prompts, truncation=True, max_length=room, padding=True, return_tensors="pt")
            encoded = encoded.to(loaded.device)
            made = loaded.model.generate(
                **encoded,
                max_new_tokens=config.max_new_tokens,
                do_sample=False,
                num_beams=1,
                pad_token_id=tokenizer.pad_token_id,
            )
            answers = tokenizer.batch_decode(made[:, encoded["input_ids"].shape[1] :], skip_special_tokens=True)
            for row, answer in zip(rows, answers, strict=True):
                outputs[row] = answer.strip().split("\n", 1)[0].strip()
            tick(len(rows))
    return Predictions(outputs, None)


@dataclass(frozen=True)
class Timed:
    """Answers to single texts, and the wall milliseconds that each took."""

    outputs: list[str]
    latency_ms: list[float]


def predict_one_by_one(loaded: LoadedModel, spec: TrainedModel, texts: Sequence[str]) -> Timed:
    """Predict each text alone, after one call to warm up."""
    outputs, times = [], []
    for text in (texts[0], *texts):
        start = time.perf_counter()
        outputs += predict_texts(loaded, spec, [text]).outputs
        times.append((time.perf_counter() - start) * 1000)
    return Timed(outputs[1:], times[1:])


def _by_length(texts: Sequence[str], batch: int) -> Iterator[list[int]]:
    # Longest first: a batch that does not fit in memory fails at once, not at the end.
    order = sorted(range(len(texts)), key=lambda row: -len(texts[row]))
    for start in range(0, len(order), batch):
        yield order[start : start + batch]
