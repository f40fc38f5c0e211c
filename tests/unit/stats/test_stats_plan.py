"""Laws of plans. Tables: research/ab_tco.md section 1.5 (one-sided alpha 0.05, power 0.8, no true difference)."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import stats as scipy_stats

from rsa_ops.core.plan import ComparisonPlan, PlanAnswer, PlanGoal, Variation
from rsa_ops.errors import UsageError
from rsa_ops.stats import plan_comparison
from rsa_ops.stats.plan import MethodQuestion

USUAL = Variation(discordance=0.04, seed_sd=0.004)


GROUPED = {"discordance": 0.08, "group_size": 10.0, "icc": 0.3}


def method(goal: PlanGoal, variation: Variation = USUAL):
    found = plan_comparison(goal, variation).method
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("discordance", "margin", "examples"),
    [
        (0.02, 0.005, 4947),
        (0.02, 0.01, 1237),
        (0.02, 0.02, 310),
        (0.04, 0.005, 9893),
        (0.04, 0.01, 2474),
        (0.04, 0.02, 619),
        (0.08, 0.005, 19785),
        (0.08, 0.01, 4947),
        (0.08, 0.02, 1237),
    ],
)
def test_the_textbook_table_is_reproduced_and_the_test_itself_needs_a_little_more(
    discordance: float, margin: float, examples: int
) -> None:
    plan = plan_comparison(PlanGoal(margin=margin), Variation(discordance=discordance)).artifact
    assert plan.textbook_examples == examples
    assert examples < plan.examples < examples + 130
    assert 0.8 <= plan.power < 0.82


@pytest.mark.parametrize(
    ("seeds", "percent", "more"),
    [(3, (0.75, 1.00, 2.01), 1.08), (5, (0.52, 0.70, 1.39), 1.015), (10, (0.35, 0.46, 0.93), 1.005)],
)
def test_the_margin_that_endless_examples_show_is_the_textbooks_but_for_few_seeds(
    seeds: int, percent: tuple[float, ...], more: float
) -> None:
    quantiles = scipy_stats.t.ppf(0.95, 2 * seeds - 2) + scipy_stats.t.ppf(0.8, 2 * seeds - 2)
    for seed_sd, told in zip((0.003, 0.004, 0.008), percent, strict=True):
        textbook = quantiles * math.sqrt(2 / seeds) * seed_sd
        assert round(100 * textbook, 2) == told
        ours = method(PlanGoal(margin=0.01, seeds=seeds), Variation(discordance=0.04, seed_sd=seed_sd))
        # Satterthwaite's degrees of freedom are random and below 2 S - 2; benchmarks/stats_plan.py simulates both.
        assert 0.995 * textbook <= (ours.smallest_margin or 0) <= more * textbook


def test_seeds_that_cannot_decide_are_told_so_and_how_many_can() -> None:
    # Table: 3 seeds at seed SD 0.4 pp show 1.00 pp at best, so 1 pp is out of their reach.
    found = method(PlanGoal(margin=0.01, seeds=3))
    assert found.answer is PlanAnswer.ADD_SEEDS
    assert found.examples_alone is None
    assert found.seeds is not None
    assert found.seeds > 3
    assert found.reason.startswith("no number of test examples decides with 3 seeds per arm; add seeds: ")


def test_examples_that_cannot_decide_are_told_so() -> None:
    found = method(PlanGoal(margin=0.01, seeds=10, examples=800))
    assert (found.answer, found.seeds, found.seeds_alone) == (PlanAnswer.ADD_EXAMPLES, 10, None)
    assert found.examples == found.examples_alone
    assert "not even 100 seeds per arm decide with 800 test examples" in found.reason
    alone = method(PlanGoal(margin=0.01, examples=800))
    assert alone.answer is PlanAnswer.ADD_EXAMPLES


def test_where_neither_alone_would_do_both_are_added() -> None:
    found = method(PlanGoal(margin=0.01, seeds=3, examples=800))
    assert found.answer is PlanAnswer.ADD_BOTH
    assert found.seeds is not None
    assert found.examples is not None
    assert found.seeds > 3
    assert found.examples > 800
    assert found.power_at_hand == MethodQuestion.of(PlanGoal(margin=0.01), USUAL, 0.004).power(3, 800)
    assert (found.power_at_hand or 1) < 0.4
    assert (found.power or 0) >= 0.8


def test_enough_is_enough() -> None:
    found = method(PlanGoal(margin=0.01, seeds=10, examples=8000))
    assert (found.answer, found.seeds, found.examples) == (PlanAnswer.ENOUGH, 10, 8000)
    assert found.power == found.power_at_hand
    assert (found.power or 0) > 0.8


def test_of_two_ways_the_one_with_fewer_scored_predictions_is_proposed() -> None:
    found = method(PlanGoal(margin=0.01, seeds=5, examples=3000))
    assert found.seeds_alone is not None
    assert found.examples_alone is not None
    by_examples = found.answer is PlanAnswer.ADD_EXAMPLES
    assert by_examples == (5 * found.examples_alone < found.seeds_alone * 3000)


def test_what_no_seeds_and_examples_show_is_out_of_reach() -> None:
    found = method(PlanGoal(margin=0.0001), Variation(discordance=0.04, seed_sd=0.02))
    assert (found.answer, found.seeds, found.examples, found.power) == (PlanAnswer.OUT_OF_REACH, None, None, None)
    assert "wider margin" in found.reason


@settings(max_examples=15, deadline=None)
@given(st.floats(0.01, 0.04), st.floats(0.02, 0.1), st.floats(0, 0.006), st.floats(0, 1), st.integers(4, 12))
def test_the_examples_needed_are_the_fewest_that_do(
    margin: float, discordance: float, seed_sd: float, repeatable: float, seeds: int
) -> None:
    variation = Variation(discordance=discordance, seed_sd=seed_sd, repeatable=repeatable)
    question = MethodQuestion.of(PlanGoal(margin=margin), variation, seed_sd)
    found = question.examples(seeds)
    if found is None:
        assert not question.does(seeds, 10**9)
    else:
        assert question.does(seeds, found)
        assert found < 300 or not question.does(seeds, found - 1)  # below, a slice of its size must be assessable


@pytest.mark.parametrize(("seeds", "examples"), [(3, None), (None, 3000), (5, 2000)])
def test_the_smallest_margin_has_just_the_power_that_was_asked_for(seeds: int | None, examples: int | None) -> None:
    goal = PlanGoal(margin=0.01, seeds=seeds, examples=examples)
    margin = method(goal).smallest_margin
    assert margin is not None
    question = MethodQuestion.of(goal, USUAL, 0.004)
    assert question.power(seeds or 10**9, examples or 10**9, margin) == pytest.approx(0.8, abs=0.002)


def test_guardrails_raise_the_power_of_each_rule() -> None:
    # research/ab_tco.md section 1.4: with G independent guardrails each needs power 0.8 ** (1 / (G + 1)).
    goal = PlanGoal(margin=0.02, guardrails=2)
    assert goal.power_each == pytest.approx(0.8 ** (1 / 3))
    plan = plan_comparison(goal, USUAL)
    assert plan.power_each == goal.power_each
    assert plan.artifact.power >= goal.power_each
    assert plan.artifact.examples > plan_comparison(PlanGoal(margin=0.02), USUAL).artifact.examples


def test_looks_are_paid_for_in_alpha() -> None:
    twice = plan_comparison(PlanGoal(margin=0.02, looks=2), USUAL)
    half = plan_comparison(PlanGoal(margin=0.02, alpha=0.025), USUAL)
    assert twice.artifact == half.artifact
    assert twice.method == half.method


def test_seeds_that_average_out_what_does_not_repeat_save_examples() -> None:
    steady, noisy = (
        MethodQuestion.of(PlanGoal(margin=0.02), USUAL.model_copy(update={"repeatable": share}), 0.0).examples(8)
        for share in (1.0, 0.0)
    )
    assert steady is not None
    assert noisy is not None
    assert noisy < steady / 2


def test_without_a_seed_sd_only_the_artifact_question_is_planned() -> None:
    plan = plan_comparison(PlanGoal(margin=0.01), Variation(discordance=0.04))
    assert plan.method is None
    assert plan.cautious is None
    assert plan.artifact.textbook_examples == 2474


def test_the_upper_bound_of_a_pilot_is_planned_beside_its_estimate() -> None:
    plan = plan_comparison(PlanGoal(margin=0.02, seeds=5), USUAL.model_copy(update={"seed_sd_high": 0.007}))
    assert plan.method is not None
    assert plan.cautious is not None
    assert (plan.method.seed_sd, plan.cautious.seed_sd) == (0.004, 0.007)
    assert (plan.cautious.examples or 0) > (plan.method.examples or 0)


def test_continuous_scores_are_planned_by_the_noncentral_t() -> None:
    plan = plan_comparison(PlanGoal(margin=0.02), Variation(example_sd=0.1)).artifact
    n = plan.examples

    def exact(size: int) -> float:
        quantile = scipy_stats.t.ppf(0.95, size - 1)
        return float(scipy_stats.nct.sf(quantile, size - 1, 0.02 / 0.1 * math.sqrt(size)))

    assert exact(n) >= 0.8 > exact(n - 1)
    # Guenther 1981, Am Stat 35:243: the t test needs z_alpha^2 / 2 = 1.35 more than the normal approximation
    assert n in (plan.textbook_examples + 1, plan.textbook_examples + 2)


def test_a_true_loss_needs_more_and_a_true_gain_fewer() -> None:
    sizes = [
        plan_comparison(PlanGoal(margin=0.02, true_difference=truth), USUAL).artifact.examples
        for truth in (-0.005, 0.0, 0.005)
    ]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 1.5 * sizes[1]


def test_a_large_true_gain_can_be_shown_at_a_margin_of_zero() -> None:
    goal = PlanGoal(margin=0.01, true_difference=0.03, seeds=10, examples=5000)
    assert method(goal).smallest_margin == 0


def test_every_cell_of_the_table_is_the_power_of_its_design() -> None:
    found = method(PlanGoal(margin=0.02))
    question = MethodQuestion.of(PlanGoal(margin=0.02), USUAL, 0.004)
    assert any((cell.seeds, cell.examples) == (found.seeds, found.examples) for cell in found.table)
    assert all(cell.power == question.power(cell.seeds, cell.examples) for cell in found.table)
    assert len({(cell.seeds, cell.examples) for cell in found.table}) == len(found.table)


def test_a_plan_read_back_is_the_plan() -> None:
    plan = plan_comparison(PlanGoal(margin=0.02, seeds=3), USUAL)
    assert ComparisonPlan.from_json(plan.to_json(), "here") == plan


def test_a_difference_larger_than_the_discordance_is_refused() -> None:
    with pytest.raises(UsageError, match="does not fit"):
        plan_comparison(PlanGoal(margin=0.05, true_difference=-0.03), Variation(discordance=0.02))
    with pytest.raises(UsageError, match="does not fit"):
        plan_comparison(PlanGoal(margin=0.05, true_difference=1.0), Variation(discordance=1.0))


@pytest.mark.parametrize(
    "goal",
    [
        {"margin": 0.0},
        {"margin": -0.01},
        {"margin": float("nan")},
        {"margin": 0.01, "power": 1.0},
        {"margin": 0.01, "power": 0.05},
        {"margin": 0.01, "alpha": 0.5},
        {"margin": 0.01, "true_difference": -0.01},
        {"margin": 0.01, "guardrails": -1},
        {"margin": 0.01, "looks": 0},
        {"margin": 0.01, "seeds": 1},
        {"margin": 0.01, "examples": 1},
    ],
)
def test_a_goal_that_cannot_be_is_no_goal(goal: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        PlanGoal.model_validate(goal)


@pytest.mark.parametrize(
    "variation",
    [
        {},
        {"discordance": 0.0},
        {"discordance": 1.1},
        {"discordance": 0.1, "example_sd": 0.1},
        {"example_sd": 0.0},
        {"discordance": 0.1, "seed_sd": -0.1},
        {"discordance": 0.1, "repeatable": 1.5},
    ],
)
def test_a_variation_that_cannot_be_is_none(variation: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Variation.model_validate(variation)


def test_the_design_effect_is_the_exact_variance_of_a_mean_over_unequal_groups() -> None:
    # Var of the sum over groups m_k with correlation rho: sum m_k + rho * sum m_k (m_k - 1), over n at rho = 0.
    sizes, rho = np.array([1, 4, 7, 20, 8]), 0.3
    exact = (sizes.sum() + rho * (sizes * (sizes - 1)).sum()) / sizes.sum()
    found = Variation(
        discordance=0.1, group_size=float(sizes.mean()), group_size_cv=float(sizes.std() / sizes.mean()), icc=rho
    )
    assert found.design_effect == pytest.approx(exact)


def test_groups_ask_for_the_design_effect_and_for_the_t_of_few_groups() -> None:
    goal = PlanGoal(margin=0.02, seeds=3)
    alone = plan_comparison(goal, Variation(discordance=0.08, seed_sd=0.002))
    groups = plan_comparison(goal, Variation(seed_sd=0.002, **GROUPED))
    for single, together in ((alone.artifact, groups.artifact), (alone.method, groups.method)):
        assert single is not None
        assert together is not None
        assert 3.7 <= together.examples / single.examples <= 1.03 * 3.7
        assert together.power >= 0.8


def test_groups_whose_examples_have_nothing_in_common_cost_nothing_but_degrees_of_freedom() -> None:
    goal = PlanGoal(margin=0.02)
    alone = plan_comparison(goal, Variation(discordance=0.08)).artifact.examples
    loose = plan_comparison(goal, Variation(**{**GROUPED, "icc": 0.0})).artifact.examples
    assert alone <= loose <= 1.03 * alone
    same = plan_comparison(goal, Variation(**{**GROUPED, "icc": 1.0})).artifact.examples
    assert 10 * alone <= same <= 10.4 * alone


@pytest.mark.parametrize("given", [{"icc": 0.1}, {"group_size": 5.0}, {"group_size_cv": 0.2}])
def test_half_a_description_of_groups_is_refused(given: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match="icc"):
        Variation(discordance=0.1, **given)
