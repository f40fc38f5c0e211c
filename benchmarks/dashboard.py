"""How long the dashboard takes to open on a store with 1,000 pipeline runs and their 9,000 cells.

Run: python benchmarks/dashboard.py  ->  benchmarks/results/dashboard.json

Listing the runs in this process, and the page's script from start to end (Streamlit's own test runner, nothing
cached), are the slowest of five. The page in a headless Chromium is taken from the request until its totals and its
table stand there (null where there is no Chromium), once, with nothing cached; `floor_seconds` is the same for a
script that only writes a title: what Streamlit and the browser take themselves. The servers are started before.
"""

import json
import os
import platform
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

from rsa_ops.cli.dashboard import SETTINGS
from rsa_ops.core.headline import Headline
from rsa_ops.core.money import Money
from rsa_ops.core.verdict import Outcome
from rsa_ops.execution.key import library_versions
from rsa_ops.tracking.listing import list_runs, warm_up
from rsa_ops.tracking.runs import end_run, start_run
from rsa_ops.tracking.store import open_store

HERE = Path(__file__).parent
RUNS, CELLS, PIPELINES, ROUNDS, LIMIT = 1000, 9, 20, 5, 3.0
TABLE, TITLE = ".rsa-totals + .rsa-table td", '[data-testid="stHeading"]'


def headline(number: int) -> Headline:
    """A line as a gate writes it; every figure follows from `number`."""
    difference = (number * 37 % 61 - 30) / 1000
    outcome = list(Outcome)[0 if difference > -0.01 else number % 3]
    cost = 1000 + number % 97
    return Headline(
        outcome=outcome,
        candidate="rsa",
        baseline="full",
        metric="accuracy",
        difference=difference,
        low=difference - 0.012,
        high=difference + 0.012,
        margin=0.03,
        examples=600,
        candidate_cost=Money(amount=Decimal(cost), currency="JPY"),
        baseline_cost=Money(amount=Decimal(cost * 3), currency="JPY"),
        npv=Money(amount=Decimal(cost * 2 - 100), currency="JPY"),
        scenario="pilot",
        horizon_months=36,
        measured_share=0.4,
    )


def fill(folder: Path, runs: int, cells: int) -> str:
    """A store with `runs` pipeline runs of `cells` nested runs each; returns its address."""
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    stores = [open_store(uri, f"pipeline-{number:02}", folder / "artifacts") for number in range(PIPELINES)]
    parents = []
    for number in range(runs):
        store = stores[number % PIPELINES]
        tags = {
            "pipeline": f"pipeline-{number % PIPELINES:02}",
            "policy.sha256": "sha256:" + f"{number % 7:064x}",
            "headline": headline(number).model_dump_json(),
        }
        parents.append(start_run(store, "walk", tags))
        end_run(store, parents[-1])
    _multiply(folder / "mlflow.db", parents, cells)
    return uri


def _multiply(database: Path, parents: list[str], cells: int) -> None:
    """Nested runs, copied row by row from their parents: writing 9,000 through the client takes minutes."""
    with sqlite3.connect(database) as connection:
        columns = [row[1] for row in connection.execute("PRAGMA table_info(runs)")]
        others = ", ".join(column for column in columns if column != "run_uuid")
        for number in range(cells):
            connection.execute(
                f"INSERT INTO runs (run_uuid, {others}) "
                f"SELECT 'x{number}' || substr(run_uuid, 3), {others} FROM runs "
                f"WHERE run_uuid IN ({', '.join('?' * len(parents))})",
                parents,
            )
            for key in ("rsa.stage", "rsa.key", "rsa.result.sha256", "mlflow.parentRunId"):
                connection.executemany(
                    "INSERT INTO tags (key, value, run_uuid) VALUES (?, ?, ?)",
                    [(key, parent, f"x{number}{parent[2:]}") for parent in parents],
                )
    connection.close()


def slowest(action: Any) -> float:
    """Seconds of the slowest of `ROUNDS` rounds."""
    taken = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        action()
        taken.append(time.perf_counter() - start)
    return max(taken)


def script_seconds(uri: str) -> float:
    """The page's script from start to end, with nothing cached."""
    import streamlit
    from streamlit.testing.v1 import AppTest

    sys.argv = ["app.py", uri, "", "en"]
    sys.path.insert(0, str(HERE.parent / "dashboards"))

    def once() -> None:
        streamlit.cache_data.clear()
        page = AppTest.from_file(str(HERE.parent / "dashboards" / "app.py"), default_timeout=60).run()
        if page.exception or not any("<td" in part.proto.body for part in page.get("html")):
            raise SystemExit(f"the page did not come: {page.exception}")

    once()  # imports
    return slowest(once)


def dashboard_words(uri: str, port: int) -> list[str]:
    """The command line that serves the dashboard."""
    return ["-m", "rsa_ops.cli", "dashboard", "--store", uri, "--port", str(port), "--lang", "en"]


def floor_words(folder: Path, port: int) -> list[str]:
    """The command line that serves a script with a title and nothing else, with the dashboard's settings."""
    script = folder / "floor.py"
    script.write_text('import streamlit as st\n\nst.title("floor")\n', encoding="utf-8")
    settings = {**SETTINGS, "server.port": port, "server.address": "127.0.0.1"}
    return ["-m", "streamlit", "run", str(script), *(f"--{name}={value}" for name, value in settings.items())]


def browser_seconds(words: Callable[[int], list[str]], awaited: str, shot: Path) -> float | None:
    """The page that `words(port)` serves, in a browser, from the request until `awaited` stands there.

    None without Chromium. The browser itself is started before.
    """
    chromium = shutil.which("chromium")
    if chromium is None:
        return None
    from playwright.sync_api import sync_playwright

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen([sys.executable, *words(port)], env=os.environ)
    try:
        wait_for(f"http://127.0.0.1:{port}/_stcore/health")
        with sync_playwright() as play:
            browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            start = time.perf_counter()
            page = browser.new_page()
            page.goto(f"http://127.0.0.1:{port}")
            page.wait_for_selector(awaited)
            taken = time.perf_counter() - start  # the first reader, with nothing cached
            page.wait_for_timeout(500)
            page.screenshot(path=shot)
            browser.close()
        return round(taken, 3)
    finally:
        server.terminate()
        server.wait(timeout=20)


def wait_for(url: str) -> None:
    """Until the server answers, half a minute at most."""
    for _ in range(150):
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            time.sleep(0.2)
    raise SystemExit(f"{url} does not answer")


def main() -> None:
    """Measure and write the record."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        uri = fill(folder, RUNS, CELLS)
        warm_up(uri)
        found = {
            "runs": RUNS,
            "cells": RUNS * CELLS,
            "rounds": ROUNDS,
            "listing_seconds": round(slowest(lambda: list_runs(uri)), 3),
            "browser_seconds": browser_seconds(partial(dashboard_words, uri), TABLE, folder / "page.png"),
            "floor_seconds": browser_seconds(partial(floor_words, folder), TITLE, folder / "floor.png"),
            "script_seconds": round(script_seconds(uri), 3),
            "limit_seconds": LIMIT,
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "libraries": library_versions(),
        }
    out = HERE / "results" / "dashboard.json"
    out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
