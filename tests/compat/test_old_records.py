"""What older versions wrote: a policy keeps its digest, or verdicts of finished runs could not be checked again."""

from __future__ import annotations

import pytest

from rsa_ops.config import load_config
from rsa_ops.core.comparison import Comparison
from rsa_ops.core.record import Record
from rsa_ops.core.run_record import RunRecord
from rsa_ops.errors import IntegrityError
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


@pytest.mark.parametrize(
    ("kind", "old"),
    [(Comparison, "rsa_ops/comparison/v2"), (Comparison, "rsa_ops/comparison/v1"), (RunRecord, "rsa_ops/run/v1")],
)
def test_a_record_of_an_older_version_is_refused_with_what_to_do(kind: type[Record], old: str) -> None:
    with pytest.raises(IntegrityError) as caught:
        kind.from_json(f'{{"schema": "{old}"}}', "old.json")
    assert kind.schema_name() in caught.value.message
    assert "Make it again" in caught.value.hint
