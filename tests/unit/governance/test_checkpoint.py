"""A checkpoint is signed, and a changed one is no checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rsa_ops.errors import IntegrityError, MissingError
from rsa_ops.governance.checkpoint import Checkpoint, make_checkpoint, read_checkpoint, write_checkpoint
from rsa_ops.governance.keys import make_key

from .conftest import START, Kit, digest


@pytest.fixture
def checkpoint(tmp_path: Path) -> Checkpoint:
    return make_checkpoint(digest("ledger"), 7, digest("head"), make_key(tmp_path / "key"), START)


def test_a_checkpoint_is_read_as_it_was_written(checkpoint: Checkpoint, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "point.json", checkpoint)
    assert read_checkpoint(tmp_path / "point.json") == checkpoint


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sequence", 8),
        ("head", digest("other")),
        ("ledger", digest("other")),
        ("at", "2026-03-01T12:00:00.000001Z"),
        ("key", digest("other")),
        ("signature", ""),
        ("signature", "AAAA"),
        ("public_key", "AAAA"),
        ("schema", "rsa_ops/ledger-checkpoint/v2"),
        ("more", 1),
    ],
)
def test_a_checkpoint_that_was_changed_is_refused(
    checkpoint: Checkpoint, tmp_path: Path, field: str, value: object
) -> None:
    path = tmp_path / "point.json"
    path.write_text(json.dumps({**json.loads(checkpoint.to_json()), field: value}))
    with pytest.raises(IntegrityError):
        read_checkpoint(path)


def test_a_checkpoint_under_another_key_is_refused(checkpoint: Checkpoint, tmp_path: Path) -> None:
    other = make_key(tmp_path / "other").public
    swapped = checkpoint.model_copy(update={"key": other.key, "public_key": other.public_key})
    with pytest.raises(IntegrityError, match="not signed"):
        swapped.require_signature()


def test_the_signature_of_an_entry_is_none_of_a_checkpoint(kit: Kit) -> None:
    with kit.ledger.view() as view:
        head = view.head()
    assert head is not None
    point = make_checkpoint(digest("ledger"), 11, head.hash, kit.key("approver"), START)
    with pytest.raises(IntegrityError):
        point.model_copy(update={"signature": head.signature}).require_signature()


def test_a_checkpoint_that_is_not_there_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingError):
        read_checkpoint(tmp_path / "none.json")
