"""How long `rsa-ops report --portfolio` takes on a store with 1,000 pipeline runs, and how large its page is.

Run: python benchmarks/report.py  ->  benchmarks/results/report.json

The command as a user runs it, from its start to its end, imports included; the slowest of five, in each language.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from dashboard import CELLS, RUNS, fill

from rsa_ops.execution.key import library_versions

HERE = Path(__file__).parent
ROUNDS, LIMIT_SECONDS, LIMIT_BYTES = 5, 5.0, 3_000_000


def measure(uri: str, folder: Path, language: str) -> dict[str, object]:
    """The slowest of some rounds, all rounds, and the size of the page."""
    out = folder / f"portfolio-{language}.html"
    words = ["report", "--portfolio", "--store", uri, "--lang", language, "-o", str(out)]
    taken = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "rsa_ops.cli", *words], check=True, stdout=subprocess.DEVNULL)
        taken.append(round(time.perf_counter() - start, 3))
    page = out.read_text(encoding="utf-8")
    if page.count("<tr>") < RUNS:
        raise SystemExit(f"{out} lacks runs")
    return {"seconds": max(taken), "rounds": taken, "bytes": len(page.encode())}


def main() -> None:
    """Measure and write the record."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        uri = fill(folder, RUNS, CELLS)
        found = {
            "runs": RUNS,
            "cells": RUNS * CELLS,
            "languages": {language: measure(uri, folder, language) for language in ("ja", "en")},
            "limit_seconds": LIMIT_SECONDS,
            "limit_bytes": LIMIT_BYTES,
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "libraries": library_versions(),
        }
    out = HERE / "results" / "report.json"
    out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
