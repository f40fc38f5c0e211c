"""How much each block matters: scores of an adapter's candidate blocks, at the memory of a frozen model.

Per token t, the gradient of entry (i, j) of a linear layer is `dY[t, i] * x[t, j]`. Its square summed over tokens
is the diagonal of the token-level empirical Fisher (FISH Mask, Sung et al. 2021, has it per example), and the sum
of that over a block of rows R and columns C factorises:

    score[R, C] = sum over t of (sum over R of dY[t, i]^2) * (sum over C of x[t, j]^2)

so block sums of two vectors per token replace the dense weight gradient that FISH Mask, GPS, SIFT, RoSA and LoSiA
form, and the base needs no gradients at all. It measures the gradient's second moment, not its mean: noisy tokens
score high. "relative" divides it by the block's squared input, summed over the tokens (their number is one for all
blocks): the same information about values that are scaled by the inverse activation, without the preference for
inputs that are merely large. "grad" and "snip", which square the mean gradient of a batch, are here to test that;
they form one layer's dense gradient at a time.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from rsa_ops.tuners.rsa.layer import Linear
from rsa_ops.tuners.rsa.layout import Layout

Batch = Mapping[str, Any]
LossFunction = Callable[[nn.Module, Batch], Tensor]

READING = ("fisher", "relative", "grad", "snip")
"""Scorings that read batches."""

_CHUNK = 1024  # tokens squared at once: bounds the float32 copy of an input at _CHUNK x in_features


@dataclass(frozen=True)
class BlockScores:
    """Scores of one layer's candidate blocks, summed over batches.

    Attributes:
        total: float32, in `Layout.score_shape`: sum over batches.
        squares: the same shape: sum over batches of the batch's score squared.
        batches: batches in which a gradient reached the layer.
        power: float32 [in]: sum of squared inputs over the tokens that a gradient reached; for activation scaling.
    """

    total: Tensor
    squares: Tensor
    batches: int
    power: Tensor

    @property
    def mean(self) -> Tensor:
        """Mean over batches."""
        return self.total / self.batches

    @property
    def error(self) -> Tensor:
        """Standard error of the mean over batches; infinite from one batch."""
        if self.batches < 2:
            return torch.full_like(self.total, torch.inf)
        variance = (self.squares - self.total.square() / self.batches) / (self.batches - 1)
        return (variance.clamp_min(0) / self.batches).sqrt()

    def __add__(self, other: BlockScores) -> BlockScores:
        return BlockScores(
            self.total + other.total,
            self.squares + other.squares,
            self.batches + other.batches,
            self.power + other.power,
        )


ScoreMap = dict[str, BlockScores]
"""Module name -> its scores; a layer that no gradient reached (an unused pooler, an idle expert) is absent."""


def score_blocks(
    model: nn.Module,
    batches: Iterable[Batch],
    loss_fn: LossFunction | None = None,
    *,
    adapter_name: str | None = None,
    scoring: str = "fisher",
) -> ScoreMap:
    """Scores of every candidate block of every adapted layer.

    Memory is that of a forward and backward of the frozen model, plus the inputs of adapted layers; these inputs
    are recomputed, not kept, where the model has non-reentrant gradient checkpointing on. Dropout is off. A padding
    token that nothing attends to has dY = 0 and counts for nothing; a prompt token without a label still counts,
    through the tokens that attend to it. The model is left as found: modes, flags, gradients, hooks and random
    state (Python's and torch's).

    Args:
        model: a model (or part of one) that holds adapted layers; not merged.
        batches: keyword arguments of `model`, already on its device.
        loss_fn: (model, batch) -> scalar. By default the model's own `loss`: a mean over the batch, so that every
            batch weighs 1 / (its terms)^2. Return a sum to weigh every token alike.
        adapter_name: score only the layers that carry this adapter; by default each layer's first adapter.
        scoring: "fisher" or "relative"; or "grad" (squared gradient of the batch) or "snip" (|weight * gradient|),
            which form the dense gradient of one layer at a time.

    Raises:
        ValueError: no adapted layer, no batch, no loss, a merged adapter, no gradient anywhere, scores that are not
            finite, or an unknown scoring.
    """
    if scoring not in READING:
        raise ValueError(f"score_blocks: expected scoring {' or '.join(map(repr, READING))}, found {scoring!r}.")
    layers = adapted_layers(model, adapter_name)
    sums = {name: _Sum(layer, _layout(layer, adapter_name), scoring) for name, layer in layers.items()}
    done = 0
    with _borrowed(model), _taps(model, sums):
        for batch in batches:
            loss = (loss_fn or model_loss)(model, batch)
            if loss.requires_grad:
                loss.backward()  # type: ignore[no-untyped-call]
            for one in sums.values():
                one.end_batch()
            done += 1
    if done == 0:
        raise ValueError("score_blocks: expected at least one batch, found none. Is the data loader empty?")
    scores = {name: one.result() for name, one in sums.items() if one.batches}
    if not scores:
        raise ValueError(
            f"score_blocks: no gradient reached any of the {len(sums)} adapted layers in {done} batches. Check "
            "that the loss depends on them; with gradient checkpointing, set `use_reentrant=False`."
        )
    refuse_non_finite(scores)
    return scores


def refuse_non_finite(scores: ScoreMap) -> None:
    """Raise ValueError where a score is NaN or infinite, naming the layer."""
    for name, score in scores.items():
        if not torch.isfinite(score.total).all():
            raise ValueError(
                f"expected finite scores, found NaN or infinity in {name!r}. The loss or a gradient overflowed; "
                "look for NaN in the data, or score in bfloat16 or float32 in place of float16."
            )


def magnitude_scores(model: nn.Module, *, adapter_name: str | None = None) -> ScoreMap:
    """Squared base weights summed over every block.

    A control that reads no data. Element-wise magnitude is Super-Tuning's score (arXiv 2607.09287).
    """
    found = {}
    for name, layer in adapted_layers(model, adapter_name).items():
        total = fold(layer.frozen().float().square(), _layout(layer, adapter_name))
        ones = torch.ones(layer.in_features, device=total.device)
        found[name] = BlockScores(total, total.square(), 1, ones)
    return found


def fold(matrix: Tensor, layout: Layout) -> Tensor:
    """Block sums of `matrix` [out, in] in the layout's score shape."""
    if layout.structure == "subnet":
        return torch.cat([matrix.sum(1), matrix.sum(0)])[None]
    down, across = layout.score_shape
    return _sums(_sums(matrix, across, dim=1), down, dim=0)


def adapted_layers(model: nn.Module, adapter_name: str | None = None) -> dict[str, Linear]:
    """Module name -> adapted layer, in the model's order; of one adapter, or of any.

    Raises:
        ValueError: there is none, or an adapter is merged into one of them.
    """
    layers = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, Linear) and (adapter_name is None or adapter_name in module.rsa_delta)
    }
    if not layers:
        carried = "" if adapter_name is None else f" that carries adapter {adapter_name!r}"
        raise ValueError(
            f"expected a model with a Robust Sparse Adapter, found no adapted layer{carried} in "
            f"{type(model).__name__}. Make one with peft.get_peft_model(model, RsaConfig(...))."
        )
    merged = next((name for name, layer in layers.items() if layer.merged), None)
    if merged is not None:
        raise ValueError(
            f"an adapter is merged into {merged!r}: call unmerge_adapter() before scoring or selecting."
        )
    return layers


def model_loss(model: nn.Module, batch: Batch) -> Tensor:
    """The loss that a transformers model returns when its batch holds labels; ValueError when it returns none."""
    loss = getattr(model(**batch), "loss", None)
    if loss is None:
        raise ValueError(
            f"score_blocks: {type(model).__name__} returned no loss for a batch with {sorted(batch)}. Give "
            "batches with labels, or pass `loss_fn`."
        )
    return cast("Tensor", loss)


def _layout(layer: Linear, adapter_name: str | None) -> Layout:
    name = adapter_name if adapter_name is not None else next(iter(layer.rsa_delta))
    return layer.delta(name).layout


class _Sum:
    """Running scores of one layer."""

    def __init__(self, layer: Linear, layout: Layout, scoring: str) -> None:
        self.layer, self.layout, self.scoring = layer, layout, scoring
        self.batches = 0
        self._batch: Tensor | None = None
        self._dense: Tensor | None = None
        self._sums: list[Tensor] = []

    def add(self, features: Tensor, grad: Tensor) -> None:
        """Take the input and the output gradient of one call of the layer, [..., in] and [..., out]."""
        x, dy = features.reshape(-1, features.shape[-1]), grad.reshape(-1, grad.shape[-1])
        if not self._sums:
            shape = self.layout.score_shape
            self._sums = [torch.zeros(size, device=x.device) for size in (shape, shape, (x.shape[1],))]
        if self._batch is None:
            self._batch = torch.zeros_like(self._sums[0])
        for start in range(0, x.shape[0], _CHUNK):
            part = slice(start, start + _CHUNK)
            squared, power = x[part].float().square(), dy[part].float().square()
            self._sums[2] += (power.sum(1) > 0).float() @ squared
            if self.scoring in {"fisher", "relative"}:
                self._batch += _fisher(self.layout, power, squared)
        if self.scoring in {"grad", "snip"}:
            dense = dy.T @ x.to(dy.dtype)
            self._dense = dense if self._dense is None else self._dense + dense

    def end_batch(self) -> None:
        """A batch's score is complete: add it and its square."""
        if self._batch is None:
            return
        if self._dense is not None:
            gradient = self._dense.float()
            if self.scoring == "snip":
                gradient = (gradient * self.layer.frozen().float()).abs()
            else:
                gradient = gradient.square()
            self._batch, self._dense = fold(gradient, self.layout), None
        self._sums[0] += self._batch
        self._sums[1] += self._batch.square()
        self._batch = None
        self.batches += 1

    def result(self) -> BlockScores:
        """The sums so far."""
        total, squares, power = self._sums
        score = BlockScores(total, squares, self.batches, power)
        return _relative(score, self.layout) if self.scoring == "relative" else score


def relative_scores(model: nn.Module, adapter_name: str, scores: ScoreMap) -> ScoreMap:
    """Scores by "fisher" made "relative": to be done last, after sums over batches and processes."""
    layers = adapted_layers(model, adapter_name)
    return {name: _relative(score, layers[name].delta(adapter_name).layout) for name, score in scores.items()}


def _relative(score: BlockScores, layout: Layout) -> BlockScores:
    inverse = 1 / input_power(layout, score.power).clamp_min(torch.finfo(score.power.dtype).tiny)
    return BlockScores(score.total * inverse, score.squares * inverse.square(), score.batches, score.power)


def input_power(layout: Layout, power: Tensor) -> Tensor:
    """Mean over each block's columns of `power` [in], to broadcast over the score shape; 1 for a subnet's rows."""
    if layout.structure == "subnet":
        return torch.cat([torch.ones(layout.out_features, device=power.device), power])[None]
    across = layout.score_shape[1]
    size = power.numel() // across
    return _sums(power[None], across, dim=1) / size


def _fisher(layout: Layout, power: Tensor, squared: Tensor) -> Tensor:
    """Fisher scores of some tokens: `power` [T, out] is dY^2, `squared` [T, in] is x^2."""
    if layout.structure == "subnet":
        return torch.cat([squared.sum(1) @ power, power.sum(1) @ squared])[None]
    down, across = layout.score_shape
    return _sums(power, down, dim=1).T @ _sums(squared, across, dim=1)


def _sums(values: Tensor, blocks: int, *, dim: int) -> Tensor:
    """Sums of `blocks` equal runs along `dim`; what is left over at the end belongs to none."""
    size = values.shape[dim] // blocks
    if size == 1:
        return values.narrow(dim, 0, blocks)
    shape = (*values.shape[:dim], blocks, size, *values.shape[dim + 1 :])
    return values.narrow(dim, 0, blocks * size).reshape(shape).sum(dim + 1)


class _Tap(torch.autograd.Function):
    """Identity on a layer's output that, in backward, sees dY and the layer's input together.

    `anchor` is a scalar that requires grad: it makes backward come by although every parameter is frozen. An
    autograd node rather than a tensor hook, because gradient checkpointing then recomputes the input, where a
    hook's closure would keep it, and because the node runs once however often the forward is run.
    """

    @staticmethod
    def forward(ctx: Any, output: Tensor, features: Tensor, anchor: Tensor, score: _Sum) -> Tensor:  # noqa: ARG004
        ctx.save_for_backward(features)
        ctx.score = score
        return output.view_as(output)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        (features,) = ctx.saved_tensors
        ctx.score.add(features, grad)
        return grad, None, None, None


@contextmanager
def _taps(model: nn.Module, sums: Mapping[str, _Sum]) -> Iterator[None]:
    anchor = torch.zeros((), requires_grad=True)

    def tap(score: _Sum) -> Callable[[nn.Module, tuple[Any, ...], Tensor], Tensor]:
        def hook(_: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
            tapped: Tensor = _Tap.apply(output, inputs[0].detach(), anchor, score)  # type: ignore[no-untyped-call]
            return tapped

        return hook

    handles = [model.get_submodule(name).register_forward_hook(tap(score)) for name, score in sums.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _borrowed(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, nothing learning, gradients on; everything as it was at the end."""
    modes = [(module, module.training) for module in model.modules()]
    flags = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        for module, training in modes:
            # transformers checkpoints a layer only in training mode: its own flag stays, its dropouts go quiet.
            module.training = training and bool(getattr(module, "gradient_checkpointing", False))
        model.requires_grad_(requires_grad=False)
        with torch.enable_grad(), kept_random_state():
            yield
    finally:
        for module, training in modes:
            module.training = training
        for parameter, learns in flags:
            parameter.requires_grad_(learns)


@contextmanager
def kept_random_state() -> Iterator[None]:
    """Python's and torch's global random state (CPU, and CUDA where it is in use), as it was at the end."""
    python, cpu = random.getstate(), torch.get_rng_state()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        random.setstate(python)
        torch.set_rng_state(cpu)
        if cuda:
            torch.cuda.set_rng_state_all(cuda)
