"""Each stage as a command of its own, on the files of the one before, with `--json`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rsa_ops.core.benchmark import CellScores
from rsa_ops.core.comparison import Comparison
from rsa_ops.core.costs import Tco
from rsa_ops.core.estimate import Answer
from rsa_ops.core.measurements import Measurements
from rsa_ops.core.record import Record
from rsa_ops.core.validation import Validation
from rsa_ops.errors import ExitCode

from ..shell import run_cli, run_here
from .conftest import edited_copy

CHANGES = {
    "data.checks": {"class_floor": {"min_rows": 1}},
    "data.sample": {"train": 32, "validation": 16, "test": 40},
    "train.arms": {
        "rsa": {"method": "rsa", "learning_rate": 1e-3, "options": {"r": 2}},
        "lora": {"method": "lora", "learning_rate": 1e-3, "options": {"r": 2}},
        "ia3": {
            "method": "peft",
            "peft_type": "IA3",
            "learning_rate": 1e-2,
            "options": {"target_modules": ["query", "value"], "feedforward_modules": []},
        },
        "shira": {"method": "shira", "learning_rate": 1e-3, "options": {"r": 2}},
        "full": {"method": "full", "learning_rate": 1e-4},
    },
    "model.max_length": 24,
    "benchmark.robustness_examples": 4,
    "benchmark.latency_examples": 1,
}
ARMS = ("rsa", "lora", "ia3", "shira", "full")


def asked(kind: type[Record], cwd: Path, *words: object) -> Record:
    done = run_here(*words, "--json", cwd=cwd)
    assert done.returncode == ExitCode.DONE, done.stderr
    return kind.from_json(done.stdout, " ".join(map(str, words)))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alone")
    edited_copy("incident-triage", folder / "pipeline", CHANGES)
    found = asked(Validation, folder, "validate", "pipeline", "-o", "data")
    assert isinstance(found, Validation)
    assert [split.rows for split in found.splits] == [32, 16, 40]
    assert (folder / "data" / "data_docs" / "index.html").is_file()
    return folder


@pytest.fixture(scope="module")
def scored(home: Path) -> Path:
    for arm in ARMS:
        measured = asked(Measurements, home, "train", "pipeline", "--arm", arm, "--data", "data", "-o", f"t/{arm}")
        assert isinstance(measured, Measurements)
        assert measured.wall_seconds > 0
        assert measured.artifact_bytes > 0
        assert (measured.trainable_share == 1) == (arm == "full")
        model = f"t/{arm}/artifact"
        scores = asked(
            CellScores, home, "benchmark", "pipeline", "--model", model, "--data", "data", "-o", f"b/{arm}"
        )
        assert isinstance(scores, CellScores)
        assert scores.examples == 40
        assert scores.changed_against_base > 0
        assert set(scores.robustness) == {"typos", "case", "whitespace"}
    return home


def test_every_kind_of_arm_is_trained_and_scored(scored: Path) -> None:
    assert sorted(folder.name for folder in (scored / "b").iterdir()) == sorted(ARMS)


def test_two_artifacts_are_compared_by_their_predictions(scored: Path) -> None:
    sides = ("--candidate", "b/rsa/predictions.parquet", "--baseline", "b/full/predictions.parquet")
    found = asked(Comparison, scored, "compare", *sides, "--margin", "0.9")
    assert isinstance(found, Comparison)
    assert found.examples == 40
    assert found.contrasts[0].result.answer in (Answer.NON_INFERIOR, Answer.SUPERIOR)


def test_trainings_are_priced_and_the_lines_add_up(scored: Path) -> None:
    files = [f"t/{arm}/measurements.json" for arm in ARMS]
    found = asked(Tco, scored, "cost", *files)
    assert isinstance(found, Tco)
    for arm in found.arms:
        total = sum(item.amount.amount for item in found.items if item.arm == arm.arm)
        assert total == arm.total.amount


def test_tables_are_the_default_and_fit_eighty_columns(scored: Path) -> None:
    files = [f"t/{arm}/measurements.json" for arm in ARMS]
    done = run_cli("cost", *files, cwd=scored)
    assert done.returncode == ExitCode.DONE
    assert max(len(line) for line in done.stdout.splitlines()) <= 80
    with pytest.raises(json.JSONDecodeError):
        json.loads(done.stdout)


def test_a_report_needs_the_records_of_a_run(scored: Path) -> None:
    done = run_cli("report", "b/rsa", cwd=scored)
    assert done.returncode == ExitCode.MISSING
    assert "run.json" in done.stderr
