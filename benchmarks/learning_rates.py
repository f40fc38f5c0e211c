"""One learning rate an arm for a pipeline: each tried on the validation split, which no verdict looks at.

Run: python benchmarks/learning_rates.py [PIPELINE [DATA]] [--arm ARM]
     -> benchmarks/results/learning_rates_<name>.json
PIPELINE is a folder (default: incident-triage). DATA is a folder that `rsa-ops validate` wrote, for a machine
without Great Expectations; without it the pipeline's data is validated with VALIDATION_ROWS validation rows.
With --arm one arm is searched anew, and the rows of the others stay as they were recorded.
One rule for every arm: a third of, once and three times its rate in pipeline.yaml, with the same seeds, epochs and
rows; where the best is the lowest or the highest of these, the next one beyond it is tried too, until the best lies
inside.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from cells import Lines, attempt, tasks

from rsa_ops.core.benchmark import CellScores
from rsa_ops.core.cell import Cell
from rsa_ops.core.validation import Validation
from rsa_ops.data.validate import validate
from rsa_ops.evaluation.benchmark import SCORES
from rsa_ops.execution.key import library_versions
from rsa_ops.execution.local import Job, LocalExecutor
from rsa_ops.files import read_record
from rsa_ops.stages.config import PRIMARY, PipelineConfig, read_pipeline
from rsa_ops.stages.run import PRELOAD, split_machine

HERE = Path(__file__).parent
STEP = 3
SEEDS = (11, 12)
MOST_TRIES = 6
VALIDATION_ROWS = {"classification": 600, "generation": 48}

Rate = float
Scored = dict[str, dict[Rate, dict[str, float] | None]]
"""Arm -> rate -> mean scores over the seeds; None where a training failed."""


def lighter(config: PipelineConfig) -> PipelineConfig:
    """The pipeline without what the search does not look at."""
    benchmark = config.benchmark.model_copy(update={"perturbations": (), "latency_examples": 1})
    return config.model_copy(update={"benchmark": benchmark})


def with_rate(config: PipelineConfig, arm: str, rate: Rate) -> PipelineConfig:
    """The pipeline with one arm's learning rate replaced."""
    arms = {**config.train.arms, arm: config.train.arms[arm].model_copy(update={"learning_rate": rate})}
    return config.model_copy(update={"train": config.train.model_copy(update={"arms": arms})})


def try_all(config: PipelineConfig, data: Path, home: Path, wanted: list[tuple[str, Rate]]) -> Scored:
    """Train and score every wanted rate with every seed."""
    workers, threads = split_machine(config)
    places = {(arm, rate, seed): home / f"{arm}-{rate}-{seed}" for arm, rate in wanted for seed in SEEDS}
    jobs = []
    for (arm, rate, seed), place in places.items():
        task = tasks(
            with_rate(config, arm, rate),
            data,
            Cell(arm=arm, seed=seed),
            workers=workers,
            threads=threads,
            split="validation",
        )
        jobs.append(Job(place.name, attempt, task, place))
    errors = LocalExecutor(workers, home / "logs", PRELOAD).run(jobs, Lines())
    found: Scored = {arm: {} for arm, _ in wanted}
    for arm, rate in wanted:
        folders = [places[arm, rate, seed] for seed in SEEDS]
        if any(errors[folder.name] is not None for folder in folders):
            found[arm][rate] = None
            continue
        scores = [read_record(CellScores, folder / SCORES).metrics for folder in folders]
        found[arm][rate] = {key: round(sum(one[key] for one in scores) / len(scores), 4) for key in scores[0]}
        print(arm, rate, found[arm][rate], flush=True)
    return found


def best(rates: dict[Rate, dict[str, float] | None], metric: str) -> Rate:
    """The rate with the best score; of equals the lowest."""
    scored = {rate: scores[metric] for rate, scores in rates.items() if scores is not None}
    return min(scored, key=lambda rate: (-scored[rate], rate))


def beyond(rates: dict[Rate, dict[str, float] | None], metric: str) -> Rate | None:
    """The next rate to try, or None when the best lies inside."""
    top, ordered = best(rates, metric), sorted(rates)
    if len(rates) >= MOST_TRIES or top not in (ordered[0], ordered[-1]):
        return None
    return rounded(top / STEP if top == ordered[0] else top * STEP)


def rounded(rate: Rate) -> Rate:
    """Three figures."""
    return float(f"{rate:.3g}")


def search(config: PipelineConfig, data: Path, home: Path, metric: str) -> Scored:
    """Rates of every arm, tried by the one rule."""
    start = {arm: entry.learning_rate for arm, entry in config.train.arms.items()}
    wanted = [(arm, rounded(rate * factor)) for arm, rate in start.items() for factor in (1 / STEP, 1, STEP)]
    found: Scored = {arm: {} for arm in start}
    while wanted:
        for arm, rates in try_all(config, data, home, wanted).items():
            found[arm] |= rates
        nexts = {arm: beyond(rates, metric) for arm, rates in found.items()}
        wanted = [(arm, rate) for arm, rate in nexts.items() if rate is not None]
    return found


def validated(config: PipelineConfig, home: Path, folder: Path) -> Path:
    """The pipeline's data, with as many validation rows as a search needs."""
    sample = config.data.sample
    if sample is not None:
        sample = sample.model_copy(update={"validation": VALIDATION_ROWS[config.task]})
    data = folder / "data"
    data.mkdir()
    validate(config.data.model_copy(update={"sample": sample}), config.task, data, lambda _: None, home)
    return data


def main() -> None:
    """Search, and write mean scores over seeds and the best rate of each arm."""
    words = [Path(word) for word in sys.argv[1:]]
    only = None
    if Path("--arm") in words:
        place = words.index(Path("--arm"))
        only, words = str(words[place + 1]), words[:place] + words[place + 2 :]
    config, _, home = read_pipeline(words[0] if words else HERE.parent / "pipelines" / "incident-triage")
    out = HERE / "results" / f"learning_rates_{config.name}.json"
    kept = json.loads(out.read_text()) if only else {"best": {}, "rows": []}
    if only:
        train = config.train.model_copy(update={"arms": {only: config.train.arms[only]}})
        config = config.model_copy(update={"train": train})
    metric = PRIMARY[config.task]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = words[1] if len(words) > 1 else validated(config, home, folder)
        found = search(lighter(config), data, folder / "tries", metric)
        rows = read_record(Validation, data / "validation.json")
    record: dict[str, Any] = {
        "script": f"benchmarks/learning_rates.py {config.name}",
        "versions": library_versions(),
        "device": device(),
        "seeds": SEEDS,
        "training_rows": rows.split("train").rows,
        "validation_rows": rows.split("validation").rows,
        "metric": metric,
        "best": {**kept["best"], **{arm: best(rates, metric) for arm, rates in found.items()}},
        "rows": [row for row in kept["rows"] if row["arm"] != only]
        + [
            {"arm": arm, "learning_rate": rate, **(scores or {"failed": True})}
            for arm, rates in found.items()
            for rate, scores in sorted(rates.items())
        ],
    }
    out.write_text(json.dumps(record, indent=2) + "\n")
    print(record["best"])


def device() -> str:
    """The card's name, or `CPU`."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"


if __name__ == "__main__":
    main()
