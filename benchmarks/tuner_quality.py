"""Quality of the Robust Sparse Adapter beside LoRA, SHiRA and others at equal budget, and what of it helps.

Run: python benchmarks/tuner_quality.py prepare FOLDER [--data DATA]   tokenised data and base models, as files
     python benchmarks/tuner_quality.py plan [PARTS] [--known FILE]    how many trials, and about how long
     python benchmarks/tuner_quality.py smoke FOLDER OUT               every method for a few steps, and its speed
     python benchmarks/tuner_quality.py run FOLDER OUT --part PARTS    train; one JSON line a finished trial
     python benchmarks/tuner_quality.py report OUT ...                 -> benchmarks/results/tuner_quality*.json

PARTS are comma-separated names from `quality/plan.py`, the most important first. OUT is a folder; `run` goes on
where trials in it (and in the files given as --known) end. DATA holds banking77/ and e2e/, each with train.csv and
test.csv; it is no part of the project. Every method gets the same search for its learning rate. The trials that the
committed results come from are results/tuner_trials.jsonl: give it as --known to go on from them, and to `report`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

from quality.plan import PARTS, studies_of

HERE = Path(__file__).parent
RESULTS = HERE / "results"


def prepare(options: argparse.Namespace) -> None:
    """Write the folder that `run` reads."""
    from quality.prepare import data_folder, prepare

    prepare(data_folder(options.data), options.folder)
    for file in sorted(options.folder.iterdir()):
        print(f"{file.stat().st_size / 2**20:7.1f} MiB  {file.name}")


def plan(options: argparse.Namespace) -> None:
    """Print what is left to do."""
    from quality.estimate import table
    from quality.records import finished, read

    print(table(options.part.split(","), finished(read(options.known))))


def run(options: argparse.Namespace) -> None:
    """Train until the studies are done or the time is over."""
    from quality.estimate import table
    from quality.pool import Pool, Settings
    from quality.records import finished, read, to_line

    device = _device()
    settings = Settings(options.workers, options.streams, options.minutes, graphs=not options.eager)
    options.out.mkdir(parents=True, exist_ok=True)
    out = options.out / "trials.jsonl"
    print(table(options.part.split(","), finished(read([*options.known, options.out]))), flush=True)
    if not out.exists():
        out.write_text(to_line(_machine(options, device)), encoding="utf-8")
    started = time.monotonic()
    added = Pool(options.folder, out, settings, device).run(studies_of(options.part), options.known, _said)
    took = time.monotonic() - started
    print(f"{added} trials in {took:.0f} s, {took / max(1, added):.2f} s a trial on {device}", flush=True)
    print(table(options.part.split(","), finished(read([*options.known, options.out]))))


def smoke(options: argparse.Namespace) -> None:
    """Every method a few steps, eagerly and recorded, side by side."""
    from quality.smoke import compare

    compare(options.folder, options.out, _device(), options.tasks.split(","))


def report(options: argparse.Namespace) -> None:
    """Tables and claims from trials."""
    from quality.records import read
    from quality.report import ablations, comparison

    records = read(options.out)
    RESULTS.mkdir(exist_ok=True)
    for name, content in (("tuner_quality", comparison(records)), ("tuner_ablations", ablations(records))):
        path = options.results / f"{name}.json"
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        print(path)
    for claim in comparison(records)["claims"]:
        print(f"{claim['holds']!s:>7}  {claim['claim']}")


def _said(line: str) -> None:
    print(line, flush=True)


def _device() -> str:
    """`cuda` or `cpu`, without waking the device in this process: its children must be able to."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _machine(options: argparse.Namespace, device: str) -> dict[str, object]:
    from quality.estimate import card
    from safetensors.numpy import load_file

    from rsa_ops.execution.key import library_versions

    manifest = json.loads((options.folder / "manifest.json").read_text(encoding="utf-8"))
    banking = load_file(options.folder / manifest["data"]["banking"]["file"])
    return {
        "script": "benchmarks/tuner_quality.py",
        "device": card() if device == "cuda" else "CPU",
        "versions": library_versions(),
        "workers": options.workers,
        "streams": options.streams,
        "data": {name: {"rows": entry["rows"]} for name, entry in manifest["data"].items()},
        "labels": {split: banking[f"{split}.labels"].astype("uint8") for split in ("validation", "test")},
        "sources": manifest["sources"],
        "bases": {name: {key: base[key] for key in ("name", "digest")} for name, base in manifest["bases"].items()},
        "general_text": manifest["data"]["e2e"].get("general_text"),
        "left_out": {name: base["parameters_left_out"] for name, base in manifest["bases"].items()},
    }


def main(words: Sequence[str] | None = None) -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("prepare")
    one.add_argument("folder", type=Path)
    one.add_argument("--data")
    one.set_defaults(work=prepare)
    one = commands.add_parser("plan")
    one.add_argument("part", nargs="?", default=",".join(PARTS))
    one.add_argument("--known", type=Path, nargs="*", default=[])
    one.set_defaults(work=plan)
    one = commands.add_parser("run")
    one.add_argument("folder", type=Path)
    one.add_argument("out", type=Path)
    one.add_argument("--part", required=True)
    one.add_argument("--workers", type=int, default=5)
    one.add_argument("--streams", type=int, default=2)
    one.add_argument("--minutes", type=float, default=8.5)
    one.add_argument("--eager", action="store_true")
    one.add_argument("--known", type=Path, nargs="*", default=[])
    one.set_defaults(work=run)
    one = commands.add_parser("smoke")
    one.add_argument("folder", type=Path)
    one.add_argument("out", type=Path)
    one.add_argument("--tasks", default="b10,e2e")
    one.set_defaults(work=smoke)
    one = commands.add_parser("report")
    one.add_argument("out", type=Path, nargs="+")
    one.add_argument("--results", type=Path, default=RESULTS)
    one.set_defaults(work=report)
    options = parser.parse_args(words)
    options.work(options)


if __name__ == "__main__":
    main()
