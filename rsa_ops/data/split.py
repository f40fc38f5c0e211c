"""Splits and samples: deterministic, stratified, grouped, and decided by content instead of the order of rows.

Rows that belong together (the same text after normalisation, or the same group) form a unit, and a unit goes to
one split whole, so that splitting never makes leakage. Units are put in the order of a hash of (seed, content)
within their label; the first share goes to test, the next to validation, the rest to training. New rows therefore
move only the few units at the borders.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rsa_ops.core.benchmark import GROUP
from rsa_ops.core.validation import SPLITS
from rsa_ops.data.config import SampleConfig, SplitConfig, Task
from rsa_ops.data.load import ID, LABEL, TEXT
from rsa_ops.data.normal import place, same_text

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class _Unit:
    """Rows that stay together: their positions, the name they are drawn by, the label that most of them have."""

    rows: tuple[int, ...]
    name: str
    stratum: str


def split_table(
    table: pd.DataFrame, config: SplitConfig, task: Task, *, wanted: tuple[str, ...] = SPLITS
) -> dict[str, pd.DataFrame]:
    """Divide `table` (no missing text or label) into the splits `wanted`, of which `train` is one.

    Each label (classification) keeps its shares up to one unit, and keeps at least one unit in training.
    Rows of a split come in the order of their hash, which is random and repeatable.
    """
    shares: dict[str, float] = {"test": config.test, "validation": config.validation}
    held = {name: share for name, share in shares.items() if name in wanted}
    strata: dict[str, list[_Unit]] = defaultdict(list)
    for unit in _units(table, task):
        strata[unit.stratum].append(unit)
    chosen: dict[str, list[int]] = {name: [] for name in wanted}
    for units in strata.values():
        for name, rows in _deal(units, held, config.seed).items():
            chosen[name] += rows
    return {name: shuffled(table.iloc[rows], config.seed) for name, rows in chosen.items()}


def shuffled(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The rows in the order of a hash of (seed, example id)."""
    ids = table[ID].tolist()
    order = sorted(range(len(ids)), key=lambda row: (place(seed, "order", ids[row]), ids[row]))
    return table.iloc[order].reset_index(drop=True)


def sample_splits(
    splits: Mapping[str, pd.DataFrame], sizes: SampleConfig, seed: int, task: Task, *, floor: int
) -> dict[str, pd.DataFrame]:
    """Cut each split to its size in `sizes`, labels in proportion (classification).

    In training a label keeps `floor` rows where it has them and the size allows it for all labels, so that
    sampling does not push a class under the floor which the data itself clears.
    """
    out = dict(splits)
    for name, table in splits.items():
        size = sizes.rows(name)
        if size is not None and size < len(table):
            least = floor if name == "train" else 1
            out[name] = _sample(table, size, seed, least if task == "classification" else None)
    return out


def _sample(table: pd.DataFrame, size: int, seed: int, floor: int | None) -> pd.DataFrame:
    if floor is None:
        return table.iloc[:size].reset_index(drop=True)
    rows: dict[str, list[int]] = defaultdict(list)
    for row, label in enumerate(shuffled(table, seed)[LABEL].tolist()):
        rows[label].append(row)
    quota = _quota({label: len(found) for label, found in rows.items()}, size, min(floor, size // len(rows)))
    kept = [row for label, found in rows.items() for row in found[: quota[label]]]
    return shuffled(table, seed).iloc[sorted(kept)].reset_index(drop=True)


def _quota(counts: dict[str, int], size: int, floor: int) -> dict[str, int]:
    """Rows of each label: `floor` (or all it has), then the largest remainders of the proportional share."""
    total = sum(counts.values())
    quota = {label: min(count, max(floor, size * count // total)) for label, count in counts.items()}
    while (over := sum(quota.values()) - size) > 0:
        shrinkable = [label for label in quota if quota[label] > floor]
        richest = max(
            shrinkable, key=lambda label: (quota[label] - size * counts[label] / total, quota[label], label)
        )
        quota[richest] -= min(over, 1)
    while sum(quota.values()) < size:
        open_labels = [label for label in quota if quota[label] < counts[label]]
        poorest = max(open_labels, key=lambda label: (size * counts[label] / total - quota[label], label))
        quota[poorest] += 1
    return quota


def _deal(units: list[_Unit], shares: dict[str, float], seed: int) -> dict[str, list[int]]:
    """Rows of one stratum by split. A unit belongs to a share when its middle lies in it."""
    ordered = sorted(units, key=lambda unit: (place(seed, "split", unit.name), unit.name))
    total = sum(len(unit.rows) for unit in ordered)
    borders, reached = [], 0.0
    for name, share in shares.items():
        reached += share * total
        borders.append((name, reached))
    dealt: dict[str, list[int]] = defaultdict(list)
    before = 0
    for number, unit in enumerate(ordered, start=1):
        middle = before + len(unit.rows) / 2
        last = number == len(ordered)
        name = next((name for name, border in borders if middle <= border and not last), "train")
        dealt[name] += unit.rows
        before += len(unit.rows)
    return dealt


def _units(table: pd.DataFrame, task: Task) -> list[_Unit]:
    texts = [same_text(text) for text in table[TEXT].tolist()]
    groups = table[GROUP].tolist() if GROUP in table.columns else [""] * len(texts)
    members = _joined(texts, groups)
    labels = table[LABEL].tolist() if task == "classification" else [""] * len(texts)
    found = []
    for rows in members:
        named = sorted({groups[row] for row in rows} - {""})
        name = f"group\0{named[0]}" if named else f"text\0{texts[rows[0]]}"
        counts = Counter(labels[row] for row in rows)
        found.append(_Unit(tuple(rows), name, min(counts, key=lambda label: (-counts[label], label))))
    return found


def _joined(texts: list[str], groups: list[str]) -> list[list[int]]:
    """Positions that share a text or a group, directly or over others (union-find)."""
    parent = list(range(len(texts)))

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    first: dict[tuple[str, str], int] = {}
    for row, (text, group) in enumerate(zip(texts, groups, strict=True)):
        for key in (("text", text), ("group", group)):
            if key != ("group", ""):
                parent[root(row)] = root(first.setdefault(key, row))
    members: dict[int, list[int]] = defaultdict(list)
    for row in range(len(texts)):
        members[root(row)].append(row)
    return list(members.values())
