"""A table as it was read: columns of plain values, before anything is known about their meaning."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral, Real

from rsa_ops.core.canonical import canonical_json
from rsa_ops.data.records import render_record


@dataclass(frozen=True)
class RawTable:
    """Columns of equal length; `name` says in errors where they came from."""

    name: str
    columns: dict[str, list[object]]

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(next(iter(self.columns.values()), []))


def cell_text(value: object) -> str | None:
    """A cell as text; None for what is missing (null, NaN, or nothing but white space).

    Whole numbers lose no digit and gain no ".0"; a record of plain values reads `field: value | field: value`;
    other structures are canonical JSON.
    """
    if value is None:
        return None
    if isinstance(value, str):
        return value if value.strip() else None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Integral):
        return str(int(value))
    if isinstance(value, Real):
        number = float(value)
        if math.isnan(number):
            return None
        return str(int(number)) if number.is_integer() else repr(number)
    if isinstance(value, dict) and value and not any(isinstance(part, dict | list) for part in value.values()):
        return render_record({str(name): cell_text(part) or "" for name, part in value.items()}) or None
    if isinstance(value, dict | list):
        return canonical_json(value).decode() if value else None
    return str(value)
