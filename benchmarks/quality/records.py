"""Finished trials on disk: one JSON line each, written at once, arrays inside as compressed text.

A line is whole or it is not read: a run that is killed loses the trials it was in the middle of, and nothing
else.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

Record = dict[str, Any]


def pack_array(array: np.ndarray) -> dict[str, Any]:
    """An array as JSON."""
    data = base64.b64encode(zlib.compress(np.ascontiguousarray(array).tobytes(), 6)).decode("ascii")
    return {"dtype": str(array.dtype), "shape": list(array.shape), "zlib": data}


def unpack_array(packed: dict[str, Any]) -> np.ndarray:
    """The array that `pack_array` packed."""
    data = zlib.decompress(base64.b64decode(packed["zlib"]))
    return np.frombuffer(data, dtype=packed["dtype"]).reshape(packed["shape"])


def to_line(record: Record) -> str:
    """One line of a file of trials."""
    return json.dumps(record, default=_packed, separators=(",", ":")) + "\n"


def _packed(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return pack_array(value)
    raise TypeError(f"{type(value).__name__} has no place in a record")


def read(paths: Iterable[Path]) -> list[Record]:
    """The lines of all files, or of all *.jsonl files of a folder; a last line that was cut off is left out."""
    found = []
    for path in paths:
        files = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
        for file in files:
            text = file.read_text(encoding="utf-8")
            found += [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
    return found


def mend(file: Path) -> None:
    """Cut off a last line that was not written to its end, so that the next one stands alone."""
    if file.exists() and not (data := file.read_bytes()).endswith(b"\n"):
        file.write_bytes(data[: data.rfind(b"\n") + 1])


def finished(records: Iterable[Record]) -> dict[str, Record]:
    """Key -> the trial of that key that ended; a trial that broke off with an error is not among them."""
    return {record["key"]: record for record in records if "key" in record and "error" not in record}
