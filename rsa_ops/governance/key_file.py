"""The file of a private key: nobody but its owner reads it, it appears whole, and it is never replaced."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from rsa_ops.errors import ConflictError, MissingError, UsageError
from rsa_ops.files import disk_errors

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_LARGEST_FILE = 16_384


def write_private(path: Path, private: Ed25519PrivateKey | EllipticCurvePrivateKey) -> None:
    """Write a private key to `path` (PKCS #8 PEM, mode 0600), whole or not at all.

    Raises:
        ConflictError: the file is there already. UsageError: nothing may be written there.
    """
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600 from the first byte
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
                file.flush()
                os.fsync(file.fileno())
            os.link(name, path)  # unlike a rename, this refuses to replace a key
        except FileExistsError as error:
            raise ConflictError(
                f"{path} is there already, and a key is never replaced", hint="Choose another file."
            ) from error
        finally:
            Path(name).unlink()


def read_private(path: Path) -> bytes:
    """The bytes of a private key file; to be dropped before anything is raised about them.

    Raises:
        MissingError: no such file. UsageError: others may read it, or it belongs to another user.
    """
    with disk_errors(path):
        try:
            handle = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        except FileNotFoundError as error:
            raise MissingError(f"{path} is not there", hint="`rsa-ops keys new -o FILE` makes a key.") from error
        with os.fdopen(handle, "rb") as file:
            _require_private(path, os.fstat(file.fileno()))  # of the very file that is read, not of its name
            return file.read(_LARGEST_FILE)


def require_own_folder(folder: Path) -> None:
    """A key in a folder where everybody may rename files could be exchanged for another.

    Raises:
        UsageError: this is such a folder.
    """
    if os.name != "posix" or not folder.exists():
        return
    mode = folder.stat().st_mode
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        raise UsageError(
            f"{folder} may be written by everybody, so no key can be kept there",
            hint=f"`chmod o-w {folder}`, or give a key of your own with --key.",
        )


def _require_private(path: Path, found: os.stat_result) -> None:
    if os.name != "posix":
        return  # elsewhere the mode says nothing about who may read
    if not stat.S_ISREG(found.st_mode):
        raise UsageError(f"{path} is no file")
    if found.st_mode & _OTHERS:
        raise UsageError(
            f"{path} has mode {stat.S_IMODE(found.st_mode):04o}: others than its owner may use this private key",
            hint=f"`chmod 600 {path}`, and if somebody may have read it, have it revoked and make another.",
        )
    if found.st_uid not in (os.geteuid(), 0):
        raise UsageError(f"{path} belongs to another user (uid {found.st_uid})", hint="Use a key of your own.")
