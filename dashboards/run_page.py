"""Page: the records of one run, as they are stored."""

from __future__ import annotations

import reading
import streamlit as st
from reading import Sources
from words import Words

from rsa_ops.core.costs import Tco
from rsa_ops.core.verdict import Verdict
from rsa_ops.stages.portfolio import PortfolioRun

MOST_OFFERED = 500


def show(sources: Sources, words: Words) -> None:
    """Choose a run; see its verdict, its rules, its costs, and where MLflow has it."""
    runs = reading.portfolio(sources.store)
    if not runs:
        st.info(words.no_runs)
        return
    chosen = st.selectbox(words.choose_run, runs[:MOST_OFFERED], format_func=lambda run: _name(run, words))
    link = reading.mlflow_link(sources.store, chosen)
    if link is not None:
        st.link_button(words.open_mlflow, link)
    found = reading.run_records(sources.store, chosen.line.run_id)
    if link is None and found.mlflow_hint:
        st.caption(words.open_mlflow)
        st.code(found.mlflow_hint, language=None)
    if found.verdict is not None:
        _verdict(found.verdict, words)
    if found.tco is not None:
        _costs(found.tco, words)


def _name(run: PortfolioRun, words: Words) -> str:
    outcome = words.no_verdict if run.headline is None else words.outcomes[run.headline.outcome.value]
    return f"{reading.time(run.line.started_at)}  {run.line.pipeline}  {outcome}  {run.line.run_id[:8]}"


def _verdict(verdict: Verdict, words: Words) -> None:
    st.subheader(f"{words.verdict}: {words.outcomes[verdict.outcome.value]}")
    st.write(verdict.sentence)
    if words.sentence_note:
        st.caption(words.sentence_note)
    rows = [
        dict(
            zip(
                words.ruling_columns,
                (words.outcomes[rule.outcome.value], rule.rule, rule.required, rule.observed),
                strict=True,
            )
        )
        for rule in verdict.rulings
    ]
    st.subheader(words.rulings)
    st.dataframe(rows, hide_index=True, width="stretch")


def _costs(tco: Tco, words: Words) -> None:
    st.subheader(words.costs)
    st.metric(words.measured, reading.share(tco.measured_share, words.missing))
    totals = [
        {
            words.cost_columns[0]: arm.arm,
            words.per_training: str(arm.per_training),
            words.total.format(months=tco.horizon_months): str(arm.total),
        }
        for arm in tco.arms
    ]
    st.dataframe(totals, hide_index=True, width="stretch")
    rows = [
        dict(
            zip(
                words.cost_columns,
                (
                    item.arm,
                    f"{item.category}: {item.description}",
                    f"{float(item.quantity):,.4g} {item.unit}",
                    item.quantity_basis.value,
                    str(item.amount),
                ),
                strict=True,
            )
        )
        for item in tco.items
    ]
    st.dataframe(rows, hide_index=True, width="stretch")
