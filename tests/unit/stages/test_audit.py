"""The audit joins ledger and registry: which store is asked, and what is said when none is, or when one is gone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rsa_ops.core.digest import digest_bytes
from rsa_ops.errors import ExitCode, MissingError
from rsa_ops.files import digest_folder, write_text
from rsa_ops.governance.entry import Kind
from rsa_ops.governance.finding import Flaw
from rsa_ops.governance.notary import Notary, open_notary
from rsa_ops.governance.payloads import PointerMoved
from rsa_ops.stages.audit import Question, audit
from rsa_ops.stages.audit import checkpoint as checkpoint_of
from rsa_ops.tracking.registry import move_alias, register_adapter
from rsa_ops.tracking.runs import start_run
from rsa_ops.tracking.store import Store

MODEL = "triage.1a2b3c4d5e6f"


@pytest.fixture(autouse=True)
def no_store_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def moved(notary: Notary, version: str, digest: str, generation: int) -> None:
    payload = PointerMoved(model=MODEL, alias="champion", version=version, digest=digest, generation=generation)
    notary.write(Kind.APPLIED, f"{MODEL}@champion", payload)


def question(folder: Path, **changes: Any) -> Question:
    return Question(**{"address": str(folder / "ledger.db"), "file": None, **changes})


def test_the_store_beside_the_ledger_is_held_against_it(store: Store, tmp_path: Path) -> None:
    adapter = tmp_path / "adapter"
    write_text(adapter / "model.json", "{}")
    digest = digest_folder(adapter)
    version = register_adapter(store, MODEL, start_run(store, "cell", {}), adapter, digest, {})
    move_alias(store, MODEL, "champion", version.version)
    notary = open_notary(str(tmp_path / "ledger.db"), None, lambda _: None)
    moved(notary, version.version, digest, 1)
    report = audit(question(tmp_path))
    assert report.exit_code is ExitCode.DONE
    assert "1 aliases and the bytes of 1 versions" in report.checked[-1]
    assert [line.split(",")[0] for line in report.not_checked] == ["whether the end was cut off"]
    store.client.delete_registered_model_alias(MODEL, "champion")
    report = audit(question(tmp_path))
    assert report.exit_code is ExitCode.INTEGRITY
    assert report.first_bad is None
    assert [(finding.flaw, finding.sequence) for finding in report.registry] == [(Flaw.ALIAS_MOVED, 1)]
    assert audit(question(tmp_path, offline=True)).exit_code is ExitCode.DONE


def test_a_store_that_is_gone_is_missing_and_never_a_pass(tmp_path: Path) -> None:
    notary = open_notary(str(tmp_path / "ledger.db"), None, lambda _: None)
    moved(notary, "1", digest_bytes(b"x"), 1)
    with pytest.raises(MissingError, match="no MLflow store"):
        audit(question(tmp_path, store=f"sqlite:///{tmp_path / 'none.db'}"))
    assert not (tmp_path / "none.db").exists()


def test_without_a_store_the_report_says_that_none_was_asked(tmp_path: Path) -> None:
    notary = open_notary(str(tmp_path / "ledger.db"), None, lambda _: None)
    moved(notary, "1", digest_bytes(b"x"), 1)
    report = audit(question(tmp_path))
    assert report.exit_code is ExitCode.DONE
    assert "MLflow: no store was asked" in report.not_checked


def test_a_broken_ledger_is_told_without_asking_a_store_that_is_gone(tmp_path: Path) -> None:
    notary = open_notary(str(tmp_path / "ledger.db"), None, lambda _: None)
    moved(notary, "1", digest_bytes(b"x"), 1)
    moved(notary, "2", digest_bytes(b"x"), 7)  # appended by its rules, but no generation 7 follows 1
    report = audit(question(tmp_path, store="http://127.0.0.1:9"))
    assert report.exit_code is ExitCode.INTEGRITY
    assert report.first_bad is not None
    assert report.first_bad.sequence == 2


def test_a_checkpoint_needs_a_good_key_of_the_ledger(tmp_path: Path) -> None:
    notary = open_notary(str(tmp_path / "ledger.db"), None, lambda _: None)
    other = open_notary(str(tmp_path / "other.db"), None, lambda _: None)
    assert checkpoint_of(str(tmp_path / "ledger.db"), notary.signer).sequence == 0
    with pytest.raises(MissingError, match="no good key"):
        checkpoint_of(str(tmp_path / "ledger.db"), other.signer)
