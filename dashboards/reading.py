"""What every page needs: where things are read from, read once a minute, and how figures are written."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from rsa_ops.core.money import Money
from rsa_ops.reporting.inputs import ReportInputs
from rsa_ops.stages.portfolio import LedgerReading, PortfolioRun, read_ledger, read_portfolio, read_run

STYLE = """
.stApp, .stApp p, .stApp li, .stApp h1, .stApp h2, .stApp h3, .stApp label {
  font-family: system-ui, "Segoe UI", "Noto Sans", "Hiragino Sans", "Yu Gothic UI", "Noto Sans CJK JP", sans-serif;
}
.stApp h1 { font-size: 1.75rem; }
.stApp h3 { font-size: 1.2rem; }
[data-testid="stCaptionContainer"], [data-testid="stCaptionContainer"] p { color: #4a5662; opacity: 1; }
[data-testid="stMainBlockContainer"] { padding-top: 3.5rem; }
[data-testid="stMetricValue"], [data-testid="stMetricValue"] * { white-space: normal; overflow: visible; }
[data-testid="stMetricValue"] { font-variant-numeric: tabular-nums; font-weight: 650; font-size: 1.5rem; }
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


def money(amount: Money | None, missing: str) -> str:
    """An amount as its currency writes it."""
    return missing if amount is None else str(amount)


def points(value: float | None, missing: str) -> str:
    """A difference in score, signed, in hundredths: +1.2 is 0.012."""
    return missing if value is None else f"{value * 100:+.1f}"


def time(moment: object) -> str:
    """`2026-11-24 09:30`."""
    return f"{moment:%Y-%m-%d %H:%M}"


def mlflow_link(store: str, run: PortfolioRun) -> str | None:
    """The page of a run on an MLflow server; None for a local store, which has no server of its own."""
    if not store.startswith("http"):
        return None
    return f"{store.rstrip('/')}/#/experiments/{run.line.experiment_id}/runs/{run.line.run_id}"
