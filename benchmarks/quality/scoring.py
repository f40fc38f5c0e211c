"""Scores of a trained model, one number per example, in large batches without gradients."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from quality.bench import Bench, Split, width_for
from quality.tasks import Task

ROWS = {"encoder": 512, "causal": 64}


def _batches(split: Split, rows: int, widths: tuple[int, ...]) -> Generator[tuple[Tensor, int], None, None]:
    order = sorted(range(len(split)), key=split.host_lengths.__getitem__)
    for start in range(0, len(order), rows):
        part = order[start : start + rows]
        width = width_for(split.host_lengths[part[-1]], widths)
        yield torch.tensor(part, device=split.ids.device), width


def classes(model: Any, split: Split, task: Task) -> Generator[None, None, Tensor]:
    """Predicted class of every row, [rows]; yields between batches."""
    found = torch.empty(len(split), dtype=torch.long, device=split.ids.device)
    for rows, width in _batches(split, ROWS[task.base], task.widths):
        batch = split.batch(rows, width)
        with torch.no_grad():
            logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        found.index_copy_(0, rows, logits.argmax(dim=-1))
        yield
    return found


def losses(base: Any, split: Split, task: Task) -> Generator[None, None, tuple[Tensor, Tensor]]:
    """Summed negative log-likelihood and tokens of every record, [records] each; yields between batches.

    `base` is the transformers model under any adapter; only the positions before an answer's token reach its head.
    """
    if split.records is None:
        raise ValueError("a split of classification has no loss per record")
    records = int(split.records.max()) + 1
    sums = torch.zeros(records, device=split.ids.device, dtype=torch.float64)
    tokens = torch.zeros_like(sums)
    for rows, width in _batches(split, ROWS[task.base], task.widths):
        batch = split.batch(rows, width)
        owners = split.records.index_select(0, rows).long()[:, None].expand(-1, width - 1)
        labels = batch["labels"][:, 1:]
        with torch.no_grad():
            states = base.model(
                input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False
            )
            picked = labels != -100
            logits = base.lm_head(states.last_hidden_state[:, :-1][picked])
            values = cross_entropy(logits.float(), labels[picked], reduction="none").double()
        sums.index_add_(0, owners[picked], values)
        tokens.index_add_(0, owners[picked], torch.ones_like(values))
        yield
    return sums, tokens


def base_losses(bench: Bench, task: Task) -> np.ndarray:
    """Summed losses of the general sentences under the base model, computed once in a process: [sentences]."""
    if "general" not in bench.kept:
        steps = losses(bench.base(task), bench.split(task.data, "general"), task)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                bench.kept["general"] = end.value[0].float().cpu().numpy()
                break
    return bench.kept["general"]


def bare(model: Any) -> Any:
    """The transformers model, with its adapters in place."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def evaluate(bench: Bench, model: Any, task: Task, split: str) -> Generator[None, None, dict[str, Any]]:
    """Scores of `split`, and beside it of its texts under typos (banking) or of general text (e2e)."""
    model.eval()
    metrics, arrays = {}, {}
    if task.base == "encoder":
        for name, metric in ((split, "accuracy"), (f"{split}_typos", "accuracy_typos")):
            part = bench.split(task.data, name)
            found = yield from classes(model, part, task)
            metrics[metric] = float((found == part.labels).double().mean())
            arrays[metric] = found.to(torch.uint8).cpu().numpy()
        return {"metrics": metrics, "arrays": arrays}
    for name, metric in ((split, "nll"), ("general", "nll_general")):
        sums, tokens = yield from losses(bare(model), bench.split(task.data, name), task)
        metrics[metric] = float(sums.sum() / tokens.sum())
        arrays[metric] = sums.float().cpu().numpy()
        arrays[f"{metric}_tokens"] = tokens.to(torch.int32).cpu().numpy()
    arrays["nll_general_base"] = before = base_losses(bench, task)
    metrics["forgetting"] = metrics["nll_general"] - float(before.sum() / arrays["nll_general_tokens"].sum())
    return {"metrics": metrics, "arrays": arrays}
