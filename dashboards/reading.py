"""What every page needs: where things are read from, read once a minute, and how figures are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import streamlit as st

from rsa_ops.core.money import Money
from rsa_ops.stages.portfolio import LedgerReading, PortfolioRun, read_ledger, read_portfolio, read_run

if TYPE_CHECKING:
    from rsa_ops.reporting.inputs import ReportInputs  # the room of the reports is no part of the first page

STYLE = """
.stApp, .stApp p, .stApp li, .stApp h1, .stApp h2, .stApp h3, .stApp label {
  font-family: system-ui, "Segoe UI", "Noto Sans", "Hiragino Sans", "Yu Gothic UI", "Noto Sans CJK JP", sans-serif;
}
.stApp h1 { font-size: 1.75rem; }
.stApp h3 { font-size: 1.2rem; }
[data-testid="stCaptionContainer"], [data-testid="stCaptionContainer"] p { color: #4a5662; opacity: 1; }
[data-testid="stMainBlockContainer"] { padding-top: 3.5rem; padding-inline: clamp(1rem, 3vw, 3rem); }
[data-testid="stMetricValue"], [data-testid="stMetricValue"] * { white-space: normal; overflow: visible; }
[data-testid="stMetricValue"] { font-variant-numeric: tabular-nums; font-weight: 650; font-size: 1.5rem; }
.stApp dl.rsa-totals { display: grid; gap: 0.75rem 1rem; margin: 0 0 1rem; padding: 0; }
.stApp dl.rsa-totals { grid-template-columns: repeat(auto-fit, minmax(10rem, 1fr)); }
.rsa-totals dt { font-size: 0.875rem; color: #4a5662; }
.stApp .rsa-totals dd { margin: 0; font-size: 1.5rem; font-weight: 650; font-variant-numeric: tabular-nums; }
.rsa-table { overflow-x: auto; }
.rsa-table table { width: 100%; border-collapse: collapse; }
.rsa-table table { font-size: 0.8125rem; font-variant-numeric: tabular-nums; }
.rsa-table th, .rsa-table td { padding: 0.35rem 0.4rem; border: 1px solid #d5dbe1; text-align: left; }
.rsa-table th { background: #f5f7f9; color: #4a5662; font-weight: 600; vertical-align: bottom; }
.rsa-table th { min-width: 4rem; word-break: keep-all; }
.rsa-table td { white-space: nowrap; }
.rsa-table td.figure { text-align: right; }
"""


@dataclass(frozen=True)
class Sources:
    """The MLflow store, and the ledger where there is one."""

    store: str
    ledger: str | None


@st.cache_data(ttl=60, show_spinner=False)
def portfolio(store: str) -> tuple[PortfolioRun, ...]:
    """All runs, read at most once a minute."""
    return read_portfolio(store)


@st.cache_data(ttl=600, max_entries=50, show_spinner=False)
def run_records(store: str, run_id: str) -> ReportInputs:
    """The records of one run; they do not change once it has ended."""
    return read_run(store, run_id)


@st.cache_data(ttl=30, show_spinner=False)
def ledger(address: str, newest: int) -> LedgerReading:
    """The last words of the ledger."""
    return read_ledger(address, newest)


def totals(figures: Mapping[str, str]) -> str:
    """Figures in a row, each under its name, as HTML."""
    entries = (f"<div><dt>{escape(name)}</dt><dd>{escape(figure)}</dd></div>" for name, figure in figures.items())
    return f'<dl class="rsa-totals">{"".join(entries)}</dl>'


def table(label: str, rows: Sequence[Mapping[str, str]], figures: Sequence[str]) -> str:
    """A table as HTML that scrolls in its place where it is too wide; the columns `figures` stand to the right."""
    names = list(rows[0])
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    kinds = ["figure" if name in figures else "words" for name in names]
    body = "".join(
        "<tr>"
        + "".join(f'<td class="{kind}">{escape(row[name])}</td>' for name, kind in zip(names, kinds, strict=True))
        + "</tr>"
        for row in rows
    )
    # The keyboard reaches what scrolls by its tab index.
    return (
        f'<div class="rsa-table" role="region" aria-label="{escape(label)}" tabindex="0">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def money(amount: Money | None, missing: str) -> str:
    """An amount as its currency writes it."""
    return missing if amount is None else str(amount)


def points(value: float | None, missing: str) -> str:
    """A difference in score, signed, in hundredths: `+1.2` is 0.012; what rounds to nothing has no sign."""
    if value is None:
        return missing
    shown = f"{abs(value) * 100:.1f}"
    return shown if float(shown) == 0 else f"{'+' if value > 0 else '−'}{shown}"


def share(value: float | None, missing: str) -> str:
    """A share of a whole; what is there but rounds to nothing is less than one."""
    if value is None:
        return missing
    return "< 1 %" if 0 < value < 0.005 else f"{value * 100:.0f} %"


def time(moment: object) -> str:
    """`2026-11-24 09:30`."""
    return f"{moment:%Y-%m-%d %H:%M}"


def mlflow_link(store: str, run: PortfolioRun) -> str | None:
    """The page of a run on an MLflow server; None for a local store, which has no server of its own."""
    if not store.startswith("http"):
        return None
    return f"{store.rstrip('/')}/#/experiments/{run.line.experiment_id}/runs/{run.line.run_id}"
