"""The policy: which rules a candidate must satisfy, fixed before the scores exist and named by its digest.

Margins live here and nowhere else: `questions` tells the compare stage what to ask, `design` writes them down
before training, and the gate refuses a comparison that was made with another margin or alpha. That the candidate
differs from the champion, that digests agree and that no seed is missing is no rule: it is always checked.
"""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple, Self

from pydantic import BeforeValidator, Field, model_validator

from rsa_ops.core.comparison import ALL
from rsa_ops.core.margin import Margin as Reference
from rsa_ops.core.record import Record, Value

Name = Annotated[str, Field(min_length=1)]
Positive = Annotated[float, Field(gt=0)]


def _absolute(margin: object) -> object:
    """`{share: 0.02, of: 0.86}` as 0.0172 (rounded at the twelfth decimal); anything else as it is."""
    if not isinstance(margin, dict):
        return margin
    numbers = [value for value in margin.values() if type(value) in (int, float) and value > 0]
    if set(margin) != {"share", "of"} or len(numbers) != 2:
        raise ValueError(
            "a relative margin is {share: 0.02, of: 0.86}, both fixed numbers above zero; the observed baseline "
            "moves with the data, so no margin can be taken from it"
        )
    return round(Reference.relative(margin["share"], of=margin["of"]).in_units, 12)


Margin = Annotated[float, Field(gt=0), BeforeValidator(_absolute)]
"""An accepted loss in score units, or a share of a fixed reference."""

CHAMPION = "champion"
"""Alias of the version in production, and the baseline's name in contrasts with it; no arm may be called so."""

Quantity = Literal["trainable_share", "wall_seconds_ratio", "peak_host_memory_ratio", "artifact_bytes_ratio"]


class NonInferiorityRule(Value):
    """On all examples the candidate must not lose more than `margin` of `metric` against the arm `against`.

    `require: superior` asks for a gain instead; a gain that is not proven is then inconclusive.
    """

    kind: Literal["noninferiority"]
    metric: Name
    against: Name
    margin: Margin
    require: Literal["non-inferior", "superior"] = "non-inferior"


class SlicesRule(Value):
    """No slice that is large enough to judge may be surely worse by more than `margin`.

    Slices too small are reported as not assessable and never count as passed; at least `min_assessable` slices
    must be judged. A slice that is neither surely harmed nor surely safe does not stop the candidate. One harmed
    slice does, so "surely" allows for their number (Holm 1979).
    """

    kind: Literal["slices"]
    metric: Name
    against: Name
    margin: Margin
    min_assessable: Annotated[int, Field(ge=1)] = 1


class ChampionRule(Value):
    """The adapter to be released must not lose more than `margin` of `metric` against the champion in production.

    Two artifacts are compared, so only the examples are random. A first version has no champion to lose against.
    """

    kind: Literal["champion"]
    metric: Name
    margin: Margin


class FloorRule(Value):
    """The lower end of the interval of the candidate's `metric` must reach `at_least`."""

    kind: Literal["floor"]
    metric: Name
    at_least: float


class RobustnessRule(Value):
    """Under `perturbation` the candidate's primary metric may drop by at most `max_drop` from its clean value.

    Judged with the interval of the disturbed score; the clean score counts as known.
    """

    kind: Literal["robustness"]
    perturbation: Name
    max_drop: Annotated[float, Field(ge=0)]


class WorstSliceRule(Value):
    """The lower end of the interval of the candidate's worst assessable slice must reach `at_least`."""

    kind: Literal["worst_slice"]
    at_least: float


class MeasuredRule(Value):
    """A measured quantity, mean over seeds, may be `at_most` this; ratios are candidate / `against`."""

    kind: Literal["measured"]
    quantity: Quantity
    at_most: Positive
    against: Name | None = None

    @model_validator(mode="after")
    def _ratio_needs_an_arm(self) -> Self:
        if self.quantity.endswith("_ratio") == (self.against is None):
            need = "needs `against`, the arm to divide by" if self.against is None else "takes no `against`"
            raise ValueError(f"{self.quantity} {need}")
        return self


class CostRule(Value):
    """The cost of one training, candidate / `against`, may be `at_most` this."""

    kind: Literal["cost"]
    against: Name
    at_most: Positive


Rule = (
    NonInferiorityRule
    | SlicesRule
    | ChampionRule
    | FloorRule
    | RobustnessRule
    | WorstSliceRule
    | MeasuredRule
    | CostRule
)


class Policy(Record):
    """`policy.yaml`. All rules must hold, so each is tested at the full `level` (intersection-union test).

    `looks`: how many different comparisons the same test set may carry; each is then tested at alpha / looks
    (Bonferroni), and one more is refused. None counts them, reports the count, and limits nothing.
    `approvals`: how many people beside the one who asks must sign a promotion on a verdict by this policy.
    """

    schema_: Literal["rsa_ops/policy/v1"] = Field(default="rsa_ops/policy/v1", alias="schema")

    name: Name
    description: str = ""
    candidate: Name
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    # left out of the digest where it is not set, so that policies from before it keep theirs
    looks: Annotated[int, Field(ge=1)] | None = Field(default=None, exclude_if=lambda looks: looks is None)
    approvals: Annotated[int, Field(ge=0, le=100)] = Field(default=0, exclude_if=lambda approvals: approvals == 0)
    rules: Annotated[tuple[Annotated[Rule, Field(discriminator="kind")], ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _rules_make_sense(self) -> Self:
        asked: dict[tuple[str, str, bool], float] = {}
        if CHAMPION in (self.candidate, *self.arms):
            raise ValueError(f"`{CHAMPION}` is no arm; use a rule of kind champion")
        for rule in self.rules:
            if against(rule) == self.candidate:
                raise ValueError(f"a {rule.kind} rule compares the candidate `{self.candidate}` with itself")
            if isinstance(rule, NonInferiorityRule | SlicesRule):
                key = (rule.metric, rule.against, rule.kind == "slices")
                if asked.setdefault(key, rule.margin) != rule.margin:
                    raise ValueError(f"two margins for {rule.metric} against {rule.against}; keep one")
        return self

    @property
    def level(self) -> float:
        """The one-sided level at which each rule is tested in one look."""
        return self.alpha / (self.looks or 1)

    @property
    def arms(self) -> tuple[str, ...]:
        """The arms that the rules compare the candidate with, in their order."""
        named = (against(rule) for rule in self.rules)
        return tuple(dict.fromkeys(name for name in named if name is not None))

    @property
    def champion_rules(self) -> tuple[ChampionRule, ...]:
        """The rules about the champion, one for each metric and margin."""
        return tuple(dict.fromkeys(rule for rule in self.rules if isinstance(rule, ChampionRule)))


def against(rule: Rule) -> str | None:
    """The arm that a rule compares the candidate with, where it compares."""
    return None if isinstance(rule, ChampionRule | FloorRule | RobustnessRule | WorstSliceRule) else rule.against


class Question(NamedTuple):
    """One thing that the compare stage must ask; `on_slices` means every slice instead of all examples."""

    metric: str
    against: str
    margin: float
    on_slices: bool

    def covers(self, metric: str, against: str, population: str) -> bool:
        """Whether a contrast with these names answers this question."""
        return (metric, against) == (self.metric, self.against) and (population != ALL) == self.on_slices


def questions(policy: Policy) -> tuple[Question, ...]:
    """What a comparison must contain for `policy` to be decidable, each at `policy.level`; no duplicates."""
    asked = (
        Question(rule.metric, rule.against, rule.margin, rule.kind == "slices")
        for rule in policy.rules
        if isinstance(rule, NonInferiorityRule | SlicesRule)
    )
    return tuple(dict.fromkeys(asked))
