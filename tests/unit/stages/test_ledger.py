"""Where the ledger of a run is found, and what happens where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from rsa_ops.core.digest import digest_bytes
from rsa_ops.core.verdict import Outcome, Verdict
from rsa_ops.errors import IntegrityError, MissingError, UsageError
from rsa_ops.gates.policy import FloorRule, Policy
from rsa_ops.governance.keys import make_key
from rsa_ops.governance.notary import open_notary
from rsa_ops.governance.store import utc_now
from rsa_ops.governance.verify import verify_rows
from rsa_ops.stages.ledger import (
    LedgerChoice,
    beside,
    find_lock,
    found_notary,
    full_key,
    lock_policy,
    require_lock,
    run_notary,
    seal_verdict,
)

TEST, DESIGN = digest_bytes(b"test"), digest_bytes(b"design")
POLICY = Policy(
    schema="rsa_ops/policy/v1",
    name="triage-v1",
    candidate="rsa",
    rules=(FloorRule(kind="floor", metric="accuracy", at_least=0.8),),
)


def verdict(outcome: Outcome) -> Verdict:
    return Verdict(
        outcome=outcome,
        sentence="so it is",
        candidate="rsa",
        baselines=("full",),
        rulings=(),
        policy=POLICY.name,
        policy_digest=POLICY.digest(),
        test_digest=TEST,
        candidate_digest=digest_bytes(b"candidate"),
        champion_digest=None,
    )


def test_a_ledger_lies_beside_a_local_store_and_else_in_the_working_folder(tmp_path: Path) -> None:
    local = f"sqlite:///{tmp_path / 'mlflow' / 'mlflow.db'}"
    assert beside(local) == str(tmp_path / "mlflow" / "ledger.db")
    assert beside("http://127.0.0.1:5000") is None
    run_notary(LedgerChoice(), local, tmp_path / "work", lambda _: None)
    assert (tmp_path / "mlflow" / "ledger.db").is_file()
    run_notary(LedgerChoice(), "http://127.0.0.1:5000", tmp_path / "work", lambda _: None)
    assert (tmp_path / "work" / "ledger.db").is_file()
    run_notary(LedgerChoice(str(tmp_path / "named.db")), local, tmp_path / "work", lambda _: None)
    assert (tmp_path / "named.db").is_file()


def test_the_gate_alone_makes_no_ledger_that_nobody_asked_for_and_says_so(tmp_path: Path) -> None:
    told: list[str] = []
    assert found_notary(LedgerChoice(), f"sqlite:///{tmp_path / 'mlflow.db'}", told.append) is None
    assert found_notary(LedgerChoice(), "http://127.0.0.1:5000", told.append) is None
    assert all("in no ledger" in line for line in told)
    assert list(tmp_path.iterdir()) == []


def test_the_gate_alone_without_the_runs_key_says_that_its_verdict_is_not_written(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    run_notary(LedgerChoice(), store, tmp_path, lambda _: None).ledger.close()
    told: list[str] = []
    assert found_notary(LedgerChoice(), store, told.append) is not None
    (tmp_path / "ledger.key").unlink()
    assert found_notary(LedgerChoice(), store, told.append) is None
    assert "not written to the ledger" in told[-1]


def test_a_ledger_or_key_that_was_named_must_be_usable(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    run_notary(LedgerChoice(), store, tmp_path, lambda _: None).ledger.close()
    with pytest.raises(MissingError):
        found_notary(LedgerChoice(None, tmp_path / "no.pem"), store, lambda _: None)
    (tmp_path / "ledger.key").unlink()
    with pytest.raises(MissingError):
        found_notary(LedgerChoice(str(tmp_path / "ledger.db")), store, lambda _: None)


@pytest.mark.parametrize("outcome", Outcome)
def test_a_lock_and_its_verdict_verify_whatever_the_outcome(tmp_path: Path, outcome: Outcome) -> None:
    notary = open_notary(str(tmp_path / "ledger.db"), None, lambda _: None)
    lock = lock_policy(notary, "triage", "run1", POLICY, TEST, DESIGN)
    sealed = seal_verdict(notary, "triage", "run1", require_lock(notary, "run1"), verdict(outcome), DESIGN)
    assert sealed.entry.payload["lock"] == lock.hash
    assert sealed.entry.payload["design_digest"] == lock.entry.payload["design_digest"] == DESIGN
    assert sealed.entry.payload["outcome"] == outcome.value
    assert verify_rows(notary.ledger.rows(), now=utc_now()).first_bad is None


def test_the_first_lock_of_a_run_is_the_one_that_counts(tmp_path: Path) -> None:
    notary = open_notary(str(tmp_path / "ledger.db"), None, lambda _: None)
    first = lock_policy(notary, "triage", "run1", POLICY, TEST, DESIGN)
    easier = POLICY.model_copy(update={"name": "easier"})
    lock_policy(notary, "triage", "run1", easier, TEST, DESIGN)
    assert find_lock(notary, "run1") == first
    with pytest.raises(IntegrityError, match="never locked"):
        require_lock(notary, "run2")


def test_a_key_is_named_by_enough_of_its_digits(tmp_path: Path) -> None:
    notary = open_notary(str(tmp_path / "ledger.db"), None, lambda _: None)
    key = notary.signer.public.key
    assert full_key(notary, key) == full_key(notary, key.removeprefix("sha256:")[:8]) == key
    with pytest.raises(MissingError):
        full_key(notary, make_key(tmp_path / "other").public.key)
    with pytest.raises(UsageError):
        full_key(notary, "")
