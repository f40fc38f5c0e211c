"""One tiny walk of the generation pipeline, on three layers of the real language model and the real records."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from rsa_ops.errors import ExitCode
from rsa_ops.evaluation.scorers import SCORERS

from ..shell import run_cli
from .conftest import edited_copy

CHANGES = {
    "data.sample": {"train": 8, "validation": 4, "test": 6},
    "train.arms": {
        "rsa": {"method": "rsa", "learning_rate": 2e-3, "options": {"density": 0.02, "scoring_batches": 1}},
        "lora": {"method": "lora", "learning_rate": 2e-3, "options": {"r": 4}},
    },
    "train.seeds": [1, 2],
    "train.batch_size": 2,  # four steps; a single one would fall into the warm-up and change nothing
    "model.max_length": 96,
    "model.max_new_tokens": 12,
    "benchmark.robustness_examples": 2,
    "benchmark.latency_examples": 1,
}
POLICY = {
    "rules": [
        {"kind": "noninferiority", "metric": "chrf", "against": "lora", "margin": 0.9},
        {"kind": "noninferiority", "metric": "field_coverage", "against": "lora", "margin": 0.9},
    ]
}


@pytest.fixture(scope="module")
def walked(
    tmp_path_factory: pytest.TempPathFactory, thin_language_model: Path
) -> tuple[subprocess.CompletedProcess[str], Path]:
    home = tmp_path_factory.mktemp("report")
    changes = {**CHANGES, "model.base": str(thin_language_model)}
    edited_copy("incident-report", home / "pipeline", changes, POLICY)
    return run_cli("run", "pipeline", "--work", "work", "--json", cwd=home), home


@pytest.mark.timeout(600)
def test_the_walk_ends_with_a_verdict_and_a_registered_adapter(
    walked: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    done, _ = walked
    assert done.returncode == ExitCode.DONE, done.stderr
    assert json.loads(done.stdout)["outcome"] == "promote"
    assert "is now the champion" in done.stderr


def test_every_scorer_has_one_row_per_example(walked: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    _, home = walked
    files = sorted((home / "work" / "cells" / "benchmark").glob("*/predictions.parquet"))
    assert len(files) == 4
    rows = pd.read_parquet(files[0])
    clean = rows[rows["condition"] == "clean"]
    assert clean["example_id"].is_unique
    assert len(clean) == 6
    for name in SCORERS:
        assert clean[f"score_{name}"].between(0, 1).all(), name


def test_the_comparison_speaks_of_generation_metrics(
    walked: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    _, home = walked
    found = json.loads((home / "work" / "results" / "comparison.json").read_text())
    assert found["primary_metric"] == "chrf"
    assert set(found["arms"][0]["metrics"]) == set(SCORERS)


def test_every_arm_is_held_against_the_untrained_base_and_has_its_forgetting(
    walked: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    _, home = walked
    results = home / "work" / "results"
    base = json.loads((results / "base.json").read_text())
    assert base["examples"] == 6
    assert set(base["metrics"]) == set(SCORERS)
    found = json.loads((results / "comparison.json").read_text())
    assert sorted((drop["arm"], drop["reference"]) for drop in found["drops"]) == sorted(
        (arm, reference) for reference in ("full", "base model") for arm in ("rsa", "lora")
    )
    assert all(drop["reason"] for drop in found["drops"])  # no full arm here, and six examples judge no slice
    for arm in found["arms"]:
        for entry in arm["forgetting"]:
            assert entry["kind"] == "loss_per_token"
            assert entry["value"] == pytest.approx(entry["trained"] - entry["base"])
            assert abs(entry["value"]) < 1
