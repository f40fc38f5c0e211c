"""What a plan is asked with: every wrong number at once, pilots with corrections, designs for two tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rsa_ops.core.comparison import Comparison
from rsa_ops.core.design import ComparisonDesign, DesignMargin
from rsa_ops.core.plan import ComparisonPlan
from rsa_ops.errors import ConfigError, IntegrityError, MissingError, UsageError
from rsa_ops.files import read_record, write_record
from rsa_ops.stages.plan import Pilot, plan_alone, write_skeleton
from rsa_ops.stages.single import compare_alone

USUAL = {"discordance": 0.04, "seed_sd": 0.003}


def planned(variation: dict[str, float] | None = None, **goal: float) -> ComparisonPlan:
    return plan_alone({"margin": 0.02, **goal}, USUAL if variation is None else variation, None)


def table(path: Path, seeds: int, n: int, rng: int) -> Path:
    scores = np.random.default_rng(rng).random((seeds, n)) < 0.9
    rows = [f"e{j},{s + 1},{int(scores[s, j])}" for s in range(seeds) for j in range(n)]
    path.write_text("example_id,seed,score\n" + "\n".join(rows) + "\n")
    return path


@pytest.mark.parametrize(
    ("goal", "variation", "says"),
    [
        ({"margin": 0.0}, USUAL, "--margin: Input should be greater than 0; found 0.0 (the loss that one is ready"),
        ({"margin": -0.01}, USUAL, "--margin"),
        ({"margin": float("inf")}, USUAL, "--margin: Input should be a finite number"),
        ({"power": 1.0}, USUAL, "--power: Input should be less than 1"),
        ({"power": 0.04}, USUAL, "power 0.04 must be above alpha 0.05"),
        ({"alpha": 0.5}, USUAL, "--alpha"),
        ({"true_difference": -0.02}, USUAL, "a loss of the whole margin 0.02 or more"),
        ({"seeds": 1}, USUAL, "--seeds"),
        ({"guardrails": -1}, USUAL, "--guardrails"),
        ({}, {"discordance": 0.0}, "--discordance: Input should be greater than 0"),
        ({}, {"discordance": 1.4}, "above 0, at most 1"),
        ({}, {"discordance": 0.04, "seed_sd": -1.0}, "--seed-sd"),
        ({}, {"discordance": 0.04, "repeatable": 1.1}, "--repeatable"),
        ({}, {"discordance": 0.04, "example_sd": 0.2}, "give exactly one of discordance"),
    ],
)
def test_a_number_that_cannot_be_right_is_named_as_its_option(
    goal: dict[str, float], variation: dict[str, float], says: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        planned(variation, **goal)
    assert says in caught.value.message


def test_every_wrong_number_is_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        planned({"discordance": 2.0}, margin=0.0, power=1.0)
    assert len(caught.value.problems) == 3


def test_without_any_variation_it_says_what_to_give() -> None:
    with pytest.raises(UsageError) as caught:
        planned({})
    assert "--pilot" in caught.value.hint


@pytest.fixture
def pilot(tmp_path: Path) -> Path:
    """A comparison of two tables of 3 seeds."""
    sides = table(tmp_path / "a.csv", 3, 300, 1), table(tmp_path / "b.csv", 3, 300, 2)
    write_record(tmp_path / "pilot.json", compare_alone(*sides, margin=0.02, alpha=None))
    return tmp_path / "pilot.json"


def test_a_pilot_is_planned_with_its_estimate_and_its_upper_bound(pilot: Path) -> None:
    plan = plan_alone({"margin": 0.05}, {}, Pilot(pilot))
    found = read_record(Comparison, pilot).contrasts[0].variation
    assert found is not None
    assert plan.variation == found.model_copy(update={"source": plan.variation.source})
    assert plan.cautious is not None
    assert plan.cautious.seed_sd == found.seed_sd_high


def test_what_is_given_beside_a_pilot_replaces_what_it_measured(pilot: Path) -> None:
    steady = plan_alone({"margin": 0.05}, {"seed_sd": 0.002}, Pilot(pilot))
    assert (steady.variation.seed_sd, steady.variation.seed_sd_high, steady.cautious) == (0.002, None, None)
    assert steady.variation.source.endswith("; seed_sd as given")
    other = plan_alone({"margin": 0.05}, {"example_sd": 0.2}, Pilot(pilot))
    assert (other.variation.discordance, other.variation.example_sd) == (None, 0.2)


def test_a_pilot_that_is_no_comparison_of_this_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text('{"schema": "rsa_ops/comparison/v2"}')
    with pytest.raises(IntegrityError, match="comparison/v3"):
        plan_alone({"margin": 0.02}, {}, Pilot(tmp_path / "old.json"))
    with pytest.raises(MissingError):
        plan_alone({"margin": 0.02}, {}, Pilot(tmp_path / "none.json"))


def test_a_design_is_written_once_from_the_cautious_plan(pilot: Path, tmp_path: Path) -> None:
    plan = plan_alone({"margin": 0.05}, {}, Pilot(pilot))
    design = write_skeleton(plan, tmp_path / "design.json")
    assert plan.cautious is not None
    assert (len(design.seeds), design.examples) == (plan.cautious.seeds, plan.cautious.examples)
    assert read_record(ComparisonDesign, tmp_path / "design.json") == design
    with pytest.raises(UsageError, match="there already"):
        write_skeleton(plan, tmp_path / "design.json")


def test_the_design_of_an_artifact_question_has_one_seed(tmp_path: Path) -> None:
    design = write_skeleton(planned({"discordance": 0.04}, looks=2), tmp_path / "design.json")
    assert (design.seeds, design.alpha, design.looks) == ((1,), 0.025, 2)


def test_nothing_is_written_for_what_is_out_of_reach(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="out of reach"):
        write_skeleton(planned({"discordance": 0.04, "seed_sd": 0.05}, margin=0.0001), tmp_path / "design.json")
    assert not (tmp_path / "design.json").exists()


def test_tables_are_compared_by_their_design_or_not_at_all(tmp_path: Path) -> None:
    design = write_skeleton(planned({"discordance": 0.2, "seed_sd": 0.0}, margin=0.1, seeds=3), tmp_path / "d.json")

    def compared(n: int, seeds: int = 3, margin: float | None = None, alpha: float | None = None) -> Comparison:
        sides = (table(tmp_path / f"{name}.csv", seeds, n, rng) for rng, name in enumerate("ab"))
        return compare_alone(*sides, margin=margin, alpha=alpha, design=tmp_path / "d.json")

    kept = compared(design.examples)
    assert kept.design_digest == design.digest()
    assert (kept.contrasts[0].result.margin, kept.contrasts[0].result.alpha) == (0.1, 0.05)
    for changes in ({"n": design.examples - 1}, {"seeds": 2}, {"margin": 0.2}, {"alpha": 0.1}):
        with pytest.raises(IntegrityError, match="the design says"):
            compared(**{"n": design.examples, **changes})


def test_a_design_of_several_questions_is_not_for_two_tables(tmp_path: Path) -> None:
    design = write_skeleton(planned(), tmp_path / "d.json")
    more = (*design.margins, DesignMargin(metric="chrf", against="baseline", margin=0.1))
    write_record(tmp_path / "two.json", design.model_copy(update={"margins": more}))
    sides = table(tmp_path / "a.csv", 3, 50, 1), table(tmp_path / "b.csv", 3, 50, 2)
    with pytest.raises(UsageError, match="asks 2 questions"):
        compare_alone(*sides, margin=None, alpha=None, design=tmp_path / "two.json")
    with pytest.raises(UsageError, match="no margin"):
        compare_alone(*sides, margin=None, alpha=None)
