"""The rows of `tuner_cost.py`: one named value for each way of training that is compared.

To add or change a row, change a line of `ROWS`. Every row has the budget of LoRA at the rank that the command names
(16 by default) on all seven linears, or the nearest that the method can hold; each record says how many parameters
learnt, and in which type.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from llama_shapes import LINEARS, Shape
from peft import LoraConfig, MissConfig, PeftConfig, ShiraConfig, get_peft_model
from torch import Tensor, nn

from rsa_ops.tuners import RsaConfig

MakeConfig = Callable[[Shape, int], PeftConfig]
Kind = Literal["floor", "full", "adapter", "scoring"]

STRUCTURES = ("columns", "spread", "subnet", "tiles", "elements")
MODES = ("resident", "additive")
DEPTHS = (0.75, 0.55, 0.5, 0.25)
TARGETS: dict[str, Any] = {"target_modules": list(LINEARS)}


@dataclass(frozen=True)
class Row:
    """One way of training.

    `kind`: "floor" trains nothing, but carries the gradient through every layer down to the embeddings; "scoring"
    is RSA's reading of a batch for its selection, without an optimizer. `autocast` is PEFT's
    `autocast_adapter_dtype`: True, its default, keeps adapters in float32 beside a bfloat16 base.
    """

    name: str
    group: str
    config: MakeConfig | None = None
    kind: Kind = "adapter"
    autocast: bool = True

    def adapt(self, model: nn.Module, shape: Shape, rank: int) -> Any:
        """`model` (every parameter frozen) with what this row trains."""
        if self.kind == "full":
            return model.requires_grad_(requires_grad=True)
        if self.config is None:
            return model
        return get_peft_model(model, self.config(shape, rank), autocast_adapter_dtype=self.autocast)


def top_layers(shape: Shape, depth: float) -> list[int]:
    """Indices of the top `depth` (share) of the layers: below the lowest there is neither adapter nor backward."""
    return list(range(shape.layers - max(1, round(depth * shape.layers)), shape.layers))


def top_rank(shape: Shape, rank: int, depth: float) -> int:
    """The rank that spends the whole budget on the top layers."""
    return round(rank * shape.layers / len(top_layers(shape, depth)))


def miss_rank(shape: Shape, rank: int) -> int:
    """MiSS's `r` of the nearest parameter count, among those that divide every input: others would be padded."""
    inputs = math.gcd(*(size for size, _ in shape.linears().values()))
    outputs = sum(size for _, size in shape.linears().values()) * shape.layers
    wanted = shape.lora_parameters(rank)
    return min((r for r in range(1, inputs + 1) if inputs % r == 0), key=lambda r: abs(r * outputs - wanted))


def sparsity(shape: Shape, rank: int) -> float:
    """Share of the weights that Super-Tuning leaves alone, so that the others are as many as LoRA's."""
    weights = shape.layers * sum(math.prod(size) for size in shape.linears().values())
    return 1 - shape.lora_parameters(rank) / weights


def rsa(**options: Any) -> MakeConfig:
    """RSA with its defaults and `options`."""
    return lambda _, rank: RsaConfig(r=rank, **options)


def rsa_top(depth: float) -> MakeConfig:
    """RSA with the whole budget in the top layers."""
    return lambda shape, rank: RsaConfig(
        r=top_rank(shape, rank, depth), layers_to_transform=top_layers(shape, depth), **TARGETS
    )


def lora(**options: Any) -> MakeConfig:
    """LoRA, alpha twice the rank, no dropout."""
    return lambda _, rank: LoraConfig(r=rank, lora_alpha=2 * rank, **TARGETS, **options)


def lora_top(depth: float) -> MakeConfig:
    """LoRA with the whole budget in the top layers."""

    def make(shape: Shape, rank: int) -> LoraConfig:
        r = top_rank(shape, rank, depth)
        return LoraConfig(r=r, lora_alpha=2 * r, layers_to_transform=top_layers(shape, depth), **TARGETS)

    return make


def shira(_: Shape, rank: int) -> ShiraConfig:
    """SHiRA with a random mask like PEFT's, drawn on the device; PEFT draws it on the CPU, which takes a minute."""
    config = ShiraConfig(r=rank, **TARGETS)
    config.mask_fn = random_mask
    return config


def random_mask(base_layer: nn.Module, r: int, **_: Any) -> Tensor:
    """[out, in] of 0 and 1 in the weight's type, r * (in + out) ones: what `ShiraConfig.mask_fn` has to return."""
    weight: Any = base_layer.weight
    mask = torch.zeros_like(weight).reshape(-1)
    mask[torch.randperm(mask.numel(), device=mask.device)[: r * sum(weight.shape)]] = 1
    return mask.reshape(weight.shape)


def supertuning(shape: Shape, rank: int) -> PeftConfig:
    """Super-Tuning, the largest weights of each layer."""
    from peft import SupertuningConfig  # the youngest of the methods: where PEFT lacks it, only this row fails

    return SupertuningConfig(sparsity=sparsity(shape, rank), **TARGETS)


def miss(shape: Shape, rank: int) -> MissConfig:
    """MiSS with its default (balance) form."""
    return MissConfig(r=miss_rank(shape, rank), **TARGETS)


ALL = (
    Row("floor", "table", kind="floor"),
    Row("rsa", "table", rsa()),
    Row("lora-bf16", "table", lora(), autocast=False),
    Row("lora", "table", lora()),
    Row("shira", "table", shira),
    Row("miss", "table", miss),
    Row("full", "table", kind="full"),
    *(Row(f"rsa-depth-{round(100 * d)}", "depth", rsa_top(d)) for d in DEPTHS),
    *(Row(f"lora-bf16-depth-{round(100 * d)}", "depth", lora_top(d), autocast=False) for d in DEPTHS),
    *(Row(f"rsa-{s}-{m}", "modes", rsa(structure=s, mode=m, row_groups=8)) for s in STRUCTURES for m in MODES),
    Row("rsa-unshared", "modes", rsa(share_siblings=False)),
    Row("rsa-unscaled", "modes", rsa(activation_scaling=False)),
    Row("rsa-scoring", "others", rsa(), kind="scoring"),
    Row("rslora", "others", lora(use_rslora=True)),
    Row("dora", "others", lora(use_dora=True)),
    Row("dora-bf16", "others", lora(use_dora=True), autocast=False),
    Row("shira-bf16", "others", shira, autocast=False),
    Row("supertuning", "others", supertuning),
    Row("miss-bf16", "others", miss, autocast=False),
)
ROWS = {row.name: row for row in ALL}
GROUPS = ("table", "depth", "modes", "others")


def chosen(words: list[str]) -> list[Row]:
    """Rows by name, by group, or "all", in the order of `ALL`.

    Raises:
        SystemExit: a word is neither.
    """
    if unknown := sorted(set(words) - {*ROWS, *GROUPS, "all"}):
        raise SystemExit(f"no row or group {unknown[0]!r}; groups: {', '.join(GROUPS)}; rows: {', '.join(ROWS)}")
    return [row for row in ALL if {row.name, row.group, "all"} & set(words)]
