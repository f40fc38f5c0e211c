"""The loss terms of `Robustness`: what they are computed from, and how they join a model's own loss.

A term that is added to a loss must count what the loss counts and be divided by what the loss is divided by;
otherwise its weight changes with padding, prompt lengths and gradient accumulation. Hooks, and the checks that can
be made before training, are in `robustness`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from rsa_ops.tuners.rsa.noise import EmbeddingNoise, RandomState
from rsa_ops.tuners.rsa.slice_weights import SliceWeights, read_slice_ids

IGNORED = -100
"""Label that transformers' losses leave out."""

AGREEMENT = 0.02
"""Relative difference up to which a model's loss is taken for the mean cross-entropy of its logits."""


@dataclass(frozen=True)
class Answer:
    """What a model answered at the places that its loss counts: one a row for classes, one a token for text.

    Attributes:
        log_probabilities: [items, choices], at least float32.
        targets: [items], the choice that is right.
        rows: [items], the row of the batch that each belongs to.
    """

    log_probabilities: Tensor
    targets: Tensor
    rows: Tensor

    @property
    def count(self) -> int:
        """How many items the loss counts."""
        return self.targets.numel()

    @property
    def losses(self) -> Tensor:
        """Cross-entropy of each item, [items]."""
        return -self.log_probabilities.gather(-1, self.targets[:, None]).squeeze(-1)


def read_answer(logits: Tensor, labels: Tensor) -> Answer:
    """The counted part of `logits`, as transformers' losses for classes and for causal language models count it.

    Args:
        logits: [rows, choices] with `labels` [rows], or [rows, tokens, choices] with `labels` [rows, tokens], where
            the logits of a token answer for the label of the next one.
        labels: integers, `IGNORED` where the loss looks away.

    Raises:
        ValueError: shapes of another task, labels that are no integers, or a single choice (a regression).
    """
    expected = "[rows, choices] with labels [rows], or [rows, tokens, choices] with labels [rows, tokens]"
    found = f"logits {list(logits.shape)} and labels {list(labels.shape)} of {labels.dtype}"
    if labels.is_floating_point() or labels.dtype == torch.bool or logits.shape[-1] < 2:
        raise ValueError(
            f"robustness: rdrop, r3f and worst_slice need a choice among classes or tokens, found {found}. A "
            "regression or several labels a row have no such answer; leave these flags out."
        )
    if logits.dim() == 3 and labels.shape == logits.shape[:2]:
        logits, labels = logits[:, :-1], labels[:, 1:]
    elif not (logits.dim() == 2 and labels.shape == logits.shape[:1]):
        raise ValueError(f"robustness: expected logits {expected}; found {found}.")
    labels = labels.to(logits.device)
    counted = labels != IGNORED
    chosen = logits[counted]  # before the softmax: prompts and padding would be most of its memory
    wide = torch.promote_types(chosen.dtype, torch.float32)
    return Answer(torch.log_softmax(chosen.to(wide), dim=-1), labels[counted], counted.nonzero()[:, 0])


def symmetric_kl(one: Answer, other: Answer) -> Tensor:
    """KL(one || other) + KL(other || one) of each item, [items]; exactly zero where the two are equal.

    The sum of (p - q)(log p - log q), which is both divergences in one pass and never below zero.
    """
    p, q = one.log_probabilities, other.log_probabilities
    return ((p.exp() - q.exp()) * (p - q)).sum(dim=-1)


def loss_and_logits(output: Any, model: str) -> tuple[Tensor, Tensor]:
    """`loss` and `logits` of a model's output: a named output, a dict, or a tuple that starts with them.

    Raises:
        ValueError: one of them is not there.
    """
    if isinstance(output, Mapping):
        loss, logits = output.get("loss"), output.get("logits")
    else:
        loss, logits = (*output, None, None)[:2] if isinstance(output, tuple) else (None, None)
    if not isinstance(loss, Tensor) or not isinstance(logits, Tensor) or loss.dim() > 0:
        raise ValueError(
            f"robustness: {model} returned no scalar loss with logits for a batch with labels. The flags rdrop, "
            "r3f and worst_slice work on both; fused losses that skip the logits (use_liger_kernel) must be off."
        )
    return loss, logits


def with_loss(output: Any, loss: Tensor) -> Any:
    """`output` with another loss; named outputs and dicts are changed in place."""
    if isinstance(output, tuple) and not isinstance(output, Mapping):
        return (loss, *output[1:])
    cast("dict[str, Any]", output)["loss"] = loss
    return output


@dataclass(frozen=True)
class Call:
    """One training call of the model: its named arguments, the slices of its rows, the random state before it."""

    named: Mapping[str, Any]
    slice_ids: Tensor | None
    random_state: RandomState | None


class LossTerms:
    """R-Drop, R3F and slice weights, joined to the loss that one training call returned.

    Args:
        model: called again, with the same named arguments, for the second answers.
        rdrop: strength of R-Drop, or None.
        r3f: strength of R3F, or None.
        r3f_noise: half width of its noise.
        noise: the hook on the model's embeddings; needed for `r3f`.
        slices: weights of slices, or None.
    """

    def __init__(
        self,
        model: nn.Module,
        rdrop: float | None,
        r3f: float | None,
        r3f_noise: float,
        noise: EmbeddingNoise | None,
        slices: SliceWeights | None,
    ) -> None:
        self._model, self._name = model, type(model).__name__
        self._strength_rdrop, self._strength_r3f, self._half_width = rdrop, r3f, r3f_noise
        self._noise, self._slices = noise, slices
        self._counts_all: bool | None = None
        self._dropout_seen = self._agreed = False

    def joined(self, output: Any, call: Call) -> Any:
        """`output` with the terms in its loss, in the loss's own scale.

        Raises:
            ValueError: no loss or no logits in it, labels of another task, or a term that turns out to do nothing.
        """
        loss, logits = loss_and_logits(output, self._name)
        labels: Tensor = call.named["labels"]
        first = read_answer(logits, labels)
        per = self._divisor(loss, first, call.named.get("num_items_in_batch"))
        if self._slices is not None and first.count:
            self._record(self._slices, first, call)
            self._refuse_another_loss(output, loss, first, per)
        total = loss + self._slice_term(first, call) / per
        if self._strength_rdrop is not None:
            again, divergence = self._rdrop(logits, first, call, per)
            total = (total + again) / 2 + self._strength_rdrop * divergence
        if self._strength_r3f is not None:
            other = read_answer(self._noisy_logits(call), labels)
            total = total + self._strength_r3f * symmetric_kl(first, other).sum() / per
        return with_loss(output, total)

    def _divisor(self, loss: Tensor, first: Answer, all_items: Tensor | int | None) -> Tensor | int:
        """What the model divided its summed loss by: its own items, or those of the whole accumulated batch.

        A Trainer passes `num_items_in_batch` to every model that takes further keywords, and several (BERT's
        classifier among them) leave it unused. So the model's loss itself is asked, once the two would differ.
        """
        own = max(first.count, 1)
        if all_items is None:
            return own
        if self._counts_all is None and first.count and abs(float(all_items) - own) > 1e-3 * own:
            summed = first.losses.detach().sum()
            by_all, by_own = (abs(float(loss.detach() - summed / n)) for n in (all_items, own))
            self._counts_all = by_all <= by_own
        return all_items if self._counts_all else own

    def _rdrop(self, logits: Tensor, first: Answer, call: Call, per: Tensor | int) -> tuple[Tensor, Tensor]:
        """The loss of a second pass, and half the symmetric KL between both."""
        loss, again = loss_and_logits(self._model(**call.named), self._name)
        if not self._dropout_seen and torch.equal(logits, again):
            raise ValueError(
                "robustness: rdrop: two passes over the first batch gave equal answers, so no dropout is active "
                "and R-Drop would do nothing. Set the dropout of the model's configuration, or leave rdrop out."
            )
        self._dropout_seen = True
        other = read_answer(again, call.named["labels"])
        return loss + self._slice_term(other, call) / per, symmetric_kl(first, other).sum() / (2 * per)

    def _noisy_logits(self, call: Call) -> Tensor:
        if self._noise is None or call.random_state is None:
            raise ValueError("LossTerms: r3f needs `noise`, and calls with their random state.")
        named = {name: value for name, value in call.named.items() if name != "labels"}
        with self._noise.uniform(self._half_width), call.random_state.replayed():
            output = self._model(**named)
        if not self._noise.used:
            raise ValueError(
                "robustness: r3f puts noise on the input embeddings, and the model did not call them. Give batches "
                "with input_ids in place of inputs_embeds."
            )
        found = output["logits"] if isinstance(output, Mapping) else output[0]
        return cast("Tensor", found)

    def _record(self, slices: SliceWeights, first: Answer, call: Call) -> None:
        ids = read_slice_ids(call.slice_ids, len(call.named["labels"])).to(first.rows.device)
        slices.record(ids[first.rows], first.losses)

    def _slice_term(self, answer: Answer, call: Call) -> Tensor | float:
        """Sum over items of (weight - 1) * loss: turns the model's own mean into the weighted one."""
        if self._slices is None or not answer.count or call.slice_ids is None:
            return 0.0
        weights = self._slices.of(call.slice_ids.long().to(answer.rows.device)[answer.rows])
        losses = answer.losses
        return ((weights.to(losses.dtype) - 1) * losses).sum()

    def _refuse_another_loss(self, output: Any, loss: Tensor, first: Answer, per: Tensor | int) -> None:
        if self._agreed or (isinstance(output, Mapping) and output.get("aux_loss") is not None):
            return
        mean, found = float(first.losses.detach().sum() / per), float(loss.detach())
        if abs(mean - found) > AGREEMENT * max(abs(mean), abs(found)) + 1e-3:
            raise ValueError(
                f"robustness: worst_slice weighs the cross-entropy of labels and logits, which is {mean:.4g} in "
                f"the first batch where the loss of {self._name} is {found:.4g}. It works for classification and "
                "causal language models with their own loss, without class weights."
            )
        self._agreed = True
