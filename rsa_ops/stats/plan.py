"""How many seeds and examples a comparison needs, before anything is trained.

Two questions, two plans, as in `stats`: the method question under `noninferiority`, the artifact question under
`artifact_noninferiority`. The powers come from `power`; here they are turned into numbers to plan with. Examples
narrow the part of the examples and residuals only; below what the seeds leave open, no number of them decides.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from rsa_ops.core.plan import (
    ArtifactPlan,
    ComparisonPlan,
    MethodPlan,
    PlanAnswer,
    PlanGoal,
    PowerCell,
    SeedOption,
    Variation,
)
from rsa_ops.errors import UsageError
from rsa_ops.stats.judge import MOST_EXAMPLES, smallest
from rsa_ops.stats.power import (
    Seeded,
    level_in_groups,
    method_power,
    paired_t_power,
    tango_examples,
    tango_power,
    textbook_examples,
)
from rsa_ops.stats.slices import examples_needed_for_margin

MOST_SEEDS = 100
LEAST_SEEDS = 3
"""Fewer are never proposed: with two, the degrees of freedom fall so fast that more examples can lose power."""
SEED_COUNTS = (LEAST_SEEDS, 4, 5, 6, 8, 10, 15, 20, 30, MOST_SEEDS)
ENDLESS = 10**12


def plan_comparison(goal: PlanGoal, variation: Variation) -> ComparisonPlan:
    """What `goal` needs where the arms vary like this: seeds, examples, and which of them to add.

    Integrals of this package's own tests (module `power`); beside them the normal approximation of Farrington and
    Manning (1990, Stat Med 9:1447) and, for groups, the design effect of Kish (1965).

    Returns:
        The method plan, None without a seed SD, also at the upper bound of a pilot's; and the artifact plan.

    Raises:
        UsageError: a true difference that is larger than the discordance allows.
    """
    seed_sd, high = variation.seed_sd, variation.seed_sd_high
    return ComparisonPlan(
        goal=goal,
        variation=variation,
        power_each=goal.power_each,
        method=_method(MethodQuestion.of(goal, variation, seed_sd)) if seed_sd is not None else None,
        cautious=_method(MethodQuestion.of(goal, variation, high)) if high is not None else None,
        artifact=_artifact(goal, variation),
    )


def _variance(goal: PlanGoal, variation: Variation) -> float:
    """Over examples, of the difference between one model of each arm."""
    if variation.discordance is None:
        return float(variation.example_sd or 0.0) ** 2
    variance = variation.discordance - goal.true_difference**2
    if variation.discordance < abs(goal.true_difference) or variance <= 0:
        raise UsageError(
            f"a true difference of {goal.true_difference:g} does not fit the discordance {variation.discordance:g}",
            hint="The arms disagree on at least as many examples as they differ by: discordance >= |difference|.",
        )
    return variance


@dataclass(frozen=True)
class Draws:
    """What examples are worth as draws: groups of `size` examples each, which ask for `effect` times as many."""

    size: float
    effect: float
    grouped: bool

    @staticmethod
    def of(variation: Variation) -> Draws:
        """The groups of `variation`; one example each where there are none."""
        return Draws(variation.group_size or 1.0, variation.design_effect, variation.group_size is not None)

    def worth(self, examples: int) -> int:
        """How many independent examples tell as much, at least 2."""
        return max(int(examples / self.effect), 2)

    def groups(self, examples: int) -> int | None:
        """How many groups `examples` come in, at least 2; None where each is a draw of its own."""
        return max(int(examples / self.size), 2) if self.grouped else None


@dataclass(frozen=True)
class MethodQuestion:
    """The method question: what is to be shown, and what varies."""

    goal: PlanGoal
    varies: Seeded
    draws: Draws

    @staticmethod
    def of(goal: PlanGoal, variation: Variation, seed_sd: float) -> MethodQuestion:
        """The question at one `seed_sd`, which may be the point estimate or the upper bound of `variation`."""
        variance = _variance(goal, variation)
        persistent = variance * variation.repeatable
        residual = (variance - persistent) / 2
        varies = Seeded(persistent, residual, seed_sd**2, variation.discordance is not None)
        return MethodQuestion(goal, varies, Draws.of(variation))

    def power(self, seeds: int, examples: int, margin: float | None = None) -> float:
        """The chance of showing `margin` (the goal's where none is given)."""
        goal = self.goal
        return method_power(
            self.varies,
            seeds=seeds,
            examples=self.draws.worth(examples),
            margin=goal.margin if margin is None else margin,
            alpha=goal.level,
            truth=goal.true_difference,
            groups=self.draws.groups(examples),
        )

    def does(self, seeds: int, examples: int) -> bool:
        """Whether the power suffices."""
        return self.power(seeds, examples) >= self.goal.power_each

    def examples(self, seeds: int) -> int | None:
        """The fewest examples that suffice with `seeds` per arm, None where no practical number does."""
        low = self._too_few(seeds)
        high = 2 * low
        while not self.does(seeds, high):  # not from the far end: with few seeds the power rises and falls again
            low, high = high, 2 * high
            if high > MOST_EXAMPLES:
                return None
        found = low + (smallest(lambda more: self.does(seeds, low + more), high - low) or 0)
        least = math.ceil(examples_needed_for_margin(self.goal.margin, self.goal.level) * self.draws.size)
        return max(found, least) if self.varies.turning else found

    def _too_few(self, seeds: int) -> int:
        """Examples that do not suffice: half of what a normal test with known variance and steady seeds needs."""
        goal, square = self.goal, self.varies.persistent + 2 * self.varies.residual / seeds
        steady = textbook_examples(
            square, margin=goal.margin, alpha=goal.level, power=goal.power_each, truth=goal.true_difference
        )
        return steady // 2 if steady >= 4 and not self.does(seeds, steady // 2) else 1

    def seeds(self, examples: int) -> int | None:
        """The fewest seeds per arm from `LEAST_SEEDS` on that suffice with `examples`; None above `MOST_SEEDS`."""
        fewer = LEAST_SEEDS - 1
        more = smallest(lambda count: self.does(fewer + count, examples), MOST_SEEDS - fewer)
        return fewer + more if more is not None else None

    def margin(self, seeds: int | None, examples: int | None) -> float | None:
        """The least that these show with the power that is asked for; None stands for endless many."""
        if seeds is None and examples is None:
            return None
        count, size = seeds or ENDLESS, examples or ENDLESS
        return _least_margin(self.goal, lambda margin: self.power(count, size, margin))


def _least_margin(goal: PlanGoal, power: Callable[[float], float]) -> float | None:
    """The smallest margin, to three figures, where `power` suffices; None beyond a million times that asked."""
    if goal.true_difference > 0 and power(0.0) >= goal.power_each:
        return 0.0  # a true gain that is shown as such
    low, high = max(0.0, -goal.true_difference), max(goal.margin, -2 * goal.true_difference)
    while power(high) < goal.power_each:
        low, high = high, 2 * high
        if high > 1e6 * goal.margin:
            return None
    while high - low > 0.0005 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if power(middle) >= goal.power_each else (middle, high)
    return float(f"{high:.4g}")


def _method(asked: MethodQuestion) -> MethodPlan:
    goal = asked.goal
    options = tuple(
        SeedOption(seeds=seeds, examples=asked.examples(seeds), smallest_margin=asked.margin(seeds, None))
        for seeds in SEED_COUNTS
    )
    examples_alone = asked.examples(goal.seeds) if goal.seeds is not None else None
    seeds_alone = asked.seeds(goal.examples) if goal.examples is not None else None
    at_hand = asked.power(goal.seeds, goal.examples) if goal.seeds and goal.examples else None
    answer, seeds, examples = _proposal(asked, options, seeds_alone, examples_alone)
    return MethodPlan(
        seed_sd=math.sqrt(asked.varies.seeds),
        answer=answer,
        seeds=seeds,
        examples=examples,
        power=asked.power(seeds, examples) if seeds is not None and examples is not None else None,
        power_at_hand=at_hand,
        smallest_margin=asked.margin(goal.seeds, goal.examples),
        seeds_alone=seeds_alone,
        examples_alone=examples_alone,
        reason=_reason(asked, answer, seeds, examples),
        options=options,
        table=_table(asked, seeds or goal.seeds, examples or goal.examples),
    )


def _proposal(
    asked: MethodQuestion, options: tuple[SeedOption, ...], seeds_alone: int | None, examples_alone: int | None
) -> tuple[PlanAnswer, int | None, int | None]:
    """The answer, and the seeds and examples that it proposes.

    Of several ways the one with the fewest scored predictions, seeds x examples.
    """
    goal = asked.goal
    if goal.seeds and goal.examples and asked.does(goal.seeds, goal.examples):
        return PlanAnswer.ENOUGH, goal.seeds, goal.examples
    ways: list[tuple[PlanAnswer, int, int]] = []
    if goal.seeds and examples_alone:
        ways.append((PlanAnswer.ADD_EXAMPLES if goal.examples else PlanAnswer.ENOUGH, goal.seeds, examples_alone))
    if goal.examples and seeds_alone:
        ways.append((PlanAnswer.ADD_SEEDS if goal.seeds else PlanAnswer.ENOUGH, seeds_alone, goal.examples))
    if not ways:
        least_seeds, least_examples = goal.seeds or LEAST_SEEDS, goal.examples or 0
        answer = _both(goal)
        ways = [
            (answer, option.seeds, max(option.examples, least_examples))
            for option in options
            if option.examples is not None and option.seeds >= least_seeds
        ]
    return min(ways, key=lambda way: way[1] * way[2], default=(PlanAnswer.OUT_OF_REACH, None, None))


def _both(goal: PlanGoal) -> PlanAnswer:
    """What is missing where neither seeds nor examples alone would do."""
    if goal.seeds and goal.examples:
        return PlanAnswer.ADD_BOTH
    if goal.seeds:
        return PlanAnswer.ADD_SEEDS
    return PlanAnswer.ADD_EXAMPLES if goal.examples else PlanAnswer.ENOUGH


def _reason(asked: MethodQuestion, answer: PlanAnswer, seeds: int | None, examples: int | None) -> str:
    goal = asked.goal
    if seeds is None or examples is None:
        return (
            f"out of reach: {MOST_SEEDS} seeds per arm and {MOST_EXAMPLES:,} examples do not show {goal.margin:g} "
            f"with power {goal.power_each:.3g}; accept a wider margin, or make the training steadier"
        )
    power = asked.power(seeds, examples)
    does = f"{seeds} seeds per arm and {examples:,} test examples show it with power {power:.2f}"
    if answer is PlanAnswer.ENOUGH:
        return does
    stuck = []
    if goal.seeds is not None and asked.examples(goal.seeds) is None:
        stuck.append(f"no number of test examples decides with {goal.seeds} seeds per arm")
    if goal.examples is not None and asked.seeds(goal.examples) is None:
        stuck.append(f"not even {MOST_SEEDS} seeds per arm decide with {goal.examples:,} test examples")
    return "; ".join([*stuck, f"{answer.value}: {does}"])


def _table(asked: MethodQuestion, seeds: int | None, examples: int | None) -> tuple[PowerCell, ...]:
    """Powers around a design: up to five counts of seeds, a half to four times the examples."""
    middle = seeds or LEAST_SEEDS
    counts = sorted({*SEED_COUNTS, middle})
    place = counts.index(middle)
    size = examples or 1000
    return tuple(
        PowerCell(seeds=count, examples=number, power=asked.power(count, number))
        for count in counts[max(0, place - 2) : place + 3]
        for number in (max(2, size // 2), size, 2 * size, 4 * size)
    )


def _artifact(goal: PlanGoal, variation: Variation) -> ArtifactPlan:
    level, target, truth = goal.level, goal.power_each, goal.true_difference
    psi, variance = variation.discordance, _variance(goal, variation)

    draws = Draws.of(variation)

    def power(examples: int, margin: float = goal.margin) -> float:
        size, groups = draws.worth(examples), draws.groups(examples)
        if psi is None:
            sd = math.sqrt(variance)
            return paired_t_power(sd, examples=size, margin=margin, alpha=level, truth=truth, groups=groups)
        alpha = level if groups is None else level_in_groups(level, groups)
        return tango_power(psi, examples=size, margin=margin, alpha=alpha, truth=truth)

    textbook = textbook_examples(variance, margin=goal.margin, alpha=level, power=target, truth=truth)
    enough = 2 * textbook + 20
    if psi is not None:
        enough = 2 * tango_examples(psi, margin=goal.margin, alpha=level, power=target, truth=truth)
    enough = math.ceil(enough * draws.effect + 20 * draws.size * draws.grouped)
    few = textbook // 2
    more = smallest(lambda count: power(few + count) >= target, enough)
    examples = few + (more or enough)
    return ArtifactPlan(
        examples=examples,
        power=power(examples),
        textbook_examples=math.ceil(textbook * draws.effect),
        power_at_hand=power(goal.examples) if goal.examples else None,
        smallest_margin=_least_margin(goal, lambda margin: power(goal.examples or 2, margin))
        if goal.examples
        else None,
    )
