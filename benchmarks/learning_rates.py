"""One learning rate an arm for a pipeline: each tried on the validation split, which no verdict looks at.

Run: python benchmarks/learning_rates.py [PIPELINE]  ->  benchmarks/results/learning_rates_<pipeline>.json
Every arm gets the same number of tries, seeds, epochs and rows.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from rsa_ops.core.benchmark import CellScores
from rsa_ops.core.cell import Cell
from rsa_ops.core.validation import Validation
from rsa_ops.data.records import parse_record
from rsa_ops.data.validate import validate
from rsa_ops.evaluation.benchmark import SCORES, BenchmarkTask, benchmark_cell
from rsa_ops.execution.key import library_versions
from rsa_ops.execution.local import Job, LocalExecutor
from rsa_ops.files import read_record
from rsa_ops.models.base import resolve_base
from rsa_ops.models.trained import read_spec
from rsa_ops.stages.config import PipelineConfig, read_pipeline
from rsa_ops.stages.run import PRELOAD, split_machine
from rsa_ops.training.cell import ARTIFACT, TrainTask, train_cell

HERE = Path(__file__).parent
FACTORS = (0.3, 1.0, 3.0)
SEEDS = (11, 12)
VALIDATION_ROWS = {"classification": 600, "generation": 48}


class Quiet:
    """Says which tries are done."""

    def stage(self, name: str, words: str) -> None:
        """Nothing."""

    def note(self, words: str) -> None:
        """Nothing."""

    def update(self, job: str, share: float, words: str) -> None:
        """Nothing."""

    def finish(self, job: str, words: str) -> None:
        """One line."""
        print(job, words, flush=True)


def attempt(task: tuple[TrainTask, BenchmarkTask], out: Path, progress: Any) -> None:
    """Train one cell and score it on the validation split."""
    train, judge = task
    train_cell(train, out, progress)
    spec = read_spec(out / ARTIFACT)
    benchmark_cell(
        BenchmarkTask(**{**judge.__dict__, "cell": spec.cell, "artifact": out / ARTIFACT}), out, progress
    )


def tasks(config: PipelineConfig, data: Path, arm: str, rate: float, seed: int, threads: int) -> Any:
    """What `attempt` needs for one arm, rate and seed."""
    validation = read_record(Validation, data / "validation.json")
    chosen = config.train.arms[arm].model_copy(update={"learning_rate": rate})
    train = TrainTask(
        cell=Cell(arm=arm, seed=seed),
        arm=chosen,
        train=config.train,
        model=config.model,
        task=config.task,
        labels=validation.labels,
        train_file=data / "train.parquet",
        data_digest=validation.split("train").digest,
        base_digest=resolve_base(config.model.base).digest,
        workers=2,
        threads=threads,
    )
    judge = BenchmarkTask(
        cell=train.cell,
        artifact=data,
        base=config.model.base,
        test_file=data / "validation.parquet",
        test_digest=validation.split("validation").digest,
        config=config.benchmark.model_copy(update={"perturbations": (), "latency_examples": 1}),
        threads=threads,
        read_record=parse_record,
    )
    return train, judge


def main() -> None:
    """Try each arm at 0.3, 1 and 3 times its rate in pipeline.yaml; write mean scores over seeds."""
    name = sys.argv[1] if len(sys.argv) > 1 else "incident-triage"
    config, _, home = read_pipeline(HERE.parent / "pipelines" / name)
    sample = config.data.sample
    if sample is not None:
        sample = sample.model_copy(update={"validation": VALIDATION_ROWS[config.task]})
    workers, threads = split_machine(config)
    tries = [
        (arm, round(config.train.arms[arm].learning_rate * factor, 8), seed)
        for arm in config.train.arms
        for factor in FACTORS
        for seed in SEEDS
    ]
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        data.mkdir()
        validate(config.data.model_copy(update={"sample": sample}), config.task, data, lambda _: None, home)
        places = {one: Path(folder) / "-".join(map(str, one)) for one in tries}
        jobs = [
            Job(place.name, attempt, tasks(config, data, *one, threads), place) for one, place in places.items()
        ]
        errors = LocalExecutor(workers, Path(folder) / "logs", PRELOAD).run(jobs, Quiet())
        rows = []
        for arm, rate in dict.fromkeys((arm, rate) for arm, rate, _ in tries):
            found = [places[arm, rate, seed] for seed in SEEDS]
            if any(errors[place.name] is not None for place in found):
                rows.append({"arm": arm, "learning_rate": rate, "failed": True})
                continue
            scores = [read_record(CellScores, place / SCORES).metrics for place in found]
            means = {key: round(sum(score[key] for score in scores) / len(scores), 4) for key in scores[0]}
            rows.append({"arm": arm, "learning_rate": rate, **means})
            print(rows[-1], flush=True)
        rows_scored = read_record(Validation, data / "validation.json").split("validation").rows
    record = {
        "script": f"benchmarks/learning_rates.py {name}",
        "versions": library_versions(),
        "seeds": SEEDS,
        "validation_rows": rows_scored,
        "rows": rows,
    }
    (HERE / "results" / f"learning_rates_{name}.json").write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
