"""`load_champion`: from an alias to a model that answers, or to a refusal."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from rsa_ops.core.digest import digest_bytes
from rsa_ops.errors import ExitCode, RsaOpsError
from rsa_ops.evaluation.predict import predict_texts
from rsa_ops.governance.checkpoint import make_checkpoint, write_checkpoint
from rsa_ops.governance.entry import Draft, Kind
from rsa_ops.governance.keys import make_key
from rsa_ops.governance.store import utc_now
from rsa_ops.models.trained import load_trained
from rsa_ops.serving.load import Served
from rsa_ops.stages.load import load_champion
from rsa_ops.tracking.registry import move_alias

from ..adapters import TEXTS
from .shelf import IDLE, MODEL, PLACE, Desk, Shelf, copy_database, open_desk


def champion(desk: Desk, **how: Any) -> Served:
    return load_champion(MODEL, **{"ledger": str(desk.ledger), "store": desk.uri, "device": "cpu", **how})


def refused(desk: Desk, code: ExitCode, **how: Any) -> RsaOpsError:
    with pytest.raises(RsaOpsError) as caught:
        champion(desk, **how)
    assert caught.value.exit_code is code, caught.value
    assert caught.value.hint
    return caught.value


@contextmanager
def changed(file: Path, data: bytes | None) -> Iterator[None]:
    """The file has other bytes (None: is gone) meanwhile; the shelf is put back."""
    before = file.read_bytes()
    file.unlink() if data is None else file.write_bytes(data)
    try:
        yield
    finally:
        file.write_bytes(before)


def stored(shelf: Shelf, version: str, name: str) -> Path:
    """A file of a version as the store keeps it."""
    content = (shelf.folder / f"adapter-{version}" / name).read_bytes()
    return next(file for file in (shelf.folder / "artifacts").rglob(name) if file.read_bytes() == content)


@pytest.fixture
def desk(shelf: Shelf, tmp_path: Path) -> Desk:
    return open_desk(shelf, tmp_path, "1 2")


def test_the_champion_is_what_the_ledger_names_and_predicts_as_its_artifact_does(desk: Desk) -> None:
    served = champion(desk)
    found = served.resolved
    assert (found.version, found.generation, found.digest) == ("2", 2, desk.digest("2"))
    loaded, spec = load_trained(desk.shelf.folder / "adapter-2", device="cpu")
    assert served.predict(TEXTS) == predict_texts(loaded, spec, TEXTS).outputs
    assert "signature" in [passed.name for passed in served.checks]
    desk.promote("1")
    assert served.resolved.version == "2"  # resolved once
    assert champion(desk).resolved.version == "1"


def test_ledger_and_store_are_found_where_they_usually_lie(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk.folder)
    assert load_champion(MODEL, device="cpu").resolved.version == "2"


def test_an_alias_moved_outside_is_refused(desk: Desk) -> None:
    move_alias(desk.store, MODEL, "champion", "1")
    assert "in the registry" in refused(desk, ExitCode.INTEGRITY).message
    desk.store.client.delete_registered_model_alias(MODEL, "champion")
    assert "names no version" in refused(desk, ExitCode.INTEGRITY).message


def test_two_registries_are_told_apart_by_what_their_aliases_name(desk: Desk, tmp_path: Path) -> None:
    copy_database(desk.shelf.folder / "mlflow.db", tmp_path / "other.db")
    other = f"sqlite:///{tmp_path / 'other.db'}"
    assert other in refused(desk, ExitCode.INTEGRITY, store=other).message


def test_another_ledger_with_another_champion_is_refused(desk: Desk, shelf: Shelf, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = open_desk(shelf, tmp_path / "other", "1")
    assert "names version 2" in refused(other, ExitCode.INTEGRITY, store=desk.uri).message


def test_a_move_under_way_is_a_conflict_once_the_alias_has_moved_and_none_before(desk: Desk) -> None:
    desk.intend("1")
    assert champion(desk).resolved.version == "2"
    move_alias(desk.store, MODEL, "champion", "1")
    assert "rsa-ops reconcile" in refused(desk, ExitCode.CONFLICT).hint
    move_alias(desk.store, MODEL, "champion", "3")  # not where the open intent leads
    refused(desk, ExitCode.INTEGRITY)


def test_a_version_without_papers_is_refused_and_told_how_to_get_them(shelf: Shelf, tmp_path: Path) -> None:
    desk = open_desk(shelf, tmp_path, "1")
    desk.promote("3")
    error = refused(desk, ExitCode.MISSING)
    assert "has no papers" in error.message
    assert "Run its pipeline again" in error.hint


def test_papers_of_other_bytes_are_refused(desk: Desk) -> None:
    wrong = desk.shelf.papers["2"].model_copy(update={"digest": desk.digest("1")})
    desk.notary.write(Kind.PAPERS, f"{MODEL}/2", wrong)
    assert "the papers of version 2" in refused(desk, ExitCode.INTEGRITY).message


def test_a_signature_by_another_key_or_over_other_files_is_refused(desk: Desk) -> None:
    one, two = desk.shelf.papers["1"], desk.shelf.papers["2"]
    desk.notary.write(
        Kind.PAPERS, f"{MODEL}/2", two.model_copy(update={"signature": one.signature, "run": one.run})
    )
    assert "check `signature`" in refused(desk, ExitCode.INTEGRITY).message
    desk.notary.write(Kind.PAPERS, f"{MODEL}/2", two.model_copy(update={"signature": digest_bytes(b"other")}))
    assert "the signature file in MLflow is" in refused(desk, ExitCode.INTEGRITY).message


@pytest.mark.parametrize("data", [b"other", None])
def test_changed_or_missing_weights_in_the_store_are_refused(desk: Desk, data: bytes | None) -> None:
    with changed(stored(desk.shelf, "2", "adapter_model.safetensors"), data):
        assert "check `adapter bytes`" in refused(desk, ExitCode.INTEGRITY).message
    record = stored(desk.shelf, "2", "adapter_model.safetensors").with_name("model.json")
    with changed(record, data):
        refused(desk, ExitCode.INTEGRITY if data else ExitCode.MISSING)
    assert champion(desk).resolved.version == "2"


def test_a_pickle_put_beside_the_weights_is_refused_as_such(desk: Desk) -> None:
    pickled = stored(desk.shelf, "2", "adapter_model.safetensors").with_suffix(".bin")
    pickled.write_bytes(b"x")
    try:
        assert "may be a pickle" in refused(desk, ExitCode.INTEGRITY).message
    finally:
        pickled.unlink()


def test_an_adapter_that_does_nothing_is_refused_even_with_papers(shelf: Shelf, tmp_path: Path) -> None:
    assert "no-op" in refused(open_desk(shelf, tmp_path, f"1 {IDLE}"), ExitCode.INTEGRITY).message


def test_a_base_that_is_gone_is_missing(desk: Desk, tmp_path: Path) -> None:
    refused(desk, ExitCode.MISSING, base=str(tmp_path / "none"))


def test_a_deleted_version_and_an_unknown_model_are_missing(desk: Desk) -> None:
    with pytest.raises(RsaOpsError, match="names no champion") as caught:
        load_champion("triage.none", ledger=str(desk.ledger), store=desk.uri)
    assert caught.value.exit_code is ExitCode.MISSING
    desk.store.client.delete_model_version(MODEL, "2")
    refused(desk, ExitCode.INTEGRITY)  # its alias went with it


def test_an_entry_that_its_key_has_not_signed_is_not_believed(desk: Desk) -> None:
    thief = make_key(desk.folder / "thief.pem")
    forged = desk.notary.ledger.append
    with pytest.raises(RsaOpsError):
        forged(Draft.of(Kind.PAPERS, f"{MODEL}/2", desk.shelf.papers["1"]), thief)
    connection = sqlite3.connect(desk.ledger)
    for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        connection.execute(f"DROP TRIGGER {name}")
    signature = connection.execute("SELECT signature FROM rsa_ops_ledger WHERE sequence = 0").fetchone()[0]
    connection.execute(
        "UPDATE rsa_ops_ledger SET signature = ? WHERE subject = ? AND kind = 'applied'", (signature, PLACE)
    )
    connection.commit()
    connection.close()
    assert "its key has not signed it" in refused(desk, ExitCode.INTEGRITY).message


def test_with_a_checkpoint_a_ledger_whose_end_was_cut_off_is_refused(desk: Desk, tmp_path: Path) -> None:
    with desk.notary.ledger.view() as view:
        head = view.head()
    assert head is not None
    signer = desk.notary.signer
    made = make_checkpoint(head.entry.ledger, head.entry.sequence, head.hash, signer, utc_now())
    write_checkpoint(tmp_path / "kept.json", made)
    assert champion(desk, checkpoint=tmp_path / "kept.json").resolved.version == "2"
    connection = sqlite3.connect(desk.ledger)
    for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        connection.execute(f"DROP TRIGGER {name}")
    connection.execute("DELETE FROM rsa_ops_ledger WHERE sequence > ?", (head.entry.sequence - 2,))
    connection.commit()
    connection.close()
    move_alias(desk.store, MODEL, "champion", "1")
    assert champion(desk).resolved.version == "1"  # nothing inside of the ledger shows it
    assert "does not verify" in refused(desk, ExitCode.INTEGRITY, checkpoint=tmp_path / "kept.json").message
