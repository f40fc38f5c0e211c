"""Each cost line worked a second time, in plain arithmetic with its figures written out, and held to the case."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import NamedTuple

from rsa_ops.core.business_case import BusinessCase, CaseLine
from rsa_ops.costs import PriceBook
from rsa_ops.costs.case import Measured
from rsa_ops.costs.scenario import Scenario

CLOSE = Decimal("1e-9")
BYTES_A_PARAMETER, BYTES_A_GB = 4, 10**9


@dataclass(frozen=True)
class Case:
    """One scenario's case with all that it was made of."""

    seen: Measured
    scenario: Scenario
    case: BusinessCase
    book: PriceBook


class Line(NamedTuple):
    """A line of the case: its formula in words, the formula with figures, and the line that it must equal."""

    name: str
    formula: str
    figures: str
    line: CaseLine


class Facts(NamedTuple):
    """Means over the seeds of one arm."""

    training_hours: Decimal
    evaluation_hours: Decimal
    artifact_gb: Decimal
    base_gb: Decimal
    seeds: int


def number(value: Decimal) -> str:
    """Six significant digits, without trailing zeros or an exponent."""
    text = f"{float(value):,.6g}" if abs(value) < 10**6 else f"{value:,.0f}"
    return f"{value:.9f}".rstrip("0") if "e" in text else text


def facts(case: Case, arm: str) -> Facts:
    """What one training and one evaluation of the arm took, as hours of core, and what it left."""
    cells = [cell for cell in case.seen.cells if cell.cell.arm == arm]
    count, first = len(cells), cells[0]
    if not first.device.lower().startswith("cpu"):
        raise SystemExit("the worked example is of a run on a CPU, whose price is per core-hour")
    trained = sum((Decimal(repr(cell.wall_seconds)) * cell.threads for cell in cells), Decimal(0)) / 3600 / count
    judged = Decimal(repr(case.seen.evaluations[arm])) * first.threads / 3600 / count
    kept = Decimal(sum(cell.artifact_bytes for cell in cells)) / count / BYTES_A_GB
    base = Decimal(first.total_parameters * BYTES_A_PARAMETER) / BYTES_A_GB
    return Facts(trained, judged, kept, Decimal(0) if first.method == "full" else base, count)


def worked_lines(case: Case) -> list[Line]:
    """Every line of the case, worked again.

    Raises:
        SystemExit: a quantity or an amount is not that of the case, or a line of it was left out.
    """
    found = [*_arm(case, case.case.candidate), *_only_candidate(case), *_arm(case, case.case.baseline)]
    if {id(line.line) for line in found} != {id(line) for line in case.case.lines}:
        raise SystemExit("the worked example leaves lines of the case out")
    return found


def _arm(case: Case, arm: str) -> Iterator[Line]:
    v, f = case.scenario.inputs.values(), facts(case, arm)
    for name, count, words in (
        ("training", v["variants"], "models"),
        ("retraining", v["trainings_per_year"] / 12 * v["variants"], "models x trainings a year / 12"),
    ):
        first = 0 if name == "training" else 1
        many, tries = number(count), number(v["tries_per_training"])
        yield _line(
            case,
            (arm, name, first),
            f"{words} x tries x hours of one training",
            (count * v["tries_per_training"] * f.training_hours, f"{many} x {tries} x {number(f.training_hours)}"),
        )
        yield _line(
            case,
            (arm, "evaluation", first),
            f"{words} x tries x hours of judging one",
            (
                count * v["tries_per_training"] * f.evaluation_hours,
                f"{many} x {tries} x {number(f.evaluation_hours)}",
            ),
        )
        labels, seconds = v["labels_per_training"], v["label_seconds"]
        yield _line(
            case,
            (arm, "labelling", first),
            f"{words} x labels x seconds a label / 3600",
            (count * labels * seconds / 3600, f"{many} x {number(labels)} x {number(seconds)} / 3600"),
        )
        for category, hours in (("people", "engineer_hours"), ("governance", "governance_hours")):
            yield _line(
                case,
                (arm, category, first),
                f"{words} x hours a version",
                (count * v[hours], f"{many} x {number(v[hours])}"),
            )
    yield _serving(case, arm, v, full=f.base_gb == 0)
    yield from _kept(case, arm, v, f)


def _serving(case: Case, arm: str, v: dict[str, Decimal], *, full: bool) -> Line:
    load = v["requests_per_month"] / v["requests_per_replica"]
    asked = f"{number(v['requests_per_month'])} / {number(v['requests_per_replica'])}"
    hours, models = v["replica_hours"], v["variants"]
    if full:
        machines = models * max(_up(load), Decimal(1))
        words = "models x whole machines for the load of one x hours"
        figures = f"{number(models)} x ceil({asked}) x {number(hours)}"
    else:
        machines = max(_up(models / v["adapters_per_replica"]), _up(load * models))
        words = "whole machines to hold all adapters, or for all their load, x hours"
        figures = (
            f"max(ceil({number(models)} / {number(v['adapters_per_replica'])}), "
            f"ceil({asked} x {number(models)})) x {number(hours)}"
        )
    return _line(case, (arm, "serving", 1), words, (machines * hours, figures))


def _kept(case: Case, arm: str, v: dict[str, Decimal], f: Facts) -> Iterator[Line]:
    models, sites, copies = v["variants"], v["sites"], v["copies"]
    each = f"{number(models)} x {number(v['versions_kept'])} x {number(copies)} x {number(f.artifact_gb)}"
    yield _line(
        case,
        (arm, "storage", 1),
        "models x versions x copies x GB",
        (models * v["versions_kept"] * copies * f.artifact_gb, each),
    )
    if f.base_gb:
        figures = f"{number(copies)} x {number(f.base_gb)}"
        yield _line(
            case, (arm, "storage", 1), "copies x GB of the base", (copies * f.base_gb, figures), word="base"
        )
    new, text = models * sites * f.artifact_gb, f"{number(models)} x {number(sites)} x {number(f.artifact_gb)}"
    begin = f"{text} + {number(sites)} x {number(f.base_gb)}" if f.base_gb else text
    words = "models x sites x GB, and the base to each site" if f.base_gb else "models x sites x GB"
    yield _line(case, (arm, "transfer", 0), words, (new + sites * f.base_gb, begin))
    yearly = v["trainings_per_year"]
    yield _line(
        case,
        (arm, "transfer", 1),
        "trainings a year / 12 x models x sites x GB",
        (yearly / 12 * new, f"{number(yearly)} / 12 x {text}"),
    )


def _only_candidate(case: Case) -> Iterator[Line]:
    v, arm, f = case.scenario.inputs.values(), case.case.candidate, facts(case, case.case.baseline)
    hours = v["adoption_hours"]
    yield _line(case, (arm, "adoption", 0), "hours, once", (hours, number(hours)))
    again, models = v["requalifications_per_year"], v["variants"]
    spent = f"{number(f.training_hours)} + {number(f.evaluation_hours)}"
    yield _line(
        case,
        (arm, "requalification", 1),
        "comparisons a year / 12 x models x seeds x hours of training and judging the baseline",
        (
            again / 12 * models * f.seeds * (f.training_hours + f.evaluation_hours),
            f"{number(again)} / 12 x {number(models)} x {f.seeds} x ({spent})",
        ),
    )
    chance, loss = (Decimal(repr(x)) for x in (case.case.harm.probability, case.case.harm.mean_loss))
    asked = v["requests_per_month"]
    yield _line(
        case,
        (arm, "risk", 1),
        "chance of harm x loss then x requests x models",
        (chance * loss * asked * models, f"{number(chance)} x {number(loss)} x {number(asked)} x {number(models)}"),
    )


def _line(
    case: Case, where: tuple[str, str, int], formula: str, worked: tuple[Decimal, str], word: str = ""
) -> Line:
    arm, category, first = where
    (line,) = (
        line
        for line in case.case.lines
        if (line.arm, line.category, line.first) == (arm, category, first)
        and (category != "storage" or ("base model" in line.description) == (word == "base"))
    )
    quantity, figures = worked
    exact = quantity * line.unit_price.amount * (line.last - line.first + 1)
    if abs(line.quantity - quantity) > CLOSE or abs(line.amount.amount - exact) > Decimal("0.51"):
        raise SystemExit(f"{arm}, {category}: worked {quantity} and {exact}, the case has {line.quantity}")
    return Line(f"{category}, {arm}", formula, figures, line)


def _up(value: Decimal) -> Decimal:
    return value.to_integral_value(ROUND_CEILING)
