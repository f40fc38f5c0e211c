"""A private key is read by its owner only, and shown to nobody: not by repr, an exception or a log."""

from __future__ import annotations

import base64
import copy
import logging
import os
import pickle
import subprocess
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from rsa_ops.errors import ConflictError, IntegrityError, MissingError, RsaOpsError, UsageError
from rsa_ops.files import read_record
from rsa_ops.governance.keys import FileKey, PublicKey, load_key, load_public, make_key, public_path, signed_by

# RFC 8032, section 7.1, TEST 2: secret key, public key, message, signature
SECRET = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
PUBLIC = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
MESSAGE = bytes.fromhex("72")
SIGNATURE = bytes.fromhex(
    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
    "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
)


def written(path: Path, pem: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(pem)
    path.chmod(mode)
    return path


def known_pem() -> bytes:
    key = Ed25519PrivateKey.from_private_bytes(SECRET)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def secrets_of(path: Path) -> list[str]:
    """Every form in which the secret of a key file could show: PEM line, base64, hex, repr of bytes."""
    pem = path.read_bytes()
    line = pem.splitlines()[1].decode()
    seed = base64.b64decode(line)[-32:]
    return [line, seed.hex(), base64.b64encode(seed).decode(), repr(seed)[2:-1], str(list(seed))[1:-1]]


def shows_nothing(text: str, path: Path) -> bool:
    return not any(secret in text for secret in secrets_of(path))


def test_signing_is_that_of_rfc_8032(tmp_path: Path) -> None:
    key = load_key(written(tmp_path / "key", known_pem()))
    assert key.sign(MESSAGE) == SIGNATURE
    assert key.public.verifier().public_bytes_raw() == PUBLIC
    assert signed_by(key.public.verifier(), SIGNATURE, MESSAGE)
    assert not signed_by(key.public.verifier(), SIGNATURE, MESSAGE + b"!")


def test_the_id_of_a_key_is_what_openssl_and_sha256sum_say(tmp_path: Path) -> None:
    path = tmp_path / "key"
    key = make_key(path)
    pipe = f"openssl pkey -in {path} -pubout -outform DER | sha256sum"
    done = subprocess.run(["sh", "-c", pipe], capture_output=True, text=True, check=False)
    if done.returncode or len(done.stdout.split()[0]) != 64:
        pytest.skip("no openssl program here")
    assert key.public.key == f"sha256:{done.stdout.split()[0]}"


def test_a_new_key_can_be_read_by_its_owner_only_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        key = make_key(tmp_path / "key")
    finally:
        os.umask(before)
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    assert load_key(tmp_path / "key").public == key.public
    assert read_record(PublicKey, public_path(tmp_path / "key")) == key.public
    assert sorted(path.name for path in tmp_path.iterdir()) == ["key", "key.pub"]


def test_a_key_is_never_replaced(tmp_path: Path) -> None:
    make_key(tmp_path / "key")
    before = (tmp_path / "key").read_bytes()
    with pytest.raises(ConflictError, match="never replaced"):
        make_key(tmp_path / "key")
    assert (tmp_path / "key").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["key", "key.pub"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o601, 0o610, 0o777])
def test_a_key_that_others_may_use_is_refused_with_its_mode(tmp_path: Path, mode: int) -> None:
    path = written(tmp_path / "key", known_pem(), mode)
    with pytest.raises(UsageError, match=f"{mode:04o}") as caught:
        load_key(path)
    assert "chmod 600" in caught.value.hint


def test_the_mode_is_that_of_the_file_and_not_of_a_link_to_it(tmp_path: Path) -> None:
    written(tmp_path / "key", known_pem(), 0o644)
    (tmp_path / "link").symlink_to(tmp_path / "key")
    with pytest.raises(UsageError, match="0644"):
        load_key(tmp_path / "link")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
def test_a_key_of_another_user_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "key", known_pem())
    os.chown(path, 12345, 12345)
    with pytest.raises(UsageError, match="another user"):
        load_key(path)


def wrong(name: str) -> bytes:
    own = Ed25519PrivateKey.from_private_bytes(SECRET)
    return {
        "encrypted": own.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"word")),
        "another curve": ec.generate_private_key(ec.SECP256R1()).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        ),
        "half": known_pem()[:60],
        "changed": known_pem().replace(b"MC4C", b"MC4D"),
        "empty": b"",
        "text": b"secret words",
    }[name]


@pytest.mark.parametrize("name", ["encrypted", "another curve", "half", "changed", "empty", "text"])
def test_what_is_no_such_key_is_refused_without_a_word_of_its_content(tmp_path: Path, name: str) -> None:
    path = written(tmp_path / "key", wrong(name))
    with pytest.raises(UsageError, match="no Ed25519 private key") as caught:
        load_key(path)
    told = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    content = wrong(name).decode().splitlines()
    assert not [line for line in content if len(line) > 3 and "--" not in line and line in told]
    assert caught.value.__cause__ is None


def test_a_key_that_is_not_there_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="keys new"):
        load_key(tmp_path / "none")


def test_a_folder_is_no_key(tmp_path: Path) -> None:
    with pytest.raises((UsageError, OSError)):
        load_key(tmp_path)


@pytest.mark.parametrize(
    "show", [repr, str, "{}".format, "{!r:>200}".format, lambda key: f"{[key]} {{'k': {key}}}"]
)
def test_no_way_to_print_a_key_shows_its_secret(tmp_path: Path, show: Callable[[FileKey], str]) -> None:
    key = make_key(tmp_path / "key")
    assert key.public.key in show(key)
    assert shows_nothing(show(key), tmp_path / "key")


def test_a_log_line_with_a_key_shows_no_secret(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    key = make_key(tmp_path / "key")
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("anything").error("signing with %s", key, extra={"key": key})
    assert key.public.key in caplog.text
    assert shows_nothing(caplog.text, tmp_path / "key")


@pytest.mark.parametrize("send", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_key_does_not_leave_its_process(tmp_path: Path, send: Callable[[FileKey], object]) -> None:
    with pytest.raises(TypeError, match="private key"):
        send(make_key(tmp_path / "key"))


def test_a_traceback_with_all_local_variables_shows_no_secret(tmp_path: Path) -> None:
    key = make_key(tmp_path / "key")
    path = tmp_path / "key"
    with pytest.raises(TypeError) as sign_error:
        key.sign("no bytes")  # type: ignore[arg-type]
    path.chmod(0o644)
    with pytest.raises(RsaOpsError) as load_error:
        load_key(path)
    for caught in (sign_error, load_error):
        told = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
        assert shows_nothing("".join(told.format()), path)


def test_a_key_has_nothing_to_look_into(tmp_path: Path) -> None:
    key = make_key(tmp_path / "key")
    assert not hasattr(key, "__dict__")
    shown = repr({name: getattr(key, name) for name in FileKey.__slots__})
    assert shows_nothing(shown, tmp_path / "key")


def test_a_public_key_under_another_id_is_refused(tmp_path: Path) -> None:
    ours, other = make_key(tmp_path / "a").public, make_key(tmp_path / "b").public
    with pytest.raises(IntegrityError, match="not the one"):
        load_public(ours.key, other.public_key)
    with pytest.raises(IntegrityError):
        ours.model_copy(update={"public_key": "AAAA"}).verifier()
    with pytest.raises(IntegrityError):
        load_public(ours.key, ours.public_key.rstrip("="))
