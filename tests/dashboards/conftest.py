"""A store with runs of two pipelines, a ledger beside it, and Streamlit's own test runner."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from rsa_ops.core.headline import Headline
from rsa_ops.core.money import Money
from rsa_ops.core.verdict import Outcome
from rsa_ops.governance.notary import open_notary
from rsa_ops.tracking.runs import end_run, log_files, start_run
from rsa_ops.tracking.store import open_store

from ..worlds import write_results

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "dashboards"


def headline(outcome: Outcome, difference: float, saving: int) -> Headline:
    return Headline(
        outcome=outcome,
        candidate="rsa",
        baseline="full",
        metric="accuracy",
        difference=difference,
        low=difference - 0.01,
        high=difference + 0.01,
        margin=0.03,
        examples=600,
        candidate_cost=Money(amount=Decimal(1000), currency="JPY"),
        baseline_cost=Money(amount=Decimal(1000 + saving), currency="JPY"),
        npv=Money(amount=Decimal(saving - 100), currency="JPY"),
        scenario="pilot",
        horizon_months=36,
        measured_share=0.4,
    )


@pytest.fixture(autouse=True)
def main_module() -> Iterator[None]:
    """Streamlit's test runner leaves its script as `__main__`, which processes started later would import."""
    before = sys.modules["__main__"]
    yield
    sys.modules["__main__"] = before


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder: three verdicts of two pipelines, one run without, a ledger with a key and nothing else."""
    folder = tmp_path_factory.mktemp("dashboard")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    for pipeline, lines in {
        "triage": [headline(Outcome.REJECT, -0.05, 500), headline(Outcome.PROMOTE, 0.004, 2345), None],
        "report": [headline(Outcome.PROMOTE, -0.012, 1200)],
    }.items():
        store = open_store(uri, pipeline, folder / "artifacts")
        for line in lines:
            tags = {"pipeline": pipeline, "policy.sha256": "sha256:" + "ab" * 32}
            run = start_run(store, "walk", tags | ({"headline": line.model_dump_json()} if line else {}))
            if line is not None and line.outcome is Outcome.PROMOTE:
                log_files(store, run, write_results(folder / "results" / pipeline, pipeline, uri, run))
            end_run(store, run)
    with closing(open_notary(str(folder / "ledger.db"), None, lambda _: None).ledger):
        pass
    return folder


@pytest.fixture
def page(filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Any]:
    """`page(name, language)`: a page of the dashboard, run once on a copy of the filled folder."""
    testing = pytest.importorskip("streamlit.testing.v1", reason="streamlit is not installed")
    for file in filled.glob("*.db*"):
        shutil.copy(file, tmp_path / file.name)
    monkeypatch.syspath_prepend(PAGES)

    def run(name: str, language: str) -> Any:
        import streamlit

        streamlit.cache_data.clear()
        sources = json.dumps([f"sqlite:///{tmp_path / 'mlflow.db'}", str(tmp_path / "ledger.db")])
        script = (
            f"import {name}\nfrom reading import Sources\nfrom words import LANGUAGES\n"
            f"{name}.show(Sources(*{sources}), LANGUAGES[{language!r}])\n"
        )
        return testing.AppTest.from_string(script, default_timeout=60).run()

    yield run
    for neighbour in PAGES.glob("*.py"):
        sys.modules.pop(neighbour.stem, None)
