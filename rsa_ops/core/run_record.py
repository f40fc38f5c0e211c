"""What was fixed before anything was scored, and where the run is recorded."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rsa_ops.core.digest import Digest
from rsa_ops.core.record import Record


class RunRecord(Record):
    """`run.json`, written after validation and before training.

    `policy_digest`, `test_digest` and `design_digest` are thereby locked; `release_seed` names the seed whose
    adapter will be released. `store` and `run_id` say where MLflow has the run. Version 2 added `design_digest`.
    """

    schema_: Literal["rsa_ops/run/v2"] = Field(default="rsa_ops/run/v2", alias="schema")

    pipeline: str
    task: Literal["classification", "generation"]
    run_id: str
    store: str
    started_at: str
    release_seed: int
    policy_digest: Digest
    design_digest: Digest
    test_digest: Digest
    data_digest: Digest
    settings_note: str
    mlflow_hint: str
