"""Bytes on disk: written whole or not at all, and named by their digest."""

from __future__ import annotations

import errno
import glob
import hashlib
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from rsa_ops.core.digest import Digest, digest_parts
from rsa_ops.core.record import Record
from rsa_ops.errors import MissingError, UsageError

_CHUNK = 1 << 20
R = TypeVar("R", bound=Record)


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn a full disk or a read-only place into an error that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise MissingError(
                f"no space left on the disk of {path}",
                hint="Free some space and run again; finished work is kept and nothing was half-written.",
            ) from error
        if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
            place = error.filename or path
            raise UsageError(f"may not use {place}: {error.strerror}", hint="Choose another place.") from error
        raise


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` so that `path` holds either its old bytes or all of the new ones, even after a crash."""
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(name).chmod(0o644)
            Path(name).replace(path)
        finally:
            Path(name).unlink(missing_ok=True)  # gone already when all went well
        _sync_folder(path.parent)


def write_text(path: Path, text: str) -> None:
    """`write_bytes` of UTF-8 text."""
    write_bytes(path, text.encode("utf-8"))


def write_record(path: Path, record: Record) -> None:
    """Write a record as JSON."""
    write_text(path, record.to_json())


def read_record(kind: type[R], path: Path) -> R:
    """Read a record of `kind` from `path`.

    Raises:
        MissingError: no such file.
        IntegrityError: not such a record.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise MissingError(f"{path} is not there", hint=f"It should hold a {kind.schema_name()} record.") from error
    return kind.from_json(data, str(path))


@contextmanager
def fresh_folder(path: Path) -> Iterator[Path]:
    """A temporary folder (absolute) that becomes `path` when the block ends well, and is removed otherwise.

    Only a kill leaves it behind; `clear_leftovers` removes it then.
    """
    path = path.resolve()
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(dir=path.parent, prefix=f"{_leftover_prefix(path)}{os.getpid()}."))
        retired = work.with_name(f"{work.name}.old")
        try:
            yield work
            for made in sorted(work.rglob("*")):
                (_sync_folder if made.is_dir() else _sync_file)(made)
            _sync_folder(work)
            work.chmod(0o755)
            if path.exists():
                path.replace(retired)
            work.replace(path)
        finally:
            if retired.exists() and not path.exists():
                retired.replace(path)
            shutil.rmtree(work, ignore_errors=True)
            shutil.rmtree(retired, ignore_errors=True)
        _sync_folder(path.parent)


def clear_leftovers(path: Path) -> None:
    """Remove what `fresh_folder(path)` left behind in processes of this machine that were killed."""
    path = path.resolve()
    prefix = _leftover_prefix(path)
    for left in path.parent.glob(f"{glob.escape(prefix)}*"):
        pid = left.name.removeprefix(prefix).partition(".")[0]
        if pid.isdigit() and not process_alive(int(pid)):
            shutil.rmtree(left, ignore_errors=True)


def _leftover_prefix(path: Path) -> str:
    # The machine is in the name, because on a shared disk a process id says nothing about another machine's.
    return f".{path.name}.{socket.gethostname()}."


def process_alive(pid: int) -> bool:
    """Whether a process of this machine has this id and has not ended.

    One that ended stays listed until its parent asks for it, which in a container without an init may be never.
    """
    if pid <= 0:  # these name groups
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # somebody else's, and alive
    return not _ended(pid)


def _ended(pid: int) -> bool:
    """Whether Linux lists the process as a zombie; elsewhere nothing tells."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] == "Z"


def digest_file(path: Path) -> Digest:
    """SHA-256 of a file's bytes."""
    hasher = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            hasher.update(chunk)
    return "sha256:" + hasher.hexdigest()


def digest_folder(folder: Path) -> Digest:
    """SHA-256 over the sorted relative names and digests of all files below `folder`."""
    names = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
    return digest_parts(part.encode() for name in names for part in (name, digest_file(folder / name)))


def folder_bytes(folder: Path) -> int:
    """Total size in bytes of all files below `folder`."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _sync_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
