"""Plain files only: tensors and text. Nothing in a served folder can run when it is read.

A list of what is allowed, not of what is forbidden: a suffix that nobody thought of is refused. Two settings make
libraries import code by name and are refused too: `auto_map` (transformers' remote code) and PEFT's
`megatron_config` (`importlib.import_module` of a name from the file, peft 0.21 tuners/lora/tp_layer.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from rsa_ops.errors import IntegrityError, MissingError

ALLOWED = frozenset({".safetensors", ".json", ".md", ".txt"})
PICKLES = frozenset({".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".npy", ".npz"})
CODE = frozenset({".py", ".pyc", ".pyo", ".pyd", ".so", ".sh", ".ipynb"})
RUNS_CODE = frozenset({"auto_map", "megatron_config"})

_LARGEST_JSON = 64 << 20


def require_plain(folder: Path) -> int:
    """How many files an adapter folder holds, once each of them is tensors or text.

    Raises:
        IntegrityError: a pickle, a program, a link, any other kind of file, or a setting that would import code.
        MissingError: no such folder, or an empty one.
    """
    if not folder.is_dir():
        raise MissingError(f"there is no folder {folder}")
    entries = sorted(folder.rglob("*"))
    files = [entry for entry in entries if entry.is_file() and not entry.is_symlink()]
    for entry in entries:
        if entry.is_symlink() or not (entry.is_file() or entry.is_dir()):
            raise IntegrityError(f"{entry.relative_to(folder)} is a link or a device, no plain file")
    if not files:
        raise MissingError(f"{folder} is empty")
    for file in files:
        _require_plain_file(file, str(file.relative_to(folder)))
    return len(files)


def require_plain_base(folder: Path) -> None:
    """A base model that loads without a pickle and without code of its own.

    Raises:
        IntegrityError: it has no safetensors, or its configuration names code to import.
    """
    if not any(folder.glob("*.safetensors")):
        raise IntegrityError(
            f"the base model in {folder} has no *.safetensors, and pickles are not read",
            hint="Save it as safetensors, and train on that folder; its digest is another one.",
        )
    for file in sorted(folder.glob("*config*.json")):
        _require_no_code(file, file.name)


def _require_plain_file(file: Path, name: str) -> None:
    suffix = file.suffix.lower()
    if suffix in PICKLES:
        raise IntegrityError(f"{name} may be a pickle, which runs code when it is read; only safetensors are")
    if suffix in CODE:
        raise IntegrityError(f"{name} is a program; a served folder holds tensors and text")
    if suffix not in ALLOWED:
        raise IntegrityError(f"{name} is neither tensors nor text ({', '.join(sorted(ALLOWED))})")
    if suffix == ".json":
        _require_no_code(file, name)


def _require_no_code(file: Path, name: str) -> None:
    if file.stat().st_size > _LARGEST_JSON:
        raise IntegrityError(f"{name} has {file.stat().st_size:,} bytes, which is no configuration")
    try:
        found = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"{name} is not JSON: {error}") from error
    for key, value in _settings(found):
        if key in RUNS_CODE and value:
            raise IntegrityError(f"{name} has {key!r}, by which a library would import code; it is never run here")


def _settings(value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        for key, part in value.items():
            yield key, part
            yield from _settings(part)
    if isinstance(value, list):
        for part in value:
            yield from _settings(part)
