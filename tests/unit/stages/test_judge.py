"""The gate on its own reads a store; it makes nothing in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from rsa_ops.core.design import ComparisonDesign
from rsa_ops.errors import MissingError
from rsa_ops.files import write_record
from rsa_ops.stages.judge import gate_alone
from rsa_ops.stages.ledger import LedgerChoice
from rsa_ops.tracking.runs import end_run, log_files, start_run
from rsa_ops.tracking.store import Store, open_store

from ...worlds import write_results

POLICY = """\
schema: rsa_ops/policy/v1
name: triage-v1
candidate: rsa
rules:
  - {kind: noninferiority, metric: accuracy, against: full, margin: 0.03}
"""


def logged(store: Store, folder: Path) -> str:
    """A finished run of another experiment than the command's own name, with the records that the gate reads."""
    run = start_run(store, "triage", {"pipeline": "triage"})
    design = ComparisonDesign(
        candidate="rsa",
        primary_metric="accuracy",
        alpha=0.05,
        looks=None,
        margins=(),
        seeds=(1, 2),
        examples=600,
        slices=(),
        test_digest=None,
        policy_digest=None,
    )
    write_record(folder / "design.json", design)
    log_files(store, run, write_results(folder, "triage", store.uri, run))
    end_run(store, run)
    return run


def experiments(store: Store) -> list[str]:
    return [found.name for found in store.client.search_experiments()]


def judge(store: Store, candidate: str, folder: Path, champion: str | None = None, uri: str | None = None) -> str:
    (folder / "policy.yaml").write_text(POLICY)
    judged = gate_alone(
        candidate, folder / "policy.yaml", champion, uri or store.uri, LedgerChoice(), lambda _: None
    )
    return judged.verdict.outcome.value


def test_judging_leaves_the_experiments_of_a_store_as_they_are(store: Store, tmp_path: Path) -> None:
    run = logged(store, tmp_path / "results")
    before = experiments(store)
    assert "rsa-ops" not in before
    assert judge(store, run, tmp_path) == "error"  # the policy is not the one that run.json names
    with pytest.raises(MissingError, match="no version of triage"):
        judge(store, run, tmp_path, "champion")
    assert experiments(store) == before


def test_a_store_without_the_runs_experiment_is_told_and_left_alone(
    store: Store, tmp_path: Path, migrated_database: Path
) -> None:
    logged(store, tmp_path / "results")
    (tmp_path / "other.db").write_bytes(migrated_database.read_bytes())
    other = open_store(f"sqlite:///{tmp_path / 'other.db'}", "first", tmp_path / "artifacts")
    before = experiments(other)
    with pytest.raises(MissingError, match="has no experiment 'triage'"):
        judge(store, str(tmp_path / "results"), tmp_path, "champion", other.uri)
    assert experiments(other) == before
    with pytest.raises(MissingError, match="no MLflow store"):
        judge(store, str(tmp_path / "results"), tmp_path, "champion", f"sqlite:///{tmp_path / 'none.db'}")
    assert not (tmp_path / "none.db").exists()
