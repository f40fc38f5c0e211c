"""What older versions wrote: a policy keeps its digest, or verdicts of finished runs could not be checked again."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from rsa_ops.config import load_config
from rsa_ops.core.comparison import Comparison
from rsa_ops.core.record import Record
from rsa_ops.core.run_record import RunRecord
from rsa_ops.errors import IntegrityError
from rsa_ops.evaluation.matrix import read_scores, score_matrix
from rsa_ops.gates import Policy

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


@pytest.mark.parametrize(
    ("kind", "old"),
    [(Comparison, "rsa_ops/comparison/v2"), (Comparison, "rsa_ops/comparison/v1"), (RunRecord, "rsa_ops/run/v1")],
)
def test_a_record_of_an_older_version_is_refused_with_what_to_do(kind: type[Record], old: str) -> None:
    with pytest.raises(IntegrityError) as caught:
        kind.from_json(f'{{"schema": "{old}"}}', "old.json")
    assert kind.schema_name() in caught.value.message
    assert "Make it again" in caught.value.hint
