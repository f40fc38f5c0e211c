"""The key that signs model folders: ECDSA on P-256, because OMS (model-signing 1.1) takes no Ed25519 key.

It lies beside the key that signs the ledger (`ledger.key` has `ledger.key.oms`, mode 0600), and is worth exactly as
much: who may use the one may use the other. Trust in it comes from the `papers` entry, where the ledger's key
has signed its public half; a signature by any other P-256 key says nothing here.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_private_key,
)

from rsa_ops.errors import ConflictError, IntegrityError, UsageError
from rsa_ops.files import write_bytes
from rsa_ops.governance.entry import from_base64, to_base64
from rsa_ops.governance.key_file import read_private, require_own_folder, write_private
from rsa_ops.governance.keys import public_path


@dataclass(frozen=True)
class ModelKey:
    """A private key in a file, known by its public half: base64 of DER SubjectPublicKeyInfo.

    The private half stays in the file; the library that signs reads it there.
    """

    path: Path
    public_key: str


def model_key_path(ledger_key: Path) -> Path:
    """Where the model key of a ledger key lies."""
    return ledger_key.with_name(f"{ledger_key.name}.oms")


def model_key(ledger_key: Path) -> ModelKey:
    """The model key beside a ledger key; made where there is none, with its public half (PEM) beside it.

    Raises:
        UsageError: others may read it, the folder may be written by everybody, or it is no such key.
    """
    path = model_key_path(ledger_key)
    if not path.exists():
        require_own_folder(path.parent)
        with suppress(ConflictError):  # another process made it in this moment
            write_private(path, ec.generate_private_key(ec.SECP256R1()))
    key = load_model_key(path)
    if not public_path(path).exists():
        write_bytes(public_path(path), public_pem(key.public_key))
    return key


def load_model_key(path: Path) -> ModelKey:
    """A model key.

    Raises:
        MissingError: no such file. UsageError: others may read it, or it is no P-256 key.
    """
    public = _public_half(path)
    if public is None:
        raise UsageError(
            f"{path} holds no P-256 private key (PKCS #8 PEM without a password)",
            hint="Move it away, and a new one is made beside the ledger's key.",
        )
    return ModelKey(path, to_base64(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)))


def load_model_public(public_key: str) -> ec.EllipticCurvePublicKey:
    """The verifying key of base64 DER SubjectPublicKeyInfo.

    Raises:
        IntegrityError: no P-256 key.
    """
    try:
        found = load_der_public_key(from_base64(public_key))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise IntegrityError("the public key of a model signature cannot be read") from error
    if not isinstance(found, ec.EllipticCurvePublicKey) or not isinstance(found.curve, ec.SECP256R1):
        raise IntegrityError("the public key of a model signature is not a P-256 key")
    return found


def public_pem(public_key: str) -> bytes:
    """The same key as PEM, which other tools read.

    Raises:
        IntegrityError: no P-256 key.
    """
    return _pem(load_model_public(public_key))


def _pem(public: ec.EllipticCurvePublicKey) -> bytes:
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _public_half(path: Path) -> ec.EllipticCurvePublicKey | None:
    # The bytes of the file live in this frame only, which has returned before anything is raised about them.
    data = read_private(path)
    try:
        found = load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None
    if isinstance(found, ec.EllipticCurvePrivateKey) and isinstance(found.curve, ec.SECP256R1):
        return found.public_key()
    return None
