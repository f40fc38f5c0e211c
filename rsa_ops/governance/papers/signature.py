"""The signature of a model folder: an OMS bundle (OpenSSF Model Signing 1.0), made and checked by `model-signing`.

It covers every file of the folder by its SHA-256, hidden ones and git's included; nothing is ignored, an extra file
is refused, and so is a symbolic link. The bundle lies outside of the folder. Any tool for OMS can check it:
`model_signing verify key --public_key KEY.pub --signature model.sig FOLDER`.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path, PurePosixPath
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA

from rsa_ops.core.digest import Digest, digest_bytes, digest_parts
from rsa_ops.errors import IntegrityError, MissingError
from rsa_ops.governance.entry import from_base64, pae
from rsa_ops.governance.papers.model_key import ModelKey, load_model_key, load_model_public, public_pem

STATEMENT_TYPE = "application/vnd.in-toto+json"
_PREDICATE = "https://model_signing/signature/v1.0"
_LARGEST_BUNDLE = 64 << 20
_WRONG = (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError, InvalidSignature)


def sign_folder(folder: Path, key: ModelKey) -> bytes:
    """The OMS bundle over all files below `folder`; two of the same folder differ, because ECDSA draws a number.

    Raises:
        MissingError: no such folder, or an empty one. IntegrityError: it holds a symbolic link, or the key file was
        exchanged meanwhile.
    """
    from model_signing import signing

    _require_files(folder)
    if load_model_key(key.path).public_key != key.public_key:  # also: it is readable by its owner only, and a key
        raise IntegrityError(f"{key.path} holds another key than before", hint="Somebody exchanged the file.")
    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch) / "model.sig"
        config = signing.Config().use_elliptic_key_signer(private_key=key.path).set_hashing_config(_all_files())
        try:
            config.sign(folder.resolve(), target)
        except ValueError as error:
            raise IntegrityError(f"{folder} cannot be signed: {error}") from error
        bundle = target.read_bytes()
    verify_signature(folder, bundle, key.public_key)
    return bundle


def verify_signature(folder: Path, bundle: bytes, public_key: str) -> None:
    """Check that `bundle` is a signature by `public_key` over exactly the files of `folder`.

    `public_key` is base64 of DER SubjectPublicKeyInfo, as a `papers` entry names it.

    Raises:
        IntegrityError: another key, or a file is changed, missing or too many. MissingError: no such folder.
    """
    from model_signing import verifying

    signed_files(bundle, public_key)  # also keeps from the library what it would print about, or ignore files for
    _require_files(folder)
    with tempfile.TemporaryDirectory() as scratch:
        signature, public = Path(scratch) / "model.sig", Path(scratch) / "model.pub"
        signature.write_bytes(bundle)
        public.write_bytes(public_pem(public_key))
        config = verifying.Config().use_elliptic_key_verifier(public_key=public).set_hashing_config(_all_files())
        try:
            config.verify(folder.resolve(), signature)
        except _WRONG as error:
            raise IntegrityError(
                f"{folder} is not what was signed: {error}", hint="Its files were changed after they were signed."
            ) from error


def signed_files(bundle: bytes, public_key: str) -> dict[str, Digest]:
    """The files that a bundle signs, by relative name, once its signature by `public_key` holds.

    Raises:
        IntegrityError: no OMS bundle, signed by another key, or one that leaves files out.
    """
    public = load_model_public(public_key)
    if len(bundle) > _LARGEST_BUNDLE:
        raise IntegrityError(f"a model signature of {len(bundle):,} bytes")
    try:
        found = json.loads(bundle)
        hint = found["verificationMaterial"]["publicKey"]["hint"]
        envelope = found["dsseEnvelope"]
        (signature,) = envelope["signatures"]
        body = from_base64(envelope["payload"])
        if "sha256:" + hint != digest_bytes(public_pem(public_key)):
            raise IntegrityError("the model signature is by another key than the papers name")
        public.verify(from_base64(signature["sig"]), pae(STATEMENT_TYPE, body), ECDSA(hashes.SHA256()))
        return _manifest(json.loads(body), envelope["payloadType"])
    except InvalidSignature as error:
        raise IntegrityError("the model signature is not by the key that the papers name") from error
    except _WRONG as error:
        raise IntegrityError(f"no OMS signature bundle: {type(error).__name__}: {error}") from error


def files_digest(files: dict[str, Digest]) -> Digest:
    """The digest of a folder (`files.digest_folder`) from the names and digests of its files."""
    return digest_parts(part.encode() for name in sorted(files) for part in (name, files[name]))


def _manifest(statement: dict[str, Any], payload_type: str) -> dict[str, Digest]:
    if payload_type != STATEMENT_TYPE or statement["predicateType"] != _PREDICATE:
        raise IntegrityError("what is signed is no OMS model signature")
    how = statement["predicate"]["serialization"]
    if (how["method"], how["hash_type"]) != ("files", "sha256") or how.get("ignore_paths"):
        raise IntegrityError(
            "the model signature does not cover every file by its SHA-256",
            hint="Sign with rsa_ops, or with model_signing and no ignored paths.",
        )
    files = {str(entry["name"]): "sha256:" + str(entry["digest"]) for entry in statement["predicate"]["resources"]}
    if not files or any(PurePosixPath(name).is_absolute() or ".." in name.split("/") for name in files):
        raise IntegrityError("the model signature names no files, or files outside of the folder")
    return files


def _all_files() -> Any:
    from model_signing import hashing

    return hashing.Config().set_ignored_paths(paths=[], ignore_git_paths=False)


def _require_files(folder: Path) -> None:
    if not folder.is_dir() or not any(folder.iterdir()):
        raise MissingError(f"{folder} holds no files to sign or to check")
