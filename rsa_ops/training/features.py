"""Rows of text to token ids, and batches of them to tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rsa_ops.models.task import ModelConfig, Task

IGNORED = -100
"""Label id that the loss leaves out (torch's own convention)."""


class Features(Sequence[Mapping[str, Any]]):
    """Token ids of a split, in memory. Each item: `input_ids`, `labels`, and `length` for batching by length."""

    def __init__(self, items: list[dict[str, Any]]) -> None:
        self._items = items

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: Any) -> Any:
        return self._items[index]

    @property
    def tokens(self) -> int:
        """Number of tokens, padding not counted."""
        return sum(int(item["length"]) for item in self._items)


def encode(
    texts: Sequence[str],
    targets: Sequence[str],
    *,
    tokenizer: Any,
    config: ModelConfig,
    task: Task,
    labels: tuple[str, ...],
) -> Features:
    """Encode examples for training; see `ModelConfig` for lengths and the prompt."""
    if task == "classification":
        encoded = tokenizer(list(texts), truncation=True, max_length=config.max_length)["input_ids"]
        index = {label: number for number, label in enumerate(labels)}
        pairs = zip(encoded, (index[target] for target in targets), strict=True)
        return Features([{"input_ids": ids, "labels": label, "length": len(ids)} for ids, label in pairs])
    prompts = tokenizer([config.prompt.format(text=text) for text in texts])["input_ids"]
    answers = tokenizer([f" {target}" for target in targets], add_special_tokens=False)["input_ids"]
    end = [tokenizer.eos_token_id]
    return Features([_pair(p, a + end, config.max_length) for p, a in zip(prompts, answers, strict=True)])


def _pair(prompt: list[int], answer: list[int], limit: int) -> dict[str, Any]:
    # A long prompt loses its beginning, never the answer: an answer that is cut teaches not to stop.
    answer = answer[: limit - 1]
    prompt = prompt[-(limit - len(answer)) :]
    ids = prompt + answer
    return {"input_ids": ids, "labels": [IGNORED] * len(prompt) + answer, "length": len(ids)}


@dataclass(frozen=True)
class Collator:
    """Pads a batch to its longest item; `labels` of generation are padded with IGNORED."""

    pad_id: int
    task: Task

    def __call__(self, items: list[Mapping[str, Any]]) -> dict[str, Any]:
        """Tensors `input_ids`, `attention_mask` [batch, length] and `labels` ([batch] or [batch, length])."""
        import torch

        width = max(len(item["input_ids"]) for item in items)

        def padded(key: str, filler: int) -> Any:
            return torch.tensor([list(item[key]) + [filler] * (width - len(item[key])) for item in items])

        ids = padded("input_ids", self.pad_id)
        lengths = torch.tensor([len(item["input_ids"]) for item in items])
        mask = (torch.arange(width)[None, :] < lengths[:, None]).long()
        if self.task == "classification":
            labels = torch.tensor([item["labels"] for item in items])
        else:
            labels = padded("labels", IGNORED)
        return {"input_ids": ids, "attention_mask": mask, "labels": labels}
