"""Sources as tables of one form: `example_id`, `text`, `label`, and where asked for `group` and `slice_<name>`."""

from __future__ import annotations

import difflib
import hashlib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from rsa_ops.core.benchmark import GROUP, SLICE_PREFIX
from rsa_ops.core.canonical import canonical_json
from rsa_ops.data.assets import ATTRIBUTION, read_asset
from rsa_ops.data.config import Columns, Task
from rsa_ops.data.readers import read_file
from rsa_ops.data.source import ASSET, AssetSource, FileSource, FolderSource, HubSource, parse_source
from rsa_ops.data.table import RawTable, cell_text
from rsa_ops.errors import DataRefused

if TYPE_CHECKING:
    import pandas as pd

ID, TEXT, LABEL = "example_id", "text", "label"
NO_SLICE = "(none)"
"""The slice of rows whose slice column is empty."""

DEFAULT_LINE_BYTES = 16 * 1024 * 1024
_ASSET_ID = "id"


def load_table(
    source: str,
    columns: Columns,
    task: Task,
    *,
    encoding: str = "utf-8",
    max_line_bytes: int = DEFAULT_LINE_BYTES,
    base: Path | None = None,
) -> pd.DataFrame:
    """The rows of one source (of its training split, where it has several).

    Columns, all text: `example_id` (unique), `text`, `label` (missing where the source has none), `group` ("" for
    none) and `slice_<name>`. For generation `label` holds the reference text.

    Raises:
        MissingError: no such file, package or hub data set.
        DataRefused: the bytes are no table, or a column is not there.
        UsageError: a source that nothing here reads.
    """
    tables = load_tables(source, columns, task, encoding=encoding, max_line_bytes=max_line_bytes, base=base)
    return tables["train"] if "train" in tables else next(iter(tables.values()))


def load_tables(
    source: str,
    columns: Columns,
    task: Task,
    *,
    encoding: str = "utf-8",
    max_line_bytes: int = DEFAULT_LINE_BYTES,
    base: Path | None = None,
) -> dict[str, pd.DataFrame]:
    """The tables of a source by split: `train` alone for a file; see `load_table`."""
    found = parse_source(source, base)
    if isinstance(found, AssetSource) and columns.id is None:
        columns = columns.model_copy(update={"id": _ASSET_ID})
    return {split: _normalise(raw, columns, task) for split, raw in _read(found, encoding, max_line_bytes).items()}


def attribution(sources: tuple[str, ...]) -> str:
    """What must be said wherever rows of these sources travel; "" when nothing is known to be asked for."""
    return ATTRIBUTION if any(source.startswith(ASSET) for source in sources) else ""


def _read(
    source: FileSource | FolderSource | HubSource | AssetSource, encoding: str, max_line_bytes: int
) -> dict[str, RawTable]:
    from rsa_ops.data.hub import read_folder, read_hub

    match source:
        case FileSource(path):
            return {"train": read_file(path, encoding, max_line_bytes)}
        case FolderSource(path):
            return read_folder(path)
        case HubSource():
            return read_hub(source)
        case AssetSource(name):
            return {"train": read_asset(name)}


def _normalise(raw: RawTable, columns: Columns, task: Task) -> pd.DataFrame:
    import pandas as pd

    _require_columns(raw, columns)
    if raw.rows == 0:
        raise DataRefused(f"{raw.name} has no rows", hint="It should hold one row per example.")
    found: dict[str, list[str | None]] = {
        TEXT: _column(raw, columns.input_column),
        LABEL: _column(raw, columns.output_column),
    }
    if task == "classification":
        found[LABEL] = [None if label is None else label.strip() for label in found[LABEL]]
    if columns.group is not None:
        found[GROUP] = [value or "" for value in _column(raw, columns.group)]
    for name in columns.slices:
        found[f"{SLICE_PREFIX}{name}"] = [value or NO_SLICE for value in _column(raw, name)]
    none: list[str | None] = [None] * raw.rows
    ids = _unique_ids(none if columns.id is None else _column(raw, columns.id), found)
    return pd.DataFrame({name: pd.Series(values, dtype="str") for name, values in ({ID: ids} | found).items()})


def _require_columns(raw: RawTable, columns: Columns) -> None:
    for setting, name in columns.named().items():
        if name not in raw.columns:
            near = difflib.get_close_matches(name, raw.columns, n=1, cutoff=0.5)
            guess = f"Did you mean {near[0]!r}? " if near else ""
            raise DataRefused(
                f"{raw.name} has no column {name!r}, which `{setting}` names",
                hint=f"{guess}Its columns: {', '.join(raw.columns)}.",
            )


def _column(raw: RawTable, name: str) -> list[str | None]:
    values = [cell_text(value) for value in raw.columns[name]]
    for row, value in enumerate(values, start=1):
        if value is not None and not value.isascii():
            _require_unicode(raw.name, name, row, value)
    return values


def _require_unicode(source: str, column: str, row: int, value: str) -> None:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataRefused(
            f"{source}, row {row}, column {column!r}: half a character at position {error.start}",
            hint="The file was cut or converted wrongly; export it again.",
        ) from error


def _unique_ids(given: list[str | None], columns: dict[str, list[str | None]]) -> list[str]:
    """An id for each row: the one given, or 16 hex digits of SHA-256 over text and label.

    Where ids repeat, rows are numbered in the order of their content, so that the order of rows decides nothing.
    """
    contents = [canonical_json(list(row)) for row in zip(*columns.values(), strict=True)]
    made = [
        own or hashlib.sha256(canonical_json([text, label])).hexdigest()[:16]
        for own, text, label in zip(given, columns[TEXT], columns[LABEL], strict=True)
    ]
    ids, taken, seen = list(made), set(made), Counter[str]()
    for row in sorted(range(len(made)), key=lambda row: (made[row], contents[row])):
        seen[made[row]] += 1
        if seen[made[row]] > 1:
            ids[row] = _free(made[row], seen[made[row]], taken)
    return ids


def _free(name: str, number: int, taken: set[str]) -> str:
    while (candidate := f"{name}-{number}") in taken:
        number += 1
    taken.add(candidate)
    return candidate
