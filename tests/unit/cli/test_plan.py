"""`rsa-ops plan`: what it answers, what it refuses, and the design that it writes for two tables."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from rsa_ops.core.comparison import Comparison
from rsa_ops.core.design import ComparisonDesign
from rsa_ops.core.plan import ComparisonPlan
from rsa_ops.errors import ExitCode

from ...shell import run_here

ASKED = ("--margin", "0.01", "--discordance", "0.04", "--seed-sd", "0.004")


def table(path: Path, seeds: int, n: int, rng: int, right: float = 0.9) -> Path:
    scores = np.random.default_rng(rng).random((seeds, n)) < right
    rows = [f"e{j},{s + 1},{int(scores[s, j])}" for s in range(seeds) for j in range(n)]
    path.write_text("example_id,seed,score\n" + "\n".join(rows) + "\n")
    return path


def test_the_table_answers_both_questions_in_eighty_columns(tmp_path: Path) -> None:
    done = run_here("plan", *ASKED, "--seeds", 3, "--examples", 800, cwd=tmp_path)
    assert done.returncode == ExitCode.DONE, done.stderr
    assert max(len(line) for line in done.stdout.splitlines()) <= 80
    words = " ".join(done.stdout.split())
    assert "No number of test examples decides with 3 seeds per arm" in words
    assert "add seeds and examples: 5 seeds per arm" in words
    assert "normal approximation: 2,474" in words


def test_json_is_the_record_alone(tmp_path: Path) -> None:
    done = run_here("plan", *ASKED, "--json", cwd=tmp_path)
    plan = ComparisonPlan.from_json(done.stdout, "stdout")
    assert done.stderr == ""
    assert plan.artifact.textbook_examples == 2474
    assert plan.method is not None


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--margin", "0", "--discordance", "2", "--power", "1"), "3 problems"),
        (("--margin", "nan", "--discordance", "0.04"), "--margin: Input should be a finite number"),
        (("--margin", "0.05", "--discordance", "0.01", "--true-difference", "0.02"), "does not fit"),
        (("--margin", "0.01"), "--pilot"),
        (("--discordance", "0.01"), "--margin"),
    ],
)
def test_numbers_that_cannot_be_right_are_a_usage_error(tmp_path: Path, words: tuple[str, ...], says: str) -> None:
    done = run_here("plan", *words, cwd=tmp_path)
    assert done.returncode == ExitCode.USAGE, done.stdout
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_relative_margin_is_a_share_of_the_reference(tmp_path: Path) -> None:
    words = ("--margin", "0.02", "--relative-to", "0.86", "--discordance", "0.06", "--json")
    plan = ComparisonPlan.from_json(run_here("plan", *words, cwd=tmp_path).stdout, "stdout")
    assert plan.goal.margin == pytest.approx(0.0172)


@pytest.fixture
def pilot(tmp_path: Path) -> Path:
    """`pilot.json`: a comparison of two tables of 3 seeds."""
    sides = (
        "--candidate",
        table(tmp_path / "a.csv", 3, 400, 1),
        "--baseline",
        table(tmp_path / "b.csv", 3, 400, 2),
    )
    done = run_here("compare", *sides, "--margin", "0.02", "--json", cwd=tmp_path)
    assert done.returncode == ExitCode.DONE, done.stderr
    (tmp_path / "pilot.json").write_text(done.stdout)
    return tmp_path / "pilot.json"


def test_a_pilot_is_planned_with_its_estimate_and_with_its_upper_bound(pilot: Path) -> None:
    done = run_here("plan", "--margin", "0.03", "--pilot", pilot.name, "--json", cwd=pilot.parent)
    plan = ComparisonPlan.from_json(done.stdout, "stdout")
    found = Comparison.from_json(pilot.read_text(), "pilot").contrasts[0].variation
    assert found is not None
    assert plan.variation.discordance == found.discordance
    assert plan.variation.seed_sd == found.seed_sd
    assert plan.cautious is not None
    assert plan.method is not None
    assert plan.cautious.seed_sd == found.seed_sd_high
    shown = run_here("plan", "--margin", "0.03", "--pilot", pilot.name, cwd=pilot.parent).stdout
    assert "its upper bound" in shown
    assert "3 seeds x 400 examples" in " ".join(shown.split())


def test_a_design_is_written_once_and_the_comparison_keeps_to_it(tmp_path: Path) -> None:
    words = ("--margin", "0.1", "--discordance", "0.2", "--seed-sd", "0.0", "--seeds", 3, "--write", "design.json")
    done = run_here("plan", *words, cwd=tmp_path)
    assert done.returncode == ExitCode.DONE, done.stderr
    design = ComparisonDesign.from_json((tmp_path / "design.json").read_text(), "design.json")
    assert design.digest() in done.stdout
    sides = [table(tmp_path / f"{name}.csv", 3, design.examples, rng).name for rng, name in enumerate("ab")]
    compare = ("compare", "--candidate", sides[0], "--baseline", sides[1], "--design", "design.json")
    kept = run_here(*compare, "--json", cwd=tmp_path)
    assert kept.returncode == ExitCode.DONE, kept.stderr
    assert json.loads(kept.stdout)["design_digest"] == design.digest()
    departed = run_here(*compare, "--margin", "0.2", cwd=tmp_path)
    assert departed.returncode == ExitCode.INTEGRITY
    assert "the margin is 0.2; the design says 0.1" in departed.stderr
