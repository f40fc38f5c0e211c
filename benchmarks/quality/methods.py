"""The methods that are compared, as data: one line each. Every adapter sits on every linear layer but the head.

Rates are where the search begins, for the encoder and for the causal model; the search leaves them (see `plan`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quality.tasks import Base

Options = dict[str, Any]


@dataclass(frozen=True)
class Budget:
    """As many trainable parameters as LoRA of rank `r` has on layers of these (in, out) features."""

    r: int
    shapes: tuple[tuple[int, int], ...]

    @property
    def parameters(self) -> int:
        """Sum over the layers of r * (in + out)."""
        return self.r * sum(rows + columns for rows, columns in self.shapes)

    @property
    def density(self) -> float:
        """`parameters` as a share of the layers' weights."""
        return self.parameters / sum(rows * columns for rows, columns in self.shapes)

    @property
    def out_rank(self) -> int:
        """Rank of a method that has rank * out parameters a layer."""
        return round(self.parameters / sum(out for _, out in self.shapes))


@dataclass(frozen=True)
class Method:
    """A way of training: `peft` names PEFT's method, None trains every weight."""

    name: str
    peft: str | None
    options: Callable[[Budget], Options]
    encoder_rate: float
    causal_rate: float

    def rate(self, base: Base) -> float:
        """Where the search for a learning rate begins."""
        return self.encoder_rate if base == "encoder" else self.causal_rate


def _ranked(budget: Budget) -> Options:
    return {"r": budget.r, "lora_alpha": 2 * budget.r}


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method("full", None, lambda _: {}, 1e-4, 5e-5),
        Method("lora", "LORA", _ranked, 3e-3, 3e-3),
        Method("rslora", "LORA", lambda b: {**_ranked(b), "use_rslora": True}, 3e-3, 2e-3),
        Method("dora", "LORA", lambda b: {**_ranked(b), "use_dora": True}, 3e-3, 3e-3),
        Method("shira", "SHIRA", lambda b: {"r": b.r}, 1e-2, 2e-2),
        Method("super", "SUPERTUNING", lambda b: {"sparsity": 1 - b.density}, 3e-3, 5e-3),
        Method("miss", "MISS", lambda b: {"r": b.out_rank}, 1e-3, 1e-3),
        Method("rsa", "ROBUST_SPARSE", lambda b: {"r": b.r}, 2e-3, 3e-3),
    )
}

STRUCTURE_RATES: Mapping[str, tuple[float, float]] = {
    "columns": (2e-3, 2e-3),
    "spread": (3e-3, 5e-3),
    "subnet": (3e-3, 5e-3),
    "tiles": (3e-3, 5e-3),
    "elements": (1e-2, 1e-2),
}
"""Where the search begins for a structure of RSA that is named: (encoder, causal)."""


def linear_shapes(model: Any) -> tuple[tuple[int, int], ...]:
    """(in, out) features of the layers that "all-linear" means: every linear layer but the head."""
    from torch import nn

    heads = ("classifier", "lm_head")
    return tuple(
        (layer.in_features, layer.out_features)
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Linear) and name.split(".")[-1] not in heads
    )


def peft_config(method: Method, base: Base, budget: Budget, seed: int, extra: Sequence[tuple[str, Any]]) -> Any:
    """PEFT's configuration of an adapter method; `extra` options win over the method's own."""
    from peft import TaskType
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    import rsa_ops.tuners  # noqa: F401  registers ROBUST_SPARSE

    kinds = {str(getattr(kind, "value", kind)): config for kind, config in PEFT_TYPE_TO_CONFIG_MAPPING.items()}
    kind = kinds[str(method.peft)]
    known = kind.__dataclass_fields__
    options: Options = {
        "task_type": TaskType.SEQ_CLS if base == "encoder" else TaskType.CAUSAL_LM,
        "target_modules": "all-linear",
        **{name: seed for name in ("seed", "random_seed") if name in known},
        **({"mode": "additive"} if method.peft == "ROBUST_SPARSE" else {}),
        **method.options(budget),
    }
    for name, value in extra:
        if value is None:
            options.pop(name, None)
        else:
            options[name] = value
    return kind(**options)


def count_parameters(model: Any) -> int:
    """Trainable parameters, those of a new head left out."""
    return sum(
        parameter.numel()
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and "classifier" not in name.split(".")
    )


def steady_shira(model: Any) -> None:
    """Let SHiRA add its values with `index_add` in place of adding a sparse tensor: the same sums, to the bit.

    PEFT's forward builds a sparse tensor in every layer and step, which waits for the device each time. Its
    parameters, places and configuration stay as they are; only the addition is replaced.
    """
    from types import MethodType

    from peft.tuners.shira.layer import Linear
    from torch.nn.functional import linear

    def forward(self: Any, x: Any, *_: Any, **__: Any) -> Any:
        weight = self.base_layer.weight
        for name in self.active_adapters:
            values = self.shira_weight[name] * self.scaling[name]
            weight = weight.reshape(-1).index_add(0, self.flat_places[name], values).reshape(weight.shape)
        return linear(x, weight, self.base_layer.bias)

    for layer in model.modules():
        if isinstance(layer, Linear):
            layer.flat_places = {
                name: (places[0].long() * layer.in_features + places[1].long()).to(layer.base_layer.weight.device)
                for name, places in layer.shira_indices.items()
            }
            layer.forward = MethodType(forward, layer)
