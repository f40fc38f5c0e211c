"""Data sets of the `datasets` library: folders written by save_to_disk, and hub ids."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from rsa_ops.data.source import HubSource
from rsa_ops.data.table import RawTable
from rsa_ops.errors import DataRefused, MissingError

_NAMES = {"train": ("train",), "validation": ("validation", "valid", "dev"), "test": ("test",)}


def read_folder(path: Path) -> dict[str, RawTable]:
    """The tables of a folder by split: `train` alone for a Dataset, what there is for a DatasetDict.

    Raises:
        DataRefused: the folder is damaged.
    """
    import pyarrow as pa
    from datasets import load_from_disk

    try:
        loaded = load_from_disk(str(path))
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise DataRefused(
            f"{path} is no data set of `datasets`: {error}", hint="Write it again with save_to_disk."
        ) from error
    return _tables(loaded, str(path))


def read_hub(source: HubSource) -> dict[str, RawTable]:
    """The tables of a hub data set by split; downloaded once, then from the cache of `datasets`.

    Raises:
        MissingError: no such data set, or the hub cannot be reached.
    """
    from datasets import disable_progress_bars, load_dataset
    from huggingface_hub.errors import HfHubHTTPError

    name = f"hub:{source.repository}"
    disable_progress_bars()
    logging.getLogger("huggingface_hub").setLevel(
        logging.ERROR
    )  # five retries are announced otherwise, before our own message
    try:
        loaded = load_dataset(source.repository, name=source.config, revision=source.revision)
    except (OSError, ValueError, RuntimeError, HfHubHTTPError) as error:
        raise MissingError(
            f"cannot get {name}: {_first_line(error)}",
            hint="Without a network: fetch it where there is one (datasets.load_dataset(...).save_to_disk(FOLDER)) "
            "and give the folder as `data.source`.",
        ) from error
    return _tables(loaded, name)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _tables(loaded: Any, name: str) -> dict[str, RawTable]:
    from datasets import DatasetDict

    if not isinstance(loaded, DatasetDict):
        return {"train": _table(loaded, name)}
    found = {}
    for split, names in _NAMES.items():
        known = next((candidate for candidate in names if candidate in loaded), None)
        if known is not None:
            found[split] = _table(loaded[known], f"{name} ({known})")
    if not found and len(loaded) == 1:
        return {"train": _table(next(iter(loaded.values())), name)}
    if not found:
        raise DataRefused(f"{name} has the splits {', '.join(loaded)}", hint="One should be called train.")
    return found


def _table(dataset: Any, name: str) -> RawTable:
    from datasets import ClassLabel

    columns: dict[str, list[object]] = {}
    for column, feature in dataset.features.items():
        values = list(dataset.with_format(None)[column])
        if isinstance(feature, ClassLabel):
            # datasets writes -1 where a label is withheld
            values = [None if value is None or value < 0 else feature.int2str(value) for value in values]
        columns[column] = values
    return RawTable(name, columns)
