"""The registry: an adapter becomes one version, an alias moves, and the same bytes come back."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from rsa_ops.core.digest import Digest, digest_bytes
from rsa_ops.errors import MissingError
from rsa_ops.files import digest_folder, write_text
from rsa_ops.tracking.registry import (
    CHAMPION,
    AliasPointer,
    Version,
    by_alias,
    by_digest,
    by_number,
    fetch_adapter,
    move_alias,
    register_adapter,
    registered_name,
)
from rsa_ops.tracking.runs import end_run, start_run
from rsa_ops.tracking.store import Store

NAME = registered_name("incident-triage", digest_bytes(b"base"))


def an_adapter(folder: Path, words: str = "weights") -> Path:
    """A folder that looks like an artifact; registering reads no tensor of it."""
    write_text(folder / "model.json", "{}")
    write_text(folder / "adapter_model.safetensors", words)
    return folder


def registered(store: Store, folder: Path, **tags: str) -> tuple[Version, str, Digest]:
    run_id = start_run(store, "train rsa-s1", {"stage": "train"})
    end_run(store, run_id)
    digest = digest_folder(folder)
    return register_adapter(store, NAME, run_id, folder, digest, {"run": run_id, **tags}), run_id, digest


def test_the_name_holds_the_task_and_the_base() -> None:
    assert f"incident-triage.{digest_bytes(b'base')[7:19]}" == NAME


def test_a_registered_adapter_goes_round(store: Store, tmp_path: Path) -> None:
    folder = an_adapter(tmp_path / "adapter")
    assert by_alias(store, NAME, CHAMPION) is None
    assert by_digest(store, NAME, digest_folder(folder)) is None

    version, run_id, digest = registered(store, folder, density="0.02")
    assert (version.name, version.version, version.digest, version.run_id) == (NAME, "1", digest, run_id)
    assert version.tags["rsa.density"] == "0.02"
    assert store.client.get_run(run_id).info.status == "FINISHED"

    assert by_alias(store, NAME, CHAMPION) is None  # there is a version, but no champion yet
    move_alias(store, NAME, CHAMPION, version.version)
    assert by_alias(store, NAME, CHAMPION) == version

    back = fetch_adapter(store, version, tmp_path / "back")
    assert digest_folder(back) == digest

    again, _, _ = registered(store, folder)  # from another run, the same bytes
    assert again == version
    other, _, other_digest = registered(store, an_adapter(tmp_path / "other", "other weights"))
    assert other.version == "2"
    assert by_digest(store, NAME, other_digest) == other

    pointer = AliasPointer(store)
    pointer.move(NAME, CHAMPION, other.version)
    assert (pointer.read(NAME, CHAMPION), pointer.read(NAME, "nobody"), pointer.read("none", CHAMPION)) == (
        other.version,
        None,
        None,
    )
    assert by_number(store, NAME, "2") == by_alias(store, NAME, CHAMPION) == other
    assert by_number(store, NAME, "3") is None

    shutil.rmtree(tmp_path / "artifacts")
    with pytest.raises(MissingError):
        fetch_adapter(store, version, tmp_path / "gone")


def test_the_base_weights_are_not_registered(store: Store, tmp_path: Path) -> None:
    version, _, _ = registered(store, an_adapter(tmp_path / "adapter", "w" * 50))
    files = [path for path in (tmp_path / "artifacts").rglob("*") if path.is_file()]
    assert any(path.name == "adapter_model.safetensors" for path in files)
    assert sum(path.stat().st_size for path in files) < 100_000
    assert version.version == "1"


def test_a_version_without_files_is_missing_not_empty(store: Store, tmp_path: Path) -> None:
    write_text(tmp_path / "adapter" / "something.else", "x")
    version, _, _ = registered(store, tmp_path / "adapter")
    with pytest.raises(MissingError, match="has no adapter files any more"):
        fetch_adapter(store, version, tmp_path / "back")
