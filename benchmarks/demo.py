"""The demo, cold and from its cache: how long, and what it prints. The README quotes this record.

Run: python benchmarks/demo.py  ->  benchmarks/results/demo.json and the block in README.md (as long as the demo)
     python benchmarks/demo.py --quote  only writes the block again from the committed record
     python benchmarks/demo.py NAME     the same for pipelines/NAME  ->  benchmarks/results/run_NAME.json
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from rsa_ops.core.comparison import Comparison
from rsa_ops.core.verdict import Verdict
from rsa_ops.execution.key import library_versions
from rsa_ops.files import read_record

HERE = Path(__file__).parent
MARKS = ("<!-- demo: written by benchmarks/demo.py, do not edit by hand -->", "<!-- /demo -->")


def run(folder: Path, words: list[str]) -> tuple[float, str]:
    """Seconds and stdout of one `rsa-ops WORDS` in `folder`; any verdict will do."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "rsa_ops.cli", *words],
        cwd=folder,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "COLUMNS": "80"},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode not in (0, 4, 5):
        raise SystemExit(f"rsa-ops {' '.join(words)} ended with {done.returncode}")
    return time.perf_counter() - start, done.stdout


def measure(words: list[str], work: str, limits: dict[str, int]) -> dict[str, Any]:
    """Run twice in a fresh folder."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cold, output = run(folder, words)
        warm, _ = run(folder, words)
        results = folder / work / "results"
        comparison = read_record(Comparison, results / "comparison.json")
        verdict = read_record(Verdict, results / "verdict.json")
    return {
        "script": "benchmarks/demo.py",
        "command": " ".join(["rsa-ops", words[0], *(Path(word).name for word in words[1:])]),
        "versions": library_versions(),
        "cores": os.cpu_count(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),  # AVX2 cores take much longer
        "seconds": {"cold": round(cold, 1), "warm": round(warm, 1)},
        "limits": limits,
        "outcome": verdict.outcome.value,
        "arms": {arm.arm: {name: e.value for name, e in arm.metrics.items()} for arm in comparison.arms},
        "output": [portable(line, folder) for line in output.splitlines()],
    }


def portable(line: str, folder: Path) -> str:
    """A line of output without the places of this machine: as `make demo` in a fresh clone prints it."""
    return (
        line.rstrip().replace(str(folder.resolve()), "$PWD").replace(str(Path(sys.executable).parent), ".venv/bin")
    )


def quote(record: dict[str, Any]) -> None:
    """Write the record's output between the marks of the README."""
    readme = HERE.parent / "README.md"
    before, rest = readme.read_text(encoding="utf-8").split(MARKS[0], 1)
    after = rest.split(MARKS[1], 1)[1]
    seconds = record["seconds"]
    words = (
        f"{record['cores']} cores ({record['cpu_capability']}), no GPU: {seconds['cold']:.0f} s, and "
        f"{seconds['warm']:.0f} s again from the cache (`benchmarks/results/demo.json`). It ends with:"
    )
    body = "\n".join(record["output"]).strip("\n")
    readme.write_text(f"{before}{MARKS[0]}\n{words}\n\n```text\n{body}\n```\n{MARKS[1]}{after}", encoding="utf-8")


def main() -> None:
    """Measure the demo or a named pipeline, or only quote."""
    names = [word for word in sys.argv[1:] if not word.startswith("-")]
    if names:
        pipeline = HERE.parent / "pipelines" / names[0]
        record = measure(["run", str(pipeline)], "rsa-ops-run", {"cold": 900})
        write(record, HERE / "results" / f"run_{names[0]}.json")
        return
    file = HERE / "results" / "demo.json"
    if "--quote" not in sys.argv:
        write(measure(["demo"], "rsa-ops-demo", {"cold": 480, "warm": 20}), file)
    quote(json.loads(file.read_text(encoding="utf-8")))


def write(record: dict[str, Any], file: Path) -> None:
    """Write a record, and print its times."""
    file.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps(record["seconds"]))


if __name__ == "__main__":
    main()
