"""A plan fits 80 columns, and says both questions, what is at hand, and where its numbers come from."""

import io

import pytest
from rich.console import Console

from rsa_ops.core.plan import PlanGoal, Variation
from rsa_ops.reporting.planning import plan_tables
from rsa_ops.stats import plan_comparison


def shown(goal: PlanGoal, variation: Variation) -> str:
    console = Console(width=80, file=io.StringIO(), force_terminal=False)
    plan_tables(console, plan_comparison(goal, variation))
    made = console.file.getvalue()  # type: ignore[attr-defined]
    assert max(len(line) for line in made.splitlines()) <= 80
    assert "…" not in made
    return " ".join(made.split())


@pytest.mark.parametrize(
    ("goal", "says"),
    [
        (
            {"margin": 0.02},
            ("arms truly equal", "Examples needed, by seeds", "Power, by seeds per arm and examples"),
        ),
        ({"margin": 0.02, "seeds": 3}, ("Smallest margin that 3 seeds and any number of examples can show",)),
        (
            {"margin": 0.02, "examples": 900},
            ("any number of seeds and 900 examples can show: ", "With the 900 at hand"),
        ),
        ({"margin": 0.02, "seeds": 4, "examples": 900}, ("Power of what is at hand, 4 seeds and 900 examples: ",)),
        ({"margin": 0.02, "guardrails": 2}, ("for all 3 rules, so 0.928 for each",)),
        ({"margin": 0.02, "looks": 2}, ("over 2 looks, 0.025 each",)),
        ({"margin": 0.02, "true_difference": -0.003}, ("true difference -0.003",)),
    ],
)
def test_what_was_asked_is_what_is_told(goal: dict[str, float], says: tuple[str, ...]) -> None:
    made = shown(PlanGoal.model_validate(goal), Variation(discordance=0.04, seed_sd=0.003))
    for words in (*says, "discordance 0.04, 100 % of it repeatable; seed SD 0.003", "Artifact question"):
        assert words in made


def test_what_no_number_decides_is_said_in_the_table() -> None:
    made = shown(PlanGoal(margin=0.0001), Variation(example_sd=0.2, seed_sd=0.02))
    assert "none decides" in made
    assert "Out of reach" in made
    assert "example SD 0.2" in made


def test_without_seeds_it_says_how_to_plan_for_them() -> None:
    made = shown(PlanGoal(margin=0.02), Variation(discordance=0.04))
    assert "Give --seed-sd or --pilot" in made
    assert "Method question" not in made


def test_a_pilots_two_seed_sds_stand_beside_each_other_with_one_set_of_tables() -> None:
    made = shown(PlanGoal(margin=0.02), Variation(discordance=0.04, seed_sd=0.003, seed_sd_high=0.005))
    assert "seed SD 0.003, at 80 % confidence up to 0.005" in made
    assert made.count("Method question") == 2
    assert made.count("Examples needed, by seeds") == 1
