"""Which columns matter: scores per input column, and the selection that writes the best into an adapter.

Per token t, the gradient of entry (i, j) of a linear layer is `dY[t, i] * x[t, j]`. Its square summed over tokens
is the diagonal of the token-level empirical Fisher (FISH Mask, Sung et al. 2021, has it per example), and the sum
over rows i of that factorises:

    score[j] = sum over t of ||dY[t]||^2 * x[t, j]^2

so two vectors per token replace the dense weight gradient that FISH Mask, GPS, SIFT, RoSA and LoSiA form, and the
base needs no gradients at all. It measures the gradient's second moment, not its mean: noisy tokens score high.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from rsa_ops.tuners.rsa.layer import Linear

Batch = Mapping[str, Any]
LossFunction = Callable[[nn.Module, Batch], Tensor]

_CHUNK = 1024  # tokens squared at once: bounds the float32 copy of an input at _CHUNK x in_features


def score_columns(
    model: nn.Module,
    batches: Iterable[Batch],
    loss_fn: LossFunction | None = None,
    *,
    adapter_name: str | None = None,
) -> dict[str, Tensor]:
    """Fisher score of every input column of every adapted layer, summed over `batches`.

    Memory is that of a forward and backward of the frozen model, plus the inputs of adapted layers; these inputs
    are recomputed, not kept, where the model has non-reentrant gradient checkpointing on. No weight gradient, of
    base, head or adapter, is formed. Dropout is off. A padding token that nothing attends to has dY = 0 and counts
    for nothing; a prompt token without a label still counts, through the tokens that attend to it. The model is
    left as found: modes, flags, gradients, hooks and random state (Python's and torch's).

    Args:
        model: a model (or part of one) that holds adapted layers; not merged.
        batches: keyword arguments of `model`, already on its device.
        loss_fn: (model, batch) -> scalar. By default the model's own `loss`: a mean over the batch, so that every
            batch weighs 1 / (its terms)^2. Return a sum to weigh every token alike.
        adapter_name: score only the layers that carry this adapter; by default every adapted layer.

    Returns:
        Module name -> float32 [in_features] on the module's device. A layer that no gradient reached (a pooler that
        the loss does not use, an expert that got no token) is absent: missing, not zero.

    Raises:
        ValueError: no adapted layer, no batch, no loss, a merged adapter, no gradient anywhere, or scores that are
            not finite.
    """
    sums = {name: _ColumnSum() for name in adapted_layers(model, adapter_name)}
    done = 0
    with _borrowed(model), _taps(model, sums):
        for batch in batches:
            loss = (loss_fn or model_loss)(model, batch)
            if loss.requires_grad:
                loss.backward()  # type: ignore[no-untyped-call]
            done += 1
    if done == 0:
        raise ValueError("score_columns: expected at least one batch, found none. Is the data loader empty?")
    scores = {name: column.total for name, column in sums.items() if column.total is not None}
    if not scores:
        raise ValueError(
            f"score_columns: no gradient reached any of the {len(sums)} adapted layers in {done} batches. Check "
            "that the loss depends on them; with gradient checkpointing, set `use_reentrant=False`."
        )
    for name, score in scores.items():
        if not torch.isfinite(score).all():
            raise ValueError(
                f"score_columns: expected finite scores, found NaN or infinity in {name!r}. The loss or a gradient "
                "overflowed; look for NaN in the data, or score in bfloat16 or float32 in place of float16."
            )
    return scores


def magnitude_scores(model: nn.Module, *, adapter_name: str | None = None) -> dict[str, Tensor]:
    """Sum of squared base weights of every input column: module name -> float32 [in_features].

    A control that reads no data. Element-wise magnitude is Super-Tuning's score (arXiv 2607.09287); here it is
    summed over rows, since whole columns are chosen.
    """
    layers = adapted_layers(model, adapter_name)
    return {name: _squares(layer.base_layer.weight.detach(), dim=0) for name, layer in layers.items()}


def select_columns(model: nn.Module, adapter_name: str, scores: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Point the adapter at each layer's best columns. In place: no parameter and no shape changes.

    Every layer keeps its own number of columns. Ties go to the lower index. A layer without scores keeps its
    seeded random columns.

    Returns:
        Names of the layers that were given columns, in the model's order.

    Raises:
        ValueError: the adapter is unknown, merged, or has learnt already (its values would end up under other
            columns); `scores` names a layer that does not carry it, or has the wrong shape.
    """
    layers = adapted_layers(model, adapter_name)
    unknown = sorted(set(scores) - set(layers))
    if unknown:
        raise ValueError(
            f"select_columns: {unknown[0]!r} carries no adapter {adapter_name!r}. Score the same model."
        )
    if is_trained(model, adapter_name):
        raise ValueError(
            f"select_columns: adapter {adapter_name!r} has learnt (its values are not zero), and new columns would "
            "give its values a new meaning. Select before training, or add a fresh adapter."
        )
    for name, score in scores.items():
        if score.shape != (layers[name].in_features,):
            found = tuple(score.shape)
            raise ValueError(
                f"select_columns: {name!r} expects [{layers[name].in_features}] scores, found {found}."
            )
    chosen = [name for name in layers if name in scores]
    for name in chosen:
        columns = layers[name].delta(adapter_name).columns
        columns.copy_(top_columns(scores[name], columns.numel()))
    return tuple(chosen)


def top_columns(scores: Tensor, count: int) -> Tensor:
    """Indices of the `count` largest of `scores` [in], ascending int32 [count]; ties go to the lower index."""
    order = torch.argsort(scores, descending=True, stable=True)
    return order[:count].sort().values.to(torch.int32)


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


def is_trained(model: nn.Module, adapter_name: str) -> bool:
    """Whether any value of the adapter has left zero."""
    return any(
        bool(layer.delta(adapter_name).weight.any()) for layer in adapted_layers(model, adapter_name).values()
    )


def model_loss(model: nn.Module, batch: Batch) -> Tensor:
    """The loss that a transformers model returns when its batch holds labels; ValueError when it returns none."""
    loss = getattr(model(**batch), "loss", None)
    if loss is None:
        raise ValueError(
            f"score_columns: {type(model).__name__} returned no loss for a batch with {sorted(batch)}. Give "
            "batches with labels, or pass `loss_fn`."
        )
    return cast("Tensor", loss)


class _ColumnSum:
    """Running score of one layer; None until a gradient arrives."""

    def __init__(self) -> None:
        self.total: Tensor | None = None

    def add(self, features: Tensor, grad: Tensor) -> None:
        tokens = features.reshape(-1, features.shape[-1])
        power = _squares(grad.reshape(-1, grad.shape[-1]), dim=-1)
        if self.total is None:
            self.total = torch.zeros(tokens.shape[-1], dtype=torch.float32, device=tokens.device)
        for start in range(0, tokens.shape[0], _CHUNK):
            part = slice(start, start + _CHUNK)
            self.total += power[part] @ tokens[part].float().square()


class _Tap(torch.autograd.Function):
    """Identity on a layer's output that, in backward, sees dY and the layer's input together.

    `anchor` is a scalar that requires grad: it makes backward come by although every parameter is frozen. An
    autograd node rather than a tensor hook, because gradient checkpointing then recomputes the input, where a
    hook's closure would keep it, and because the node runs once however often the forward is run.
    """

    @staticmethod
    def forward(ctx: Any, output: Tensor, features: Tensor, anchor: Tensor, column: _ColumnSum) -> Tensor:  # noqa: ARG004
        ctx.save_for_backward(features)
        ctx.column = column
        return output.view_as(output)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        (features,) = ctx.saved_tensors
        ctx.column.add(features, grad)
        return grad, None, None, None


@contextmanager
def _taps(model: nn.Module, sums: Mapping[str, _ColumnSum]) -> Iterator[None]:
    anchor = torch.zeros((), requires_grad=True)

    def tap(column: _ColumnSum) -> Callable[[nn.Module, tuple[Any, ...], Tensor], Tensor]:
        def hook(_: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
            tapped: Tensor = _Tap.apply(output, inputs[0].detach(), anchor, column)  # type: ignore[no-untyped-call]
            return tapped

        return hook

    handles = [model.get_submodule(name).register_forward_hook(tap(column)) for name, column in sums.items()]
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


def _squares(values: Tensor, *, dim: int) -> Tensor:
    """Sum of squares along `dim`, float32, summed in at least float32 without a float32 copy of `values`."""
    wide = torch.promote_types(values.dtype, torch.float32)
    norms: Tensor = torch.linalg.vector_norm(values, dim=dim, dtype=wide)
    return norms.square().float()
