"""What one check says about the splits, and the words and examples of its finding."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rsa_ops.core.validation import Finding, Severity

if TYPE_CHECKING:
    import pandas as pd

Flags = NDArray[np.bool_]
EXAMPLES = 5
EXAMPLE_CHARACTERS = 80


@dataclass(frozen=True)
class Outcome:
    """One check that ran. `flagged`: table name -> one flag per row, True where the row breaks the rule.

    Checks on a whole table give `measured` (name -> (value, limit)) instead, and the rows `affected` where they
    can be counted. `examples` are at most 5 texts of at
    most 80 characters.
    """

    check: str
    severity: Severity
    message: str
    advice: str
    flagged: Mapping[str, Flags]
    examples: tuple[str, ...] = ()
    measured: Mapping[str, tuple[float, float]] | None = None
    affected: int = 0

    @property
    def rows(self) -> int:
        """Number of flagged rows."""
        return self.affected + sum(int(flags.sum()) for flags in self.flagged.values())

    @property
    def holds(self) -> bool:
        """Whether nothing was found."""
        return self.rows == 0 and all(value <= limit for value, limit in (self.measured or {}).values())

    def finding(self) -> Finding | None:
        """The finding, or None when the check holds or is off."""
        if self.holds or self.severity == "off":
            return None
        return Finding(
            check=self.check,
            severity=self.severity,
            rows=self.rows,
            message=self.message,
            examples=self.examples,
            advice=self.advice,
        )


def flag(table: pd.DataFrame, column: str, broken: Callable[[str], bool]) -> Flags:
    """One flag per row: whether the cell of `column` is broken."""
    return np.fromiter((broken(value) for value in table[column].tolist()), dtype=np.bool_, count=len(table))


def shorten(text: str) -> str:
    """`text` on one line, at most 80 characters."""
    line = " ".join(text.split())
    return line if len(line) <= EXAMPLE_CHARACTERS else line[: EXAMPLE_CHARACTERS - 1] + "…"


def some(lines: Iterable[str]) -> tuple[str, ...]:
    """The first five lines, shortened."""
    return tuple(shorten(line) for line, _ in zip(lines, range(EXAMPLES), strict=False))


def flagged_texts(tables: Mapping[str, pd.DataFrame], flagged: Mapping[str, Flags]) -> tuple[str, ...]:
    """Examples `train: the text` of flagged rows."""
    return some(
        f"{name}: {text}" for name, flags in flagged.items() for text in tables[name].loc[flags, "text"].tolist()
    )


def plural(count: int, word: str) -> str:
    """`1 row`, `2 rows`."""
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"


def counted(flagged: Mapping[str, Flags]) -> str:
    """`3 in train, 1 in test`: flagged rows by table."""
    return ", ".join(f"{int(flags.sum()):,} in {name}" for name, flags in flagged.items() if flags.any())
