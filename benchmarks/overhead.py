"""What the pipeline itself costs: the command's start, a run with its stages emptied, MLflow's share, idle cores.

Run: python benchmarks/overhead.py [WORK]  ->  benchmarks/results/overhead.json
WORK is the working folder of a finished `rsa-ops demo` (default ./rsa-ops-demo); its trained cells are logged
again to a fresh store to time MLflow against the training that they took, and its training split is batched
again, sorted by length and at random, to count the padding.
"""

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

# The workers import this script again, as they import the command's light main module in a real run. What is heavy
# is therefore imported where it is used; imports are measured by `help_seconds` alone.
HERE = Path(__file__).parent
HEAVY = ("mlflow", "torch", "great_expectations", "transformers", "pandas")
CELLS = 9


def help_seconds() -> dict[str, Any]:
    """Best of five of `rsa-ops --help`, and which heavy libraries it imports."""
    command = [sys.executable, "-X", "importtime", "-m", "rsa_ops.cli", "--help"]
    times = []
    for _ in range(5):
        start = time.perf_counter()
        done = subprocess.run([sys.executable, *command[3:]], capture_output=True, check=True)
        times.append(time.perf_counter() - start)
    traced = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    names = {line.rsplit("|", 1)[-1].strip() for line in traced.splitlines()}
    return {
        "seconds": round(min(times), 3),
        "limit": 0.5,
        "heavy_imports": sorted(set(HEAVY) & names),
        "bytes": len(done.stdout),
    }


def empty_work(task: object, folder: Path, progress: object) -> None:
    """A stage that does nothing but leave a file."""
    from rsa_ops.files import write_text

    del progress
    write_text(folder / "nothing.txt", f"{task}\n")


def emptied_run() -> dict[str, Any]:
    """The demo's grid (9 cells trained, 9 benchmarked) with empty work, in a store that exists already."""
    from rsa_ops.execution.cached_map import Item, cached_map
    from rsa_ops.execution.key import content_key
    from rsa_ops.execution.local import LocalExecutor
    from rsa_ops.execution.progress import Silent
    from rsa_ops.tracking.runs import CellLog, RunFacts, end_run, start_run
    from rsa_ops.tracking.store import open_store

    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        uri = f"sqlite:///{work / 'mlflow.db'}"
        open_store(uri, "warm-up", work / "artifacts")  # creating the database is MLflow's, once in a store's life
        executor = LocalExecutor(2, work / "logs", ("rsa_ops.execution.worker",))
        executor.run([], Silent())
        start = time.perf_counter()
        store = open_store(uri, "emptied", work / "artifacts")
        parent = start_run(store, "emptied", {})
        for stage in ("train", "benchmark"):
            items = [Item(stage, f"cell-{n}", content_key(stage, n), n) for n in range(CELLS)]
            log = CellLog(store, parent, stage, lambda _: RunFacts(metrics={"x": 1.0}))
            cached_map(empty_work, items, root=work / "cells", log=log, executor=executor, progress=Silent())
        end_run(store, parent)
        seconds = time.perf_counter() - start
    return {"seconds": round(seconds, 2), "limit": 2.0, "cells": 2 * CELLS}


def trained_cells(demo: Path) -> list[Path]:
    """Folders of the demo's trained cells.

    Raises:
        SystemExit: there are none.
    """
    folders = [file.parent for file in sorted((demo / "cells" / "train").glob("[!.]*/measurements.json"))]
    if not folders:
        raise SystemExit(f"no finished cells in {demo}; run `make demo` first")
    return folders


def mlflow_share(demo: Path) -> dict[str, Any]:
    """Seconds that logging the demo's trained cells takes, over the seconds that training them took."""
    from rsa_ops.core.measurements import Measurements
    from rsa_ops.execution.key import content_key
    from rsa_ops.files import digest_folder, read_record
    from rsa_ops.stages.train import _facts
    from rsa_ops.tracking.runs import CellLog, start_run
    from rsa_ops.tracking.store import open_store

    folders = trained_cells(demo)
    trained = sum(read_record(Measurements, folder / "measurements.json").wall_seconds for folder in folders)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        store = open_store(f"sqlite:///{work / 'mlflow.db'}", "share", work / "artifacts")
        log = CellLog(store, start_run(store, "share", {}), "train", _facts)
        start = time.perf_counter()
        for folder in folders:
            digest = digest_folder(folder)
            log.record(
                stage="train", name=folder.name, key=content_key("x", folder.name), folder=folder, digest=digest
            )
        seconds = time.perf_counter() - start
    return {
        "logging_seconds": round(seconds, 2),
        "training_seconds": round(trained, 1),
        "share": round(seconds / trained, 5),
        "limit": 0.01,
        "cells": len(folders),
    }


def cores_used(demo: Path) -> dict[str, Any]:
    """CPU seconds over wall seconds of the demo's trainings, for all workers together; and the cores there are."""
    from rsa_ops.core.measurements import Measurements
    from rsa_ops.files import read_record

    cells = [read_record(Measurements, folder / "measurements.json") for folder in trained_cells(demo)]
    busy = sum(cell.cpu_seconds for cell in cells) / sum(cell.wall_seconds for cell in cells)
    workers = cells[0].workers
    return {"busy_cores": round(busy * workers, 2), "cores": os.cpu_count(), "workers": workers}


def padding(demo: Path) -> dict[str, Any]:
    """Share of the tokens in the demo's training batches that are padding: as trained, and in random batches."""
    import pandas as pd
    import torch
    from transformers.trainer_pt_utils import LengthGroupedSampler

    from rsa_ops.models.base import resolve_base
    from rsa_ops.models.task import load_tokenizer
    from rsa_ops.models.trained import read_spec
    from rsa_ops.stages.config import read_pipeline
    from rsa_ops.training.cell import ARTIFACT

    trained = read_spec(trained_cells(demo)[0] / ARTIFACT)
    table = pd.read_parquet(next((demo / "cells" / "validate").glob("[!.]*/train.parquet")))
    tokenizer = load_tokenizer(resolve_base(trained.model.base).folder)
    encoded = tokenizer(table["text"].tolist(), truncation=True, max_length=trained.model.max_length)["input_ids"]
    lengths = [len(ids) for ids in encoded]
    config, _, _ = read_pipeline(HERE.parent / "pipelines" / "incident-triage")
    size = config.train.batch_size
    orders = {"random": random.Random(1).sample(range(len(lengths)), len(lengths))}
    sampler = LengthGroupedSampler(size, lengths=lengths, generator=torch.Generator().manual_seed(1))
    orders["sorted_by_length"] = list(sampler)
    found: dict[str, Any] = {}
    for name, order in orders.items():
        batches = [[lengths[row] for row in order[start : start + size]] for start in range(0, len(order), size)]
        padded = sum(max(batch) * len(batch) for batch in batches)
        found[name] = round(1 - sum(lengths) / padded, 4)
    return found


def main() -> None:
    """Measure, print and write."""
    from rsa_ops.execution.key import library_versions

    demo = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("rsa-ops-demo")
    record = {
        "script": "benchmarks/overhead.py",
        "versions": library_versions(),
        "help": help_seconds(),
        "emptied_run": emptied_run(),
        "mlflow": mlflow_share(demo),
        "training": {**cores_used(demo), "padding_share": padding(demo)},
    }
    text = json.dumps(record, indent=2) + "\n"
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / "overhead.json").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
