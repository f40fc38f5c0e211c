"""When columns are chosen: `RsaCallback` scores and selects once, before the first step of any `Trainer`.

From a LoRA script, two lines change: the config, and `callbacks=[RsaCallback()]`. Without the callback the adapter
trains on its seeded random columns, which is `scoring="random"`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor, distributed, nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from rsa_ops.tuners.rsa.config import RsaConfig
from rsa_ops.tuners.rsa.scoring import (
    Batch,
    LossFunction,
    adapted_layers,
    is_trained,
    kept_random_state,
    magnitude_scores,
    score_columns,
    select_columns,
    top_columns,
)

Scores = dict[str, Tensor]
"""Module name -> float32 [in_features]; a layer that no gradient reached is absent."""


@dataclass(frozen=True)
class ModuleSelection:
    """What was chosen in one layer.

    Attributes:
        name: module name in the model that the Trainer holds.
        in_features: columns there are.
        columns: columns that learn.
        scored: False when no gradient reached the layer, which keeps its seeded random columns.
        stability: Jaccard overlap, in [0, 1], of the columns that each half of the batches would choose; None when
            there were not two halves to compare, or nothing to score.
        chance: the overlap that two independent random choices have in expectation, about k / (2 * in - k).
    """

    name: str
    in_features: int
    columns: int
    scored: bool
    stability: float | None
    chance: float


@dataclass(frozen=True)
class SelectionReport:
    """What the callback did before the first step.

    Attributes:
        adapter_name: the adapter it looked at.
        scoring: the config's `scoring`.
        skipped: why nothing was selected; None when something was.
        seconds: wall time of scoring and selection.
        batches: batches read for scores, on this process.
        tokens: attended positions in them; None when the batches have no `attention_mask` and no `input_ids`.
        modules: one entry a layer, in the model's order; empty when skipped.
    """

    adapter_name: str
    scoring: str
    skipped: str | None
    seconds: float
    batches: int
    tokens: int | None
    modules: tuple[ModuleSelection, ...]


class RsaCallback(TrainerCallback):  # type: ignore[misc]
    """Selects an adapter's columns when training begins. Does nothing on a resumed or an already trained adapter.

    Args:
        adapter_name: the adapter to select for; by default the model's active Robust Sparse Adapter.
        loss_fn: (model, batch) -> scalar, where the model's own `loss` is not the one that is trained.

    Attributes:
        report: what was done; None before training begins.
    """

    def __init__(self, adapter_name: str | None = None, loss_fn: LossFunction | None = None) -> None:
        self.adapter_name = adapter_name
        self.loss_fn = loss_fn
        self.report: SelectionReport | None = None

    def on_train_begin(
        self,
        args: TrainingArguments,  # noqa: ARG002
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002
        **kwargs: Any,  # the signature is transformers'
    ) -> None:
        """Score, select, and write `report`.

        Raises:
            ValueError: the model has no Robust Sparse Adapter, or scoring is impossible (see `score_columns`).
        """
        model: nn.Module = kwargs["model"]
        name, config = find_adapter(model, self.adapter_name)
        started = time.perf_counter()
        reason = _reason_to_skip(model, name, config, state)
        if reason is not None:
            self.report = SelectionReport(name, config.scoring, reason, 0.0, 0, 0, ())
            return
        batches: list[Batch] = []
        if config.scoring == "fisher":
            peeked = _peek(kwargs["train_dataloader"], config.scoring_batches)
            batches = [_to_device(batch, model) for batch in peeked]
            halves = self._fisher_halves(model, name, batches)
            scores = _added(halves)
        else:
            halves, scores = (), magnitude_scores(model, adapter_name=name)
        selected = select_columns(model, name, scores)
        modules = _describe(model, name, frozenset(selected), halves)
        seconds = time.perf_counter() - started
        self.report = SelectionReport(name, config.scoring, None, seconds, len(batches), _tokens(batches), modules)

    def _fisher_halves(self, model: nn.Module, name: str, batches: Sequence[Batch]) -> tuple[Scores, ...]:
        """Scores of the even and of the odd batches, over all processes."""
        halves = []
        for part in (batches[0::2], batches[1::2]):
            # An empty second half still takes its turn: every process must call the same collectives.
            own = score_columns(model, part, self.loss_fn, adapter_name=name) if part or not batches else {}
            halves.append(_over_processes(model, name, own))
        return tuple(halves)


def find_adapter(model: nn.Module, adapter_name: str | None) -> tuple[str, RsaConfig]:
    """Name and config of the named, or else the first active, Robust Sparse Adapter of a PEFT model.

    Raises:
        ValueError: there is none.
    """
    configs: Mapping[str, object] = getattr(model, "peft_config", {})
    wanted = [adapter_name] if adapter_name is not None else _active_adapters(model) if configs else []
    for name in wanted:
        config = configs.get(name)
        if isinstance(config, RsaConfig):
            return name, config
    found = {name: type(config).__name__ for name, config in configs.items()}
    raise ValueError(
        f"RsaCallback: expected a PEFT model with an active RsaConfig adapter, found {type(model).__name__} with "
        f"adapters {found} (looked for {wanted}). Give the Trainer peft.get_peft_model(model, RsaConfig(...)), or "
        "name the adapter: RsaCallback(adapter_name=...)."
    )


def _active_adapters(model: Any) -> list[str]:
    # A property of PEFT's models; a method of transformers' own, which carry adapters through `model.add_adapter`.
    active = model.active_adapters
    return list(active() if callable(active) else active)


def _reason_to_skip(model: nn.Module, name: str, config: RsaConfig, state: TrainerState) -> str | None:
    if config.scoring == "random":
        return "scoring='random': the adapter keeps its seeded random columns"
    if state.global_step > 0:
        return f"training resumes at step {state.global_step}: the columns of the checkpoint stay"
    if is_trained(model, name):
        return "the adapter has learnt already: its columns stay"
    return None


def _peek(loader: Any, count: int) -> list[Batch]:
    """The first `count` batches that training would see, without moving what it will see.

    The plain loader inside accelerate's is read: accelerate's own iteration counts epochs and marks the end of
    data. Generators of loader and sampler are put back. NumPy's global generator is not: a collator that draws from
    it will draw other numbers in training.
    """
    plain = getattr(loader, "base_dataloader", loader)
    holders = (
        plain,
        getattr(plain, "sampler", None),
        getattr(getattr(plain, "batch_sampler", None), "sampler", None),
    )
    generators = [g for g in (getattr(h, "generator", None) for h in holders) if isinstance(g, torch.Generator)]
    with kept_random_state(), _kept_generators(generators):
        return list(islice(iter(plain), count))


@contextmanager
def _kept_generators(generators: Sequence[torch.Generator]) -> Iterator[None]:
    states = [generator.get_state() for generator in generators]
    try:
        yield
    finally:
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)


def _to_device(batch: Batch, model: nn.Module) -> Batch:
    device = next(model.parameters()).device
    return {key: value.to(device) if isinstance(value, Tensor) else value for key, value in batch.items()}


def _added(halves: tuple[Scores, ...]) -> Scores:
    total: Scores = {}
    for half in halves:
        for name, score in half.items():
            total[name] = total[name] + score if name in total else score
    return total


def _over_processes(model: nn.Module, adapter_name: str, scores: Scores) -> Scores:
    """Scores summed over all training processes, so that every one of them picks the same columns."""
    if not (distributed.is_available() and distributed.is_initialized()) or distributed.get_world_size() == 1:
        return scores
    summed: Scores = {}
    for name, layer in adapted_layers(model, adapter_name).items():
        # The last entry counts the processes that a gradient reached; all must take part whether or not it did.
        vector = torch.zeros(layer.in_features + 1, device=layer.delta(adapter_name).columns.device)
        if name in scores:
            vector[:-1], vector[-1] = scores[name], 1
        distributed.all_reduce(vector)
        if vector[-1] > 0:
            summed[name] = vector[:-1]
    return summed


def _tokens(batches: Sequence[Batch]) -> int | None:
    if all("attention_mask" in batch for batch in batches):
        return sum(int(batch["attention_mask"].sum()) for batch in batches)
    if all("input_ids" in batch for batch in batches):
        return sum(int(batch["input_ids"].numel()) for batch in batches)
    return None


def _describe(
    model: nn.Module, adapter_name: str, selected: frozenset[str], halves: tuple[Scores, ...]
) -> tuple[ModuleSelection, ...]:
    described = []
    for name, layer in adapted_layers(model, adapter_name).items():
        k, width = layer.delta(adapter_name).columns.numel(), layer.in_features
        both = bool(halves) and all(name in half for half in halves)
        stability = _overlap(*(half[name] for half in halves), count=k) if both else None
        described.append(ModuleSelection(name, width, k, name in selected, stability, k / (2 * width - k)))
    return tuple(described)


def _overlap(first: Tensor, second: Tensor, *, count: int) -> float:
    """Jaccard overlap of the top `count` of two score vectors."""
    one = set(top_columns(first, count).tolist())
    other = set(top_columns(second, count).tolist())
    return len(one & other) / len(one | other)
