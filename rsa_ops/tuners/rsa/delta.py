"""One adapter in one layer: its values, its places, and the gather of inputs that siblings share."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rsa_ops.tuners.rsa.blocks import Pick, block_product, entry_index, spread_over_rows, version_of
from rsa_ops.tuners.rsa.layout import Layout

Parts = tuple[Tensor, Tensor, Tensor | None, Tensor | None]
"""Values, columns, rows and scales of an adapter in one layer."""


class SharedPick:
    """The gathered input of siblings that read the same tensor: made by the first, handed to the others.

    The last of them takes it away, so that nothing but autograd keeps it. A sibling that gets another tensor (the
    queries of cross-attention) gathers for itself.
    """

    def __init__(self) -> None:
        self.members = 1
        self._source: Tensor | None = None
        self._kind: tuple[object, ...] = ()
        self._picked: Tensor | None = None
        self._left = 0

    def __call__(self, x: Tensor, columns: Tensor, dtype: torch.dtype, *, unique: bool, learns: bool) -> Tensor:
        """`x[..., columns]` in `dtype`; differentiable where `learns`."""
        kind = (version_of(x), dtype, learns, torch.is_grad_enabled())
        picked = self._picked
        if picked is not None and self._source is x and self._kind == kind:
            self._left -= 1
            if self._left == 0:
                self.clear()
            return picked
        picked = pick(x, columns, dtype, unique=unique, learns=learns)
        if self.members > 1:
            self._source, self._kind, self._picked = x, kind, picked
            self._left = self.members - 1
        return picked

    def clear(self) -> None:
        """Let go of the gathered input."""
        self._source = self._picked = None

    def __deepcopy__(self, memo: dict[int, object]) -> SharedPick:
        # What is gathered belongs to a graph, which cannot be copied.
        twin = SharedPick()
        twin.members = self.members
        memo[id(self)] = twin
        return twin

    def __reduce__(self) -> tuple[type[SharedPick], tuple[()], dict[str, int]]:
        return SharedPick, (), {"members": self.members}

    def __setstate__(self, state: dict[str, int]) -> None:
        self.members = state["members"]


class RsaDelta(nn.Module):
    """Values and places of one adapter in one layer.

    A leaf module with a parameter called `weight`, because PEFT's FSDP policy wraps only those; places in integer
    buffers, because PEFT saves whatever lies under the tuner layer, bit for bit. A follower has no column buffer:
    it reads its leader's, the first of the siblings that share one column set.

    Attributes:
        layout: shapes and structure.
        weight: float32 values, zero at start, so that a new adapter changes nothing.
        rows: int32 row indices, or None where every row takes part.
        scale: float32, in the shape of the columns, or None for all ones; 0 marks a block that is not admitted yet.
    """

    rows: Tensor | None
    columns: Tensor
    scale: Tensor | None

    def __init__(
        self, layout: Layout, rows: Tensor | None, columns: Tensor, *, scaled: bool, leader: RsaDelta | None = None
    ) -> None:
        super().__init__()
        self.layout = layout
        self.weight = nn.Parameter(torch.zeros(layout.weight_shape, dtype=torch.float32))
        self.register_buffer("rows", rows)
        self._leader = () if leader is None else (leader,)  # a tuple, so that it is no child module
        self.shared: SharedPick = SharedPick() if leader is None else leader.shared
        if leader is None:
            self.register_buffer("columns", columns)
            self.register_buffer("scale", torch.ones(layout.columns_shape) if scaled else None)
        else:
            self.shared.members += 1

    def __getattr__(self, name: str) -> Tensor | nn.Module:
        if name in {"columns", "scale"} and self.__dict__.get("_leader"):
            return getattr(self.leader, name)  # type: ignore[no-any-return]
        return super().__getattr__(name)

    @property
    def leader(self) -> RsaDelta:
        """The delta whose columns this one uses: itself, or its first sibling's."""
        return self._leader[0] if self._leader else self

    def parts(self) -> Parts:
        """(weight, columns, rows, scale), without the slow ways of a module's attributes.

        Every layer's are compared before each forward pass, and read in every switch.
        """
        weight = self._parameters.get("weight")
        shared = self.leader._buffers  # noqa: SLF001  of its own class
        columns: Tensor = shared["columns"]  # type: ignore[assignment]
        # Sharding (FSDP 1) takes the parameter away and puts a plain attribute there.
        return self.weight if weight is None else weight, columns, self._buffers["rows"], shared["scale"]

    def values(self) -> Tensor:
        """The values as they act: scaled where there are scales."""
        scale = self.scale
        return self.weight if scale is None else self.weight * spread_over_rows(self.layout, scale)

    def gathered(self, x: Tensor, columns: Tensor, *, learns: bool, compiling: bool) -> Tensor:
        """The inputs that the values meet: [..., n], in `x`'s type or autocast's; for elements `x` itself.

        `columns` are this adapter's; whoever asks has them at hand, and every forward pass of every layer does.
        """
        kind = x.device.type
        autocast = kind != "meta" and torch.is_autocast_enabled(kind)  # which does not know of shapes without data
        dtype = torch.get_autocast_dtype(kind) if autocast else x.dtype
        structure = self.layout.structure
        if structure == "elements":
            return (x if learns else x.detach()).to(dtype)
        unique = structure in {"columns", "subnet"}
        columns = columns.flatten()
        if self.shared.members > 1 and not compiling:
            return self.shared(x, columns, dtype, unique=unique, learns=learns)
        # The compiler sees siblings gather the same columns of the same input, and keeps one of them.
        return pick(x, columns, dtype, unique=unique, learns=learns)

    def forward(self, x: Tensor) -> Tensor:
        """Contribution to the output, [..., in] -> [..., out], in `x`'s type or autocast's."""
        columns = self.columns
        picked = self.gathered(x, columns, learns=True, compiling=torch.compiler.is_compiling())
        return block_product(self.layout, picked, self.values().to(picked.dtype), self.rows, columns)

    def dense(self) -> Tensor:
        """The adapter as a dense [out, in] matrix, in the values' type."""
        matrix = self.weight.new_zeros(self.layout.out_features, self.layout.in_features)
        matrix[entry_index(self.layout, self.rows, self.columns)] = self.values().detach()
        return matrix


def pick(x: Tensor, columns: Tensor, dtype: torch.dtype, *, unique: bool, learns: bool) -> Tensor:
    """`x[..., columns]` in `dtype`; without a way back to `x` unless it `learns`."""
    if not learns:
        return x.detach().index_select(-1, columns).to(dtype)
    picked: Tensor = Pick.apply(x, columns, unique)  # type: ignore[no-untyped-call]
    return picked.to(dtype)
