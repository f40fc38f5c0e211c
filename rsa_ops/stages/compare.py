"""Stage: candidate against baselines, seeds crossed with examples, at the margins that the policy locks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from rsa_ops.gates.policy import NoninferiorityRule, Policy, SlicesRule

from rsa_ops.core.benchmark import CLEAN, SCORE_PREFIX, SLICE_PREFIX
from rsa_ops.core.comparison import ALL, ArmSummary, Comparison, Contrast, SliceScore
from rsa_ops.core.digest import Digest
from rsa_ops.core.estimate import Estimate
from rsa_ops.errors import IntegrityError, MissingError
from rsa_ops.evaluation.matrix import Matrix, clean_rows, read_scores, require_same_examples, score_matrix
from rsa_ops.models.task import Task
from rsa_ops.stages.benchmark import Scored
from rsa_ops.stages.run import Run
from rsa_ops.stages.validate import Data
from rsa_ops.stats import (
    assessable,
    bootstrap_difference,
    bootstrap_metric,
    macro_f1,
    mean_estimate,
    noninferiority,
)

if TYPE_CHECKING:
    import pandas as pd

RECORD = "comparison.json"
PRIMARY: dict[Task, str] = {"classification": "accuracy", "generation": "chrf"}
SLICE_MARGIN = 0.10
"""Below what size a slice is not assessable where no rule of the policy says: that for a 10-point margin."""
BOOTSTRAP_DRAWS = 1000
BOOTSTRAP_SEED = 20261124


@dataclass(frozen=True)
class ArmRows:
    """All rows of one arm, over its seeds, and the digests of its artifacts."""

    arm: str
    rows: pd.DataFrame
    digests: tuple[Digest, ...]
    latency_ms: dict[str, float]

    @cached_property
    def clean(self) -> pd.DataFrame:
        """Rows on the undisturbed examples."""
        return clean_rows(self.rows)

    def matrix(self, column: str, condition: str = CLEAN) -> Matrix:
        """`column` of one condition as seeds x examples."""
        return score_matrix(clean_rows(self.rows, condition), column, f"arm {self.arm}")


def compare(run: Run, data: Data, scores: tuple[Scored, ...]) -> Comparison:
    """Compare the arms of the grid.

    Raises:
        MissingError: a cell of the grid has no scores. IntegrityError: equal artifacts on both sides,
        different test data, NaN.
    """
    run.progress.stage("compare", f"{run.policy.candidate} against {', '.join(run.policy.arms)}")
    _require_full_grid(run, scores)
    comparison = compare_arms(gather(scores), run.policy, run.config.task, data.validation.split("test").digest)
    run.keep(comparison, RECORD)
    return comparison


def gather(scores: Sequence[Scored]) -> tuple[ArmRows, ...]:
    """The predictions of each arm, over its seeds."""
    import pandas as pd

    arms = dict.fromkeys(entry.cell.arm for entry in scores)
    found = []
    for arm in arms:
        cells = [entry for entry in scores if entry.cell.arm == arm]
        keys = cells[0].scores.latency_ms
        found.append(
            ArmRows(
                arm=arm,
                rows=pd.concat([read_scores(entry.predictions) for entry in cells], ignore_index=True),
                digests=tuple(entry.scores.artifact_digest for entry in cells),
                latency_ms={key: float(np.mean([entry.scores.latency_ms[key] for entry in cells])) for key in keys},
            )
        )
    return tuple(found)


def compare_arms(arms: Sequence[ArmRows], policy: Policy, task: Task, test_digest: Digest) -> Comparison:
    """The comparison that `policy` asks for."""
    by_name = {arm.arm: arm for arm in arms}
    if policy.candidate not in by_name:
        raise MissingError(f"the candidate {policy.candidate!r} has no scores; there are {', '.join(by_name)}")
    _require_distinct(arms)
    require_same_examples([(arm.arm, arm.matrix("score")) for arm in arms])
    contrasts = [contrast for rule in policy.rules for contrast in _contrasts(rule, policy, by_name, task)]
    unique = {(c.metric, c.population, c.baseline): c for c in contrasts}
    return Comparison(
        candidate=policy.candidate,
        baselines=tuple(dict.fromkeys(contrast.baseline for contrast in contrasts)),
        primary_metric=PRIMARY[task],
        test_digest=test_digest,
        examples=by_name[policy.candidate].matrix("score").values.shape[1],
        arms=tuple(_summary(arm, task) for arm in arms),
        contrasts=tuple(unique.values()),
    )


def _require_full_grid(run: Run, scores: Sequence[Scored]) -> None:
    wanted = {(arm, seed) for arm in run.config.train.arms for seed in run.config.train.seeds}
    lacking = sorted(wanted - {(entry.cell.arm, entry.cell.seed) for entry in scores})
    if lacking:
        raise MissingError(f"the grid is not whole; no scores for {', '.join(f'{a}-s{s}' for a, s in lacking)}")


def _require_distinct(arms: Sequence[ArmRows]) -> None:
    seen: dict[Digest, str] = {}
    for arm in arms:
        for digest in arm.digests:
            if seen.setdefault(digest, arm.arm) != arm.arm:
                raise IntegrityError(f"arms {seen[digest]} and {arm.arm} hold the same artifact {digest}")


def _contrasts(rule: object, policy: Policy, arms: Mapping[str, ArmRows], task: Task) -> list[Contrast]:
    candidate = arms[policy.candidate]
    if isinstance(rule, NoninferiorityRule):
        return [_contrast(rule.metric, candidate, arms[rule.against], rule.margin, policy.alpha, task)]
    if isinstance(rule, SlicesRule):
        return _slice_contrasts(rule, candidate, arms[rule.against], policy.alpha, task)
    return []


def _contrast(
    metric: str, candidate: ArmRows, baseline: ArmRows, margin: float, alpha: float, task: Task
) -> Contrast:
    if metric == "macro_f1":
        labels = _label_codes(candidate, baseline)
        result = bootstrap_difference(
            _macro_f1(candidate, labels),
            _macro_f1(baseline, labels),
            seeds=(len(candidate.matrix("score").seeds), len(baseline.matrix("score").seeds)),
            examples=candidate.matrix("score").values.shape[1],
            margin=margin,
            alpha=alpha,
            draws=BOOTSTRAP_DRAWS,
            rng=np.random.default_rng(BOOTSTRAP_SEED),
        )
    else:
        column = score_column(metric, task)
        result = noninferiority(
            candidate.matrix(column).values, baseline.matrix(column).values, margin=margin, alpha=alpha
        )
    return Contrast(metric=metric, population=ALL, candidate=candidate.arm, baseline=baseline.arm, result=result)


def _slice_contrasts(
    rule: SlicesRule, candidate: ArmRows, baseline: ArmRows, alpha: float, task: Task
) -> list[Contrast]:
    column = score_column(rule.metric, task)
    found = []
    for population, examples in _slices(candidate).items():
        if not assessable(len(examples), margin=rule.margin, alpha=alpha):
            continue
        sides = [
            score_matrix(
                arm.clean[arm.clean["example_id"].isin(examples)], column, f"arm {arm.arm} on {population}"
            )
            for arm in (candidate, baseline)
        ]
        result = noninferiority(sides[0].values, sides[1].values, margin=rule.margin, alpha=alpha)
        found.append(
            Contrast(
                metric=rule.metric,
                population=population,
                candidate=candidate.arm,
                baseline=baseline.arm,
                result=result,
            )
        )
    return found


def _summary(arm: ArmRows, task: Task) -> ArmSummary:
    matrix = arm.matrix("score")
    conditions = sorted(set(arm.rows.get("condition", [])) - {CLEAN})
    return ArmSummary(
        arm=arm.arm,
        seeds=matrix.seeds,
        artifact_digests=arm.digests,
        metrics=_metrics(arm, matrix, task),
        robustness={name: mean_estimate(arm.matrix("score", name).values, bounded=True) for name in conditions},
        slices=tuple(_slice_score(arm, name, examples) for name, examples in _slices(arm).items()),
        latency_ms=arm.latency_ms,
    )


def _metrics(arm: ArmRows, matrix: Matrix, task: Task) -> dict[str, Estimate]:
    if task == "generation":
        columns = [name for name in arm.clean.columns if name.startswith(SCORE_PREFIX)]
        return {
            name.removeprefix(SCORE_PREFIX): mean_estimate(arm.matrix(name).values, bounded=True)
            for name in columns
        }
    f1 = bootstrap_metric(
        _macro_f1(arm, _label_codes(arm)),
        seeds=len(matrix.seeds),
        examples=matrix.values.shape[1],
        draws=BOOTSTRAP_DRAWS,
        rng=np.random.default_rng(BOOTSTRAP_SEED),
        confidence=0.95,
    )
    return {"accuracy": mean_estimate(matrix.values, bounded=True), "macro_f1": f1}


def _slice_score(arm: ArmRows, name: str, examples: frozenset[str]) -> SliceScore:
    rows = arm.clean[arm.clean["example_id"].isin(examples)]
    score = mean_estimate(score_matrix(rows, "score", f"arm {arm.arm} on {name}").values, bounded=True)
    large = assessable(len(examples), margin=SLICE_MARGIN, alpha=0.05)
    return SliceScore(slice=name, score=score, assessable=large)


def _slices(arm: ArmRows) -> dict[str, frozenset[str]]:
    """`column=value` -> the ids of its examples. For classification each class is a slice as well."""
    found: dict[str, frozenset[str]] = {}
    rows = arm.clean.drop_duplicates("example_id")
    columns = {name: name.removeprefix(SLICE_PREFIX) for name in rows.columns if name.startswith(SLICE_PREFIX)}
    if "confidence" in rows.columns and rows["confidence"].notna().any():
        columns["label"] = "class"
    for column, short in columns.items():
        for value, group in rows.groupby(column):
            found[f"{short}={value}"] = frozenset(group["example_id"])
    return found


def score_column(metric: str, task: Task) -> str:
    """The column of the predictions table that holds `metric` of one example."""
    return "score" if metric == PRIMARY[task] else f"{SCORE_PREFIX}{metric}"


def _label_codes(*arms: ArmRows) -> dict[str, int]:
    names = sorted({str(name) for arm in arms for column in ("label", "prediction") for name in arm.clean[column]})
    return {name: code for code, name in enumerate(names)}


def _macro_f1(arm: ArmRows, codes: Mapping[str, int]):  # type: ignore[no-untyped-def]
    rows = arm.clean.sort_values(["seed", "example_id"])
    seeds = len(set(rows["seed"]))
    labels: NDArray[np.int64] = rows["label"].map(codes).to_numpy(dtype=np.int64).reshape(seeds, -1)
    predictions = rows["prediction"].map(codes).to_numpy(dtype=np.int64).reshape(seeds, -1)
    return macro_f1(labels[0], predictions, len(codes))
