"""Page: the business case of a run again, with other assumptions. Nothing is kept."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

import plotly.graph_objects as go
import reading
import streamlit as st
from reading import Sources
from words import Words

from rsa_ops.core.business_case import BusinessCase, KeyFigure
from rsa_ops.costs.pricebook import load_book
from rsa_ops.costs.scenario import EMBEDDED, Scenario, load_scenario
from rsa_ops.reporting.inputs import ReportInputs
from rsa_ops.stages.business import remade

MOVED = (
    "variants",
    "requests_per_month",
    "trainings_per_year",
    "engineer_hours",
    "governance_hours",
    "adoption_hours",
    "cost_per_wrong_answer",
    "discount_rate",
    "exchange_rate_factor",
)
"""Inputs with a slider. The others stay as the scenario has them."""

DRAWS = 2000
WIDER = 3
"""Sliders reach beyond the range of the scenario by this factor, because the reader may know better."""


def show(sources: Sources, words: Words) -> None:
    """Choose a run and a scenario, move the sliders, read the result."""
    runs = [run for run in reading.portfolio(sources.store) if run.headline is not None]
    if not runs:
        st.info(words.no_runs)
        return
    newest = {run.line.pipeline: run for run in reversed(runs)}
    left, right = st.columns(2)
    name = left.selectbox(words.choose_pipeline, list(newest))
    named = right.selectbox(words.scenario, EMBEDDED, format_func=words.scenarios.get)
    records = reading.run_records(sources.store, newest[name].line.run_id)
    if records.comparison is None or not records.comparison.assessable:
        st.info(words.no_case)
        return
    scenario = load_scenario(named)
    with st.expander(words.assumptions, expanded=True):
        values = _sliders(scenario, words)
    case = _case(records, named, tuple(values.items()))
    _figures(case, words)
    st.plotly_chart(_categories(case, words), width="stretch", config={"displayModeBar": False})
    st.subheader(words.tornado)
    st.plotly_chart(_tornado(case, words), width="stretch", config={"displayModeBar": False})


def _sliders(scenario: Scenario, words: Words) -> dict[str, Decimal]:
    columns = st.columns(3)
    found = {}
    for place, name in enumerate(MOVED):
        entry = getattr(scenario.inputs, name)
        whole = entry.value >= 1 and name not in ("exchange_rate_factor", "discount_rate")
        low, high = (entry.low, entry.high * WIDER) if whole else (entry.low / WIDER, entry.high * WIDER)
        low = max(low, Decimal(1)) if name == "variants" else low
        kind = int if whole else float
        step = max(1, int(high) // 200) if whole else float(high) / 200
        chosen = columns[place % 3].slider(
            words.inputs[name], kind(low), kind(high), kind(entry.value), step, key=f"{scenario.id}-{name}"
        )
        found[name] = Decimal(repr(chosen))
    return found


@st.cache_data(max_entries=100, show_spinner=False)
def _case(_records: ReportInputs, named: str, values: tuple[tuple[str, Decimal], ...]) -> BusinessCase:
    scenario = load_scenario(named)
    return remade(_records, _moved(scenario, dict(values)), load_book(None))


def _moved(scenario: Scenario, values: Mapping[str, Decimal]) -> Scenario:
    """The scenario with other values; a range that a value lies outside of is widened to it."""
    inputs = {}
    for name, value in values.items():
        entry = getattr(scenario.inputs, name)
        update = {"value": value, "low": min(entry.low, value), "high": max(entry.high, value)}
        inputs[name] = entry.model_copy(update=update)
    return scenario.model_copy(update={"inputs": scenario.inputs.model_copy(update=inputs), "draws": DRAWS})


def _figures(case: BusinessCase, words: Words) -> None:
    sure = case.simulation
    columns = st.columns(4)
    columns[0].metric(words.saving, str(case.saving), f"{sure.saving_p10} … {sure.saving_p90}", delta_color="off")
    columns[1].metric(
        words.npv, str(case.npv), f"P(NPV > 0) = {sure.probability_npv_positive:.0%}", delta_color="off"
    )
    columns[2].metric(words.payback, _months(case.payback, words))
    columns[3].metric(words.measured, f"{case.shares.measured:.1%}")
    st.caption(words.case_note.format(low="10", high="90", draws=f"{sure.draws:,}"))


def _months(found: KeyFigure, words: Words) -> str:
    return words.never if found.value is None else words.months.format(count=found.value)


def _categories(case: BusinessCase, words: Words) -> go.Figure:
    figure = go.Figure()
    arms = [case.arm(arm) for arm in (case.baseline, case.candidate)]
    names = list(dict.fromkeys(entry.category for arm in arms for entry in arm.categories))
    for name in names:
        amounts = [
            float(next((entry.amount.amount for entry in arm.categories if entry.category == name), 0))
            for arm in arms
        ]
        figure.add_bar(y=[arm.arm for arm in arms], x=amounts, name=words.categories[name], orientation="h")
    figure.update_layout(
        barmode="stack",
        height=260,
        margin={"l": 10, "r": 10, "t": 10, "b": 10},
        legend={"orientation": "h", "y": -0.25},
        xaxis={"title": case.currency},
    )
    return figure


def _tornado(case: BusinessCase, words: Words) -> go.Figure:
    swings = case.tornado[:8][::-1]
    figure = go.Figure()
    for end, colour, label in (("low", "#7a4f00", words.at_low), ("high", "#1f5fa8", words.at_high)):
        figure.add_bar(
            y=[words.inputs.get(swing.input, swing.input) for swing in swings],
            x=[float(getattr(swing, f"npv_at_{end}").amount - case.npv.amount) for swing in swings],
            base=[float(case.npv.amount)] * len(swings),
            name=label,
            orientation="h",
            marker_color=colour,
        )
    figure.update_layout(
        barmode="overlay",
        height=360,
        margin={"l": 10, "r": 10, "t": 10, "b": 10},
        legend={"orientation": "h", "y": -0.2},
        xaxis={"title": f"{words.npv} ({case.currency})"},
        yaxis={"automargin": True},
    )
    return figure
