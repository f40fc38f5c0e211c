"""A ledger as a file: one JSON line an entry, exact bytes, so that it can be verified without its database."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from rsa_ops.errors import MissingError
from rsa_ops.governance.view import Row

FIELDS = ("body", "hash", "signature")


def export_lines(rows: Iterable[Row]) -> Iterator[str]:
    """One line for each row: `{"body": TEXT, "hash": TEXT, "signature": TEXT}`; null for what is no text."""
    for row in rows:
        found = (row.body, row.hash, row.signature)
        texts = {name: value if isinstance(value, str) else None for name, value in zip(FIELDS, found, strict=True)}
        yield json.dumps(texts) + "\n"


def read_export(path: Path) -> Iterator[Row]:
    """The rows of an exported file. A line that is none becomes a row that verification finds wrong.

    Raises:
        MissingError: no such file.
    """
    try:
        with path.open("r", encoding="utf-8", errors="surrogateescape", newline="\n") as lines:
            yield from map(_row, lines)
    except FileNotFoundError as error:
        raise MissingError(f"{path} is not there", hint="`rsa-ops audit export` writes one.") from error


def read_lines(data: bytes) -> Iterator[Row]:
    """The rows of an exported file that was read already."""
    yield from map(_row, io.StringIO(data.decode("utf-8", errors="surrogateescape"), newline="\n"))


def _row(line: str) -> Row:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or set(found) != set(FIELDS):
        return Row(None, None, None)
    return Row(*(found[name] for name in FIELDS))
