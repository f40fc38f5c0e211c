"""Starting values for a project of one's own, read off its data: bounds that the data clears with room to spare."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from rsa_ops.core.record import Value
from rsa_ops.data.checks.config import (
    ChecksConfig,
    ClassFloorCheck,
    LabelSetCheck,
    LeakageCheck,
    NullsCheck,
    TextLengthCheck,
)
from rsa_ops.data.config import Task

if TYPE_CHECKING:
    import pandas as pd

CHARACTERS_PER_TOKEN = 3.5
"""English subword tokens; Japanese has about one character each, which `_tokens` allows for."""


class Inferred(Value):
    """`max_length` (tokens, prompt and answer for generation) and `max_new_tokens` cover 95 texts of 100."""

    checks: ChecksConfig
    max_length: int
    max_new_tokens: int


def infer(table: pd.DataFrame, task: Task) -> Inferred:
    """Starting values for `table`, as `load_table` gives it; rows without text or label are not counted.

    The class floor is a third of the smallest class, between 2 and 10; texts may be twice as long as the longest
    of a thousand, and half as long as the shortest; leaked rows are left out of training and reported.
    """
    rows = table.dropna(subset=["text", "label"])
    counts = Counter(rows["label"].tolist()) if task == "classification" else Counter[str]()
    gaps = len(rows) < len(table)
    low, high = _bounds(rows["text"])
    checks = ChecksConfig(
        nulls=NullsCheck(severity="warn" if gaps else "refuse"),
        label_set=LabelSetCheck(labels=tuple(sorted(counts)) if task == "classification" else None),
        class_floor=ClassFloorCheck(min_rows=max(2, min(10, min(counts.values(), default=6) // 3))),
        text_length=TextLengthCheck(min_characters=low, max_characters=high),
        leakage=LeakageCheck(drop=True),
    )
    answer = _tokens(rows["label"]) if task == "generation" else 0
    length = _rounded(_tokens(rows["text"]) + answer + 8, 16, 512)
    return Inferred(checks=checks, max_length=length, max_new_tokens=_rounded(answer, 8, 256) if answer else 64)


def _bounds(texts: pd.Series[str]) -> tuple[int, int]:
    lengths = texts.str.len().to_numpy()
    if not len(lengths):
        return 1, 20_000
    low, high = np.quantile(lengths, [0.001, 0.999])
    return max(1, int(low // 2)), max(64, math.ceil(high * 2 / 100) * 100)


def _tokens(texts: pd.Series[str]) -> int:
    """Tokens of a long text (95th percentile), estimated from its characters."""
    found = [
        sum(1 / CHARACTERS_PER_TOKEN if character.isascii() else 1.0 for character in text)
        for text in texts.head(2000).tolist()
    ]
    return math.ceil(np.quantile(found, 0.95)) if found else 0


def _rounded(tokens: int, step: int, most: int) -> int:
    return min(most, max(step, math.ceil(tokens / step) * step))
