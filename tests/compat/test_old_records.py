"""What older versions wrote: a policy keeps its digest, or verdicts of finished runs could not be checked again."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from rsa_ops.config import load_config
from rsa_ops.core.comparison import Comparison
from rsa_ops.core.measurements import Measurements
from rsa_ops.core.record import Record
from rsa_ops.core.run_record import RunRecord
from rsa_ops.errors import IntegrityError
from rsa_ops.evaluation.matrix import read_scores, score_matrix
from rsa_ops.gates import Policy
from rsa_ops.governance.payloads import PolicyLock, VerdictGiven
from rsa_ops.stats import ArmCounts, BernoulliEProcess, EProcess

POLICY_V1 = """
schema: rsa_ops/policy/v1
name: incident-triage-v1
candidate: rsa
alpha: 0.05
rules:
  - {kind: noninferiority, metric: accuracy, against: full, margin: 0.03}
  - {kind: slices, metric: accuracy, against: full, margin: 0.10}
  - {kind: champion, metric: accuracy, margin: 0.03}
  - {kind: measured, quantity: artifact_bytes_ratio, against: full, at_most: 0.2}
  - {kind: cost, against: full, at_most: 1.0}
"""

BERNOULLI = (
    '"rsa_ops/bernoulli-e-process/v1","margin":0.01,"allocation":0.5,"baseline_rate":0.05,"design_difference":0.05'
)


def test_a_policy_of_version_1_has_the_digest_that_its_runs_were_locked_with() -> None:
    # Taken from rsa_ops before `looks` and relative margins were added (commit c8728be).
    policy = load_config(Policy, POLICY_V1, "policy.yaml")
    assert policy.digest() == "sha256:f954401cebe3e7b1dc6da08fd16674dfeeae671d4a2042758b2fbe9796c8e036"


def test_predictions_of_version_1_hold_no_groups_so_every_example_is_a_draw_of_its_own(tmp_path: Path) -> None:
    # The columns that the benchmark stage wrote before version 2 (commit dc415a6).
    columns = ("example_id", "arm", "seed", "condition", "label", "prediction", "score", "confidence", "latency_ms")
    rows = [(f"e{n}", "rsa", 1, "clean", "a", "a", 1.0, 0.9, None) for n in range(3)]
    pd.DataFrame(rows, columns=list(columns)).to_parquet(tmp_path / "predictions.parquet")
    found = score_matrix(read_scores(tmp_path / "predictions.parquet"), "score", "rsa")
    assert (found.examples, found.groups) == (("e0", "e1", "e2"), None)


def test_a_lock_and_a_verdict_of_a_ledger_from_before_designs_are_read_as_without_one() -> None:
    # The payloads as commit b312aec wrote them.
    digest = "sha256:" + "a" * 64
    lock = {"pipeline": "triage", "policy": "strict", "policy_digest": digest, "test_digest": digest}
    verdict = {
        "pipeline": "triage",
        "lock": digest,
        "policy_digest": digest,
        "test_digest": digest,
        "verdict_digest": digest,
        "outcome": "promote",
        "candidate_digest": digest,
        "champion_digest": None,
    }
    assert PolicyLock.model_validate_json(json.dumps(lock)).design_digest is None
    assert VerdictGiven.model_validate_json(json.dumps(verdict)).design_digest is None


@pytest.mark.parametrize(
    ("saved", "harm"),
    [
        ('"rsa_ops/e-process/v1","ratio_margin":1.25,"allocation":0.5,"design_ratio":2.0', 0.21906824961330296),
        (BERNOULLI, 0.031376321985775224),
    ],
    ids=["e-process", "bernoulli"],
)
def test_the_state_of_a_rollout_that_was_saved_goes_on(saved: str, harm: float) -> None:
    # As commit 9cd9969 saved them, with the evidence that it read from them.
    kind: type[EProcess | BernoulliEProcess] = EProcess if "/e-process/" in saved else BernoulliEProcess
    seen = '{"challenger":{"exposures":100,"bad":3},"baseline":{"exposures":100,"bad":1}}'
    saved = f'{{"schema":{saved},"seen":{seen}}}'
    state = kind.from_json(saved, "state.json")
    assert state.model_dump_json() == saved
    assert state.log_e_harm == pytest.approx(harm, rel=1e-12)
    more = state.update(ArmCounts(exposures=50, bad=2), ArmCounts(exposures=50, bad=0))
    assert (more.seen.challenger.bad, more.seen.baseline.exposures) == (5, 150)


@pytest.mark.parametrize(
    ("kind", "old"),
    [(Comparison, "rsa_ops/comparison/v2"), (Comparison, "rsa_ops/comparison/v1"), (RunRecord, "rsa_ops/run/v1")],
)
def test_a_record_of_an_older_version_is_refused_with_what_to_do(kind: type[Record], old: str) -> None:
    with pytest.raises(IntegrityError) as caught:
        kind.from_json(f'{{"schema": "{old}"}}', "old.json")
    assert kind.schema_name() in caught.value.message
    assert "Make it again" in caught.value.hint


def test_measurements_from_before_tries_and_uncertainty_were_kept_are_read() -> None:
    # A measurements.json of commit 8895e6c, with its artifact and data digests shortened to zeros.
    zeros = "sha256:" + "0" * 64
    old = {
        "schema": "rsa_ops/measurements/v1",
        "cell": {"arm": "rsa", "seed": 1},
        "method": "rsa",
        "base_model": "asset:minilm-l6",
        "base_digest": zeros,
        "artifact_digest": zeros,
        "data_digest": zeros,
        "device": "CPU, 1 thread",
        "workers": 2,
        "threads": 1,
        "wall_seconds": 41.1,
        "cpu_seconds": 40.9,
        "selection_seconds": 1.0,
        "peak_host_memory_bytes": 781_000_000,
        "peak_device_memory_bytes": None,
        "energy": {"energy_kwh": 9.1e-05, "source": "estimate from processor power", "note": "assumed"},
        "trainable_parameters": 341_000,
        "total_parameters": 22_700_000,
        "artifact_bytes": 1_370_000,
        "tokens": 200_000,
        "examples": 2400,
        "steps": 300,
        "epochs": 1.0,
        "learning_rate": 0.003,
        "effort": "none",
        "final_loss": 0.9,
        "attempts": 1,
    }
    found = Measurements.from_json(json.dumps(old), "measurements.json")
    assert (found.attempts, found.failed_seconds) == (1, None)
    assert found.energy.relative_uncertainty is None
