"""Keys: made, kept in a file that nobody else can read, and used to sign; never shown.

Ed25519 (RFC 8032) as `cryptography` has it. A private key is a PKCS #8 PEM file with mode 0600 (`key_file`), a
public key a small JSON record beside it. The id of a key is the SHA-256 of its public key's DER
SubjectPublicKeyInfo, so that `openssl pkey -pubin -outform DER | sha256sum` gives it too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NoReturn, Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_private_key,
)
from pydantic import Field

from rsa_ops.core.digest import Digest, digest_bytes
from rsa_ops.core.record import Record
from rsa_ops.errors import IntegrityError, UsageError
from rsa_ops.files import write_record
from rsa_ops.governance.entry import from_base64, to_base64
from rsa_ops.governance.key_file import read_private, write_private


class Signer(Protocol):
    """Whatever can sign: a file key here, a key service elsewhere."""

    @property
    def public(self) -> PublicKey:
        """The public half."""
        ...

    def sign(self, data: bytes) -> bytes:
        """The Ed25519 signature (64 bytes) over `data`."""
        ...


class PublicKey(Record):
    """`NAME.pub`: what an administrator registers. `public_key` is base64 of DER SubjectPublicKeyInfo."""

    schema_: Literal["rsa_ops/public-key/v1"] = Field(default="rsa_ops/public-key/v1", alias="schema")

    key: Digest
    public_key: str

    @classmethod
    def of(cls, public: Ed25519PublicKey) -> PublicKey:
        """The record of a public key."""
        der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return cls(key=digest_bytes(der), public_key=to_base64(der))

    def verifier(self) -> Ed25519PublicKey:
        """The key that checks signatures.

        Raises:
            IntegrityError: the bytes are no Ed25519 key, or `key` is not their digest.
        """
        return load_public(self.key, self.public_key)


class FileKey:
    """A private key that was read from a file. It signs, and shows nothing but its public half."""

    __slots__ = ("_private", "_public")

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self._public = PublicKey.of(private.public_key())

    @property
    def public(self) -> PublicKey:
        """The public half."""
        return self._public

    def sign(self, data: bytes) -> bytes:
        """The Ed25519 signature (64 bytes) over `data`."""
        return self._private.sign(data)

    def __repr__(self) -> str:
        return f"FileKey({self._public.key})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a private key is not pickled, copied or sent to another process")


def load_public(key: Digest, public_key: str) -> Ed25519PublicKey:
    """The verifying key of a key id and the base64 of its DER SubjectPublicKeyInfo.

    Raises:
        IntegrityError: the bytes are no Ed25519 key, or `key` is not their digest.
    """
    der = from_base64(public_key)
    if digest_bytes(der) != key:
        raise IntegrityError(f"the public key is not the one that {key} names")
    try:
        found = load_der_public_key(der)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise IntegrityError("the public key cannot be read") from error
    if not isinstance(found, Ed25519PublicKey):
        raise IntegrityError("the public key is not an Ed25519 key")
    return found


def signed_by(public: Ed25519PublicKey, signature: bytes, data: bytes) -> bool:
    """Whether `signature` over `data` is by this key."""
    try:
        public.verify(signature, data)
    except InvalidSignature:
        return False
    return True


def make_key(path: Path) -> FileKey:
    """Make a key, write it to `path` (mode 0600) and its public half to `path` + `.pub`.

    The file appears whole or not at all, and never in the place of another.

    Raises:
        ConflictError: the file is there already. UsageError: nothing may be written there.
    """
    private = Ed25519PrivateKey.generate()
    write_private(path, private)
    key = FileKey(private)
    write_record(public_path(path), key.public)
    return key


def load_key(path: Path) -> FileKey:
    """Read a private key.

    Raises:
        MissingError: no such file. UsageError: others may read it, it belongs to another user, or it is no key.
    """
    private = _parse(path)
    if private is None:
        raise UsageError(
            f"{path} holds no Ed25519 private key (PKCS #8 PEM without a password)",
            hint="`rsa-ops keys new -o FILE` makes one.",
        )
    return FileKey(private)


def public_path(path: Path) -> Path:
    """Where the public half of a private key file lies."""
    return path.with_name(f"{path.name}.pub")


def _parse(path: Path) -> Ed25519PrivateKey | None:
    # The bytes of the file live in this frame only, which has returned before anything is raised about them.
    data = read_private(path)
    try:
        found = load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None
    return found if isinstance(found, Ed25519PrivateKey) else None
