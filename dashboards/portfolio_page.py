"""Page: one line for every pipeline, with its latest verdict, its quality and what it saves.

It is the first page, and plain HTML: `st.dataframe` and `st.metric` fetch dozens of further scripts before they
show a figure, and pandas is imported for them.
"""

from __future__ import annotations

from collections.abc import Sequence

import reading
import streamlit as st
from reading import Sources
from words import Words

from rsa_ops.core.money import Money
from rsa_ops.core.verdict import Outcome
from rsa_ops.stages.portfolio import PortfolioRun


def show(sources: Sources, words: Words) -> None:
    """The totals, then the table."""
    runs = reading.portfolio(sources.store)
    if not runs:
        st.info(words.no_runs)
        return
    groups: dict[str, list[PortfolioRun]] = {}
    for run in runs:
        groups.setdefault(run.line.pipeline, []).append(run)
    rows = [_row(name, group, words) for name, group in groups.items()]
    figures = (words.margin, words.saving, words.npv, words.measured, words.runs)
    st.html(reading.totals(_totals(groups, words)) + reading.table(words.portfolio, rows, figures))
    st.caption(words.saving_note)


def _totals(groups: dict[str, list[PortfolioRun]], words: Words) -> dict[str, str]:
    latest = [found for group in groups.values() if (found := judged(group)) is not None]
    promoted = sum(run.headline is not None and run.headline.outcome is Outcome.PROMOTE for run in latest)
    return {
        words.pipelines: f"{len(groups):,}",
        words.runs: f"{sum(map(len, groups.values())):,}",
        f"{words.latest_verdict}: {words.promoted}": f"{promoted} / {len(groups)}",
        words.saving: " + ".join(map(str, _sums(latest))) or words.missing,
    }


def _sums(runs: Sequence[PortfolioRun]) -> list[Money]:
    """What the promoted ones save, added up for each currency."""
    found: dict[str, Money] = {}
    for run in runs:
        line = run.headline
        if line is None or line.outcome is not Outcome.PROMOTE or line.saving is None:
            continue
        saving = line.saving
        found[saving.currency] = found[saving.currency] + saving if saving.currency in found else saving
    return list(found.values())


def judged(group: Sequence[PortfolioRun]) -> PortfolioRun | None:
    """The newest run that came to a verdict."""
    return next((run for run in group if run.headline is not None), None)


def _row(name: str, group: Sequence[PortfolioRun], words: Words) -> dict[str, str]:
    run = judged(group)
    line = run.headline if run is not None else None
    if line is None:
        verdict, difference, margin, saving, npv, measured = words.no_verdict, *[words.missing] * 5
    else:
        verdict = words.outcomes[line.outcome.value]
        difference = f"{reading.points(line.difference, words.missing)} ({line.metric})"
        margin = reading.points(None if line.margin is None else -line.margin, words.missing)
        saving, npv = (reading.money(amount, words.missing) for amount in (line.saving, line.npv))
        measured = reading.share(line.measured_share, words.missing)
    return {
        words.pipeline: name,
        words.latest_verdict: verdict,
        words.quality: difference,
        words.margin: margin,
        words.saving: saving,
        words.npv: npv,
        words.measured: measured,
        words.runs: f"{len(group):,}",
        words.started: reading.time((run or group[0]).line.started_at),
    }
