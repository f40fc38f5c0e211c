"""What a comparison needs before anything is trained: what is asked, what varies, and how much of it decides."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from rsa_ops.core.record import Record, Value

Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class PlanGoal(Value):
    """What is to be shown, and what is at hand for it.

    `margin`: the loss one is ready to accept, in score units. `true_difference`: candidate minus baseline as one
    believes it to be; 0 plans for equal arms. `guardrails`: how many other rules must hold as well, each of them
    independent; each then needs power ** (1 / (guardrails + 1)). `looks`: how often the same test set will be
    compared on; each look is tested at alpha / looks. `seeds` (per arm) and `examples`: None where they are open.
    """

    margin: Positive
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    power: Annotated[float, Field(gt=0, lt=1)] = 0.8
    true_difference: float = 0.0
    guardrails: Annotated[int, Field(ge=0)] = 0
    looks: Annotated[int, Field(ge=1)] = 1
    seeds: Annotated[int, Field(ge=2)] | None = None
    examples: Annotated[int, Field(ge=2)] | None = None

    @model_validator(mode="after")
    def _can_be_shown(self) -> Self:
        if self.power <= self.alpha:
            raise ValueError(f"power {self.power:g} must be above alpha {self.alpha:g}")
        if self.true_difference <= -self.margin:
            raise ValueError(
                f"true_difference {self.true_difference:g} is a loss of the whole margin {self.margin:g} or more: "
                "nothing can show that it is less"
            )
        return self

    @property
    def level(self) -> float:
        """The one-sided level of one look."""
        return self.alpha / self.looks

    @property
    def power_each(self) -> float:
        """The power that each of (guardrails + 1) independent rules needs, so that all hold with `power`."""
        return float(self.power ** (1 / (self.guardrails + 1)))


class Variation(Value):
    """How much the difference of two arms varies; exactly one of `discordance` and `example_sd`.

    `discordance`: right-or-wrong scores: the share of examples that exactly one of two models, one of each arm,
    has right. `example_sd`: other scores: the SD over examples of the difference between two such models.
    `repeatable`: the share of that variance that stays when both arms are trained again with other seeds, that is
    1 - (how often two seeds of one arm disagree) / discordance; 1 asks for the most examples. `seed_sd`: the SD
    over seeds of an arm's mean score on endless examples; None where it is not known. `seed_sd_high`: what it may
    be as well, at 80 % confidence, where a pilot estimated it. `source`: where the numbers come from.

    Examples that come in groups (customer, document): `group_size` is the mean number of examples in a group,
    `group_size_cv` the SD of that number over its mean, `icc` the correlation of the differences of two examples of
    one group, taken to be the same for what repeats and what does not. None: each example is a draw of its own.
    """

    discordance: Annotated[float, Field(gt=0, le=1)] | None = None
    example_sd: Positive | None = None
    repeatable: Share = 1.0
    seed_sd: Annotated[float, Field(ge=0)] | None = None
    seed_sd_high: Annotated[float, Field(ge=0)] | None = None
    group_size: Annotated[float, Field(ge=1)] | None = None
    group_size_cv: Annotated[float, Field(ge=0)] = 0.0
    icc: Share | None = None
    source: str = "assumed"

    @property
    def design_effect(self) -> float:
        """How many times more examples groups ask for: 1 + ((1 + cv^2) * size - 1) * icc.

        Kish 1965, Survey Sampling, section 5.4; for unequal sizes Eldridge, Ashby and Kerry 2006, Int J Epidemiol
        35:1292. (1 + cv^2) * size is the size of the group in which a random example finds itself.
        """
        if self.group_size is None or self.icc is None:
            return 1.0
        return 1.0 + ((1.0 + self.group_size_cv**2) * self.group_size - 1.0) * self.icc

    @model_validator(mode="after")
    def _whole_groups(self) -> Self:
        if (self.group_size is None) != (self.icc is None):
            raise ValueError("give group_size and icc together: how large the groups are, and how alike")
        if self.group_size is None and self.group_size_cv:
            raise ValueError("group_size_cv says how unequal groups are; give group_size and icc with it")
        return self

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.discordance is None) == (self.example_sd is None):
            raise ValueError(
                "give exactly one of discordance (right-or-wrong scores) and example_sd (other scores)"
            )
        return self


class PlanAnswer(StrEnum):
    """What is missing. ENOUGH: nothing, where seeds and examples are as the plan has them."""

    ENOUGH = "enough"
    ADD_EXAMPLES = "add examples"
    ADD_SEEDS = "add seeds"
    ADD_BOTH = "add seeds and examples"
    OUT_OF_REACH = "out of reach"


class SeedOption(Value):
    """With `seeds` per arm: the examples needed, None where no number decides; what endless examples would show."""

    seeds: int
    examples: int | None
    smallest_margin: float | None


class PowerCell(Value):
    """The chance of showing "not worse" with these seeds per arm and examples."""

    seeds: int
    examples: int
    power: float


class MethodPlan(Value):
    """The method question: seeds and examples both random.

    `seeds` and `examples` are a design with `power`, None where none is in reach. `power_at_hand` is that of the
    seeds and examples at hand, where both are. `smallest_margin` is the least that could be shown with what is at
    hand, what is open being endless. `seeds_alone`, `examples_alone`: what would do if only that were changed.
    """

    seed_sd: float
    answer: PlanAnswer
    seeds: int | None
    examples: int | None
    power: float | None
    power_at_hand: float | None
    smallest_margin: float | None
    seeds_alone: int | None
    examples_alone: int | None
    reason: str
    options: tuple[SeedOption, ...]
    table: tuple[PowerCell, ...]


class ArtifactPlan(Value):
    """The artifact question: one checkpoint against another, only the examples random.

    `textbook_examples` is the normal approximation (z_alpha + z_beta)^2 * variance / (margin + difference)^2, which
    promises too much where few pairs are discordant; `examples` is what the test of this package needs.
    """

    examples: int
    power: float
    textbook_examples: int
    power_at_hand: float | None
    smallest_margin: float | None


class ComparisonPlan(Record):
    """`rsa-ops plan --json`. `method` is None where the seed SD is not known.

    `cautious` is the method plan at `variation.seed_sd_high`, where a pilot gave one.
    """

    schema_: Literal["rsa_ops/comparison-plan/v1"] = Field(default="rsa_ops/comparison-plan/v1", alias="schema")

    goal: PlanGoal
    variation: Variation
    power_each: float
    method: MethodPlan | None
    cautious: MethodPlan | None
    artifact: ArtifactPlan
