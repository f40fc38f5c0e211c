"""What a `source:` names: a file, a folder of `datasets`, a hub id or an embedded asset."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

from rsa_ops.data.assets import asset_file
from rsa_ops.errors import MissingError, UsageError
from rsa_ops.files import digest_file, digest_folder

HUB = "hub:"
ASSET = "asset:"
SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
_FOLDER_MARKS = ("dataset_dict.json", "state.json", "dataset_info.json")


@dataclass(frozen=True)
class FileSource:
    """A table in a file; `path` exists and has one of `SUFFIXES`."""

    path: Path


@dataclass(frozen=True)
class FolderSource:
    """A folder written by `save_to_disk` of a Dataset or DatasetDict."""

    path: Path


@dataclass(frozen=True)
class HubSource:
    """A data set on the hub: `hub:owner/name/config@revision`, the last two optional."""

    repository: str
    config: str | None
    revision: str | None


@dataclass(frozen=True)
class AssetSource:
    """A data set carried by an installed package."""

    name: str


Source = FileSource | FolderSource | HubSource | AssetSource


def parse_source(text: str, base: Path | None = None) -> Source:
    """The source that `text` names; relative paths start at `base` (default: the working directory).

    Raises:
        MissingError: no such file or folder.
        UsageError: a suffix or a form that nothing here reads.
    """
    if text.startswith(ASSET):
        return AssetSource(text.removeprefix(ASSET))
    if text.startswith(HUB):
        return _hub(text)
    path = Path(text).expanduser()
    path = path if base is None else base / path
    if not path.exists():
        raise MissingError(f"the data {path} is not there", hint=_near(path))
    if path.is_dir():
        if not any((path / mark).is_file() for mark in _FOLDER_MARKS):
            raise UsageError(
                f"{path} is a folder, but none that `datasets` wrote with save_to_disk",
                hint=f"Give such a folder, or one file of these kinds: {', '.join(SUFFIXES)}.",
            )
        return FolderSource(path)
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"cannot read {path}: unknown suffix {path.suffix!r}", hint=f"Use {', '.join(SUFFIXES)}.")
    return FileSource(path)


def is_unpinned(text: str) -> bool:
    """Whether `text` names a hub data set without a revision."""
    return text.startswith(HUB) and _hub(text).revision is None


def source_key(text: str, base: Path | None = None) -> bytes:
    """Bytes that change when the rows of a source may have changed: the digest of its files.

    A hub source is named by its text alone, which is why a revision should be given.
    """
    source = parse_source(text, base)
    match source:
        case FileSource(path):
            return digest_file(path).encode()
        case FolderSource(path):
            return digest_folder(path).encode()
        case AssetSource(name):
            return digest_file(asset_file(name)).encode()
        case HubSource():
            return text.encode()


def _hub(text: str) -> HubSource:
    name, _, revision = text.removeprefix(HUB).partition("@")
    parts = name.split("/")
    if not all(parts) or len(parts) > 3:
        raise UsageError(f"cannot read {text!r}", hint="Write hub:<owner>/<name>, hub:<owner>/<name>/<config>.")
    config = parts[2] if len(parts) == 3 else None
    return HubSource("/".join(parts[:2]), config, revision or None)


def _near(path: Path) -> str:
    names = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, names, n=1)
    return (
        f"Did you mean {path.parent / near[0]}?" if near else "Check `data.source`; paths start at pipeline.yaml."
    )
