"""Predictions tables to arrays [seeds, examples]: whoever made the table, the same examples in the same order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rsa_ops.core.benchmark import CLEAN, GROUP
from rsa_ops.data.table import cell_text
from rsa_ops.errors import DataRefused, IntegrityError, MissingError, UsageError

if TYPE_CHECKING:
    import pandas as pd

NEEDED = ("example_id", "seed", "score")


@dataclass(frozen=True)
class Matrix:
    """`values` [seeds, examples]; row `seeds[i]`, column `examples[j]` (ids, sorted).

    `groups` [examples]: labels of what is drawn together; None where each example is a draw of its own.
    """

    seeds: tuple[int, ...]
    examples: tuple[str, ...]
    values: NDArray[np.float64]
    groups: tuple[str, ...] | None = None

    @property
    def group_count(self) -> int | None:
        """How many groups the examples come in; None where they come in none."""
        return None if self.groups is None else len(set(self.groups))


def read_scores(path: Path) -> pd.DataFrame:
    """A table with `example_id`, `seed`, `score` (and whatever else) from Parquet or CSV.

    `group`, where there is such a column, comes as text, "" where it is empty.

    Raises:
        MissingError: no such file. UsageError: another format. DataRefused: not such a table.
    """
    import pandas as pd

    if not path.is_file():
        raise MissingError(f"{path} is not there", hint="It should be a table with example_id, seed, score.")
    if path.suffix not in (".parquet", ".csv"):
        raise UsageError(
            f"{path}: cannot read {path.suffix or 'a file without suffix'}", hint="Give CSV or Parquet."
        )
    try:
        is_csv = path.suffix == ".csv"
        table = pd.read_csv(path, dtype={"example_id": str, GROUP: str}) if is_csv else pd.read_parquet(path)
    except (ValueError, OSError) as error:
        raise DataRefused(f"{path} cannot be read: {str(error).splitlines()[0]}") from error
    lacking = [name for name in NEEDED if name not in table.columns]
    if lacking:
        raise DataRefused(
            f"{path} lacks {', '.join(lacking)}; its columns are {', '.join(map(str, table.columns))}",
            hint="One row per example and seed: example_id, seed, score (higher is better).",
        )
    _refuse_rows(path, table, "example_id", "is missing", table["example_id"].isna())
    seeds = pd.to_numeric(table["seed"], errors="coerce")
    _refuse_rows(path, table, "seed", "is not a whole number", ~(seeds % 1 == 0))
    scores = pd.to_numeric(table["score"], errors="coerce")
    _refuse_rows(path, table, "score", "is not a number", scores.isna() & table["score"].notna())
    if GROUP in table.columns:
        groups = table[GROUP].astype(object).map(cell_text, na_action="ignore").fillna("").astype(str)
        table = table.assign(**{GROUP: groups})
    return table.assign(example_id=table["example_id"].astype(str), seed=seeds.astype("int64"), score=scores)


def _refuse_rows(path: Path, table: pd.DataFrame, column: str, what: str, wrong: pd.Series[bool]) -> None:
    if wrong.any():
        row = int(wrong.to_numpy().argmax())
        found = table[column].iloc[row]
        raise DataRefused(
            f"{path}: {column} {what} in {int(wrong.sum())} rows, first in row {row + 1}: {found!r}",
            hint="One row per example and seed: example_id, seed, score (higher is better).",
        )


def clean_rows(table: pd.DataFrame, condition: str = CLEAN) -> pd.DataFrame:
    """Rows of one condition; a table without that column is all clean."""
    return table[table["condition"] == condition] if "condition" in table.columns else table


def score_matrix(table: pd.DataFrame, column: str, source: str) -> Matrix:
    """Arrange one arm's rows as seeds x examples.

    Raises:
        IntegrityError: a hole (an example without a score for some seed), a row twice, NaN, an example in two
        groups.
    """
    if table.empty:
        raise IntegrityError(f"{source} has no rows")
    if table.duplicated(["example_id", "seed"]).any():
        twice = table[table.duplicated(["example_id", "seed"])].iloc[0]
        raise IntegrityError(f"{source}: example {twice['example_id']!r} stands twice for seed {twice['seed']}")
    if not np.isfinite(table[column].to_numpy(dtype=float)).all():
        bad = table[~np.isfinite(table[column].to_numpy(dtype=float))].iloc[0]
        raise IntegrityError(
            f"{source}: {column} of example {bad['example_id']!r}, seed {bad['seed']}, is no number"
        )
    wide = table.pivot(index="seed", columns="example_id", values=column).sort_index(axis=1)
    if wide.isna().to_numpy().any():
        holes = int(wide.isna().to_numpy().sum())
        raise IntegrityError(
            f"{source}: {holes} scores are missing; every seed must have scored the same {wide.shape[1]} examples",
            hint="Benchmark the missing cells; a partial grid cannot be compared.",
        )
    examples = tuple(str(name) for name in wide.columns)
    draw_of = draws_of(table, source)
    groups = tuple(draw_of[name] for name in examples)
    return Matrix(
        seeds=tuple(int(seed) for seed in wide.index),
        examples=examples,
        values=wide.to_numpy(dtype=np.float64),
        groups=groups if len(set(groups)) < len(groups) else None,
    )


def draws_of(table: pd.DataFrame, source: str) -> dict[str, str]:
    """Example id -> the draw it is part of: its group, or itself where it has none.

    Raises:
        IntegrityError: an example in two groups.
    """
    if GROUP not in table.columns:
        return {str(name): str(name) for name in table["example_id"].unique()}
    once = table[["example_id", GROUP]].drop_duplicates()
    twice = once[once["example_id"].duplicated()]
    if not twice.empty:
        raise IntegrityError(f"{source}: example {twice.iloc[0]['example_id']!r} is in two groups")
    # A tag in front keeps a group apart from an example that happens to bear its name.
    return {
        str(name): f"group {group}" if group else f"example {name}"
        for name, group in zip(once["example_id"], once[GROUP], strict=True)
    }


def require_same_examples(matrices: Sequence[tuple[str, Matrix]]) -> None:
    """Refuse to compare arms that were scored on different examples, or in different groups of them.

    Raises:
        IntegrityError: says how many examples are only on one side, or whose groups differ.
    """
    first_name, first = matrices[0]
    for name, other in matrices[1:]:
        if other.examples != first.examples:
            only = len(set(first.examples) ^ set(other.examples))
            raise IntegrityError(
                f"{first_name} and {name} were scored on different examples ({only} are only on one side)",
                hint="Score both on the same test split.",
            )
        if other.groups != first.groups:
            raise IntegrityError(
                f"{first_name} has its examples in {first.group_count or 'no'} groups, {name} in "
                f"{other.group_count or 'none'}, or in others",
                hint="Groups are the test set's: both need the same column `group`. Score the older side again.",
            )
