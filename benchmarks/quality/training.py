"""One trial: attach the method, train, score. A generator, so that a process can run several side by side.

The loop is the one of rsa_ops/training on transformers.Trainer, without the Trainer: AdamW with the head's own
rate, linear warm-up and decay, clipping, batches of similar lengths. Equal seeds mean an equal new head and an
equal order of the data in every method. Weights and sums are float32; on a GPU matrix products may round to TF32,
for all alike.
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from quality.bench import Batches, Bench
from quality.methods import METHODS, Budget, count_parameters, linear_shapes, peft_config, steady_shira
from quality.plan import Trial, Variant
from quality.scoring import evaluate
from quality.selections import chosen_columns
from quality.stepping import Batch, Stepper
from quality.tasks import HEAD_RATE, MAX_GRAD_NORM, TASKS, WARMUP_SHARE, WEIGHT_DECAY, Task

Result = dict[str, Any]

BENCHMARK_OPTIONS = frozenset({"typical"})
"""Options of a variant that RSA does not have; they are put in its place here."""


@dataclass(frozen=True)
class Attached:
    """A model that is ready to learn. `callback` is RSA's, None for every other method."""

    model: Any
    parameters: list[Tensor]
    callback: Any
    config: Any


def train(bench: Bench, trial: Trial, *, graphs: bool) -> Generator[None, None, Result]:
    """Run a trial; yields after every step and every scored batch, and returns what is written about it.

    Raises:
        CaptureError: `graphs`, and a step could not be recorded.
    """
    task, started = TASKS[trial.task], time.perf_counter()
    batches = Batches(bench.split(task.data, task.train), task, trial.seed)
    attached = attach(bench, task, trial, batches)
    loop = Loop(attached, trial, batches)
    torch.manual_seed(trial.seed)  # dropout: equal for every method, however much its start drew
    loop.begin()
    yield
    for step in range(len(batches)):
        loop.step(step, graphs=graphs)
        yield
    loop.end()
    trained = time.perf_counter()
    result = _about(trial, attached, loop)
    if trial.variant.method == "full":  # the whole vocabulary learns, also what was left at home
        result["parameters"] += bench.manifest["bases"][task.base]["parameters_left_out"]
    if not result["diverged"]:
        scores = yield from evaluate(bench, attached.model, task, trial.split)
        result |= scores
        result["diverged"] = not all(math.isfinite(value) for value in scores["metrics"].values())
    now = time.perf_counter()
    return result | {
        "seconds": round(now - started, 3),
        "scoring_seconds": round(now - trained, 3),
        "graphs": graphs,
    }


def attach(bench: Bench, task: Task, trial: Trial, batches: Batches) -> Attached:
    """A fresh base with the trial's method."""
    variant = trial.variant
    method = METHODS[variant.method]
    model = bench.fresh(task, trial.seed)
    if method.peft is None:
        model.requires_grad_(requires_grad=True)
        model.train()
        return Attached(model, list(model.parameters()), None, None)
    from peft import get_peft_model

    budget = Budget(variant.r, linear_shapes(model))
    options = tuple(option for option in variant.options if option[0] not in BENCHMARK_OPTIONS)
    extra = (*_depth_options(model, variant), *options)
    config = peft_config(method, task.base, budget, trial.seed, extra)
    if variant.planned:
        from rsa_ops.tuners import plan_budget

        first = [batches[step] for step in range(min(config.scoring_batches, len(batches)))]
        config = plan_budget(model, config, first, depth=variant.depth, **BY_IMPORTANCE)
    adapted = get_peft_model(model, config)
    steady_shira(adapted)
    adapted.train()
    learning = [parameter for parameter in adapted.parameters() if parameter.requires_grad]
    callback = _callback(bench, task, variant) if method.name == "rsa" else None
    return Attached(adapted, learning, callback, config)


BY_IMPORTANCE = {"floor": 0.25, "ceiling": 4.0}
"""Bounds of a planned layer's share, in uniform ones."""


def kept_layers(count: int, depth: float) -> range:
    """Indices of the top `depth` of `count` transformer layers, at least one."""
    return range(count - math.ceil(depth * count), count)


def _depth_options(model: Any, variant: Variant) -> tuple[tuple[str, Any], ...]:
    """Options that leave the lower layers without an adapter; () where all are adapted or RSA plans them itself."""
    if variant.depth is None or variant.depth == 1 or variant.planned:
        return ()
    kept = kept_layers(model.config.num_hidden_layers, variant.depth)
    linear = [
        name
        for name, layer in model.named_modules()
        if isinstance(layer, torch.nn.Linear) and name.rpartition(".")[2] not in {"classifier", "lm_head"}
    ]
    if variant.method == "rsa":
        inside = {f".{index}." for index in kept}
        return (("budget_pattern", {name: 1.0 for name in linear if any(mark in name for mark in inside)}),)
    leaves = sorted({name.rpartition(".")[2] for name in linear})
    return (("target_modules", leaves), ("layers_to_transform", list(kept)))


def _callback(bench: Bench, task: Task, variant: Variant) -> Any:
    from rsa_ops.tuners import RsaCallback

    options: dict[str, Any] = {}
    if variant.warm:
        options["warm_start"] = [prior_scores(bench, task, variant)]
    return RsaCallback(**options)


def prior_scores(bench: Bench, task: Task, variant: Variant) -> Any:
    """The file with the scores of a run on the rows that `task` does not train on; made when first asked for."""
    from peft import get_peft_model

    from rsa_ops.tuners import RsaCallback

    rest = bench.rest(task)
    place = bench.scratch / f"prior-{variant.name}.safetensors"
    if not place.exists():
        model = bench.fresh(task, seed=0)
        config = peft_config(METHODS["rsa"], task.base, Budget(variant.r, linear_shapes(model)), 0, variant.options)
        callback = RsaCallback()
        adapted = get_peft_model(model, config)
        callback.on_train_begin(
            SimpleNamespace(),
            SimpleNamespace(global_step=0, max_steps=len(rest)),
            SimpleNamespace(),
            model=adapted,
            train_dataloader=rest,
        )
        callback.save_scores(place)
    return place


class Loop:
    """Optimizer, schedule and callback of one training."""

    def __init__(self, attached: Attached, trial: Trial, batches: Batches) -> None:
        from rsa_ops.training.optimizer import optimizer

        self.attached, self.batches, self.total = attached, batches, len(batches)
        self._variant = trial.variant
        flags = dict(trial.variant.robustness)
        # Delta decay and AdamW's own decay are one thing, and a training must not do it twice.
        decay = 0.0 if "delta_decay" in flags else WEIGHT_DECAY
        rates = SimpleNamespace(head_learning_rate=HEAD_RATE, weight_decay=decay)
        device = attached.parameters[0].device
        groups = optimizer(attached.model, trial.rate, rates).param_groups
        groups = [{name: group[name] for name in ("params", "lr", "weight_decay")} for group in groups]
        self.optimizer = torch.optim.AdamW(groups, fused=device.type == "cuda")
        self.peaks = [group["lr"] for group in self.optimizer.param_groups]
        self.stepper = Stepper(attached.model, attached.parameters)
        self.loss = torch.zeros((), device=device)
        self.finite = True
        self._flags, self._robust = flags, None
        self._state = SimpleNamespace(global_step=0, max_steps=self.total, epoch=0.0, is_world_process_zero=True)
        self._arguments = SimpleNamespace(max_steps=self.total, gradient_accumulation_steps=1)
        self._control = SimpleNamespace(should_training_stop=False)

    def begin(self) -> None:
        """Let RSA score and choose."""
        with _typical(dict(self._variant.options).get("typical")):
            self._tell("on_train_begin")
        self.attached.model.train()
        if self._flags:
            from rsa_ops.tuners import Robustness, attached

            flags = Robustness(**self._flags)
            first = self._batch(0)
            self._robust = attached(self.attached.model, flags, optimizer=self.optimizer, batch=first)

    def _batch(self, number: int) -> Batch:
        batch = self.batches[number]
        # The slices that group DRO weighs are the classes.
        return {**batch, "slice_ids": batch["labels"]} if "worst_slice" in self._flags else batch

    def step(self, number: int, *, graphs: bool) -> None:
        """One optimizer step; the first of all is eager, as a recording needs."""
        share = schedule(number, self.total)
        for group, peak in zip(self.optimizer.param_groups, self.peaks, strict=True):
            group["lr"] = peak * share
        self._tell("on_step_begin")
        batch = self._batch(number)
        loss = self.stepper.replayed(batch) if graphs and number > 0 else self.stepper.eager(batch)
        self.loss += loss
        torch.nn.utils.clip_grad_norm_(self.attached.parameters, MAX_GRAD_NORM)
        self._tell("on_pre_optimizer_step")
        self.optimizer.step()
        if self._robust is not None:
            from rsa_ops.tuners import adapter_learning_rate

            self._robust.after_step(adapter_learning_rate(self.optimizer, self.attached.model))
        self._tell("on_optimizer_step")
        self._state.global_step = number + 1
        self._tell("on_step_end")

    def end(self) -> None:
        """Look whether the training stayed finite, and give back what it used."""
        self._tell("on_train_end")
        if self._robust is not None:
            self._robust.detach()
        bad = torch.stack([~torch.isfinite(parameter).all() for parameter in self.attached.parameters]).any()
        self.finite = bool(torch.isfinite(self.loss)) and not bool(bad)  # waits for the last replay
        self.stepper.close()

    def _tell(self, event: str) -> None:
        if self.attached.callback is None:
            return
        getattr(self.attached.callback, event)(
            self._arguments,
            self._state,
            self._control,
            model=self.attached.model,
            optimizer=self.optimizer,
            train_dataloader=self.batches,
        )


@contextmanager
def _typical(name: str | None) -> Iterator[None]:
    """While it lasts, scales are relative to a layer's "rms"; with None or "median" they are RSA's own."""
    from rsa_ops.tuners.rsa import selection

    own = selection.activation_scales

    def by_rms(power: Tensor) -> Tensor:
        rms = power.clamp_min(0).sqrt()
        return (rms.square().mean().sqrt() / rms.clamp_min(torch.finfo(rms.dtype).tiny)).clamp(1 / 8, 8)

    selection.activation_scales = by_rms if name == "rms" else own
    try:
        yield
    finally:
        selection.activation_scales = own


def schedule(step: int, total: int) -> float:
    """Share of the peak rate at `step`: transformers' linear schedule with warm-up."""
    warm = math.ceil(WARMUP_SHARE * total)
    if step < warm:
        return step / max(1, warm)
    return max(0.0, (total - step) / max(1, total - warm))


def _about(trial: Trial, attached: Attached, loop: Loop) -> Result:
    result: Result = {
        "steps": loop.total,
        "parameters": count_parameters(attached.model),
        "training_loss": float(loop.loss) / loop.total if loop.finite else None,
        "diverged": not loop.finite,
    }
    if attached.config is not None:
        kept = attached.config.to_dict()
        kept.pop("base_model_name_or_path", None)  # a place on some machine; the head of the file names the base
        result["config"] = {name: _plain(value) for name, value in kept.items() if value is not None}
    report = getattr(attached.callback, "report", None)
    if report is not None:
        stable = [one.stability for one in report.modules if one.stability is not None]
        result["selection"] = {
            "skipped": report.skipped,
            "seconds": round(report.seconds, 3),
            "stability": sum(stable) / len(stable) if stable else None,
            "chance": sum(one.chance for one in report.modules) / max(1, len(report.modules)),
            "rounds": [vars(one) for one in report.rounds],
        }
    if trial.variant.keeps_selection and attached.callback is not None:
        result["arrays_selection"] = chosen_columns(attached.model)
    return result


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, set | frozenset | tuple | list):
        return sorted(str(one) for one in value)
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()} if len(value) < 20 else f"{len(value)} entries"
    return value if isinstance(value, str | int | float | bool | type(None)) else str(value)
