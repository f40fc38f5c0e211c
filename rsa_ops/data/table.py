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
    words = value if isinstance(value, str) else _words(value)
    return words if words.strip() else None


def _words(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Real):
        return _number(value)
    if isinstance(value, dict | list):
        return _structure(value)
    return str(value)


def _number(value: Real) -> str:
    if isinstance(value, Integral):
        return str(int(value))
    number = float(value)
    if math.isnan(number):
        return ""
    return str(int(number)) if number.is_integer() else repr(number)


def _structure(value: dict[object, object] | list[object]) -> str:
    if not value:
        return ""
    if isinstance(value, dict) and not any(isinstance(part, dict | list) for part in value.values()):
        return render_record({str(name): cell_text(part) or "" for name, part in value.items()})
    return canonical_json(value).decode()
