"""The adapted linear layer, with any number of Robust Sparse Adapters.

Additive: `y = base(x) + delta(x)`. Resident: the values stand in the frozen weight, `y = base(x)`, and only their
gradient is added to the graph. Both are the same function; which one runs is decided anew at every forward pass
(`settle`), and additive is what runs wherever residency is not possible. Which places are good is not known here
(`scoring`). Sources: S2FT (NeurIPS 2024) for dense sub-blocks in place of scattered elements; SHiRA (arXiv
2406.13175) for a sparse additive delta beside a frozen weight. Departures: unlike both of PEFT's sparse tuners
(SHiRA, Super-Tuning), no dense copy of the weight and no dense weight gradient is formed; unlike S2FT's slices, the
selected columns are copied out, since a view would keep the whole input alive.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any, cast

import torch
from peft.tuners.tuners_utils import BaseTunerLayer, check_adapters_to_merge
from peft.utils import resolve_quantization_backend
from torch import Tensor, nn

from rsa_ops.tuners.rsa.blocks import BlockGradient, read_entries, write_entries
from rsa_ops.tuners.rsa.config import RsaConfig
from rsa_ops.tuners.rsa.delta import RsaDelta
from rsa_ops.tuners.rsa.residency import Stamp, Stay, claim, enter, leave, matrix_of, obstacle, release, rewrite


class Linear(nn.Module, BaseTunerLayer):  # type: ignore[misc]
    """A frozen linear layer (`torch.nn.Linear`, GPT-2's `Conv1D`, or a quantised linear) with sparse adapters.

    Attributes:
        tied: whether another place of the model uses the same weight, which then must not change.
        stay: the resident adapter, or None.
        stamp: counts what was written to the weight.
    """

    adapter_layer_names = ("rsa_delta",)
    other_param_names = ()
    base_layer: Any
    quantization_backend: Any

    def __init__(self, base_layer: nn.Module, features: tuple[int, int]) -> None:
        """Wrap `base_layer`; `features` is (in, out)."""
        super().__init__()
        self.base_layer = base_layer
        self.in_features, self.out_features = features
        self.quantization_backend = resolve_quantization_backend(base_layer)
        self.rsa_delta = nn.ModuleDict()
        self.tied = False
        self._modes: dict[str, str] = {}
        self._disable_adapters = False
        self.merged_adapters: list[str] = []
        self._originals: dict[str, Tensor] = {}
        self.stay: Stay | None = None
        self.stamp = Stamp()
        self.register_state_dict_pre_hook(_vacate)  # type: ignore[no-untyped-call]

    def add(self, adapter_name: str, config: RsaConfig, delta: RsaDelta) -> None:
        """Add an adapter with zero values."""
        device = self.base_layer.weight.device
        # Not PEFT's helper for moving adapters: it casts to the base's type, and the values stay float32.
        if device.type != "meta" and delta.weight.device.type != "meta":
            delta = delta.to(device)
        self.vacate()
        self.rsa_delta[adapter_name] = delta
        self._modes[adapter_name] = config.mode
        self.set_adapter(self._active(), inference_mode=config.inference_mode)

    def delta(self, adapter_name: str) -> RsaDelta:
        """The adapter's values and places; KeyError when this layer does not carry it."""
        return cast("RsaDelta", self.rsa_delta[adapter_name])

    def get_delta_weight(self, adapter_name: str) -> Tensor:
        """The adapter as a dense [out, in] matrix, in the values' type."""
        return self.delta(adapter_name).dense()

    def delta_blocks(self, adapter_name: str) -> Iterator[tuple[Tensor, Tensor]]:
        """Pairs (view of the values, the base's own entries) of every block, in equal shapes.

        For guards that compare the two; the entries are the frozen originals also while the adapter is resident.
        """
        delta = self.delta(adapter_name)
        self.settle()
        if self.stay is not None and self.stay.name == adapter_name:
            entries = self.stay.originals
        else:
            entries = read_entries(self.matrix(), delta.layout, delta.rows, delta.columns)
        yield from delta.blocks(entries)

    @property
    def resident_adapter(self) -> str | None:
        """The adapter whose values stand in the base weight now."""
        return None if self.stay is None else self.stay.name

    def settle(self) -> None:
        """Make the base weight hold what it should: the one active adapter, or none."""
        stay = self.stay
        if (
            stay is not None
            and stay.name == self._only()
            and stay.weight is self.base_layer.weight
            and stay.current()
        ):
            return  # nearly always; a forward pass of a small batch feels every microsecond here
        wanted = self._tenant()
        if stay is not None and (stay.name != wanted or stay.moved()):
            self.vacate()
            stay = None
        if stay is not None:
            if not stay.current():
                claim(self, stay.delta)  # loading may have put another parameter in place
                rewrite([(self.base_layer, stay)])
                self.stamp.count += 1
        elif wanted is not None and claim(self, self.delta(wanted)):
            self.stay = enter(self.base_layer, wanted, self.delta(wanted))
            self.stamp.count += 1
        elif wanted is not None and self._modes[wanted] == "resident":
            raise RuntimeError(
                f"adapter {wanted!r}: mode='resident', but another model's adapter is resident in the same base "
                "weight. Disable that one first, load the base twice, or use mode='auto'."
            )

    def vacate(self) -> None:
        """Put the base weight back, bit for bit. The adapter returns with the next forward pass."""
        stay = self.stay
        if stay is None:
            return
        reason = obstacle(self.base_layer)
        if reason is None:
            leave(self.base_layer, stay)
        elif bool(stay.delta.weight.any()):
            raise RuntimeError(
                f"adapter {stay.name!r} is resident, and the base can not be put back: {reason}. Shard or convert "
                "the model before its first forward pass, or use RsaConfig(mode='additive')."
            )
        release(self, stay.delta)
        self.stay = None
        self.stamp.count += 1

    def _only(self) -> str | None:
        """The one adapter that acts, or None."""
        active = self._active()
        return active[0] if len(active) == 1 and not self._disable_adapters and not self.merged_adapters else None

    def _tenant(self) -> str | None:
        """The adapter that should be resident."""
        name = self._only()
        if name is None or name not in self.rsa_delta or self._modes[name] == "additive":
            return None
        if self.delta(name).weight.device != self.base_layer.weight.device:  # not loaded yet, or offloaded
            return None
        reason = "its weight is tied" if self.tied else obstacle(self.base_layer)
        if reason is None or self._modes[name] == "auto":
            return name if reason is None else None
        raise RuntimeError(
            f"adapter {name!r}: mode='resident' is not possible in this layer: {reason}. Use mode='auto', which is "
            "additive there."
        )

    def train(self, mode: bool = True) -> Linear:  # noqa: FBT001, FBT002  the signature is torch's
        """As `nn.Module.train`; also settles: a compiled forward pass does not, and `.data` counts no versions."""
        super().train(mode)
        if self.stay is not None:
            self.stay.seen = (-1, *self.stay.seen[1:])
        self.settle()
        return self

    def enable_adapters(self, enabled: bool) -> None:  # noqa: FBT001  the signature is PEFT's
        """As PEFT's; the base weight is put back at once when adapters are disabled."""
        super().enable_adapters(enabled)
        self._resettle()

    def set_adapter(self, adapter_names: str | list[str], inference_mode: bool = False) -> None:  # noqa: FBT001, FBT002
        """As PEFT's; a resident adapter that is no longer active leaves at once."""
        super().set_adapter(adapter_names, inference_mode)
        self._resettle()

    def delete_adapter(self, adapter_name: str) -> None:
        """As PEFT's."""
        if self.resident_adapter == adapter_name:
            self.vacate()
        self._modes.pop(adapter_name, None)
        super().delete_adapter(adapter_name)

    def _active(self) -> list[str]:
        return cast("list[str]", self.active_adapters)

    def _resettle(self) -> None:
        if self.stay is not None:
            self.settle()

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:  # noqa: FBT001, FBT002
        """Write the active (or the named) adapters into the base weight, and keep what was there.

        Raises:
            ValueError: `safe_merge` and the merged entries would hold NaN or infinity. The base is left as it was.
            TypeError: the base is quantised in a way that PEFT can not write.
        """
        self.vacate()
        for name in check_adapters_to_merge(self, adapter_names):
            if name not in self.rsa_delta:
                continue
            delta = self.delta(name)
            if self.quantization_backend is not None:
                self._merge_quantised(name, delta)
            else:
                self._merge_entries(name, delta, safe=safe_merge)
            self.merged_adapters.append(name)

    def unload_and_optionally_merge_module(
        self, *, merge: bool, safe_merge: bool, adapter_names: list[str] | None
    ) -> nn.Module:
        """The base layer for PEFT to put back in this one's place: as it was, or merged."""
        self.vacate()
        if merge:
            self.merge(safe_merge, adapter_names)
        return cast("nn.Module", self.base_layer)

    @torch.no_grad()
    def _merge_entries(self, name: str, delta: RsaDelta, *, safe: bool) -> None:
        matrix = self.matrix()
        original = read_entries(matrix, delta.layout, delta.rows, delta.columns)
        values = delta.values()
        # One rounding: the sum is taken in the wider of the two types, then stored in the base's.
        merged = (original.to(values.dtype) + values).to(matrix.dtype)
        if safe and not torch.isfinite(merged).all():
            raise ValueError(
                f"merge of adapter {name!r}: expected finite weights, found NaN or infinity in "
                f"{self.out_features}x{self.in_features} layer. Retrain the adapter or merge another."
            )
        write_entries(matrix, delta.layout, delta.rows, delta.columns, merged)
        self._originals[name] = original

    @torch.no_grad()
    def _merge_quantised(self, name: str, delta: RsaDelta) -> None:
        backend = self.quantization_backend
        if not backend.supports_merge:
            raise TypeError(
                f"merge of adapter {name!r}: {backend.backend_name} weights can not be written. Load the base in "
                "bfloat16 to merge, or serve the adapter unmerged."
            )
        # The quantised parameter itself is kept: unmerging by subtraction would quantise a second time.
        self._originals[name] = self.base_layer.weight
        dense = self.matrix()
        backend.set_base_weight(self, (dense.float() + delta.dense()).to(dense.dtype))

    @torch.no_grad()
    def unmerge(self) -> None:
        """Put the base weight back, bit for bit (what was kept is written back, nothing is subtracted)."""
        if not self.merged:
            warnings.warn("Already unmerged. Nothing to do.", stacklevel=2)
            return
        while self.merged_adapters:  # last in, first out: adapters may share places
            name = self.merged_adapters.pop()
            original, delta = self._originals.pop(name), self.delta(name)
            if self.quantization_backend is not None:
                self.base_layer.weight = original
                continue
            matrix = self.matrix()
            write_entries(matrix, delta.layout, delta.rows, delta.columns, original.to(matrix))

    def matrix(self) -> Tensor:
        """The base's weight as [out, in], as it is now: a view, or a dequantised copy."""
        if self.quantization_backend is None:
            return matrix_of(self.base_layer).detach()
        return cast("Tensor", self.quantization_backend.get_base_weight(self.base_layer)).detach()

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """[..., in] -> [..., out]. Further arguments go to the base layer, as PEFT's layers do it."""
        compiling = torch.compiler.is_compiling()
        if not compiling:
            if self._disable_adapters and self.merged:
                self.unmerge()
            self.settle()
        result: Tensor = self.base_layer(x, *args, **kwargs)
        if self._disable_adapters or self.merged:
            return result
        if self.stay is not None:
            delta = self.stay.delta
            if not (torch.is_grad_enabled() and delta.weight.requires_grad):
                return result
            stamp = None if compiling else self.stamp
            picked = delta.gathered(x, learns=False)
            learning: Tensor = BlockGradient.apply(  # type: ignore[no-untyped-call]
                result, picked, delta.weight, delta.scale, delta.rows, delta.columns, delta.layout, stamp
            )
            return learning
        if self.quantization_backend is not None:
            result = self.quantization_backend.maybe_clone_base_result(result)
        for name in self._active():
            if name in self.rsa_delta:
                result = result + self.rsa_delta[name](x).to(result.dtype)
        return result

    def __repr__(self) -> str:
        return "rsa." + super().__repr__()


def _vacate(layer: Linear, prefix: str, keep_vars: bool) -> None:  # noqa: ARG001, FBT001  torch's signature
    layer.vacate()
