"""The decision sheet: one page that a manager can sign, and the detail behind it, in English or Japanese.

Everything is taken from the records of a run; nothing is computed but differences of printed amounts.
"""

from __future__ import annotations

from decimal import Decimal

from rsa_ops.core.business_case import BusinessCase, KeyFigure, Simulation
from rsa_ops.core.comparison import Comparison
from rsa_ops.core.costs import Basis
from rsa_ops.core.money import Money
from rsa_ops.core.verdict import Outcome
from rsa_ops.errors import MissingError, UsageError
from rsa_ops.reporting import decision_en, decision_ja, text
from rsa_ops.reporting.decision_detail import Rows, detail
from rsa_ops.reporting.decision_words import DecisionWords
from rsa_ops.reporting.forest import forests
from rsa_ops.reporting.forest_svg import forest_svg
from rsa_ops.reporting.inputs import ReportInputs

_TEMPLATE = "decision.html.j2"
LANGUAGES = {"en": decision_en.WORDS, "ja": decision_ja.WORDS}


def render_decision(records: ReportInputs, language: str) -> str:
    """The sheet as one self-contained HTML file.

    Raises:
        UsageError: no such language. MissingError: the run has no business case or no comparison.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    words = words_of(language)
    case, comparison = records.case, records.comparison
    if case is None or comparison is None:
        raise MissingError(
            f"{records.pipeline}: a decision sheet needs business_case.json and comparison.json",
            hint="`rsa-ops run` writes both; for an older run: `rsa-ops report RUN` without --lang.",
        )
    environment = Environment(
        loader=PackageLoader("rsa_ops.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    context = {
        "words": words,
        "records": records,
        "case": case,
        "subject": words.subject.format(candidate=case.candidate, baseline=case.baseline, pipeline=case.pipeline),
        "proposal": proposal(records, case, words),
        "reason": words.reason.format(candidate=case.candidate),
        "rests": rests(case, words),
        "effects": effects(case, words),
        "quality": quality(comparison, case, words),
        "gate": gate(records, words),
        "risks": risks(comparison, case, words),
        "unknowns": unknowns(records, case, words),
        "tables": detail(records, comparison, case, words),
        "forest": tuple(
            (drawn.title, forest_svg(drawn, f"forest-{number}", words.forest))
            for number, drawn in enumerate(forests(comparison, words.forest))
        ),
    }
    return environment.get_template(_TEMPLATE).render(context)


def words_of(language: str) -> DecisionWords:
    """The words of a language.

    Raises:
        UsageError: no such language.
    """
    if language not in LANGUAGES:
        raise UsageError(f"no language {language!r}", hint=f"One of {', '.join(LANGUAGES)}.")
    return LANGUAGES[language]


def proposal(records: ReportInputs, case: BusinessCase, words: DecisionWords) -> str:
    """What the reader is asked to decide: from the verdict and the present value, never from one alone."""
    names = {"candidate": case.candidate, "baseline": case.baseline, "variants": case.breakeven_variants.value}
    return words.proposals[_choice(records, case)].format(**names)


def _choice(records: ReportInputs, case: BusinessCase) -> str:
    if records.verdict is None:
        return "no-verdict"
    outcome = records.verdict.outcome
    if outcome is Outcome.PROMOTE:
        if case.npv.amount > 0:
            return "adopt"
        return "quality-only" if case.breakeven_variants.value is not None else "quality-only-never"
    return {Outcome.INCONCLUSIVE: "wait", Outcome.REJECT: "refuse", Outcome.ERROR: "broken"}[outcome]


def rests(case: BusinessCase, words: DecisionWords) -> str:
    """Which shares of both totals rest on what."""
    shares = case.shares
    return words.rests_value.format(
        measured=share(shares.measured), derived=share(shares.derived), assumed=share(shares.assumed)
    )


def effects(case: BusinessCase, words: DecisionWords) -> Rows:
    """(label, figure, note) of each key figure."""
    sure = case.simulation
    return (
        (words.saving, str(case.saving), words.interval.format(low=sure.saving_p10, high=sure.saving_p90)),
        (words.npv, str(case.npv), words.npv_note.format(chance=text.share(sure.probability_npv_positive))),
        (words.investment, str(case.investment), ""),
        (words.payback, _months(case.payback, words), _payback_note(sure, words)),
        (words.roi, _percent(case.roi), ""),
        (words.breakeven, _breakeven(case, words), ""),
    )


def quality(comparison: Comparison, case: BusinessCase, words: DecisionWords) -> str:
    """The primary contrast in a sentence."""
    contrast = comparison.contrast(comparison.primary_metric, case.baseline)
    result = contrast.result if contrast is not None else None
    estimate = result.difference if result is not None else None
    if result is None or estimate is None:
        return words.unknown_missing.format(what=comparison.primary_metric)
    places = result.decimals(1, scale=text.scale(comparison.primary_metric))

    def points(value: float) -> str:
        return text.points(value, comparison.primary_metric, places)

    return words.quality.format(
        metric=text.metric_label(comparison.primary_metric),
        candidate=case.candidate,
        baseline=case.baseline,
        difference=points(estimate.value),
        low=points(estimate.low),
        high=points(estimate.high),
        margin=points(-result.margin),
        examples=f"{estimate.examples:,}",
        seeds=estimate.seeds,
        answer=words.answers[result.answer],
    )


def gate(records: ReportInputs, words: DecisionWords) -> str:
    """The verdict, and how many rules hold."""
    verdict = records.verdict
    if verdict is None:
        return words.unknown_missing.format(what="verdict.json")
    passed = sum(rule.outcome is Outcome.PROMOTE for rule in verdict.rulings)
    return words.gate.format(outcome=words.outcomes[verdict.outcome], passed=passed, count=len(verdict.rulings))


def risks(comparison: Comparison, case: BusinessCase, words: DecisionWords) -> tuple[str, ...]:
    """The priced risk, the largest drop on a slice, and what stands against both."""
    priced = sum((line.amount.amount for line in case.lines if line.category == "risk"), Decimal(0))
    amount = Money(amount=priced, currency=case.currency)
    found = [words.harm.format(chance=text.share(case.harm.probability), amount=amount)]
    drops = [drop for drop in comparison.drops if drop.arm == case.candidate and drop.difference is not None]
    for drop in drops:
        shown = text.points(drop.difference or 0.0, comparison.primary_metric, 1)
        found.append(words.worst.format(reference=drop.reference, drop=shown, slice=drop.slice))
    if not drops:
        found.append(words.no_worst)
    return (*found, words.measures)


def unknowns(records: ReportInputs, case: BusinessCase, words: DecisionWords) -> tuple[str, ...]:
    """What nobody knows yet."""
    assumed = sum(entry.basis is Basis.ASSUMED for entry in case.inputs)
    found = [
        words.unknown_assumed.format(count=assumed, all=len(case.inputs)),
        words.unknown_use,
        words.unknown_tax,
        words.unknown_gain,
    ]
    if any(not cell.energy.source.endswith("counter") for cell in records.measurements):
        found.append(words.unknown_energy)
    if records.validation is None:
        found.append(words.unknown_missing.format(what="validation.json"))
    return tuple(found)


def share(value: float) -> str:
    """A share as a percentage; what is there but rounds to nothing is said to be less than one."""
    return "< 1 %" if 0 < value < 0.005 else f"{value:.0%}".replace("%", " %")


def _months(found: KeyFigure, words: DecisionWords) -> str:
    return "–" if found.value is None else words.months.format(count=found.value)


def _payback_note(sure: Simulation, words: DecisionWords) -> str:
    if sure.payback_p50 is None:
        return words.payback_none
    half = words.months.format(count=sure.payback_p50)
    if sure.payback_p90 is None:
        return words.payback_late.format(p50=half)
    return words.payback_note.format(p50=half, p90=words.months.format(count=sure.payback_p90))


def _percent(found: KeyFigure) -> str:
    return "–" if found.value is None else f"{found.value:.0%}".replace("%", " %")


def _breakeven(case: BusinessCase, words: DecisionWords) -> str:
    """Where the cost comes back, of the two ways to get there those that do."""
    ways = (
        (words.breakeven_variants, case.breakeven_variants.value),
        (words.breakeven_requests, case.breakeven_requests.value),
    )
    return (
        words.breakeven_or.join(way.format(count=f"{value:,}") for way, value in ways if value is not None) or "–"
    )
