"""Plotly figures of a report, as JSON. Every number in them stands in a table beside them too.

The differences with their margins are drawn without scripts: `forest_svg`.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

from rsa_ops.core.benchmark import CellScores
from rsa_ops.core.comparison import ArmSummary, Comparison
from rsa_ops.core.costs import Tco
from rsa_ops.core.estimate import Estimate
from rsa_ops.reporting import text

ACCENT = "#1f5fa8"
INK = "#1c2733"
QUIET = "#5b6875"
RULE = "#dde3e9"
_ARM_COLOURS = (INK, "#8a6d1d", "#6b4c86", "#3b7a73", "#8b4a52", "#4d5d8a")
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star")
_FILLS = (ACCENT, "#7ba7d4", "#44505c", "#a9b4bf", "#c9a13c", "#6b4c86")
_FONT = "system-ui, -apple-system, 'Segoe UI', 'Noto Sans', 'Noto Sans CJK JP', sans-serif"
_GAP = {"ticks": "outside", "ticklen": 8, "tickcolor": "#ffffff"}
MOST_SLICES = 24
"""More slices than this make no readable picture; the table still holds all."""


@dataclass(frozen=True)
class Chart:
    """One figure: `alt` says in words what it shows; `spec` is Plotly JSON."""

    name: str
    alt: str
    spec: str
    height: int


def seed_dots(comparison: Comparison, scores: tuple[CellScores, ...]) -> Chart | None:
    """One dot a seed, and the arm's estimate with its interval, on the primary metric."""
    metric = comparison.primary_metric
    arms = [arm for arm in comparison.arms if metric in arm.metrics]
    if not arms:
        return None
    traces: list[dict[str, Any]] = []
    for arm in arms:
        dots = [
            s.metrics[metric] * text.scale(metric) for s in scores if s.cell.arm == arm.arm and metric in s.metrics
        ]
        traces += _seed_traces(
            arm, arm.metrics[metric], dots, scale=text.scale(metric), candidate=arm.arm == comparison.candidate
        )
    layout = _layout(100 + 52 * len(arms), f"{text.metric_label(metric)}{text.metric_unit(metric)}")
    layout["yaxis"].update(range=[len(arms) - 0.5, -0.5])
    layout["showlegend"] = False
    alt = f"{text.metric_label(metric)} per arm: every seed as an open dot, the mean with its interval."
    return _chart("seeds", alt, traces, layout)


def slice_dots(comparison: Comparison) -> Chart | None:
    """Score of each arm on each slice; what is too small to judge is left to the table."""
    names = list(dict.fromkeys(entry.slice for arm in comparison.arms for entry in arm.slices if entry.assessable))[
        :MOST_SLICES
    ]
    keys = {name.partition("=")[0] for name in names}
    common = f"{keys.pop()}=" if len(keys) == 1 else ""
    points = {
        arm.arm: {e.slice.removeprefix(common): e.score.value for e in arm.slices if e.assessable}
        for arm in comparison.arms
    }
    what = f"slice ({common.removesuffix('=')})" if common else "slice"
    alt = f"Score of every arm on every {what} large enough to judge."
    return _arm_dots("slices", alt, comparison, [name.removeprefix(common) for name in names], points)


def robustness_dots(comparison: Comparison) -> Chart | None:
    """Score of each arm without noise and under each kind of noise."""
    metric = comparison.primary_metric
    kinds = list(dict.fromkeys(kind for arm in comparison.arms for kind in arm.robustness))
    points = {
        arm.arm: {kind: estimate.value for kind, estimate in arm.robustness.items()} for arm in comparison.arms
    }
    if kinds:
        for arm in comparison.arms:
            if metric in arm.metrics:
                points[arm.arm]["no noise"] = arm.metrics[metric].value
        kinds.insert(0, "no noise")
    alt = "Score of every arm without noise and under each kind of noise."
    return _arm_dots("robustness", alt, comparison, kinds, points)


def cost_bars(tco: Tco) -> Chart | None:
    """Total of each arm, stacked by category."""
    if not tco.items:
        return None
    arms = [arm.arm for arm in tco.arms]
    categories = list(dict.fromkeys(item.category for item in tco.items))
    traces: list[dict[str, Any]] = []
    for index, category in enumerate(categories):
        totals = [
            float(sum(item.amount.amount for item in tco.items if (item.arm, item.category) == (arm, category)))
            for arm in arms
        ]
        traces.append(
            {
                "type": "bar",
                "orientation": "h",
                "name": _label(category),
                "x": totals,
                "y": [_label(arm) for arm in arms],
                "marker": {"color": _FILLS[index % len(_FILLS)], "line": {"color": "#ffffff", "width": 1}},
            }
        )
    layout = _layout(140 + 48 * len(arms), f"{tco.currency} over {tco.horizon_months} months")
    layout["barmode"] = "stack"
    layout["bargap"] = 0.45
    layout["yaxis"].update(autorange="reversed")
    return _chart("costs", "Total cost of every arm over the horizon, by category.", traces, layout)


def _arm_dots(
    name: str, alt: str, comparison: Comparison, groups: list[str], points: dict[str, dict[str, float]]
) -> Chart | None:
    if not groups:
        return None
    traces = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": _label(arm),
            "x": [values[group] * text.scale(comparison.primary_metric) for group in groups if group in values],
            "y": [_label(group) for group in groups if group in values],
            "marker": _marker(index, candidate=arm == comparison.candidate),
        }
        for index, (arm, values) in enumerate(points.items())
    ]
    metric = comparison.primary_metric
    layout = _layout(130 + 34 * len(groups), f"{text.metric_label(metric)}{text.metric_unit(metric)}")
    labels = [_label(group) for group in groups]
    layout["yaxis"].update(categoryorder="array", categoryarray=labels, range=[len(groups) - 0.5, -0.5])
    return _chart(name, alt, traces, layout)


def _seed_traces(
    arm: ArmSummary, found: Estimate, dots: list[float], *, scale: float, candidate: bool
) -> list[dict[str, Any]]:
    colour, label = ACCENT if candidate else INK, _label(arm.arm)
    estimate = {
        "type": "scatter",
        "mode": "markers",
        "x": [found.value * scale],
        "y": [label],
        "marker": {"size": 11, "color": colour},
        "error_x": _whiskers(found.value * scale, found.low * scale, found.high * scale, colour),
        "hoverinfo": "x",
    }
    seeds = {
        "type": "scatter",
        "mode": "markers",
        "x": dots,
        "y": [label] * len(dots),
        "marker": {"size": 9, "symbol": "circle-open", "color": QUIET, "line": {"width": 1.5}},
        "hoverinfo": "x",
    }
    return [estimate, seeds]


def _whiskers(value: float, low: float, high: float, colour: str) -> dict[str, Any]:
    return {
        "type": "data",
        "symmetric": False,
        "array": [high - value],
        "arrayminus": [value - low],
        "color": colour,
        "thickness": 2,
        "width": 0,
    }


def _marker(index: int, *, candidate: bool) -> dict[str, Any]:
    colour = ACCENT if candidate else _ARM_COLOURS[index % len(_ARM_COLOURS)]
    return {"size": 12 if candidate else 10, "color": colour, "symbol": _SYMBOLS[index % len(_SYMBOLS)]}


def _layout(height: int, x_title: str) -> dict[str, Any]:
    axis = {"fixedrange": True, "gridcolor": RULE, "zeroline": False, "tickfont": {"size": 13}}
    return {
        "template": None,
        "height": height,
        "margin": {"l": 8, "r": 16, "t": 34, "b": 48},
        "font": {"family": _FONT, "size": 13, "color": INK},
        "paper_bgcolor": "#ffffff",
        "plot_bgcolor": "#ffffff",
        "dragmode": False,
        "hovermode": "closest",
        "legend": {
            "orientation": "h",
            "traceorder": "normal",
            "x": 0,
            "y": 1.0,
            "xanchor": "left",
            "yanchor": "bottom",
        },
        "xaxis": {**axis, "title": {"text": x_title, "font": {"size": 13, "color": QUIET}}, "automargin": True},
        "yaxis": {**axis, "type": "category", "automargin": True, "showgrid": False, **_GAP},
    }


def _chart(name: str, alt: str, traces: list[dict[str, Any]], layout: dict[str, Any]) -> Chart:
    """Through `go.Figure`, which refuses what plotly.js would silently ignore."""
    import plotly.graph_objects as go

    spec = str(go.Figure(data=traces, layout=layout).to_json())
    return Chart(name=name, alt=alt, spec=spec.replace("<", "\\u003c"), height=int(layout["height"]))


def _label(words: str) -> str:
    """User text in a figure: no tags, and short enough for a phone; the table has it whole."""
    short = words if len(words) <= 22 else f"{words[:21]}…"
    return escape(short, quote=False)
