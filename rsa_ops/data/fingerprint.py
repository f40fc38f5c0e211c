"""The identity of a table: SHA-256 over canonical bytes of every row (DESIGN section 4, rule 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rsa_ops.core.canonical import canonical_json
from rsa_ops.core.digest import Digest, digest_parts

if TYPE_CHECKING:
    import pandas as pd


def fingerprint(table: pd.DataFrame) -> Digest:
    """SHA-256 over the rows of `table`, each the canonical JSON (RFC 8785) of its columns, length-prefixed.

    Rows are taken in the order of their bytes, so neither the order of rows nor that of columns matters; the
    number of rows, every cell and every column name do. A missing cell is null, which no text equals.
    """
    names = [str(name) for name in table.columns]
    columns = [
        [value if isinstance(value, str) else None for value in table[name].tolist()] for name in table.columns
    ]
    rows = (canonical_json(dict(zip(names, row, strict=True))) for row in zip(*columns, strict=True))
    return digest_parts(sorted(rows))
