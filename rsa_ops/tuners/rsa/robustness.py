"""`Robustness`: loss terms and guards against forgetting and local collapse, in any `transformers.Trainer`.

Each is one flag, off unless it is given a strength, and acts through hooks on the model that the Trainer calls; no
Trainer is subclassed. `attached` installs them; `RsaCallback(robustness=...)` does that for a training. What each
term computes stands in `terms`, `slice_weights`, `noise` and `guards`; `alpha` scales an adapter after training.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any, Self
from weakref import ReferenceType, WeakKeyDictionary, ref

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from rsa_ops.tuners.rsa.guards import decay_values, guarded_layers, limit_blocks
from rsa_ops.tuners.rsa.layer import Linear
from rsa_ops.tuners.rsa.noise import EmbeddingNoise, RandomState, input_embeddings, refuse_lost_noise
from rsa_ops.tuners.rsa.slice_weights import SliceWeights, read_slice_ids
from rsa_ops.tuners.rsa.switching import settle
from rsa_ops.tuners.rsa.terms import Call, LossTerms


@dataclass(frozen=True)
class Robustness:
    """Strengths of the terms and guards; None is off, and everything is off by default.

    Attributes:
        delta_decay: after each optimizer step the adapter's values shrink by the factor 1 - learning rate *
            delta_decay, towards zero and so towards the base. This is what AdamW's `weight_decay` does to the same
            values; use one of the two. A Trainer whose optimizer already decays them is refused.
        trust_ratio: after each optimizer step no block of the adapter is longer than this times the base entries
            it stands on (`guards.limit_blocks` says what a block is). 0.5 is meant as a guard that an ordinary
            training never meets; a column that is zero in the base cannot learn under any.
        rdrop: R-Drop (Liang et al. 2021, equations 3 and 4): two passes with different dropout; the loss is the
            mean of both plus this times half the symmetric KL between them. The equations add the two losses up, so
            their alpha is twice this. Costs a second forward and backward. Needs dropout.
        r3f: R3F (Aghajanyan et al. 2020, equation 3; not R4F's spectral norm): this times the symmetric KL between
            the answer and the answer with noise on the input embeddings, under the same dropout masks, so that the
            noise alone is felt (fairseq's draws new masks). Costs a second forward and backward.
        r3f_noise: half width of R3F's uniform noise, in units of the embeddings.
        neftune_alpha: NEFTune (Jain et al. 2023): uniform noise of half width alpha / sqrt(L * d) on the embeddings
            while training; the papers use 5 to 15. Free.
        worst_slice: group DRO (Sagawa et al. 2020): step size of the weights that move to the slice with the
            highest loss; slices are the integers in the batch key `slice_ids`. 0.01 is the authors' value. It helps
            the worst slice only together with strong regularisation or early stopping (section 3 there). A resumed
            training starts from even weights.

    Raises:
        TypeError: a strength that is no number.
        ValueError: a strength that is not above zero and finite, or two noises on the same embeddings.
    """

    delta_decay: float | None = None
    trust_ratio: float | None = None
    rdrop: float | None = None
    r3f: float | None = None
    r3f_noise: float = 1e-5
    neftune_alpha: float | None = None
    worst_slice: float | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            _check_strength(field.name, getattr(self, field.name))
        if self.r3f is not None and self.neftune_alpha is not None:
            raise ValueError(
                "Robustness: r3f compares the answers with and without noise on the embeddings, and neftune_alpha "
                "would disturb both. Give one of them."
            )

    @property
    def adds_to_the_loss(self) -> bool:
        """Whether a flag is on that needs labels and logits."""
        return any(value is not None for value in (self.rdrop, self.r3f, self.worst_slice))

    @property
    def touches_embeddings(self) -> bool:
        """Whether a flag is on that puts noise on the input embeddings."""
        return self.r3f is not None or self.neftune_alpha is not None

    @property
    def on(self) -> str:
        """The names of the flags that are on, with commas."""
        names = [field.name for field in fields(self) if field.name != "r3f_noise"]
        return ", ".join(name for name in names if getattr(self, name) is not None)

    @property
    def guards(self) -> bool:
        """Whether a flag is on that acts on the adapter's values after a step."""
        return self.delta_decay is not None or self.trust_ratio is not None


def _check_strength(name: str, value: object) -> None:
    if value is None and name != "r3f_noise":
        return
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"Robustness.{name}: expected a number, or None for off, found {value!r}.")
    if not math.isfinite(value) or value < 0 or (value == 0 and name != "r3f_noise"):
        raise ValueError(
            f"Robustness.{name}: expected a number above 0, found {value}. To turn it off, leave it out."
        )


def attached(
    model: nn.Module,
    robustness: Robustness,
    *,
    adapter_name: str = "default",
    optimizer: Any = None,
    arguments: Any = None,
    batch: Mapping[str, Any] | None = None,
) -> Attachment:
    """Install the flags that are on; the handle takes them off again, by `detach` or at the end of a `with`.

    A second call on the same model replaces the first, so that a training that broke off leaves nothing behind.

    Args:
        model: what the Trainer calls, or its DDP or compiled wrapper.
        robustness: the flags.
        adapter_name: whose values the guards act on.
        optimizer: the training's optimizer, where it is known: refused when it decays the adapter's values too.
        arguments: its `TrainingArguments`, where they are known: what goes past the model's loss is refused.
        batch: one batch as the model will be called with it, where one can be had: it must hold labels, slice ids.

    Raises:
        ValueError: a flag cannot work, or would do nothing, in this training; the message says which and why.
    """
    inner = unwrapped(model)
    layers = guarded_layers(inner, adapter_name) if robustness.guards else ()
    if robustness.rdrop is not None:
        refuse_without_dropout(inner)
    if arguments is not None:
        check_arguments(arguments, robustness)
    if optimizer is not None and robustness.delta_decay is not None:
        refuse_second_decay(optimizer, layers, adapter_name)
    if batch is not None:
        check_batch(batch, robustness)
    if (previous := _present(inner)) is not None:
        previous.detach()
    made = Attachment(inner, robustness, layers, adapter_name)
    _ATTACHED[inner] = ref(made)
    return made


class Attachment:
    """What `attached` installed on one model.

    Attributes:
        limited_blocks: how many blocks the trust ratio shrank after the last step.
    """

    def __init__(
        self, model: nn.Module, robustness: Robustness, layers: tuple[Linear, ...], adapter_name: str
    ) -> None:
        self.limited_blocks = 0
        self._model, self._flags, self._layers, self._adapter = model, robustness, layers, adapter_name
        self._slices = SliceWeights(robustness.worst_slice) if robustness.worst_slice is not None else None
        self._noise = _embedding_noise(model, robustness)
        self._terms = LossTerms(
            model, robustness.rdrop, robustness.r3f, robustness.r3f_noise, self._noise, self._slices
        )
        self._call: Call | None = None
        self._busy = self._paused = False
        self._hooks = self._install()

    @property
    def slice_weights(self) -> dict[int, float]:
        """Slice id -> weight of group DRO; empty when it is off or nothing was seen."""
        return self._slices.q if self._slices is not None else {}

    def after_step(self, learning_rate: float) -> None:
        """Act on the adapter's values, and move the weights of slices; once after each optimizer step.

        `learning_rate` is the one of the adapter's values in that step (`adapter_learning_rate`), that is, before
        the scheduler moves on: a callback calls this in `on_optimizer_step`. A resident adapter is written anew.
        """
        if self._flags.delta_decay is not None:
            decay_values(self._layers, self._adapter, learning_rate * self._flags.delta_decay)
        if self._flags.trust_ratio is not None:
            self.limited_blocks = limit_blocks(self._layers, self._adapter, self._flags.trust_ratio)
        settle(self._layers)
        if self._slices is not None:
            self._slices.step()

    def detach(self) -> None:
        """Take every hook off; twice is once."""
        for hook in self._hooks:
            hook.remove()
        self._hooks = []
        if self._noise is not None:
            self._noise.remove()
        if _present(self._model) is self:
            del _ATTACHED[self._model]

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Add nothing within this context: for scoring, or a loss of one's own, in the middle of a training."""
        before, self._paused = self._paused, True
        try:
            yield
        finally:
            self._paused = before

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.detach()

    def _install(self) -> list[RemovableHandle]:
        if not self._flags.adds_to_the_loss and self._flags.neftune_alpha is None:
            return []
        # Not traced by torch.compile: they call the model again, and keep state between calls.
        before, after = (torch.compiler.disable(hook) for hook in (self._before, self._after))  # type: ignore[no-untyped-call]
        return [
            self._model.register_forward_pre_hook(before, with_kwargs=True),
            self._model.register_forward_hook(after, with_kwargs=True),
        ]

    def _before(self, module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> Any:
        if self._busy:
            return None
        slice_ids = named.get("slice_ids")
        if self._slices is not None:  # a key that the model does not know, in evaluation either
            named = {name: value for name, value in named.items() if name != "slice_ids"}
        self._call = None
        if self._noise is not None:
            self._noise.stop_neftune()
        if module.training and not self._paused:
            if inputs:
                raise ValueError("robustness: expected a call with named arguments only, as a Trainer makes it.")
            check_batch({**named, "slice_ids": slice_ids}, self._flags)
            self._call = Call(named, slice_ids, RandomState() if self._flags.r3f is not None else None)
            if self._noise is not None and self._flags.neftune_alpha is not None:
                self._noise.start_neftune(self._flags.neftune_alpha, named.get("attention_mask"))
        return inputs, named

    def _after(self, module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any], output: Any) -> Any:  # noqa: ARG002  torch's signature
        if self._busy or self._call is None:
            return None
        call, self._call = self._call, None
        self._busy = True
        try:
            return self._terms.joined(output, call) if self._flags.adds_to_the_loss else None
        finally:
            self._busy = False
            if self._noise is not None:
                self._noise.stop_neftune()


_DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)
_ATTACHED: WeakKeyDictionary[nn.Module, ReferenceType[Attachment]] = WeakKeyDictionary()


def _present(model: nn.Module) -> Attachment | None:
    found = _ATTACHED.get(model)
    return found() if found is not None else None


def unwrapped(model: nn.Module) -> nn.Module:
    """The model inside the wrappers of DDP, DataParallel and torch.compile."""
    while True:
        if isinstance(model, nn.parallel.DistributedDataParallel | nn.DataParallel):
            model = model.module
        elif isinstance(inner := model.__dict__["_modules"].get("_orig_mod"), nn.Module):
            model = inner
        else:
            return model


def adapter_learning_rate(optimizer: Any, model: nn.Module, adapter_name: str = "default") -> float:
    """The present learning rate of the adapter's values.

    Raises:
        ValueError: the optimizer does not hold them.
    """
    held = {
        id(value)
        for module in model.modules()
        if isinstance(deltas := getattr(module, "rsa_delta", None), nn.ModuleDict) and adapter_name in deltas
        for value in deltas[adapter_name].parameters()
    }
    for group in optimizer.param_groups:
        if any(id(parameter) in held for parameter in group["params"]):
            return float(group["lr"])
    raise ValueError(f"adapter_learning_rate: the optimizer holds no values of the adapter {adapter_name!r}.")


def check_batch(batch: Mapping[str, Any], robustness: Robustness) -> None:
    """Refuse a batch that a loss term cannot work with.

    Raises:
        ValueError: no `labels`, or no `slice_ids` where `worst_slice` is on.
    """
    if not robustness.adds_to_the_loss:
        return
    labels = batch.get("labels")
    if labels is None:
        keys = sorted(name for name, value in batch.items() if value is not None)
        raise ValueError(
            f"robustness: rdrop, r3f and worst_slice need `labels` in the model's batch, and found only {keys}. "
            "Either the data has none, or the Trainer took them away: Trainer(compute_loss_func=...), a "
            "compute_loss of one's own and label_smoothing_factor go past the model's loss, and these flags."
        )
    if robustness.worst_slice is not None:
        read_slice_ids(batch.get("slice_ids"), len(labels))


def check_arguments(arguments: Any, robustness: Robustness) -> None:
    """Refuse `TrainingArguments` under which a flag would be bypassed, or done twice.

    Raises:
        ValueError: label smoothing, DataParallel, fused losses without logits, a second NEFTune, or a data set
            whose `slice_ids` the Trainer would drop.
    """
    wrong = [
        (robustness.adds_to_the_loss and arguments.label_smoothing_factor, "label_smoothing_factor", "0"),
        (robustness.adds_to_the_loss and arguments.n_gpu > 1, "n_gpu (DataParallel)", "1, with torchrun for more"),
        (robustness.adds_to_the_loss and arguments.use_liger_kernel, "use_liger_kernel", "False"),
        (robustness.touches_embeddings and arguments.neftune_noise_alpha, "neftune_noise_alpha", "None"),
        (robustness.worst_slice and arguments.remove_unused_columns, "remove_unused_columns", "False"),
    ]
    for is_wrong, name, needed in wrong:
        if is_wrong:
            raise ValueError(f"robustness: with {robustness.on}, TrainingArguments.{name} must be {needed}.")


def refuse_second_decay(optimizer: Any, layers: tuple[Linear, ...], adapter_name: str) -> None:
    """Refuse an optimizer that decays the adapter's values already.

    Raises:
        ValueError: it does; the values would be decayed twice.
    """
    held = {id(layer.delta(adapter_name).weight) for layer in layers}
    for group in optimizer.param_groups:
        if group.get("weight_decay", 0) and any(id(parameter) in held for parameter in group["params"]):
            raise ValueError(
                f"robustness: delta_decay and the optimizer's weight_decay={group['weight_decay']:g} do the same "
                "to the adapter's values. Set weight_decay=0 for them, or leave delta_decay out."
            )


def refuse_without_dropout(model: nn.Module) -> None:
    """Refuse a model in which no dropout is set: two passes would be equal, and R-Drop would add nothing.

    Modules of torch count, and so do numbers above zero that a module keeps under a name with "drop" in it, which
    is how attention layers carry the rate of a functional dropout.

    Raises:
        ValueError: there is none.
    """
    for module in model.modules():
        rates = [value for name, value in vars(module).items() if "drop" in name]
        if isinstance(module, _DROPOUTS):
            rates.append(module.p)
        if any(isinstance(rate, float) and rate > 0 for rate in rates):
            return
    raise ValueError(
        f"robustness: rdrop compares two passes under different dropout, and {type(model).__name__} has no dropout "
        "above 0, so it would do nothing. Most decoders come without: set attention_dropout (or the like) in the "
        "configuration, or use r3f."
    )


def _embedding_noise(model: nn.Module, robustness: Robustness) -> EmbeddingNoise | None:
    if not robustness.touches_embeddings:
        return None
    embeddings = input_embeddings(model)
    if robustness.r3f is not None:
        refuse_lost_noise(embeddings, robustness.r3f_noise)
    return EmbeddingNoise(embeddings)
