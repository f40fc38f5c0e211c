"""Each stage on its own, on files from elsewhere, with no run and no store around it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from rsa_ops.core.benchmark import CellScores
from rsa_ops.core.cell import Cell
from rsa_ops.core.comparison import ALL, ArmSummary, Comparison, Contrast
from rsa_ops.core.costs import Tco
from rsa_ops.core.design import ComparisonDesign
from rsa_ops.core.digest import Digest
from rsa_ops.core.measurements import Measurements
from rsa_ops.core.validation import Validation
from rsa_ops.costs.config import CostConfig
from rsa_ops.costs.pricebook import load_book
from rsa_ops.costs.tco import total_cost
from rsa_ops.data.validate import validate as validate_data
from rsa_ops.errors import ConfigError, Problem, UsageError
from rsa_ops.evaluation.benchmark import benchmark_cell
from rsa_ops.evaluation.matrix import Matrix, clean_rows, read_scores, require_same_examples, score_matrix
from rsa_ops.execution.progress import Progress
from rsa_ops.files import digest_file, fresh_folder, read_record
from rsa_ops.models.base import resolve_base
from rsa_ops.models.trained import read_spec
from rsa_ops.stages.benchmark import benchmark_task
from rsa_ops.stages.config import PipelineConfig, read_pipeline
from rsa_ops.stages.design import require_design
from rsa_ops.stages.train import train_task
from rsa_ops.stats import artifact_noninferiority, mean_estimate, measure_variation, noninferiority
from rsa_ops.training.cell import train_cell


def validate_alone(place: Path, out: Path, progress: Progress) -> Validation:
    """Validate the data of a pipeline into `out`; the caller decides what a refusal means."""
    config, _, home = read_pipeline(place)
    progress.stage("validate", config.data.source)
    with fresh_folder(out) as folder:
        return validate_data(config.data, config.task, folder, progress.note, home)


def train_alone(place: Path, arm: str, seed: int, data: Path, out: Path, progress: Progress) -> Measurements:
    """Train one cell in this process.

    Raises:
        ConfigError: pipeline.yaml has no such arm.
    """
    config, _, _ = read_pipeline(place)
    if arm not in config.train.arms:
        what = f"there is no arm {arm!r}; there are {', '.join(config.train.arms)}"
        raise ConfigError("pipeline.yaml", (Problem("train.arms", what),))
    validation = read_record(Validation, data / "validation.json")
    progress.stage("train", f"{arm}, seed {seed}")
    job = train_task(
        config,
        validation,
        data,
        Cell(arm=arm, seed=seed),
        resolve_base(config.model.base, expected=config.model.base_digest).digest,
        workers=1,
        threads=_threads(config),
    )
    with fresh_folder(out) as folder:
        return train_cell(job, folder, lambda share, words: progress.update(job.cell.name, share, words))


def benchmark_alone(place: Path, model: Path, data: Path, out: Path, progress: Progress) -> CellScores:
    """Score one artifact in this process."""
    config, _, _ = read_pipeline(place)
    validation = read_record(Validation, data / "validation.json")
    spec = read_spec(model)
    progress.stage("benchmark", f"{spec.cell.name}, {validation.split('test').rows} examples")
    job = benchmark_task(config, validation, data, spec.cell, model, threads=_threads(config), split="test")
    with fresh_folder(out) as folder:
        return benchmark_cell(job, folder, lambda share, words: progress.update(spec.cell.name, share, words))


def compare_alone(
    candidate: Path, baseline: Path, *, margin: float | None, alpha: float | None, design: Path | None = None
) -> Comparison:
    """Compare two tables with `example_id`, `seed`, `score`.

    With two or more seeds on both sides, procedures are compared (seeds and examples random); with one on
    each, two artifacts. Margin and alpha come from `design`, a file that `rsa-ops plan --write` wrote, where one is
    given; alpha is 0.05 where nothing says.

    Raises:
        UsageError: no margin, margin or alpha out of range, one seed on one side only.
        IntegrityError: the same file twice, holes, NaN, different examples, another comparison than the design's.
    """
    if design is None:
        return _compare_tables(candidate, baseline, margin, 0.05 if alpha is None else alpha)
    planned = read_record(ComparisonDesign, design)
    if len(planned.margins) != 1:
        raise UsageError(
            f"{design} asks {len(planned.margins)} questions; two tables answer one",
            hint="`rsa-ops plan --write` writes a design for two tables; `rsa-ops run` keeps to that of a policy.",
        )
    made = _compare_tables(
        candidate,
        baseline,
        planned.margins[0].margin if margin is None else margin,
        planned.alpha if alpha is None else alpha,
    ).model_copy(update={"design_digest": planned.digest()})
    require_design(planned, made)
    return made


def _compare_tables(candidate: Path, baseline: Path, margin: float | None, alpha: float) -> Comparison:
    if margin is None:
        raise UsageError("no margin is given", hint="Give --margin, the loss you are ready to accept, or --design.")
    if not margin > 0 or not 0 < alpha < 0.5:
        raise UsageError(f"margin must be above 0 and alpha between 0 and 0.5; found {margin:g} and {alpha:g}")
    sides = [(name, path, _one_arm(path)) for name, path in (("candidate", candidate), ("baseline", baseline))]
    digests = [digest_file(path) for _, path, _ in sides]
    if digests[0] == digests[1]:
        raise UsageError(f"{candidate} and {baseline} are the same table", hint="Compare two different models.")
    require_same_examples([(str(path), matrix) for _, path, matrix in sides])
    ours, theirs = (matrix.values for _, _, matrix in sides)
    groups = sides[0][2].groups
    if (len(ours) == 1) != (len(theirs) == 1):
        raise UsageError(
            f"{len(ours)} seeds against {len(theirs)}", hint="One seed on both sides, or more on both."
        )
    if len(ours) == 1:
        result = artifact_noninferiority(ours[0], theirs[0], margin=margin, alpha=alpha, groups=groups)
    else:
        result = noninferiority(ours, theirs, margin=margin, alpha=alpha, groups=groups)
    return Comparison(
        candidate="candidate",
        baselines=("baseline",),
        primary_metric="score",
        test_digest=_examples_digest(sides[0][2]),
        examples=ours.shape[1],
        arms=tuple(
            _summary(name, side[2], digest) for (name, *_), side, digest in zip(sides, sides, digests, strict=True)
        ),
        contrasts=(
            Contrast(
                metric="score",
                population=ALL,
                candidate="candidate",
                baseline="baseline",
                result=result,
                variation=measure_variation(ours, theirs, groups=groups),
            ),
        ),
        drops=(),
        groups=sides[0][2].group_count,
    )


def cost_alone(files: Sequence[Path], book: Path | None, currency: str) -> Tco:
    """Price measured trainings; no evaluation is in it, because measurements hold none.

    Raises:
        UsageError: a currency that no price book has.
    """
    if currency not in ("JPY", "USD"):
        raise UsageError(f"unknown currency {currency!r}; JPY or USD")
    measured = tuple(read_record(Measurements, file) for file in files)
    evaluations = {entry.cell.arm: 0.0 for entry in measured}
    config = CostConfig(currency="USD" if currency == "USD" else "JPY")
    return total_cost(measured, evaluations, load_book(book), config, datetime.now(UTC).date())


def _one_arm(path: Path) -> Matrix:
    return score_matrix(clean_rows(read_scores(path)), "score", str(path))


def _summary(name: str, matrix: Matrix, digest: Digest) -> ArmSummary:
    return ArmSummary(
        arm=name,
        seeds=matrix.seeds,
        artifact_digests=(digest,) * len(matrix.seeds),
        metrics={"score": mean_estimate(matrix.values, groups=matrix.groups)} if len(matrix.seeds) > 1 else {},
        robustness={},
        slices=(),
        latency_ms={},
        forgetting=(),
    )


def _examples_digest(matrix: Matrix) -> Digest:
    from rsa_ops.core.digest import digest_value

    return digest_value(list(matrix.examples))


def _threads(config: PipelineConfig) -> int:
    return config.execution.threads or os.cpu_count() or 1
