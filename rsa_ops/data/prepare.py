"""From sources to the three splits that are checked and used: read, completed, divided, sampled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rsa_ops.core.validation import SPLITS
from rsa_ops.data.checks.outcome import some
from rsa_ops.data.checks.texts import leaked_rows
from rsa_ops.data.config import DataConfig, Task
from rsa_ops.data.load import LABEL, TEXT, load_table, load_tables
from rsa_ops.data.split import sample_splits, shuffled, split_table
from rsa_ops.errors import DataRefused

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Prepared:
    """All rows read, and the splits, which hold no row without text or label.

    `leaked` rows were left out, up to five `leaked_texts` among them; `sampling` is the sizes in words.
    """

    loaded: pd.DataFrame
    splits: dict[str, pd.DataFrame]
    leaked: int
    leaked_texts: tuple[str, ...]
    sampling: str


def prepare(config: DataConfig, task: Task, base: Path | None) -> Prepared:
    """Read the sources of `config` and make the splits.

    Raises:
        MissingError, UsageError: see `load_table`.
        DataRefused: the data cannot be read, or leaves no rows for a split.
    """
    import pandas as pd

    given = _given(config, task, base)
    loaded = pd.concat(list(given.values()), ignore_index=True)
    complete = {name: _complete(table) for name, table in given.items()}
    wanted = tuple(name for name in SPLITS if name == "train" or name not in complete)
    made = complete | split_table(complete["train"], config.split, task, wanted=wanted)
    splits = {name: shuffled(made[name], config.split.seed) for name in SPLITS}
    leaked, leaked_texts = 0, tuple[str, ...]()
    if config.checks.leakage.drop:
        splits, leaked, leaked_texts = _without_leaked(splits)
    _require_rows(splits, config.source, len(loaded))
    whole = {name: len(table) for name, table in splits.items()}
    if config.sample is not None:
        floor = config.checks.class_floor.min_rows
        splits = sample_splits(splits, config.sample, config.split.seed, task, floor=floor)
    return Prepared(loaded, splits, leaked, leaked_texts, _sampling(whole, splits, config, task))


def read_reference(config: DataConfig, task: Task, base: Path | None) -> pd.DataFrame | None:
    """The reference for drift, where one is named and the check is on; without rows that lack text or label."""
    drift = config.checks.drift
    if drift.reference is None or drift.severity == "off":
        return None
    table = load_table(
        drift.reference,
        config.columns,
        task,
        encoding=config.encoding,
        max_line_bytes=config.max_line_bytes,
        base=base,
    )
    reference = _complete(table)
    if reference.empty:
        raise DataRefused(f"{drift.reference} has no row with text and label to compare with")
    return reference


def _given(config: DataConfig, task: Task, base: Path | None) -> dict[str, pd.DataFrame]:
    """The tables that the sources hold, by split; `train` is among them."""

    def read(source: str) -> dict[str, pd.DataFrame]:
        return load_tables(
            source,
            config.columns,
            task,
            encoding=config.encoding,
            max_line_bytes=config.max_line_bytes,
            base=base,
        )

    given = read(config.source)
    if "train" not in given:
        raise DataRefused(
            f"{config.source} has no training split, only {', '.join(given)}", hint="Call one of its splits train."
        )
    for name, source in (("validation", config.validation_source), ("test", config.test_source)):
        if source is not None:
            tables = read(source)
            given[name] = tables.get(name, next(iter(tables.values())))
    return given


def _complete(table: pd.DataFrame) -> pd.DataFrame:
    return table.dropna(subset=[TEXT, LABEL]).reset_index(drop=True)


def _without_leaked(splits: Mapping[str, pd.DataFrame]) -> tuple[dict[str, pd.DataFrame], int, tuple[str, ...]]:
    flagged = leaked_rows(splits)
    kept = {name: table.loc[~flagged[name]].reset_index(drop=True) for name, table in splits.items()}
    texts = [f"{name}: {text}" for name in SPLITS for text in splits[name].loc[flagged[name], TEXT].tolist()]
    return kept, len(texts), some(texts)


def _require_rows(splits: Mapping[str, pd.DataFrame], source: str, read: int) -> None:
    empty = [name for name in SPLITS if splits[name].empty]
    if empty:
        rows = sum(map(len, splits.values()))
        raise DataRefused(
            f"{source}: no rows for {' and '.join(empty)}; {rows:,} of {read:,} rows read have text and label",
            hint="Give more rows, larger shares in `data.split`, or a source of its own for the split.",
        )


def _sampling(whole: Mapping[str, int], splits: Mapping[str, pd.DataFrame], config: DataConfig, task: Task) -> str:
    if all(whole[name] == len(splits[name]) for name in SPLITS):
        return "all rows"
    sizes = ", ".join(f"{name} {len(splits[name]):,} of {whole[name]:,}" for name in SPLITS)
    how = "labels in proportion" if task == "classification" else "by hash"
    return f"{sizes} rows; {how}, seed {config.split.seed}"
