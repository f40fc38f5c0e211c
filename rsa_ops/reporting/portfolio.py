"""All pipelines of a store on one sheet: what was decided, what it saves, and every run behind it.

Everything is taken from the headlines of the runs; only amounts of one currency are added up.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from rsa_ops.core.digest import Digest, short
from rsa_ops.core.headline import Headline
from rsa_ops.core.money import Currency, Money
from rsa_ops.core.record import Value
from rsa_ops.core.verdict import Outcome
from rsa_ops.reporting import text
from rsa_ops.reporting.decision import words_of
from rsa_ops.reporting.decision_detail import Table
from rsa_ops.reporting.decision_words import DecisionWords
from rsa_ops.reporting.portfolio_words import PORTFOLIO, PortfolioWords

_TEMPLATE = "portfolio.html.j2"


class ListedRun(Value):
    """One run as the store lists it; `headline` is None where it came to no verdict, `started_at` is in UTC."""

    run_id: str
    pipeline: str
    started_at: str
    policy_digest: Digest | None
    headline: Headline | None


@dataclass(frozen=True)
class Pipeline:
    """One pipeline: its newest run that came to a verdict (None without one), and how many runs it has had."""

    name: str
    latest: ListedRun | None
    runs: int

    @property
    def promoted(self) -> bool:
        """Whether its newest verdict lets the candidate in."""
        return self.latest is not None and _outcome(self.latest) is Outcome.PROMOTE


def render_portfolio(runs: Sequence[ListedRun], store: str, generated_at: str, language: str) -> str:
    """The sheet as one self-contained HTML file; `runs` newest first.

    Raises:
        UsageError: no such language.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    words = words_of(language)
    own = PORTFOLIO[language]
    pipelines = by_pipeline(runs)
    environment = Environment(
        loader=PackageLoader("rsa_ops.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    promoted = [entry for entry in pipelines if entry.promoted]
    context = {
        "words": words,
        "own": own,
        "store": store,
        "generated_at": generated_at,
        "proposal": own.proposal.format(promoted=len(promoted), pipelines=len(pipelines)),
        "effects": (
            (own.saving, _amounts(totals(promoted, "saving")), own.saving_note),
            (words.npv, _amounts(totals(promoted, "npv")), ""),
            (own.pipelines, str(len(pipelines)), own.of_runs.format(runs=f"{len(runs):,}")),
        ),
        "counts": _counts(pipelines, words, own),
        "tables": (
            Table(
                own.by_pipeline, own.pipeline_columns, _pipelines(pipelines, words, own), frozenset({2, 3, 4, 5, 7})
            ),
            Table(
                own.all_runs, own.run_columns, tuple(_run(run, words, own) for run in runs), frozenset({3, 4, 5})
            ),
        ),
    }
    return environment.get_template(_TEMPLATE).render(context)


def by_pipeline(runs: Iterable[ListedRun]) -> tuple[Pipeline, ...]:
    """The pipelines, those that save most first, those without a price last; `runs` newest first."""
    groups: dict[str, list[ListedRun]] = {}
    for run in runs:
        groups.setdefault(run.pipeline, []).append(run)
    found = (
        Pipeline(name, next((run for run in group if run.headline is not None), None), len(group))
        for name, group in groups.items()
    )
    return tuple(sorted(found, key=_rank))


def totals(pipelines: Iterable[Pipeline], what: str) -> tuple[Money, ...]:
    """`saving` or `npv` of the newest verdicts added up for each currency; what has no price is left out."""
    sums: dict[Currency, Decimal] = {}
    for pipeline in pipelines:
        line = pipeline.latest.headline if pipeline.latest is not None else None
        amount: Money | None = getattr(line, what) if line is not None else None
        if amount is not None:
            sums[amount.currency] = sums.get(amount.currency, Decimal(0)) + amount.amount
    return tuple(Money(amount=amount, currency=currency) for currency, amount in sorted(sums.items()))


def _rank(pipeline: Pipeline) -> tuple[bool, Decimal, str]:
    line = pipeline.latest.headline if pipeline.latest is not None else None
    saving = line.saving if line is not None else None
    return (saving is None, -saving.amount if saving is not None else Decimal(0), pipeline.name)


def _outcome(run: ListedRun) -> Outcome | None:
    return None if run.headline is None else run.headline.outcome


def _counts(pipelines: Sequence[Pipeline], words: DecisionWords, own: PortfolioWords) -> tuple[str, ...]:
    """`3 × promote`, and how many have no verdict, for the newest verdict of each pipeline."""
    found = [_outcome(pipeline.latest) if pipeline.latest else None for pipeline in pipelines]
    told = [(words.outcomes[outcome], found.count(outcome)) for outcome in Outcome]
    return tuple(f"{label}: {count}" for label, count in [*told, (own.no_verdict, found.count(None))] if count)


def _pipelines(
    pipelines: Sequence[Pipeline], words: DecisionWords, own: PortfolioWords
) -> tuple[tuple[str, ...], ...]:
    rows = []
    for pipeline in pipelines:
        line = pipeline.latest.headline if pipeline.latest is not None else None
        outcome, difference, margin, saving = _cells(line, words, own)
        rows.append(
            (
                pipeline.name,
                outcome,
                difference,
                margin,
                saving,
                text.MISSING if line is None or line.npv is None else str(line.npv),
                text.MISSING if line is None or line.scenario is None else _scenario(line, words),
                str(pipeline.runs),
            )
        )
    return tuple(rows)


def _run(run: ListedRun, words: DecisionWords, own: PortfolioWords) -> tuple[str, ...]:
    outcome, difference, margin, saving = _cells(run.headline, words, own)
    policy = short(run.policy_digest) if run.policy_digest else text.MISSING
    return (run.started_at, run.pipeline, outcome, difference, margin, saving, policy, run.run_id)


def _cells(line: Headline | None, words: DecisionWords, own: PortfolioWords) -> tuple[str, str, str, str]:
    """Verdict, difference with its interval, margin, saving."""
    if line is None:
        return own.no_verdict, text.MISSING, text.MISSING, text.MISSING
    difference, margin = text.MISSING, text.MISSING
    if line.difference is not None and line.low is not None and line.high is not None:
        value, low, high = (text.points(each, line.metric) for each in (line.difference, line.low, line.high))
        difference = f"{value} [{low}, {high}]"
    if line.margin is not None:
        margin = text.points(-line.margin, line.metric)
    saving = text.MISSING if line.saving is None else str(line.saving)
    return words.outcomes[line.outcome], difference, margin, saving


def _scenario(line: Headline, words: DecisionWords) -> str:
    name = words.scenarios.get(line.scenario or "", line.scenario or "")
    return name if line.horizon_months is None else f"{name}, {words.months.format(count=line.horizon_months)}"


def _amounts(sums: Sequence[Money]) -> str:
    return " + ".join(map(str, sums)) or text.MISSING
