"""One pass over a text file before it is parsed: right encoding, no endless line. Constant memory."""

from __future__ import annotations

import codecs
from pathlib import Path

from rsa_ops.errors import DataRefused

_CHUNK = 1 << 20


def check_lines(path: Path, encoding: str, max_line_bytes: int) -> None:
    """Read `path` once, in chunks, and refuse what a parser would choke on.

    Raises:
        DataRefused: an empty file, bytes that are not `encoding` (with offset and line), a line of more than
            `max_line_bytes`, NUL bytes.
    """
    decoder = codecs.getincrementaldecoder(encoding)()
    line, length, offset, nul = 1, 0, 0, -1
    wide = encoding.lower().replace("_", "-").startswith(("utf-16", "utf-32"))
    with path.open("rb") as file:
        while chunk := file.read(min(_CHUNK, max_line_bytes)):
            first = chunk.find(b"\n")
            length += len(chunk) if first < 0 else first
            if length > max_line_bytes:
                raise _too_long(path, line, max_line_bytes)
            _decode(decoder, chunk, path=path, offset=offset, line=line, encoding=encoding)
            if nul < 0 and not wide and (found := chunk.find(b"\0")) >= 0:
                nul = offset + found
            if first >= 0:
                length = len(chunk) - chunk.rfind(b"\n") - 1
                line += chunk.count(b"\n")
            offset += len(chunk)
    if offset == 0:
        raise DataRefused(f"{path} is empty", hint="It should hold a table with a header line, or JSON lines.")
    _decode(decoder, b"", path=path, offset=offset, line=line, encoding=encoding)
    if nul >= 0:
        raise DataRefused(f"{path} holds a NUL byte at offset {nul}: it is no text file", hint="Export it again.")


def _decode(
    decoder: codecs.IncrementalDecoder, chunk: bytes, *, path: Path, offset: int, line: int, encoding: str
) -> None:
    kept = decoder.getstate()[0]  # bytes of a character that the last chunk cut
    try:
        decoder.decode(chunk, final=not chunk)
    except UnicodeDecodeError as error:
        at = offset - len(kept) + error.start
        line += chunk[: max(0, error.start - len(kept))].count(b"\n")
        found = error.object[error.start]
        raise DataRefused(
            f"{path} is not {encoding}: byte 0x{found:02x} at offset {at}, line {line}",
            hint=_other_encoding(encoding),
        ) from error


def _other_encoding(encoding: str) -> str:
    if encoding.lower().replace("_", "-").startswith("utf-8"):
        return "Set `data.encoding: latin-1` (Western European) or `cp932` (Japanese Windows), or save it as UTF-8."
    return "Set `data.encoding` to what the file was saved with, or save it as UTF-8."


def _too_long(path: Path, line: int, limit: int) -> DataRefused:
    size = path.stat().st_size
    return DataRefused(
        f"{path}: line {line} is longer than {limit:,} bytes (the file has {size:,})",
        hint="Is it one row per line? If such rows are meant, raise `data.max_line_bytes`.",
    )
