"""The registry as it is now, read from a real MLflow store and held against a ledger."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from rsa_ops.core.digest import Digest
from rsa_ops.errors import MissingError
from rsa_ops.files import digest_folder
from rsa_ops.governance.entry import Draft, Kind
from rsa_ops.governance.finding import Flaw
from rsa_ops.governance.keys import FileKey
from rsa_ops.governance.mirror import disagreements
from rsa_ops.governance.order import Order
from rsa_ops.governance.payloads import PointerMoved
from rsa_ops.governance.store import open_ledger, utc_now
from rsa_ops.governance.verify import verify_rows
from rsa_ops.tracking.registry import move_alias, read_registry, register_adapter
from rsa_ops.tracking.runs import start_run
from rsa_ops.tracking.store import Store, open_store

MODEL = "triage.1a2b3c4d5e6f"


def adapter(folder: Path, text: str) -> tuple[Path, Digest]:
    place = folder / f"adapter-{text}"
    place.mkdir()
    (place / "model.json").write_text("{}")
    (place / "adapter_model.safetensors").write_bytes(text.encode())
    return place, digest_folder(place)


@pytest.fixture
def promoted(store: Store, tmp_path: Path) -> Order:
    """Two versions, the second the champion, and a verified ledger that says the same."""
    ledger, key = open_ledger(str(tmp_path / "ledger.db"), write=True), FileKey(Ed25519PrivateKey.generate())
    ledger.begin(key, "admin")
    for number, text in enumerate(("one", "two"), 1):
        place, digest = adapter(tmp_path, text)
        version = register_adapter(store, MODEL, start_run(store, text, {}), place, digest, {})
        move_alias(store, MODEL, "champion", version.version)
        moved = PointerMoved(
            model=MODEL, alias="champion", version=version.version, digest=digest, generation=number
        )
        ledger.append(Draft.of(Kind.APPLIED, f"{MODEL}@champion", moved), key)
    verified = verify_rows(ledger.rows(), now=utc_now())
    assert verified.first_bad is None
    return verified.walk.order


def found(store: Store, order: Order) -> list[tuple[Flaw, int]]:
    reading = read_registry(store, {MODEL}, order.versions)
    return [(finding.flaw, finding.sequence) for finding in disagreements(order, reading)]


def stored(folder: Path, text: str) -> Path:
    """The weights of a version, where the store keeps them."""
    return next(
        file
        for file in (folder / "artifacts").rglob("adapter_model.safetensors")
        if file.read_bytes() == text.encode()
    )


def test_a_registry_as_the_ledger_has_it_is_no_finding(store: Store, promoted: Order) -> None:
    assert found(store, promoted) == []


def test_what_the_stock_client_does_behind_the_ledgers_back_is_found(
    store: Store, promoted: Order, tmp_path: Path
) -> None:
    store.client.set_registered_model_alias(MODEL, "champion", "1")
    assert found(store, promoted) == [(Flaw.ALIAS_MOVED, 2)]
    store.client.delete_registered_model_alias(MODEL, "champion")
    assert found(store, promoted) == [(Flaw.ALIAS_MOVED, 2)]
    store.client.set_registered_model_alias(MODEL, "champion", "2")
    assert found(store, promoted) == []
    weights = stored(tmp_path, "one")
    before = weights.read_bytes()
    weights.write_bytes(b"other")
    assert found(store, promoted) == [(Flaw.BYTES_CHANGED, 1)]
    weights.write_bytes(before)
    (weights.parent / "more.txt").write_text("an extra file")
    assert found(store, promoted) == [(Flaw.BYTES_CHANGED, 1)]
    (weights.parent / "more.txt").unlink()
    assert found(store, promoted) == []
    shutil.rmtree(weights.parents[2])
    assert found(store, promoted) == [(Flaw.BYTES_MISSING, 1)]
    store.client.delete_model_version(MODEL, "2")
    told = sorted(found(store, promoted))
    assert told == sorted([(Flaw.BYTES_MISSING, 1), (Flaw.VERSION_DELETED, 2), (Flaw.ALIAS_MOVED, 2)])
    store.client.delete_registered_model(MODEL)
    told = sorted(found(store, promoted))
    assert told == sorted([(Flaw.VERSION_DELETED, 1), (Flaw.VERSION_DELETED, 2), (Flaw.ALIAS_MOVED, 2)])


def test_a_tag_that_still_says_the_right_digest_does_not_help(
    store: Store, promoted: Order, tmp_path: Path
) -> None:
    stored(tmp_path, "one").write_bytes(b"other")
    assert store.client.get_model_version(MODEL, "1").tags["rsa.digest.sha256"].startswith("sha256:")
    assert found(store, promoted) == [(Flaw.BYTES_CHANGED, 1)]


def test_a_server_that_is_gone_is_missing_and_no_finding(
    promoted: Order, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(MissingError, match=r"127\.0\.0\.1:9"):
        gone = open_store("http://127.0.0.1:9", "x", tmp_path)
        read_registry(gone, {MODEL}, promoted.versions)
