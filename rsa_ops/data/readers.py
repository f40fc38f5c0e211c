"""Files as tables: CSV, TSV, JSON lines, Parquet. Values stay as written: no guessing of types or of nulls."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rsa_ops.data.lines import check_lines
from rsa_ops.data.table import RawTable
from rsa_ops.errors import DataRefused, UsageError


def read_file(path: Path, encoding: str, max_line_bytes: int) -> RawTable:
    """The table in `path`, by its suffix.

    Raises:
        DataRefused: the bytes are no such table; the message names line or offset.
        UsageError: the file may not be read.
    """
    suffix = path.suffix.lower()
    try:
        if suffix == ".parquet":
            return _read_parquet(path)
        check_lines(path, encoding, max_line_bytes)
        codec = "utf-8-sig" if encoding.lower().replace("_", "-") in ("utf-8", "utf8") else encoding
        if suffix == ".jsonl":
            return _read_jsonl(path, codec)
        return _read_csv(path, codec, "\t" if suffix == ".tsv" else ",", max_line_bytes)
    except PermissionError as error:
        raise UsageError(f"may not read {path}: {error.strerror}", hint="Check the file's permissions.") from error


def _read_csv(path: Path, codec: str, delimiter: str, limit: int) -> RawTable:
    with path.open(encoding=codec, newline="") as file, _field_limit(limit):
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        try:
            header = next(reader, [])
            rows = list(_csv_rows(reader, path, header))
        except csv.Error as error:
            raise DataRefused(
                f"{path}, line {reader.line_num}: {error}", hint="Look for a quotation mark that is not closed."
            ) from error
    if not rows:
        raise DataRefused(f"{path} has a header and no rows", hint="It should hold one row per example.")
    return RawTable(str(path), {name: [row[index] for row in rows] for index, name in enumerate(header)})


def _csv_rows(reader: Iterator[list[str]], path: Path, header: list[str]) -> Iterator[list[str]]:
    for number, row in enumerate(reader, start=1):
        if not row:
            continue
        if len(row) != len(header):
            raise DataRefused(
                f"{path}, row {number} after the header: {len(row)} fields, but the header has {len(header)}",
                hint="A field that holds the delimiter must be in quotation marks.",
            )
        yield row


@contextmanager
def _field_limit(limit: int) -> Iterator[None]:
    before = csv.field_size_limit(limit)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _read_jsonl(path: Path, codec: str) -> RawTable:
    rows: list[dict[str, object]] = []
    with path.open(encoding=codec, newline="\n") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                rows.append(_json_object(path, number, line))
    if not rows:
        raise DataRefused(f"{path} has no rows", hint="It should hold one JSON object per line.")
    names = list(dict.fromkeys(name for row in rows for name in row))
    return RawTable(str(path), {name: [row.get(name) for row in rows] for name in names})


def _json_object(path: Path, number: int, line: str) -> dict[str, object]:
    try:
        row = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        detail = error.msg if isinstance(error, json.JSONDecodeError) else "nested too deeply"
        raise DataRefused(
            f"{path}, line {number}, is no JSON: {detail}", hint="Each line should be one JSON object."
        ) from error
    if not isinstance(row, dict):
        raise DataRefused(
            f"{path}, line {number}, is a JSON {type(row).__name__}", hint="Each line should be one JSON object."
        )
    return row


def _read_parquet(path: Path) -> RawTable:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (pa.ArrowException, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise DataRefused(
            f"{path} is no Parquet file: {reason}", hint="Write it again, or give another."
        ) from error
    if table.num_rows == 0:
        raise DataRefused(f"{path} has no rows", hint="It should hold one row per example.")
    columns = zip(table.column_names, table.columns, strict=True)
    return RawTable(str(path), {name: column.to_pylist() for name, column in columns})
