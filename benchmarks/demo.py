"""The demo, cold and from its cache: how long, and what it prints. The README quotes this record.

Run: python benchmarks/demo.py  ->  benchmarks/results/demo.json (takes as long as the demo)
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rsa_ops.core.comparison import Comparison
from rsa_ops.core.verdict import Verdict
from rsa_ops.execution.key import library_versions
from rsa_ops.files import read_record

HERE = Path(__file__).parent
LIMITS = {"cold": 480, "warm": 20}


def run(folder: Path) -> tuple[float, str]:
    """Seconds and stdout of one `rsa-ops demo` in `folder`."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "rsa_ops.cli", "demo"],
        cwd=folder,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "COLUMNS": "80"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return time.perf_counter() - start, done.stdout


def main() -> None:
    """Run twice in a fresh folder and write the record."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cold, output = run(folder)
        warm, _ = run(folder)
        results = folder / "rsa-ops-demo" / "results"
        comparison, verdict = (
            read_record(Comparison, results / "comparison.json"),
            read_record(Verdict, results / "verdict.json"),
        )
    record = {
        "script": "benchmarks/demo.py",
        "versions": library_versions(),
        "cores": os.cpu_count(),
        "seconds": {"cold": round(cold, 1), "warm": round(warm, 1)},
        "limits": LIMITS,
        "outcome": verdict.outcome.value,
        "arms": {arm.arm: {name: e.value for name, e in arm.metrics.items()} for arm in comparison.arms},
        "output": [line.rstrip().replace(str(folder.resolve()), "$PWD") for line in output.splitlines()],
    }
    (HERE / "results" / "demo.json").write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    print(json.dumps(record["seconds"]))


if __name__ == "__main__":
    main()
