"""The adapted linear layer: `y = base(x) + x[..., columns] @ values.T`.

Owns the arithmetic, merging and the storage of one adapter per layer. Which columns are good is not known here
(`scoring`). Sources: S2FT (NeurIPS 2024) for dense sub-blocks in place of scattered elements; SHiRA (arXiv
2406.13175) for a sparse additive delta beside a frozen weight. Departures: unlike both of PEFT's sparse tuners
(SHiRA, Super-Tuning), no dense copy of the weight and no dense weight gradient is ever formed; unlike S2FT's
slices, the selected columns are copied out, since a view would keep the whole input alive.
"""

from __future__ import annotations

import hashlib
import warnings
from typing import Any, cast

import torch
import torch.nn.functional as F  # noqa: N812
from peft.tuners.tuners_utils import BaseTunerLayer, check_adapters_to_merge
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from rsa_ops.tuners.rsa.config import RsaConfig


class ColumnProduct(torch.autograd.Function):
    """`x[..., columns] @ values.T`, keeping for backward the gathered columns and never `x`.

    Shapes: `x` [..., in], `values` [out, k], `columns` [k] without repeats -> [..., out], in `dtype`.
    Under plain autograd a cast of `x` or of `values` would be saved as well; here only `k / in` of `x` is.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, values: Tensor, columns: Tensor, dtype: torch.dtype) -> Tensor:  # noqa: D102
        picked = x.index_select(-1, columns).to(dtype)
        x_learns, values_learn = ctx.needs_input_grad[:2]
        ctx.save_for_backward(
            picked if values_learn else None, values if x_learns else None, columns if x_learns else None
        )
        ctx.x_shape, ctx.x_dtype, ctx.values_dtype = x.shape, x.dtype, values.dtype
        return F.linear(picked, values.to(dtype))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:  # noqa: D102
        picked, values, columns = ctx.saved_tensors
        grad_x = grad_values = None
        if picked is not None:
            rows = grad.reshape(-1, grad.shape[-1])
            grad_values = (rows.T @ picked.reshape(-1, picked.shape[-1])).to(ctx.values_dtype)
        if values is not None:
            # Columns do not repeat, so each slot is written once: exact, and the same on every run.
            grad_x = torch.zeros(ctx.x_shape, dtype=ctx.x_dtype, device=grad.device)
            grad_x.index_copy_(-1, columns.long(), (grad @ values.to(grad.dtype)).to(ctx.x_dtype))
        return grad_x, grad_values, None, None


class RsaDelta(nn.Module):
    """Values and places of one adapter in one layer.

    A leaf module with a parameter called `weight`, because PEFT's FSDP policy wraps only those; places in an
    integer buffer, because PEFT saves whatever lies under the tuner layer, bit for bit.

    Attributes:
        weight: [out_features, k] float32, zero at start, so that a new adapter changes nothing.
        columns: [k] int32, ascending, without repeats.
    """

    columns: Tensor

    def __init__(self, columns: Tensor, out_features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(out_features, columns.numel(), dtype=torch.float32))
        self.register_buffer("columns", columns)

    def forward(self, x: Tensor) -> Tensor:
        """Contribution to the output, [..., in] -> [..., out], in `x`'s type or autocast's."""
        kind = x.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
        product: Tensor = ColumnProduct.apply(x, self.weight, self.columns, dtype)  # type: ignore[no-untyped-call]
        return product


class Linear(nn.Module, BaseTunerLayer):  # type: ignore[misc]
    """A frozen `torch.nn.Linear` with any number of sparse adapters beside it."""

    adapter_layer_names = ("rsa_delta",)
    other_param_names = ()

    def __init__(self, base_layer: nn.Linear, adapter_name: str, config: RsaConfig, key: str) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.in_features, self.out_features = base_layer.in_features, base_layer.out_features
        self.rsa_delta = nn.ModuleDict()
        self._disable_adapters = False
        self.merged_adapters: list[str] = []
        self._originals: dict[str, Tensor] = {}
        self._active_adapter = adapter_name
        self.update_layer(adapter_name, config, key)

    def update_layer(self, adapter_name: str, config: RsaConfig, key: str) -> None:
        """Add an adapter: zero values on a seeded random choice of columns, other for every `key` (module name)."""
        count = config.columns(self.in_features, self.out_features)
        delta = RsaDelta(random_columns(self.in_features, count, config.seed, key), self.out_features)
        device = self.base_layer.weight.device
        # Not PEFT's helper for moving adapters: it casts to the base's type, and the values stay float32.
        if device.type != "meta" and delta.weight.device.type != "meta":
            delta = delta.to(device)
        self.rsa_delta[adapter_name] = delta
        self.set_adapter(self.active_adapters, inference_mode=config.inference_mode)  # type: ignore[operator]

    def delta(self, adapter_name: str) -> RsaDelta:
        """The adapter's values and columns; KeyError when this layer does not carry it."""
        return cast("RsaDelta", self.rsa_delta[adapter_name])

    def get_delta_weight(self, adapter_name: str) -> Tensor:
        """The adapter as a dense [out, in] matrix, in the values' type."""
        delta = self.delta(adapter_name)
        dense = delta.weight.new_zeros(self.out_features, self.in_features)
        dense[:, delta.columns.long()] = delta.weight.detach()
        return dense

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:  # noqa: FBT001, FBT002
        """Write the active (or the named) adapters into the base weight, and keep what was there.

        Raises:
            ValueError: `safe_merge` and the merged columns would hold NaN or infinity. The base is left as it was.
        """
        for name in check_adapters_to_merge(self, adapter_names):
            if name not in self.rsa_delta:
                continue
            delta, weight = self.delta(name), self.base_layer.weight.data
            places = delta.columns.long()
            original = weight[:, places]
            # One rounding: the sum is taken in the wider of the two types, then stored in the base's.
            merged = (original.to(delta.weight.dtype) + delta.weight.detach()).to(weight.dtype)
            if safe_merge and not torch.isfinite(merged).all():
                raise ValueError(
                    f"merge of adapter {name!r}: expected finite weights, found NaN or infinity in "
                    f"{self.out_features}x{self.in_features} layer. Retrain the adapter or merge another."
                )
            weight[:, places] = merged
            self._originals[name] = original
            self.merged_adapters.append(name)

    def unmerge(self) -> None:
        """Put the base weight back, bit for bit (the kept columns are written back, nothing is subtracted)."""
        if not self.merged:
            warnings.warn("Already unmerged. Nothing to do.", stacklevel=2)
            return
        weight = self.base_layer.weight.data
        while self.merged_adapters:  # last in, first out: adapters may share columns
            name = self.merged_adapters.pop()
            weight[:, self.delta(name).columns.long()] = self._originals.pop(name).to(weight)

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """[..., in] -> [..., out]. Further arguments go to the base layer, as PEFT's layers do it."""
        if self.disable_adapters and self.merged:
            self.unmerge()
        result: Tensor = self.base_layer(x, *args, **kwargs)
        if self.disable_adapters or self.merged:
            return result
        for name in cast("list[str]", self.active_adapters):
            if name in self.rsa_delta:
                result = result + self.rsa_delta[name](x).to(result.dtype)
        return result

    def __repr__(self) -> str:
        return "rsa." + super().__repr__()


def random_columns(in_features: int, count: int, seed: int, key: str) -> Tensor:
    """`count` of `in_features` columns, ascending int32 [count]; the same for equal arguments on every machine."""
    digest = hashlib.sha256(f"{seed}:{key}".encode()).digest()
    generator = torch.Generator(device="cpu").manual_seed(int.from_bytes(digest[:8], "big") >> 1)
    order = torch.randperm(in_features, generator=generator, device="cpu")
    return order[:count].sort().values.to(torch.int32)
