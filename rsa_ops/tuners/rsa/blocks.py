"""Arithmetic on the blocks of a layout: gather inputs, multiply, gradients, read and write entries of a weight.

Pure functions of tensors. `T` is the number of tokens, all leading dimensions together. Nothing here keeps a dense
copy of a weight, and only single elements form a dense product, since below about 0.3 % density alone a sampled one
would be faster on a GPU.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from torch.autograd.function import once_differentiable

from rsa_ops.tuners.rsa.layout import Layout

_ONE_TILE = 128
"""Columns that a matrix product on a GPU computes at a time: fewer take as long, so that one product with more than
is needed costs less than several that are narrow."""


class Pick(torch.autograd.Function):
    """`x[..., columns]`, keeping for backward the indices alone.

    Autograd's own `index_select` does the same but always adds with atomics; columns that do not repeat are written
    once each, exactly, and the same on every run.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, columns: Tensor, unique: bool) -> Tensor:  # noqa: D102, FBT001
        ctx.save_for_backward(columns)
        ctx.shape, ctx.unique = x.shape, unique
        return x.index_select(-1, columns)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:  # noqa: D102
        (columns,) = ctx.saved_tensors
        grad_x = grad.new_zeros(ctx.shape)
        put = grad_x.index_copy_ if ctx.unique else grad_x.index_add_
        put(-1, columns.long(), grad)
        return grad_x, None, None


class ElementProduct(torch.autograd.Function):
    """`x @ D.T` for the sparse matrix `D` of single elements, built anew in backward instead of being kept.

    Shapes: `x` [..., in], `values`, `rows`, `columns` [n] -> [..., out].
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, values: Tensor, rows: Tensor, columns: Tensor, out: int) -> Tensor:  # noqa: D102
        ctx.save_for_backward(x, values, rows, columns)
        ctx.out = out
        return F.linear(x, _dense(values, rows, columns, out, x.shape[-1]))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:  # noqa: D102
        x, values, rows, columns = ctx.saved_tensors
        grad_x = grad_values = None
        if ctx.needs_input_grad[0]:
            grad_x = grad @ _dense(values, rows, columns, ctx.out, x.shape[-1])
        if ctx.needs_input_grad[1]:
            grad_values = element_gradient(_flat(grad), _flat(x), rows, columns)
        return grad_x, grad_values, None, None, None


Places = tuple[Tensor | None, Tensor | None, Tensor]
"""Scales, rows and columns of an adapter."""

_hooks_of_saving: Any = getattr(torch._C._autograd, "_top_saved_tensors_default_hooks", None)  # noqa: SLF001


def saving_is_watched() -> bool:
    """Whether somebody takes over what is kept for backward, as checkpointing does; True where torch can't tell."""
    return _hooks_of_saving is None or _hooks_of_saving(False) is not None  # noqa: FBT003  takes no keywords


def _save(ctx: Any, picked: Tensor, places: Places, *, compiling: bool) -> None:
    """Keep for backward what `_saved` gives back.

    The scales and indices are buffers, which live anyway. Autograd would pack and unpack each of them in every
    layer, slowly where checkpointing watches; here only their versions are noted. The compiler wants all of them.
    """
    ctx.places = None if compiling else places
    if compiling:
        ctx.save_for_backward(picked, *places)
    else:
        ctx.save_for_backward(picked)
        ctx.versions = [version_of(place) for place in places]


def _saved(ctx: Any) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor]:
    """(gathered inputs, scales, rows, columns) as they were in the forward pass."""
    if ctx.places is None:
        return ctx.saved_tensors  # type: ignore[no-any-return]
    if ctx.versions != [version_of(place) for place in ctx.places]:
        raise RuntimeError(
            "the columns, rows or scales of a resident Robust Sparse Adapter have been modified by an inplace "
            "operation between a forward pass and its backward pass. Choose blocks before the forward pass."
        )
    return (*ctx.saved_tensors, *ctx.places)


def version_of(tensor: Tensor | None) -> int:
    """How often a tensor was changed in place; 0 for None and for inference tensors, which count no versions."""
    return 0 if tensor is None or tensor.is_inference() else tensor._version  # noqa: SLF001


class Keep(torch.autograd.Function):
    """Keeps what `BlockGradient` needs, from before the frozen layer runs; its output, empty, says where it is.

    Gradient checkpointing runs a layer again only until everything it kept is there again. What is kept before the
    last product of a layer spares that product, as a frozen layer without an adapter does. Elsewhere it takes
    host time in every layer and wins nothing: it is for where `saving_is_watched`.
    """

    @staticmethod
    def forward(  # noqa: D102
        ctx: Any, values: Tensor, picked: Tensor, scale: Tensor | None, rows: Tensor | None, columns: Tensor
    ) -> Tensor:
        _save(ctx, picked, (scale, rows, columns), compiling=False)
        return values.new_empty(0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[None, ...]:  # noqa: ARG004, D102
        return (None,) * 5


class BlockGradient(torch.autograd.Function):
    """Identity on a layer's output that, in backward, gives the values of a resident adapter their gradient.

    The values stand in the frozen weight already, so the forward pass and the gradient of the input are the frozen
    layer's own; all that is kept is the gathered input, [..., n], by `kept` where it is given and else here.
    Without a stamp it is being compiled.
    """

    @staticmethod
    def forward(  # noqa: D102, PLR0913, PLR0917  an autograd node takes its inputs one by one
        ctx: Any,
        output: Tensor,
        kept: Tensor | None,
        values: Tensor,
        picked: Tensor,
        scale: Tensor | None,
        rows: Tensor | None,
        columns: Tensor,
        layout: Layout,
        stamp: Any,
    ) -> Tensor:
        ctx.keeper = None if kept is None else kept.grad_fn
        if kept is None:
            _save(ctx, picked, (scale, rows, columns), compiling=stamp is None)
        ctx.layout, ctx.dtype = layout, values.dtype
        ctx.stamp, ctx.count = stamp, None if stamp is None else stamp.count
        # A view made here would forbid the caller to change it in place, as nn.ReLU(inplace=True) does; the tensor
        # under this one is seen by nobody else.
        if stamp is not None:
            return output.data
        unseen: Tensor = torch.ops.aten._unsafe_view(output, output.shape)  # noqa: SLF001  for the compiler
        return unseen

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:  # noqa: D102
        if torch.is_grad_enabled():  # by create_graph; what guards against second derivatives is slow
            return _gradient_once(ctx, grad)
        return _gradient(ctx, grad)


def _gradient(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    if ctx.stamp is not None and ctx.stamp.count != ctx.count:
        raise RuntimeError(
            "a resident Robust Sparse Adapter was switched, disabled, changed or reloaded between a forward "
            "pass and its backward pass, which would give wrong gradients. Finish backward first, or use "
            "RsaConfig(mode='additive')."
        )
    picked, scale, rows, columns = _saved(ctx if ctx.keeper is None else ctx.keeper)
    values = block_gradient(ctx.layout, grad, picked, rows, columns)
    if values.dtype != ctx.dtype:
        values = values.to(ctx.dtype)
    if scale is not None:
        values.mul_(spread_over_rows(ctx.layout, scale))
    return grad, None, values, None, None, None, None, None, None


_gradient_once = once_differentiable(_gradient)


def block_product(layout: Layout, picked: Tensor, values: Tensor, rows: Tensor | None, columns: Tensor) -> Tensor:
    """The adapter's contribution to the output: gathered inputs [..., n] (for elements, x) -> [..., out]."""
    if layout.structure == "columns":
        return F.linear(picked, values)
    if layout.structure == "elements":
        product: Tensor = ElementProduct.apply(picked, values, rows, columns, layout.out_features)  # type: ignore[no-untyped-call]
        return product
    leading = picked.shape[:-1]
    if layout.structure == "spread":
        blocks = torch.matmul(_by_group(picked, layout), values.transpose(1, 2))  # [groups, T, rows]
        return blocks.transpose(0, 1).reshape(*leading, layout.out_features)
    places = _given(rows).flatten().long()
    if layout.structure == "subnet":
        part = F.linear(_flat(picked), values)
    else:
        blocks = torch.matmul(_by_group(picked, layout), values.transpose(1, 2))
        part = blocks.transpose(0, 1).reshape(-1, places.numel())
    out = part.new_zeros(part.shape[0], layout.out_features).index_add(1, places, part)  # tiles share rows
    return out.reshape(*leading, layout.out_features)


def block_gradient(layout: Layout, grad: Tensor, picked: Tensor, rows: Tensor | None, columns: Tensor) -> Tensor:
    """Gradient of the values, in their shape, from dY [..., out] and the gathered inputs [..., n] (elements: x)."""
    dy, x = grad.reshape(-1, grad.shape[-1]), picked.reshape(-1, picked.shape[-1])
    if x.dtype != dy.dtype:
        x = x.to(dy.dtype)
    if layout.structure == "columns":
        return _summed(torch.mm, dy.T, x)
    if layout.structure == "spread":
        if dy.is_cuda and x.shape[1] <= _ONE_TILE:
            whole = _summed(torch.mm, dy.T, x).view(layout.groups, layout.rows, layout.groups, layout.columns)
            return whole.diagonal(dim1=0, dim2=2).permute(2, 0, 1).contiguous()
        by_rows = dy.view(-1, layout.groups, layout.rows).permute(1, 2, 0)
        return _summed(torch.bmm, by_rows, _by_group(x, layout))
    if layout.structure == "elements":
        return element_gradient(dy, x, _given(rows), columns)
    chosen = dy.index_select(1, _given(rows).flatten())
    if layout.structure == "subnet":
        return chosen.T @ x
    by_rows = chosen.view(-1, layout.groups, layout.rows).permute(1, 2, 0)
    return torch.bmm(by_rows, _by_group(x, layout))


def element_gradient(dy: Tensor, x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Entries [n] of `dY.T @ x`, through one dense product that lives only here."""
    return (dy.T @ x)[rows.long(), columns.long()]


def spread_over_rows(layout: Layout, scale: Tensor) -> Tensor:
    """Scales, in the shape of the column indices, made to broadcast over the values."""
    return scale.unsqueeze(-2) if layout.structure in {"spread", "tiles"} else scale


def scaled_form(layout: Layout) -> tuple[int, int, int]:
    """(sets of scales, rows of values that share a set, values in a row), whatever the structure."""
    width = layout.weight_shape[-1]
    sets = math.prod(layout.columns_shape) // width
    return sets, layout.parameters // (sets * width), width


def entry_index(layout: Layout, rows: Tensor | None, columns: Tensor) -> tuple[Tensor, Tensor]:
    """Row and column numbers, int64, that broadcast to the shape of the values."""
    over = columns.long()
    if layout.structure == "elements":
        return _given(rows).long(), over
    if rows is not None:
        return rows.long().unsqueeze(-1), over.unsqueeze(-2)
    down = torch.arange(layout.out_features, device=columns.device)
    if layout.structure == "columns":
        return down[:, None], over[None, :]
    return down.view(layout.groups, layout.rows, 1), over[:, None, :]


KEPT_WIDE = frozenset({"columns", "spread"})
"""Structures with so few column indices that they are kept in 64 bits, as reading and writing want them."""


def read_entries(matrix: Tensor, layout: Layout, rows: Tensor | None, columns: Tensor) -> Tensor:
    """A copy of the entries of `matrix` [out, in] at the adapter's places, in the shape of its values."""
    if layout.structure == "columns":
        return matrix.index_select(1, columns)
    if layout.structure == "spread":
        return _in_groups(matrix, layout).gather(2, _down_groups(layout, columns))
    return matrix[entry_index(layout, rows, columns)]


def write_entries(matrix: Tensor, layout: Layout, rows: Tensor | None, columns: Tensor, entries: Tensor) -> None:
    """Write `entries` to the adapter's places in `matrix` [out, in], in place."""
    if layout.structure == "columns":
        matrix.index_copy_(1, columns.long(), entries)
    elif layout.structure == "spread":
        if not matrix.is_cuda and matrix.element_size() == 2:  # of which torch would copy the whole matrix
            matrix, entries = matrix.view(torch.int16), entries.view(torch.int16)
        _in_groups(matrix, layout).scatter_(2, _down_groups(layout, columns), entries)
    else:
        matrix[entry_index(layout, rows, columns)] = entries


def _summed(product: Callable[..., Tensor], one: Tensor, other: Tensor) -> Tensor:
    """`product(one, other)`, on a GPU as exact as it is summed, and by one kernel less."""
    if one.is_cuda and one.dtype != torch.float32 and not torch.compiler.is_compiling():
        return product(one, other, out_dtype=torch.float32)
    return product(one, other)


def _dense(values: Tensor, rows: Tensor, columns: Tensor, out: int, width: int) -> Tensor:
    dense = values.new_zeros(out, width)
    dense[rows.long(), columns.long()] = values
    return dense


def _in_groups(matrix: Tensor, layout: Layout) -> Tensor:
    """[out, in] -> [groups, rows, in], a view."""
    return matrix.view(layout.groups, layout.rows, layout.in_features)


def _down_groups(layout: Layout, columns: Tensor) -> Tensor:
    """Column numbers [groups, columns] for every row: [groups, rows, columns], without a copy."""
    return columns.long().unsqueeze(1).expand(layout.groups, layout.rows, layout.columns)


def _flat(x: Tensor) -> Tensor:
    return x.reshape(-1, x.shape[-1])


def _by_group(picked: Tensor, layout: Layout) -> Tensor:
    """[..., groups * columns] -> [groups, T, columns], a view."""
    return picked.reshape(-1, layout.groups, layout.columns).transpose(0, 1)


def _given(rows: Tensor | None) -> Tensor:
    if rows is None:
        raise ValueError("this structure needs row indices")
    return rows
