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
from collections.abc import Callable
from typing import Any, cast

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import resolve_quantization_backend
from torch import Tensor, nn

from rsa_ops.tuners.rsa.blocks import BlockGradient, Keep, saving_is_watched, write_entries
from rsa_ops.tuners.rsa.config import RsaConfig
from rsa_ops.tuners.rsa.delta import Parts, RsaDelta
from rsa_ops.tuners.rsa.merging import merge, unmerge
from rsa_ops.tuners.rsa.quantised import Kept, unpack
from rsa_ops.tuners.rsa.residency import Stamp, Stay, know, matrix_of, obstacle, sharded
from rsa_ops.tuners.rsa.switching import settle, settle_soon, vacate


class Linear(nn.Module, BaseTunerLayer):  # type: ignore[misc]
    """A frozen linear layer (`torch.nn.Linear`, GPT-2's `Conv1D`, or a quantised linear) with sparse adapters.

    Attributes:
        tied: whether another place of the model uses the same weight, which then must not change.
        shared: whether another model's adapter was met in the same weight; "auto" is additive from then on.
        stay: the resident adapter, or None.
        stamp: counts what was written to the weight.
        rowwise: one adapter name for every row of the batch, while a forward pass has been given them; else empty.
        kept: merged adapter -> what it takes to put the weight back.
        merge_error: adapter -> error of its merge into a quantised weight, as a share of the adapter's norm.
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
        self.tied = self.shared = False
        self._modes: dict[str, str] = {}
        self._disable_adapters = False
        self.merged_adapters: list[str] = []
        self.kept: dict[str, Stay | Kept] = {}
        self.merge_error: dict[str, float] = {}
        self.rowwise: tuple[str, ...] = ()
        self.stay: Stay | None = None
        self.stamp = Stamp()
        self.register_state_dict_pre_hook(_vacate)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(_vacate)  # type: ignore[no-untyped-call]

    def add(self, adapter_name: str, config: RsaConfig, delta: RsaDelta) -> None:
        """Add an adapter with zero values."""
        device = self.base_layer.weight.device
        # Not PEFT's helper for moving adapters: it casts to the base's type, and the values stay float32.
        if device.type != "meta" and delta.weight.device.type != "meta":
            delta = delta.to(device)
        self.vacate()
        self.rsa_delta[adapter_name] = delta
        know(self.base_layer.weight, delta.weight)
        self._modes[adapter_name] = config.mode
        self.set_adapter(self._active(), inference_mode=config.inference_mode)

    def delta(self, adapter_name: str) -> RsaDelta:
        """The adapter's values and places; KeyError when this layer does not carry it."""
        return cast("RsaDelta", self.rsa_delta[adapter_name])

    def get_delta_weight(self, adapter_name: str) -> Tensor:
        """The adapter as a dense [out, in] matrix, in the values' type."""
        return self.delta(adapter_name).dense()

    @property
    def resident_adapter(self) -> str | None:
        """The adapter whose values stand in the base weight now."""
        return None if self.stay is None else self.stay.name

    def settled(self) -> bool:
        """Whether the one adapter that acts stands in the base weight as it is now."""
        stay = self.stay
        if stay is None or stay.name != self._only():
            return False
        base = self._modules["base_layer"]  # a module's attributes are slow, and a parametrised weight is computed
        return base is not None and stay.weight is base._parameters.get("weight") and stay.current()  # noqa: SLF001

    def settle(self) -> None:
        """Make the base weight hold what it should: the one active adapter, or none."""
        if not self.settled():
            settle([self])

    def vacate(self) -> None:
        """Put the base weight back, bit for bit. The adapter returns with the next forward pass."""
        if self.stay is not None:
            vacate([self])

    def _only(self) -> str | None:
        """The one adapter that acts, or None."""
        if self._disable_adapters or self.merged_adapters or self.rowwise:
            return None
        active = self._active()
        return active[0] if len(active) == 1 else None

    def tenant(self) -> str | None:
        """The adapter that should be resident."""
        name = self._only()
        if name is None or name not in self.rsa_delta or self._modes[name] == "additive":
            return None
        if self.delta(name).weight.device != self.base_layer.weight.device:  # not loaded yet, or offloaded
            return None
        if self.shared and self._modes[name] == "auto":
            return None
        reason = obstacle(self.base_layer) or sharded(self.delta(name).weight)
        if self.tied:
            reason = "its weight is tied"
        if reason is None or self._modes[name] == "auto":
            return name if reason is None else None
        raise RuntimeError(
            f"adapter {name!r}: mode='resident' is not possible in this layer: {reason}. Use mode='auto', which is "
            "additive there."
        )

    def strict(self, adapter_name: str) -> bool:
        """Whether the adapter may be nothing but resident."""
        return self._modes[adapter_name] == "resident"

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Linear:  # noqa: FBT001, FBT002
        # Behind `.to()`, `.half()` and `.cuda()`: the base is converted, and not the base with values in it.
        self.vacate()
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        know(self.base_layer.weight, *(delta.weight for delta in self.rsa_delta.values()))
        return self

    def train(self, mode: bool = True) -> Linear:  # noqa: FBT001, FBT002  the signature is torch's
        """As `nn.Module.train`; also settles: a compiled forward pass does not, and `.data` counts no versions."""
        super().train(mode)
        if self.stay is not None:
            self.stay.seen = (-1, *self.stay.seen[1:])
        settle_soon(self)
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
            settle_soon(self)

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:  # noqa: FBT001, FBT002
        """Write the active (or the named) adapters into the base weight, and keep what was there.

        Raises:
            ValueError: `safe_merge` and the merged entries would hold NaN or infinity. The base is left as it was.
            TypeError: the weight is sharded, or computed from other parameters (parametrised).
        """
        merge([self], adapter_names, safe=safe_merge)

    def unload_and_optionally_merge_module(
        self, *, merge: bool, safe_merge: bool, adapter_names: list[str] | None
    ) -> nn.Module:
        """The base layer for PEFT to put back in this one's place: as it was, or merged."""
        self.vacate()
        if merge and not set(adapter_names or self._active()) <= set(self.merged_adapters):
            self.merge(safe_merge, adapter_names)
        return cast("nn.Module", self.base_layer)

    def unmerge(self) -> None:
        """Put the base weight back, bit for bit (what was kept is written back, nothing is subtracted)."""
        if not self.merged:
            warnings.warn("Already unmerged. Nothing to do.", stacklevel=2)
            return
        unmerge([self])

    def matrix(self) -> Tensor:
        """The base's weight as [out, in], as it is now: a view, or a dequantised copy."""
        if self.quantization_backend is None:
            return matrix_of(self.base_layer).detach()
        unpack(self.base_layer)
        return cast("Tensor", self.quantization_backend.get_base_weight(self.base_layer)).detach()

    def frozen(self) -> Tensor:
        """The base's own weight as [out, in], also while an adapter is resident: a view, or a copy."""
        matrix = self.matrix()
        if self.stay is not None:
            matrix = matrix.clone()
            stay = self.stay
            write_entries(matrix, stay.delta.layout, stay.rows, stay.columns, stay.originals)
        return matrix

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """[..., in] -> [..., out]. Further arguments go to the base layer, as PEFT's layers do it."""
        compiling = torch.compiler.is_compiling()
        if not compiling:
            self._prepare()
        idle = self._disable_adapters or bool(self.merged_adapters)
        if self.stay is not None and not idle and torch.is_grad_enabled():
            delta = self.stay.delta
            parts = delta.parts()
            if parts[0].requires_grad:
                return self._learning(delta, parts, x, args, kwargs, compiling=compiling)
        result: Tensor = self.base_layer(x, *args, **kwargs)
        if idle or self.stay is not None:
            return result
        if self.rowwise:
            return self._by_row(result, x)
        if self.quantization_backend is not None:
            result = self.quantization_backend.maybe_clone_base_result(result)
        for name in self._active():
            if name in self.rsa_delta:
                result = result + self.rsa_delta[name](x).to(result.dtype)
        return result

    def _learning(
        self,
        delta: RsaDelta,
        parts: Parts,
        x: Tensor,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        compiling: bool,
    ) -> Tensor:
        """A forward pass that belongs to the training of a resident adapter."""
        weight, columns, rows, scale = parts
        kept = (delta.gathered(x, columns, learns=False, compiling=compiling), scale, rows, columns)
        # The compiler decides itself what is kept, and sees no stamps.
        early = not compiling and saving_is_watched()
        keeper = Keep.apply(weight, *kept) if early else None  # type: ignore[no-untyped-call]
        output: Tensor = self.base_layer(x, *args, **kwargs)
        stamp = None if compiling else self.stamp
        learning: Tensor = BlockGradient.apply(output, keeper, weight, *kept, delta.layout, stamp)  # type: ignore[no-untyped-call]
        return learning

    def _prepare(self) -> None:
        if "_is_replica" in self.__dict__:
            raise RuntimeError(
                "a Robust Sparse Adapter does not run in torch.nn.DataParallel, which copies the model for every "
                "batch. Start one process per GPU (torchrun, accelerate launch), or show it one GPU alone."
            )
        if self._disable_adapters and self.merged:
            self.unmerge()
        if not self.settled():  # nearly always it is; a forward pass of a small batch feels every microsecond here
            settle([self])

    def _by_row(self, result: Tensor, x: Tensor) -> Tensor:
        if len(x) % len(self.rowwise):
            raise ValueError(
                f"adapter_names: expected one name for every row of the batch, found {len(self.rowwise)} names and "
                f"{len(x)} rows in a {self.out_features}x{self.in_features} layer."
            )
        beams = len(x) // len(self.rowwise)  # of one row lie side by side
        names = [name for name in self.rowwise for _ in range(beams)]
        for name in set(names) & set(self.rsa_delta):
            rows = torch.tensor([row for row, one in enumerate(names) if one == name], device=x.device)
            delta = self.delta(name)
            part = delta(x.index_select(0, rows))
            delta.shared.clear()  # no sibling will ask for these rows again
            result = result.index_add(0, rows, part.to(result.dtype))
        return result

    def __repr__(self) -> str:
        return "rsa." + super().__repr__()


def _vacate(layer: Linear, *_: Any) -> None:
    """Before a state is taken or loaded: the base's own entries are what is meant by its weight."""
    layer.vacate()
