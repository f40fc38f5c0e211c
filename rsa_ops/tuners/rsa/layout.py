"""How an adapter lies in one weight matrix: the one parameterisation behind every structure.

An adapter is `groups` dense blocks, each over chosen output rows and chosen input columns of a weight
`[out_features, in_features]`:

| structure  | groups     | rows of a block       | columns of a block | weight shape          |
| ---------- | ---------- | --------------------- | ------------------ | --------------------- |
| columns    | 1          | all                   | k chosen           | [out, k]              |
| spread     | row groups | out / groups in order | k chosen a group   | [groups, rows, k]     |
| subnet     | 1          | chosen                | chosen             | [rows, columns]       |
| tiles      | n chosen   | tile in order         | tile in order      | [n, tile, tile]       |
| elements   | n chosen   | 1                     | 1                  | [n]                   |

Sources: columns are S2FT's (NeurIPS 2024), subnets LoSiA's (EMNLP 2025), elements SHiRA's (arXiv 2406.13175);
spread is ours: it covers the matrix as free elements do and computes like columns. Owns shapes and index
arithmetic; knows no layer.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

_MANY = 1 << 20

FEW_COLUMNS = 32
"""Columns from which on "spread" is one row group, where the number of groups is not given. With half as many there
are four times as many groups: the fewer columns a budget buys, the more inputs the groups cover together, at a
width (1,024 / columns) that is little beside what a layer keeps for backward."""

STRUCTURES = ("columns", "spread", "subnet", "tiles", "elements")


@dataclass(frozen=True)
class Layout:
    """Shapes of one adapter in one layer; equal for equal config and layer, so that loading can rebuild it.

    Attributes:
        structure: one of `STRUCTURES`.
        out_features: rows of the weight.
        in_features: columns of the weight.
        groups: dense blocks.
        rows: rows in a block.
        columns: columns in a block.
    """

    structure: str
    out_features: int
    in_features: int
    groups: int
    rows: int
    columns: int

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """Shape of the values."""
        return {
            "columns": (self.rows, self.columns),
            "subnet": (self.rows, self.columns),
            "elements": (self.groups,),
        }.get(self.structure, (self.groups, self.rows, self.columns))

    @property
    def columns_shape(self) -> tuple[int, ...]:
        """Shape of the column indices, and of the scales that go with them."""
        return {
            "columns": (self.columns,),
            "subnet": (self.columns,),
            "elements": (self.groups,),
        }.get(self.structure, (self.groups, self.columns))

    @property
    def rows_shape(self) -> tuple[int, ...] | None:
        """Shape of the row indices; None where every row takes part, in order."""
        return {"subnet": (self.rows,), "tiles": (self.groups, self.rows), "elements": (self.groups,)}.get(
            self.structure
        )

    @property
    def parameters(self) -> int:
        """Values that learn."""
        return self.groups * self.rows * self.columns

    @property
    def score_shape(self) -> tuple[int, int]:
        """Row blocks and column blocks in which scores are kept; their product never exceeds the weight's size.

        A subnet is chosen by its margins: the scores of all rows, then those of all columns.
        """
        return {
            "columns": (1, self.in_features),
            "spread": (self.groups, self.in_features),
            "subnet": (1, self.out_features + self.in_features),
            "tiles": (self.out_features // self.rows, self.in_features // self.columns),
            "elements": (self.out_features, self.in_features),
        }[self.structure]

    @property
    def candidates(self) -> int:
        """Blocks among which each pick is made: columns, tiles or entries."""
        if self.structure in {"columns", "spread", "subnet"}:
            return self.in_features
        row_blocks, column_blocks = self.score_shape
        return row_blocks * column_blocks

    @property
    def picks(self) -> int:
        """Blocks picked among `candidates` (in each row group, where there are several)."""
        return self.groups if self.structure in {"tiles", "elements"} else self.columns

    def index(self, picks: Tensor, rows: Tensor | None = None) -> tuple[Tensor | None, Tensor]:
        """Row and column indices, int32, in the shapes above, of picked blocks.

        Args:
            picks: block numbers: [k] for columns and subnet, [groups, k] for spread, [n] for tiles and elements
                (row block x column blocks + column block).
            rows: row numbers of a subnet, [rows].
        """
        if self.structure in {"columns", "spread"}:
            return None, picks.to(torch.int32)
        if self.structure == "subnet":
            if rows is None:
                raise ValueError("Layout.index: a subnet needs its rows.")
            return rows.to(torch.int32), picks.to(torch.int32)
        across = self.score_shape[1]
        down, over = picks // across, picks % across
        if self.structure == "elements":
            return down.to(torch.int32), over.to(torch.int32)
        inside_rows = torch.arange(self.rows, device=picks.device)
        inside_columns = torch.arange(self.columns, device=picks.device)
        row_index = down[:, None] * self.rows + inside_rows
        column_index = over[:, None] * self.columns + inside_columns
        return row_index.to(torch.int32), column_index.to(torch.int32)

    def random_index(self, seed: int, key: str) -> tuple[Tensor | None, Tensor]:
        """Seeded random indices; equal arguments give equal indices on every machine.

        Spread draws every group by itself; elements are drawn row by row as evenly as the budget allows.
        """
        digest = hashlib.sha256(f"{seed}:{key}".encode()).digest()
        generator = torch.Generator(device="cpu").manual_seed(int.from_bytes(digest[:8], "big") >> 1)
        if self.structure == "spread":
            drawn = [_drawn(self.in_features, self.columns, generator) for _ in range(self.groups)]
            return self.index(torch.stack(drawn))
        if self.structure == "subnet":
            columns = _drawn(self.in_features, self.columns, generator)
            return self.index(columns, _drawn(self.out_features, self.rows, generator))
        return self.index(_drawn(self.candidates, self.picks, generator))


def lay_out(
    structure: str,
    out_features: int,
    in_features: int,
    budget: float,
    *,
    row_groups: int | None,
    tile: int,
    siblings: Sequence[int] = (),
) -> Layout:
    """The layout of `budget` values in a weight `[out_features, in_features]`, rounded to whole blocks.

    At least one block, and never more than the weight holds. `row_groups` (None: (`FEW_COLUMNS` / columns)^2) is
    lowered to the next divisor of `out_features` and of the `siblings`' rows, which share the columns; one group is
    the layout of "columns". `tile` is lowered to the smaller side of the weight, and rows or columns beyond the
    last whole tile are never chosen.
    """
    whole = out_features * in_features
    if structure == "columns":
        columns = _between(budget / out_features, in_features)
        return Layout(structure, out_features, in_features, 1, out_features, columns)
    if structure == "spread":
        columns = _between(budget / out_features, in_features)
        rows = math.gcd(out_features, *siblings)
        most = min(rows, row_groups or int((FEW_COLUMNS / columns) ** 2))
        groups = max((n for n in range(1, most + 1) if rows % n == 0), default=1)
        if groups == 1:
            return Layout("columns", out_features, in_features, 1, out_features, columns)
        return Layout(structure, out_features, in_features, groups, out_features // groups, columns)
    if structure == "subnet":
        rows = _between(math.sqrt(min(budget, whole) / whole) * out_features, out_features)
        columns = _between(budget / rows, in_features)
        return Layout(structure, out_features, in_features, 1, rows, columns)
    if structure == "tiles":
        edge = min(tile, out_features, in_features)
        cells = (out_features // edge) * (in_features // edge)
        return Layout(structure, out_features, in_features, _between(budget / edge**2, cells), edge, edge)
    return Layout(structure, out_features, in_features, _between(budget, whole), 1, 1)


def _between(wanted: float, most: int) -> int:
    return min(most, max(1, round(wanted)))


def _drawn(candidates: int, count: int, generator: torch.Generator) -> Tensor:
    """`count` of `candidates`, ascending; no permutation of all is made where they are many."""
    if candidates < 4 * count or candidates < _MANY:
        order = torch.randperm(candidates, generator=generator, device="cpu")
        return order[:count].sort().values
    found = torch.empty(0, dtype=torch.int64, device="cpu")
    while found.numel() < count:
        more = torch.randint(candidates, (count + count // 4 + 1,), generator=generator, device="cpu")
        found = torch.unique(torch.cat([found, more]))
    order = torch.randperm(found.numel(), generator=generator, device="cpu")
    return found[order[:count]].sort().values
