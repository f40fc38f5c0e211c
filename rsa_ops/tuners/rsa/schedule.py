"""When blocks are chosen: `RsaCallback` scores and selects inside any `transformers.Trainer`.

From a LoRA script, two lines change: the config, and `callbacks=[RsaCallback()]`. Without the callback the adapter
trains on its seeded random blocks, which is `scoring="random"`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from rsa_ops.tuners.rsa.batches import first_batches, over_processes, to_device, tokens_in
from rsa_ops.tuners.rsa.config import RsaConfig
from rsa_ops.tuners.rsa.regrow import TIMES, regrow, regrow_steps
from rsa_ops.tuners.rsa.report import RoundReport, SelectionReport, describe, round_report
from rsa_ops.tuners.rsa.robustness import Attachment, Robustness, adapter_learning_rate, attached
from rsa_ops.tuners.rsa.rounds import Admission, Round, admit, empty_places
from rsa_ops.tuners.rsa.scoremaps import load_scores, save_scores, with_prior
from rsa_ops.tuners.rsa.scoring import (
    READING,
    Batch,
    LossFunction,
    ScoreMap,
    magnitude_scores,
    relative_scores,
    score_blocks,
)
from rsa_ops.tuners.rsa.selection import is_trained, scale_by_activation, select_blocks, units


class RsaCallback(TrainerCallback):  # type: ignore[misc]
    """Selects an adapter's blocks as training begins, and in later rounds where the config asks for them.

    Does nothing on an already trained adapter; a resumed run goes on with the rounds that are still to come.

    Args:
        adapter_name: the adapter to select for; by default the model's active Robust Sparse Adapter.
        loss_fn: (model, batch) -> scalar, where the model's own `loss` is not the one that is trained.
        robustness: loss terms and guards of this training; see `Robustness`.
        warm_start: score maps of earlier runs of the same base and task family (files of `save_scores`), which
            count as batches read before.

    Attributes:
        report: what was done; None before training begins.
        scores: the scores of the last selection or round, by module name; empty before.
    """

    def __init__(
        self,
        adapter_name: str | None = None,
        loss_fn: LossFunction | None = None,
        robustness: Robustness | None = None,
        warm_start: Sequence[str | Path] = (),
    ) -> None:
        self.adapter_name = adapter_name
        self.loss_fn = loss_fn
        self.robustness = robustness
        self.warm_start = tuple(Path(one) for one in warm_start)
        self.report: SelectionReport | None = None
        self.scores: ScoreMap = {}
        self._batches: list[Batch] = []
        self._steps: tuple[int, ...] = ()
        self._moves: tuple[int, ...] = ()
        self._attachment: Attachment | None = None

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002
        **kwargs: Any,  # the signature is transformers'
    ) -> None:
        """Score, select, and write `report`.

        Raises:
            ValueError: the model has no Robust Sparse Adapter, scoring is impossible (see `score_blocks`), or a
                flag of `robustness` cannot work in this training.
        """
        model: nn.Module = kwargs["model"]
        name, config = find_adapter(model, self.adapter_name)
        end_backward_early(model, config, args)
        self._attach(model, name, args, kwargs)
        with self._plain_loss():
            self._begin(model, name, config, state, kwargs["train_dataloader"])

    def _attach(self, model: nn.Module, name: str, args: TrainingArguments, given: Mapping[str, Any]) -> None:
        if self.robustness is None or not self.robustness.on:
            return
        first = first_batches(given["train_dataloader"], 1)
        self._attachment = attached(
            model,
            self.robustness,
            adapter_name=name,
            optimizer=given.get("optimizer"),
            arguments=args,
            batch=first[0] if first else None,
        )

    def _plain_loss(self) -> AbstractContextManager[None]:
        """A context without the terms of robustness: blocks are scored by the loss alone."""
        return nullcontext() if self._attachment is None else self._attachment.paused()

    def _begin(self, model: nn.Module, name: str, config: RsaConfig, state: TrainerState, loader: Any) -> None:
        reason = _reason_to_skip(model, name, config, state)
        self.report = None
        self._steps, self._moves, self._batches = (), (), []
        if reason is not None:
            self.report = SelectionReport(name, config.scoring, reason, 0.0, 0, None, ())
        if reason is None or (state.global_step > 0 and config.scoring != "random"):
            self._plan(config, state)
        if reason is None or self._steps or self._moves:
            self._read(config, loader)
        if reason is not None:
            return
        if config.selection == "rounds":
            for unit in units(model, name):
                empty_places(unit.delta)
        self._select(model, name, config, number=0, step=0)
        while self._due(self._steps, state):  # in a short run several rounds fall on the start
            self._select(model, name, config, number=config.rounds - len(self._steps), step=0)

    def on_step_end(
        self,
        args: TrainingArguments,  # noqa: ARG002
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002
        **kwargs: Any,  # the signature is transformers'
    ) -> None:
        """Hold the rounds, and move the blocks, that are due after this step."""
        if not self._due(self._steps, state) and not self._due(self._moves, state):
            return
        model: nn.Module = kwargs["model"]
        name, config = find_adapter(model, self.adapter_name)
        with self._plain_loss():
            while self._due(self._steps, state):
                self._select(model, name, config, number=config.rounds - len(self._steps), step=state.global_step)
            while self._due(self._moves, state):
                self._move(model, name, config, kwargs.get("optimizer"))

    def on_optimizer_step(
        self,
        args: TrainingArguments,  # noqa: ARG002
        state: TrainerState,  # noqa: ARG002
        control: TrainerControl,  # noqa: ARG002
        **kwargs: Any,  # the signature is transformers'
    ) -> None:
        """Let the guards act, at the learning rate of the step that was just made."""
        if self._attachment is not None:
            name, _ = find_adapter(kwargs["model"], self.adapter_name)
            self._attachment.after_step(adapter_learning_rate(kwargs["optimizer"], kwargs["model"], name))

    def on_train_end(
        self,
        args: TrainingArguments,  # noqa: ARG002
        state: TrainerState,  # noqa: ARG002
        control: TrainerControl,  # noqa: ARG002
        **kwargs: Any,  # noqa: ARG002  the signature is transformers'
    ) -> None:
        """Take the loss terms off."""
        if self._attachment is not None:
            self._attachment.detach()
            self._attachment = None

    def _plan(self, config: RsaConfig, state: TrainerState) -> None:
        """Set the steps that are still to come; those of a resumed run lie in its checkpoint."""
        steps = round_steps(config, state.max_steps) if config.selection == "rounds" else ()
        moves = regrow_steps(steps[-1] if steps else 0, state.max_steps) if config.regrow > 0 else ()
        done = state.global_step if state.global_step > 0 else -1
        self._steps = tuple(step for step in steps if step > done)
        self._moves = tuple(step for step in moves if step > done)

    def _read(self, config: RsaConfig, loader: Any) -> None:
        """Keep the batches of all rounds."""
        if config.scoring not in READING and not config.activation_scaling:
            return
        self._batches = first_batches(
            loader, config.scoring_batches * (config.rounds if config.selection == "rounds" else 1)
        )
        if not self._batches:
            raise ValueError("RsaCallback: expected at least one batch, found none. Is the data loader empty?")

    @staticmethod
    def _due(steps: tuple[int, ...], state: TrainerState) -> bool:
        return bool(steps) and state.global_step >= steps[0]

    def save_scores(self, path: str | Path) -> None:
        """Store the score map for the warm start of later runs."""
        save_scores(self.scores, Path(path))

    def _select(self, model: nn.Module, name: str, config: RsaConfig, *, number: int, step: int) -> None:
        started = time.perf_counter()
        batches = self._share(config, number)
        scores, halves = self._scores(model, name, config, [to_device(batch, model) for batch in batches])
        report = None
        if config.selection == "rounds":
            report = round_report(step, self._round(model, name, config, halves, scores, number))
            self._steps = self._steps[1:]
        elif config.scoring != "random":  # whose inputs alone are measured, for activation scaling
            select_blocks(model, name, scores, choice=config.choice, seed=config.seed)
        last = report is None or not self._steps
        if config.activation_scaling and last:
            scale_by_activation(model, name, scores)
        self.scores = scores
        self._write(model, name, config, halves, batches, report, time.perf_counter() - started)
        if last and not self._moves:
            self._batches = []

    def _move(self, model: nn.Module, name: str, config: RsaConfig, optimizer: Any) -> None:
        done = TIMES - len(self._moves)
        batches = [to_device(batch, model) for batch in self._share(config, config.rounds + done)]
        scores, _ = self._scores(model, name, config, batches)
        share = config.regrow * (1 - done / TIMES)
        regrow(model, name, scores, share, optimizer, scaled=config.activation_scaling)
        self._moves = self._moves[1:]

    def _share(self, config: RsaConfig, number: int) -> list[Batch]:
        """The batches of one round; the data is gone through again where it is short."""
        if not self._batches:
            return []
        start, count = number * config.scoring_batches, min(config.scoring_batches, len(self._batches))
        return [self._batches[(start + i) % len(self._batches)] for i in range(count)]

    def _halves(self, model: nn.Module, name: str, config: RsaConfig, batches: list[Batch]) -> tuple[ScoreMap, ...]:
        """Scores of the even and of the odd batches, over all processes; or one map of magnitudes."""
        if not batches:
            return (magnitude_scores(model, adapter_name=name),)
        scoring = config.scoring if config.scoring in {"grad", "snip"} else "fisher"
        halves = []
        for part in (batches[0::2], batches[1::2]):
            # An empty second half still takes its turn: every process must call the same collectives.
            own = score_blocks(model, part, self.loss_fn, adapter_name=name, scoring=scoring) if part else {}
            halves.append(over_processes(model, name, own))
        if config.scoring == "magnitude":  # which reads batches for activation scaling alone
            inputs = merged(tuple(halves))
            sizes = magnitude_scores(model, adapter_name=name)
            return ({key: replace(size, power=inputs[key].power) for key, size in sizes.items() if key in inputs},)
        return tuple(half for half in halves if half)

    def _scores(
        self, model: nn.Module, name: str, config: RsaConfig, batches: list[Batch]
    ) -> tuple[ScoreMap, tuple[ScoreMap, ...]]:
        """Scores of all batches and of earlier runs, and of this run's even and odd batches alone."""
        halves = self._halves(model, name, config, batches)
        whole = merged(halves)
        if config.scoring == "relative":  # a ratio of sums, hence taken after summing
            whole = relative_scores(model, name, whole)
            halves = tuple(relative_scores(model, name, half) for half in halves)
        # Earlier runs count once, and not in the halves, whose agreement tells about this run's data.
        return with_prior(whole, [load_scores(path) for path in self.warm_start]), halves

    @staticmethod
    def _round(
        model: nn.Module, name: str, config: RsaConfig, halves: tuple[ScoreMap, ...], scores: ScoreMap, number: int
    ) -> list[Admission]:
        admissions: list[Admission] = []
        this = Round(number, config.rounds, config.confidence)
        for index, unit in enumerate(units(model, name)):
            score = unit.scores(scores)
            if score is not None:
                found = [unit.scores(half) for half in halves]
                known = tuple(one for one in found if one is not None)
                admissions.append(admit(unit.delta, score, known, this, config.seed * 1009 + index))
        return admissions

    def _write(
        self,
        model: nn.Module,
        name: str,
        config: RsaConfig,
        halves: tuple[ScoreMap, ...],
        batches: list[Batch],
        round_: RoundReport | None,
        seconds: float,
    ) -> None:
        before = self.report
        rounds = (*(before.rounds if before else ()), *([round_] if round_ else []))
        self.report = SelectionReport(
            name,
            config.scoring,
            before.skipped if before else None,
            seconds + (before.seconds if before else 0.0),
            len(batches) + (before.batches if before else 0),
            tokens_in(batches),
            before.modules if before else describe(model, name, halves),
            rounds,
        )


def end_backward_early(model: nn.Module, config: RsaConfig, args: TrainingArguments) -> None:
    """Let a shallow adapter end the backward pass at its lowest layer under gradient checkpointing too.

    transformers makes the embeddings require a gradient whenever checkpointing is on, which only the reentrant kind
    needs: it would carry the backward pass through every layer that has no adapter.
    """
    shallow = config.budget_pattern is not None or config.layers_to_transform is not None
    kind = getattr(args, "gradient_checkpointing_kwargs", None) or {}
    release = getattr(model, "disable_input_require_grads", None)
    if (
        shallow
        and getattr(args, "gradient_checkpointing", False)
        and kind.get("use_reentrant") is False
        and release
    ):
        release()


def round_steps(config: RsaConfig, max_steps: int) -> tuple[int, ...]:
    """Optimizer steps after which the rounds are held: the first before training, the last at `selection_share`."""
    if config.rounds == 1:
        return (0,)
    end = config.selection_share * max_steps
    return tuple(round(end * number / (config.rounds - 1)) for number in range(config.rounds))


def merged(halves: tuple[ScoreMap, ...]) -> ScoreMap:
    """The sum of score maps; a layer counts where any of them has it."""
    total: ScoreMap = {}
    for half in halves:
        for name, score in half.items():
            total[name] = total[name] + score if name in total else score
    return total


def find_adapter(model: nn.Module, adapter_name: str | None) -> tuple[str, RsaConfig]:
    """Name and config of the named, or else the first active, Robust Sparse Adapter of a PEFT model.

    Raises:
        ValueError: there is none.
    """
    configs: dict[str, object] = getattr(model, "peft_config", {})
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
    if config.scoring == "random" and not config.activation_scaling:
        return "scoring='random': the adapter keeps its seeded random blocks"
    if state.global_step > 0:
        return f"training resumes at step {state.global_step}: the places of the checkpoint stay"
    if is_trained(model, name):
        return "the adapter has learnt already: its places stay"
    return None
