"""What every trial of a process shares: the prepared data and base models, on the device, loaded once."""

from __future__ import annotations

import copy
import json
import random
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from quality.pack import read_pieces
from quality.tasks import Base, Task

Batch = dict[str, Tensor]
CHUNK_BATCHES = 8
"""Rows are sorted by length within so many batches, as Trainer's `group_by_length` does within larger ones."""


@dataclass(frozen=True)
class Split:
    """One split on the device. `labels` [rows] of a classifier, or [rows, width] with -100 where nothing is learnt.

    `records` [rows] numbers the distinct records of generation; None for classification.
    """

    ids: Tensor
    lengths: Tensor
    labels: Tensor
    records: Tensor | None

    def __len__(self) -> int:
        return len(self.lengths)

    @cached_property
    def host_lengths(self) -> list[int]:
        """Lengths as numbers, so that cutting batches never waits for the device."""
        return list(self.lengths.tolist())

    def batch(self, rows: Tensor, width: int) -> Batch:
        """`rows` of the split, padded to `width`."""
        lengths = self.lengths.index_select(0, rows)
        ids = _cut(self.ids.index_select(0, rows), width, 0)
        labels = self.labels.index_select(0, rows)
        mask = (torch.arange(width, device=ids.device)[None, :] < lengths[:, None]).long()
        return {
            "input_ids": ids.long(),
            "attention_mask": mask,
            "labels": labels.long() if labels.ndim == 1 else _cut(labels, width, -100).long(),
        }


def _cut(rows: Tensor, width: int, filler: int) -> Tensor:
    if rows.shape[1] >= width:
        return rows[:, :width]
    return torch.nn.functional.pad(rows, (0, width - rows.shape[1]), value=filler)


class Batches:
    """The batches of one training, in order: shuffled by seed anew in each epoch, of similar lengths, all full."""

    def __init__(self, split: Split, task: Task, seed: int) -> None:
        rng = random.Random(seed)
        plan: list[tuple[list[int], int]] = []
        for _ in range(task.epochs):
            plan += _epoch(split.host_lengths, task, rng)
        self._split = split
        self._widths = [width for _, width in plan]
        self._rows = torch.tensor([rows for rows, _ in plan], device=split.ids.device)

    def __len__(self) -> int:
        return len(self._widths)

    def __getitem__(self, step: int) -> Batch:
        return self._split.batch(self._rows[step], self._widths[step])

    def __iter__(self) -> Iterator[Batch]:
        return (self[step] for step in range(len(self)))


def _epoch(lengths: list[int], task: Task, rng: random.Random) -> list[tuple[list[int], int]]:
    order = list(range(len(lengths)))
    rng.shuffle(order)
    order = order[: len(order) // task.batch * task.batch]
    chunk = CHUNK_BATCHES * task.batch
    order = [
        row
        for start in range(0, len(order), chunk)
        for row in sorted(order[start : start + chunk], key=lengths.__getitem__)
    ]
    batches = [order[start : start + task.batch] for start in range(0, len(order), task.batch)]
    rng.shuffle(batches)
    return [(rows, width_for(max(lengths[row] for row in rows), task.widths)) for rows in batches]


def width_for(length: int, widths: tuple[int, ...]) -> int:
    """The smallest of `widths` that holds `length`; the largest, which cuts, when none does."""
    return next((width for width in widths if width >= length), widths[-1])


class Bench:
    """Data and base models of a prepared folder on one device."""

    def __init__(self, folder: Path, device: str) -> None:
        self.folder, self.device = folder, device
        self.manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        self.scratch = Path(tempfile.mkdtemp(prefix="tuner_quality_"))
        self.kept: dict[str, Any] = {}
        self._splits: dict[tuple[str, str], Split] = {}
        self._bases: dict[Base, Any] = {}

    def split(self, data: str, name: str) -> Split:
        """A split of a data set, on the device."""
        if (data, name) not in self._splits:
            file = load_file(self.folder / self.manifest["data"][data]["file"], device=self.device)
            for split in {key.split(".")[0] for key in file}:
                part = {key.split(".", 1)[1]: tensor for key, tensor in file.items() if key.startswith(f"{split}.")}
                self._splits[data, split] = _split(part)
            self._settle()
        return self._splits[data, name]

    def rest(self, task: Task) -> Batches:
        """Batches of the training rows that `task`, which trains on the first few, leaves to others."""
        whole, few = self.split(task.data, "train"), len(self.split(task.data, task.train))
        if few >= len(whole):
            raise ValueError(f"{task.name} trains on every row; a warm start needs others")
        records = None if whole.records is None else whole.records[few:]
        other = Split(whole.ids[few:], whole.lengths[few:], whole.labels[few:], records)
        return Batches(other, replace(task, epochs=1), seed=0)

    def base(self, task: Task) -> Any:
        """The task's base itself, which nobody may train."""
        if task.base not in self._bases:
            self._bases[task.base] = self._load(task.base)
            self._settle()
        return self._bases[task.base]

    def fresh(self, task: Task, seed: int) -> Any:
        """A copy of the task's base, with torch seeded: a new head and all later draws follow from `seed`."""
        model = copy.deepcopy(self.base(task))
        torch.manual_seed(seed)
        if task.base == "encoder":
            torch.nn.init.normal_(model.classifier.weight, std=0.02)
            torch.nn.init.zeros_(model.classifier.bias)
        return model

    def _settle(self) -> None:
        """Wait until what was loaded is there, since other streams will read it."""
        if self.device == "cuda":
            torch.cuda.synchronize()

    def _load(self, base: Base) -> Any:
        from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

        from rsa_ops.models.heads import MeanPoolClassifier

        facts = self.manifest["bases"][base]
        written = json.loads((self.folder / facts["config"]).read_text(encoding="utf-8"))
        config = AutoConfig.for_model(written.pop("model_type"), **written)
        state = read_pieces(self.folder, facts["files"], self.device)
        with torch.device(self.device):
            if base == "encoder":
                config.num_labels = len(self.manifest["data"]["banking"]["classes"])
                encoder = AutoModel.from_config(config, dtype=torch.float32)
                encoder.register_module("pooler", None)
                model = MeanPoolClassifier(config, encoder)
                lacking = encoder.load_state_dict(state, strict=False)
            else:
                model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
                lacking = model.load_state_dict(state, strict=False)
                model.tie_weights()
        lost = [
            name
            for name in lacking.missing_keys
            if name.endswith((".weight", ".bias")) and name != "lm_head.weight"
        ]
        if lost or lacking.unexpected_keys:
            raise ValueError(f"{base}: weights do not fit the model: {lost[:3]}, {lacking.unexpected_keys[:3]}")
        return model.to(self.device).eval()


def _split(part: dict[str, Tensor]) -> Split:
    if "labels" in part:
        return Split(part["ids"], part["lengths"], part["labels"], None)
    places = torch.arange(part["ids"].shape[1], device=part["ids"].device)[None, :]
    answer = (places >= part["prompts"][:, None]) & (places < part["lengths"][:, None])
    return Split(part["ids"], part["lengths"], part["ids"].masked_fill(~answer, -100), part["records"])
