"""Page: every verdict of a pipeline over time, with the difference it rested on."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go
import reading
import streamlit as st
from reading import Sources
from words import Words

from rsa_ops.stages.portfolio import PortfolioRun

COLOURS = {"promote": "#1a5e3a", "inconclusive": "#9a6a00", "reject": "#a3271e", "error": "#55626f"}
SYMBOLS = {"promote": "circle", "inconclusive": "diamond", "reject": "x", "error": "square"}
MOST_DRAWN = 200
MOST_TICKS = 4


def show(sources: Sources, words: Words) -> None:
    """The trend of one pipeline, then all its runs."""
    runs = reading.portfolio(sources.store)
    if not runs:
        st.info(words.no_runs)
        return
    names = list(dict.fromkeys(run.line.pipeline for run in runs))
    name = st.selectbox(words.choose_pipeline, names)
    ours = [run for run in runs if run.line.pipeline == name]
    drawn = [run for run in ours if run.headline is not None and run.headline.difference is not None][:MOST_DRAWN]
    if drawn:
        st.subheader(words.trend)
        st.plotly_chart(trend(drawn[::-1], words), width="stretch", config={"displayModeBar": False})
        metric = drawn[0].headline.metric if drawn[0].headline else ""
        st.caption(words.trend_note.format(metric=metric))
    st.dataframe([_row(run, words) for run in ours], hide_index=True, width="stretch")


def trend(runs: Sequence[PortfolioRun], words: Words) -> go.Figure:
    """Differences with their intervals in hundredths of the score, oldest first, and minus the margin dashed."""
    figure = go.Figure()
    lines = [(run, run.headline) for run in runs if run.headline is not None]
    at = [reading.time(run.line.started_at) + " " + run.line.run_id[:6] for run, _ in lines]
    figure.add_scatter(
        x=at,
        y=[-100 * (line.margin or 0) for _, line in lines],
        mode="lines",
        line={"dash": "dash", "color": "#a3271e", "shape": "hvh"},
        name=f"− {words.margin}",
    )
    for outcome, shown in words.outcomes.items():
        some = [(x, line) for x, (_, line) in zip(at, lines, strict=True) if line.outcome.value == outcome]
        figure.add_scatter(
            x=[x for x, _ in some],
            y=[100 * (line.difference or 0) for _, line in some],
            error_y={
                "type": "data",
                "array": [100 * ((line.high or 0) - (line.difference or 0)) for _, line in some],
                "arrayminus": [100 * ((line.difference or 0) - (line.low or 0)) for _, line in some],
            },
            mode="markers",
            marker={"size": 9, "color": COLOURS[outcome], "symbol": SYMBOLS[outcome]},
            name=shown,
            showlegend=bool(some),
        )
    figure.update_layout(
        height=380,
        margin={"l": 10, "r": 10, "t": 10, "b": 10},
        legend={"orientation": "h", "y": 1.12},
        xaxis={"type": "category", "categoryarray": at, "tickangle": 0, "tickvals": some_of(at)},
        yaxis={"title": f"{words.quality} (×100)", "zeroline": True},
    )
    figure.update_xaxes(ticktext=[x[:10] for x in some_of(at)])
    return figure


def some_of(ticks: Sequence[str]) -> list[str]:
    """So few of the ticks, evenly, that they do not run into one another on a phone."""
    step = max(1, -(-len(ticks) // MOST_TICKS))
    return list(ticks[::step])


def _row(run: PortfolioRun, words: Words) -> dict[str, object]:
    line = run.headline
    interval = words.missing
    if line is not None and line.low is not None and line.high is not None:
        interval = f"{reading.points(line.low, '')} … {reading.points(line.high, '')}"
    return {
        words.started: reading.time(run.line.started_at),
        words.verdict: words.no_verdict if line is None else words.outcomes[line.outcome.value],
        words.quality: reading.points(None if line is None else line.difference, words.missing),
        words.interval: interval,
        words.saving: reading.money(None if line is None else line.saving, words.missing),
        words.policy: run.line.policy_digest.removeprefix("sha256:")[:12],
        words.status: run.line.status.lower(),
        words.run_id: run.line.run_id,
    }
