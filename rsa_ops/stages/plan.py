"""What a comparison needs, before anything is trained: from numbers that one believes, or from a pilot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from rsa_ops.core.comparison import Comparison
from rsa_ops.core.design import ComparisonDesign, DesignMargin
from rsa_ops.core.plan import ComparisonPlan, PlanGoal, Variation
from rsa_ops.core.record import Value
from rsa_ops.errors import ConfigError, Problem, UsageError
from rsa_ops.files import read_record, write_record
from rsa_ops.stats import pilot_variation, plan_comparison

V = TypeVar("V", bound=Value)

MEANINGS = {
    "margin": "the loss that one is ready to accept, above zero, in score units: 0.01 is a point of accuracy",
    "discordance": "the share of examples that exactly one of two models has right, above 0, at most 1",
    "example_sd": "for other scores than right-or-wrong: the SD over examples of the difference of two models",
    "seed_sd": "the SD over seeds of an arm's mean score, 0 or above",
    "repeatable": "1 - (how often two seeds of one arm disagree) / discordance, from 0 to 1",
    "group_size": "examples in a group that is drawn together, 1 or more, given with --icc",
    "group_size_cv": "SD of the examples in a group over their mean, 0 or above",
    "icc": "correlation of the differences of two examples of one group, from 0 to 1, given with --group-size",
    "power": "the chance of showing it that is wanted, above alpha and below 1",
    "alpha": "the one-sided error rate, above 0 and below 0.5",
}


@dataclass(frozen=True)
class Pilot:
    """A `comparison.json`, and which of its contrasts to plan from (default: primary metric, first baseline)."""

    file: Path
    metric: str | None = None
    against: str | None = None


def plan_alone(
    goal: Mapping[str, float | int | None], variation: Mapping[str, float | None], pilot: Pilot | None
) -> ComparisonPlan:
    """Plan a comparison; None stands for what was not said.

    Args:
        goal: fields of `PlanGoal`.
        variation: fields of `Variation`; with a pilot they replace the pilot's.
        pilot: where the rest of the variation comes from.

    Raises:
        ConfigError: every number that cannot be right, at once. UsageError: nothing says how much the arms vary.
        MissingError, IntegrityError: the pilot cannot be read.
    """
    said = {name: value for name, value in variation.items() if value is not None}
    asked = {name: value for name, value in goal.items() if value is not None}
    spread = bool({"discordance", "example_sd"} & said.keys())
    problems = (
        *_problems(PlanGoal, asked),
        *_problems(
            Variation, said if spread else {"discordance": 1.0, **said}
        ),  # the pilot's, which is none of these
    )
    if not pilot and not spread:
        raise UsageError(
            "nothing says how much the two arms disagree",
            hint="Give --discordance (right-or-wrong scores), --example-sd (other scores), or --pilot FILE.",
        )
    if problems:
        raise ConfigError("rsa-ops plan", problems)
    return plan_comparison(PlanGoal.model_validate(asked), _variation(said, pilot))


def write_skeleton(plan: ComparisonPlan, path: Path) -> ComparisonDesign:
    """Write the design of the planned comparison for two tables: seeds 1 to S, sides `candidate` and `baseline`.

    Raises:
        UsageError: the plan proposes nothing, or there is a file at `path` already.
    """
    if path.exists():
        raise UsageError(f"{path} is there already", hint="A design is written once. Give another name.")
    seeds, examples = proposed(plan)
    design = ComparisonDesign(
        candidate="candidate",
        primary_metric="score",
        alpha=plan.goal.level,
        looks=plan.goal.looks,
        margins=(DesignMargin(metric="score", against="baseline", margin=plan.goal.margin),),
        seeds=tuple(range(1, seeds + 1)),
        examples=examples,
        slices=(),
        groups=_groups(plan.variation, examples),
        test_digest=None,
        policy_digest=None,
    )
    write_record(path, design)
    return design


def proposed(plan: ComparisonPlan) -> tuple[int, int]:
    """The seeds and examples that the plan ends with: the cautious ones of a pilot; one seed without a seed SD.

    Raises:
        UsageError: the margin is out of reach.
    """
    method = plan.cautious or plan.method
    if method is None:
        return 1, plan.artifact.examples
    if method.seeds is None or method.examples is None:
        raise UsageError(f"there is no design to write: {method.reason}")
    return method.seeds, method.examples


def _groups(variation: Variation, examples: int) -> int | None:
    size = variation.group_size
    return None if size is None or size == 1 else max(round(examples / size), 2)


def _variation(said: Mapping[str, float], pilot: Pilot | None) -> Variation:
    if pilot is None:
        return Variation.model_validate(said)
    found = pilot_variation(read_record(Comparison, pilot.file), metric=pilot.metric, against=pilot.against)
    measured = found.model_dump()
    if {"discordance", "example_sd"} & said.keys():
        measured |= {"discordance": None, "example_sd": None}
    if "seed_sd" in said:
        measured["seed_sd_high"] = None
    changed = f"; {', '.join(sorted(said))} as given" if said else ""
    return Variation.model_validate({**measured, **said, "source": found.source + changed})


def _problems(kind: type[V], values: Mapping[str, object]) -> tuple[Problem, ...]:
    try:
        kind.model_validate(values)
    except ValidationError as error:
        return tuple(_problem(entry["loc"], entry["msg"], entry["input"]) for entry in error.errors())
    return ()


def _problem(place: tuple[int | str, ...], words: str, found: object) -> Problem:
    if not place:
        return Problem("together", words.removeprefix("Value error, "))
    name = str(place[0])
    meaning = f" ({MEANINGS[name]})" if name in MEANINGS else ""
    return Problem(f"--{name.replace('_', '-')}", f"{words}; found {found}{meaning}")
