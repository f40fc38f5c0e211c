"""Variants: one logged model for a trained cell, read the same way from the tables and from the client."""

from __future__ import annotations

from pathlib import Path

import pytest

from rsa_ops.core.digest import digest_bytes
from rsa_ops.errors import MissingError
from rsa_ops.files import write_text
from rsa_ops.tracking import variants
from rsa_ops.tracking.inventory import stored_models
from rsa_ops.tracking.runs import CellLog, RunFacts, start_run
from rsa_ops.tracking.store import Store
from rsa_ops.tracking.variants import log_variant, read_inventory

DESCRIBED = {
    "arm": "rsa",
    "seed": "1",
    "method": "rsa",
    "base_model": "tiny",
    "base.sha256": digest_bytes(b"base"),
    "data.sha256": digest_bytes(b"data"),
}


def described(seed: int) -> RunFacts:
    return RunFacts(tags={"digest.sha256": digest_bytes(b"%d" % seed)}, variant={**DESCRIBED, "seed": str(seed)})


def record(store: Store, tmp_path: Path, count: int) -> str:
    parent = start_run(store, "pipeline", {})
    write_text(tmp_path / "cell" / "adapter", "bytes")
    for seed in range(count):
        log = CellLog(store, parent, "train", lambda _, seed=seed: described(seed))  # type: ignore[misc]
        key = digest_bytes(b"key %d" % seed)
        log.record(stage="train", name=f"rsa-s{seed}", key=key, folder=tmp_path / "cell", digest=digest_bytes(b"r"))
    return parent


def test_each_trained_cell_is_one_logged_model_and_no_version(store: Store, tmp_path: Path) -> None:
    parent = record(store, tmp_path, 3)
    found = read_inventory(store.uri)
    assert [each.params["seed"] for each in found.variants] == ["2", "1", "0"]  # the newest first
    newest = found.variants[0]
    assert newest.params == {
        **DESCRIBED,
        "seed": "2",
        "config.sha256": digest_bytes(b"key 2"),
        "parent": parent,
    }
    assert newest.digest == digest_bytes(b"2")
    run = store.client.get_run(newest.run_id)
    assert run.data.tags["mlflow.parentRunId"] == parent
    assert found.versions == {}
    assert store.client.get_logged_model(newest.model_id).status == "READY"


def test_tables_and_client_say_the_same(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record(store, tmp_path, 2)
    store.client.create_registered_model("triage")
    for digest in (b"0", b"1"):
        store.client.create_model_version("triage", "runs:/x/y", tags={"rsa.digest.sha256": digest_bytes(digest)})
    store.client.delete_model_version("triage", "2")
    by_tables = read_inventory(store.uri)
    monkeypatch.setattr(variants, "_by_tables", variants._by_client)
    assert read_inventory(store.uri) == by_tables
    assert by_tables.versions == {digest_bytes(b"0"): ("triage/1",)}
    assert len(by_tables.variants) == 2


def test_a_cell_that_was_logged_twice_is_listed_once(store: Store) -> None:
    for _ in range(2):
        newest = log_variant(store, "", "rsa-s1", digest_bytes(b"1"), {**DESCRIBED, "config.sha256": "same"})
    assert [each.model_id for each in read_inventory(store.uri).variants] == [newest]


def test_a_deleted_variant_is_gone_and_a_variant_is_no_garbage(store: Store, tmp_path: Path) -> None:
    record(store, tmp_path, 2)
    assert list(stored_models(store)) == []
    first, second = read_inventory(store.uri).variants
    store.client.delete_logged_model(first.model_id)
    assert read_inventory(store.uri).variants == (second,)


def test_no_store_is_made_by_looking(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no MLflow store"):
        read_inventory(f"sqlite:///{tmp_path / 'none.db'}")
    write_text(tmp_path / "other.db", "")
    with pytest.raises(MissingError, match="no such table"):
        read_inventory(f"sqlite:///{tmp_path / 'other.db'}")
    assert [file.name for file in tmp_path.iterdir()] == ["other.db"]
