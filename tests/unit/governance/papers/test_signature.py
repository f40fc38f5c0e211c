"""A signature holds over exactly the files that were signed, by exactly the key that the papers name."""

from __future__ import annotations

import base64
import json
import logging
import os
import shutil
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from rsa_ops.errors import IntegrityError, MissingError, UsageError
from rsa_ops.files import digest_folder
from rsa_ops.governance.keys import make_key, public_path
from rsa_ops.governance.papers.model_key import (
    ModelKey,
    load_model_key,
    load_model_public,
    model_key,
    model_key_path,
)
from rsa_ops.governance.papers.signature import files_digest, sign_folder, signed_files, verify_signature

from .conftest import an_adapter


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> ModelKey:
    return model_key(tmp_path_factory.mktemp("keys") / "ledger.key")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, key: ModelKey) -> bytes:
    return sign_folder(an_adapter(tmp_path_factory.mktemp("signed") / "artifact"), key)


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    """The same bytes as were signed, in a folder of another name."""
    return an_adapter(tmp_path / "elsewhere")


def edited(bundle: bytes, change: Callable[[dict], None]) -> bytes:
    """The bundle with its statement changed and not signed again."""
    found = json.loads(bundle)
    statement = json.loads(base64.b64decode(found["dsseEnvelope"]["payload"]))
    change(statement)
    found["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps(statement).encode()).decode()
    return json.dumps(found).encode()


def test_a_signed_folder_verifies_wherever_it_lies(adapter: Path, bundle: bytes, key: ModelKey) -> None:
    verify_signature(adapter, bundle, key.public_key)
    (adapter.parent / "link").symlink_to(adapter)
    verify_signature(adapter.parent / "link", bundle, key.public_key)


def test_the_signed_files_give_the_digest_of_the_folder(adapter: Path, bundle: bytes, key: ModelKey) -> None:
    assert files_digest(signed_files(bundle, key.public_key)) == digest_folder(adapter)


def test_the_tool_of_the_standard_verifies_it_too(adapter: Path, bundle: bytes, key: ModelKey) -> None:
    (adapter.parent / "model.sig").write_bytes(bundle)
    words = ["verify", "key", "--public_key", public_path(key.path), "--signature", adapter.parent / "model.sig"]
    command = [sys.executable, "-m", "model_signing", *words, adapter]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (adapter / "model.json").write_text("{ }")
    assert subprocess.run(command, capture_output=True, text=True, check=False).returncode != 0


@pytest.mark.parametrize(
    "harm",
    [
        lambda folder: (folder / "adapter_model.safetensors").write_bytes(b"weightz" * 1000),
        lambda folder: (folder / "adapter_config.json").unlink(),
        lambda folder: (folder / "pickle.bin").write_bytes(b""),
        lambda folder: (folder / ".gitignore").write_text("*"),
        lambda folder: ((folder / ".git").mkdir(), (folder / ".git" / "config").write_text("")),
        lambda folder: (folder / "model.json").rename(folder / "Model.json"),
        lambda folder: ((folder / "sub").mkdir(), shutil.move(folder / "model.json", folder / "sub")),
        lambda folder: (folder / "more").symlink_to(folder / "model.json"),
    ],
    ids=["changed", "gone", "added", "git ignored", "git folder", "renamed", "moved", "linked"],
)
def test_any_change_of_a_signed_folder_is_found(
    adapter: Path, bundle: bytes, key: ModelKey, harm: Callable[[Path], object]
) -> None:
    harm(adapter)
    with pytest.raises(IntegrityError):
        verify_signature(adapter, bundle, key.public_key)


def test_a_signature_by_another_key_is_refused(adapter: Path, tmp_path: Path, bundle: bytes, key: ModelKey) -> None:
    other = model_key(tmp_path / "other.key")
    with pytest.raises(IntegrityError, match="another key"):
        verify_signature(adapter, bundle, other.public_key)
    found = json.loads(sign_folder(adapter, other))
    found["verificationMaterial"] = json.loads(bundle)[
        "verificationMaterial"
    ]  # it says that it is by the right key
    with pytest.raises(IntegrityError, match="not by the key"):
        verify_signature(adapter, json.dumps(found).encode(), key.public_key)


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s["predicate"]["resources"].pop(),
        lambda s: s["predicate"]["resources"][0].update(digest="0" * 64),
        lambda s: s["predicate"]["serialization"].update(ignore_paths=["adapter_model.safetensors"]),
    ],
)
def test_a_statement_changed_after_signing_is_refused(
    adapter: Path, bundle: bytes, key: ModelKey, change: Callable[[dict], None]
) -> None:
    with pytest.raises(IntegrityError, match="not by the key"):
        verify_signature(adapter, edited(bundle, change), key.public_key)


def test_a_signature_that_leaves_files_out_is_refused_even_by_the_right_key(adapter: Path, key: ModelKey) -> None:
    from model_signing import hashing, signing

    (adapter / "payload.bin").write_bytes(b"x")
    config = signing.Config().use_elliptic_key_signer(private_key=key.path)
    config.set_hashing_config(hashing.Config().set_ignored_paths(paths=["payload.bin"], ignore_git_paths=False))
    config.sign(adapter, adapter.parent / "model.sig")
    with pytest.raises(IntegrityError, match="does not cover every file"):
        verify_signature(adapter, (adapter.parent / "model.sig").read_bytes(), key.public_key)


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"null", b'{"verificationMaterial": 1}', b"\xff\xfe"])
def test_what_is_no_bundle_is_refused(adapter: Path, key: ModelKey, data: bytes) -> None:
    with pytest.raises(IntegrityError):
        verify_signature(adapter, data, key.public_key)


def test_nothing_is_printed_about_a_signature_without_a_hint(
    adapter: Path, bundle: bytes, key: ModelKey, capfd: pytest.CaptureFixture[str]
) -> None:
    found = json.loads(bundle)
    del found["verificationMaterial"]["publicKey"]["hint"]  # the library prints a warning about this one
    with pytest.raises(IntegrityError):
        verify_signature(adapter, json.dumps(found).encode(), key.public_key)
    assert capfd.readouterr() == ("", "")


def test_a_folder_that_is_gone_or_empty_is_missing(tmp_path: Path, bundle: bytes, key: ModelKey) -> None:
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "none", tmp_path / "empty"):
        with pytest.raises(MissingError):
            verify_signature(folder, bundle, key.public_key)
        with pytest.raises(MissingError):
            sign_folder(folder, key)


def test_the_model_key_lies_beside_the_ledgers_key_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        made = model_key(tmp_path / "ledger.key")
    finally:
        os.umask(before)
    assert made.path == model_key_path(tmp_path / "ledger.key") == tmp_path / "ledger.key.oms"
    assert made.path.stat().st_mode & 0o777 == 0o600
    assert model_key(tmp_path / "ledger.key") == made  # found again, not made again
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ledger.key.oms", "ledger.key.oms.pub"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660])
def test_a_model_key_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    model_key(tmp_path / "ledger.key").path.chmod(mode)
    with pytest.raises(UsageError, match=f"{mode:04o}"):
        model_key(tmp_path / "ledger.key")


def test_no_model_key_is_made_where_everybody_may_rename_files(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(UsageError, match="everybody"):
        model_key(tmp_path / "ledger.key")
    assert list(tmp_path.iterdir()) == []


def test_only_p256_keys_sign_models(tmp_path: Path) -> None:
    make_key(tmp_path / "ed25519")
    larger = ec.generate_private_key(ec.SECP384R1())
    (tmp_path / "p384").write_bytes(larger.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (tmp_path / "p384").chmod(0o600)
    for name in ("ed25519", "p384"):
        with pytest.raises(UsageError, match="no P-256"):
            load_model_key(tmp_path / name)
    with pytest.raises(IntegrityError):
        load_model_public(base64.b64encode(b"no key").decode())
    with pytest.raises(IntegrityError, match="not a P-256"):
        load_model_public(make_key(tmp_path / "other").public.public_key)


def raised(act: Callable[[], object]) -> str:
    """All that a crash reporter would see of the error, locals of every frame included."""
    with pytest.raises((UsageError, IntegrityError)) as caught:
        act()
    return "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())


def test_the_secret_of_a_model_key_is_in_no_repr_bundle_exception_or_log(
    adapter: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    made = model_key(tmp_path / "ledger.key")
    pem = made.path.read_bytes()
    lines = pem.decode().splitlines()[1:-1]
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    number = load_pem_private_key(pem, None).private_numbers().private_value
    secrets = [*lines, f"{number:064x}", str(number), base64.b64encode(number.to_bytes(32)).decode()]
    shown = [repr(made), str(made), sign_folder(adapter, made).decode()]
    shown.append(base64.b64decode(json.loads(shown[-1])["dsseEnvelope"]["payload"]).decode())
    made.path.write_bytes(pem[: len(pem) // 2])  # damaged: what is raised must not quote it
    made.path.chmod(0o600)
    shown += [raised(lambda: load_model_key(made.path)), raised(lambda: sign_folder(adapter, made))]
    shown.append(caplog.text)
    assert [secret for secret in secrets for text in shown if secret in text] == []


def test_a_key_exchanged_while_signing_gives_no_signature(adapter: Path, tmp_path: Path) -> None:
    made = model_key(tmp_path / "ledger.key")
    made.path.unlink()
    shutil.copy(model_key(tmp_path / "thief.key").path, made.path)
    with pytest.raises(IntegrityError, match="another key"):
        sign_folder(adapter, made)
