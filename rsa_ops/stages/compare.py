"""Stage: candidate against baselines, seeds crossed with examples, at the margins that the policy locks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from rsa_ops.core.benchmark import CLEAN, SCORE_PREFIX
from rsa_ops.core.comparison import ALL, ArmSummary, Comparison, Contrast, SliceScore
from rsa_ops.core.digest import Digest
from rsa_ops.core.estimate import Estimate
from rsa_ops.errors import IntegrityError, MissingError
from rsa_ops.evaluation.matrix import Matrix, require_same_examples, score_matrix
from rsa_ops.gates.policy import Policy, Question, questions
from rsa_ops.models.task import Task
from rsa_ops.stages.arm_rows import ArmRows, base_rows, gather, slices_of
from rsa_ops.stages.benchmark import Scored, score_base
from rsa_ops.stages.config import PRIMARY
from rsa_ops.stages.design import count_look, locked_design, require_design
from rsa_ops.stages.drops import BASE, NO_BASE_HEAD, NO_BASE_SCORES, NO_FULL_ARM, Reference, worst_slice_drops
from rsa_ops.stages.families import slice_families
from rsa_ops.stages.run import Run
from rsa_ops.stages.validate import Data
from rsa_ops.stats import (
    ArmMetric,
    assessable,
    bootstrap_difference,
    bootstrap_metric,
    grouped,
    macro_f1,
    mean_estimate,
    measure_variation,
    noninferiority,
)

RECORD = "comparison.json"
SLICE_MARGIN = 0.10
"""Below what size a slice is not assessable where no rule of the policy says: that for a 10-point margin."""
BOOTSTRAP_DRAWS = 1000
BOOTSTRAP_SEED = 20261124


def compare(run: Run, data: Data, scores: tuple[Scored, ...]) -> Comparison:
    """Compare the arms of the grid, by the design that was locked before they were trained.

    Raises:
        MissingError: a cell of the grid has no scores, or the design is gone. IntegrityError: equal artifacts on
        both sides, different test data, NaN, another comparison than the locked one, more looks than declared.
    """
    run.progress.stage("compare", f"{run.policy.candidate} against {', '.join(run.policy.arms)}")
    design = locked_design(run)
    _require_full_grid(run, scores)
    arms = gather(scores)
    look = count_look(run, design, [digest for arm in arms for digest in arm.digests])
    compared = compare_arms(
        arms, run.policy, run.config.task, data.validation.split("test").digest, _references(run, data, arms)
    )
    comparison = compared.model_copy(update={"design_digest": design.digest(), "look": look})
    require_design(design, comparison)
    run.keep(comparison, RECORD)
    return comparison


def _references(run: Run, data: Data, arms: Sequence[ArmRows]) -> dict[str, Reference]:
    """What the worst slice of each arm is held against: the arm of full fine-tuning, and the untrained base."""
    full = next((arm for arm in arms if run.config.train.arms[arm.arm].method == "full"), None)
    base = score_base(run, data)
    untrained = NO_BASE_HEAD if run.config.task == "classification" else NO_BASE_SCORES
    return {
        full.arm if full is not None else "full": full if full is not None else NO_FULL_ARM,
        BASE: base_rows(base) if base is not None else untrained,
    }


def compare_arms(
    arms: Sequence[ArmRows],
    policy: Policy,
    task: Task,
    test_digest: Digest,
    references: Mapping[str, Reference],
) -> Comparison:
    """The comparison that `policy` asks for; `references` are what worst slices are held against."""
    by_name = {arm.arm: arm for arm in arms}
    if policy.candidate not in by_name:
        raise MissingError(f"the candidate {policy.candidate!r} has no scores; there are {', '.join(by_name)}")
    _require_distinct(arms)
    require_same_examples([(arm.arm, arm.matrix("score")) for arm in arms])
    asked = [question for question in questions(policy) if question.against in by_name]
    contrasts = [contrast for question in asked for contrast in _contrasts(question, policy, by_name, task)]
    slice_margin = min((question.margin for question in asked if question.on_slices), default=SLICE_MARGIN)
    large_enough = {
        name: _large(by_name[policy.candidate], examples, slice_margin, policy.level)
        for name, examples in slices_of(by_name[policy.candidate]).items()
    }
    whole = by_name[policy.candidate].matrix("score")
    baselines = tuple(dict.fromkeys(contrast.baseline for contrast in contrasts))
    return Comparison(
        candidate=policy.candidate,
        baselines=baselines,
        primary_metric=PRIMARY[task],
        test_digest=test_digest,
        examples=len(whole.examples),
        groups=whole.group_count,
        arms=tuple(_summary(arm, task, large_enough, max(0.95, 1 - 2 * policy.level)) for arm in arms),
        contrasts=tuple(contrasts),
        drops=worst_slice_drops(arms, references, large_enough),
        families=slice_families(
            by_name[policy.candidate],
            [by_name[name] for name in baselines],
            _slice_margins(asked, baselines, PRIMARY[task], slice_margin),
            PRIMARY[task],
            policy.level,
        ),
    )


def _slice_margins(
    asked: Sequence[Question], baselines: Sequence[str], metric: str, default: float
) -> dict[str, float]:
    """What a slice may lose against each baseline: as the policy asks of slices, else `default`."""
    own = {entry.against: entry.margin for entry in asked if entry.on_slices and entry.metric == metric}
    return {name: own.get(name, default) for name in baselines}


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


def _contrasts(question: Question, policy: Policy, arms: Mapping[str, ArmRows], task: Task) -> list[Contrast]:
    candidate, baseline = arms[policy.candidate], arms[question.against]
    if question.metric == "macro_f1" and not question.on_slices:
        return [_macro_f1_contrast(question, candidate, baseline, policy.level)]
    populations: dict[str, frozenset[str] | None] = {ALL: None}
    if question.on_slices:
        populations = {
            name: examples
            for name, examples in slices_of(candidate).items()
            if _large(candidate, examples, question.margin, policy.level)
        }
    column = score_column(question.metric, task)
    return [
        _mean_contrast(question, candidate, baseline, column, policy.level, population, examples)
        for population, examples in populations.items()
    ]


def _large(arm: ArmRows, examples: frozenset[str], margin: float, alpha: float) -> bool:
    """Whether a slice can be judged; a single draw says nothing of its spread, however wide the margin."""
    return arm.size(examples) > 1 and assessable(arm.size(examples), margin, alpha)


def _mean_contrast(
    question: Question,
    candidate: ArmRows,
    baseline: ArmRows,
    column: str,
    alpha: float,
    population: str,
    examples: frozenset[str] | None,
) -> Contrast:
    sides = [
        score_matrix(arm.only(examples), column, f"arm {arm.arm}, {population} examples")
        for arm in (candidate, baseline)
    ]
    ours, theirs, groups = sides[0].values, sides[1].values, sides[0].groups
    return Contrast(
        metric=question.metric,
        population=population,
        candidate=candidate.arm,
        baseline=baseline.arm,
        result=noninferiority(ours, theirs, margin=question.margin, alpha=alpha, groups=groups),
        variation=measure_variation(ours, theirs, groups=groups),
    )


def _macro_f1_contrast(question: Question, candidate: ArmRows, baseline: ArmRows, alpha: float) -> Contrast:
    codes = _label_codes(candidate, baseline)
    result = bootstrap_difference(
        _macro_f1(candidate, codes),
        _macro_f1(baseline, codes),
        margin=question.margin,
        alpha=alpha,
        draws=BOOTSTRAP_DRAWS,
        rng=np.random.default_rng(BOOTSTRAP_SEED),
    )
    return Contrast(
        metric=question.metric, population=ALL, candidate=candidate.arm, baseline=baseline.arm, result=result
    )


def _summary(arm: ArmRows, task: Task, large_enough: Mapping[str, bool], confidence: float) -> ArmSummary:
    matrix = arm.matrix("score")
    conditions = sorted(set(arm.rows.get("condition", [])) - {CLEAN})

    def mean(scores: Matrix) -> Estimate:
        return mean_estimate(scores.values, confidence, bounded=True, groups=scores.groups)

    slices = tuple(
        SliceScore(
            slice=name,
            score=mean(score_matrix(arm.only(examples), "score", name)),
            assessable=large_enough[name],
        )
        for name, examples in slices_of(arm).items()
    )
    return ArmSummary(
        arm=arm.arm,
        seeds=matrix.seeds,
        artifact_digests=arm.digests,
        metrics={name: mean(arm.matrix(column)) for name, column in _columns(arm, task).items()}
        | _macro_f1_metric(arm, task, confidence),
        robustness={name: mean(arm.matrix("score", name)) for name in conditions},
        slices=slices,
        latency_ms=arm.latency_ms,
        forgetting=arm.forgetting,
    )


def _columns(arm: ArmRows, task: Task) -> dict[str, str]:
    """Metrics that are means over examples -> their column."""
    if task == "classification":
        return {PRIMARY[task]: "score"}
    return {name.removeprefix(SCORE_PREFIX): name for name in arm.clean.columns if name.startswith(SCORE_PREFIX)}


def _macro_f1_metric(arm: ArmRows, task: Task, confidence: float) -> dict[str, Estimate]:
    if task == "generation":
        return {}
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    metric = _macro_f1(arm, _label_codes(arm))
    return {"macro_f1": bootstrap_metric(metric, rng=rng, draws=BOOTSTRAP_DRAWS, confidence=confidence)}


def score_column(metric: str, task: Task) -> str:
    """The column of the predictions table that holds `metric` of one example."""
    return "score" if metric == PRIMARY[task] else f"{SCORE_PREFIX}{metric}"


def _label_codes(*arms: ArmRows) -> dict[str, int]:
    names = sorted({str(name) for arm in arms for column in ("label", "prediction") for name in arm.clean[column]})
    return {name: code for code, name in enumerate(names)}


def _macro_f1(arm: ArmRows, codes: Mapping[str, int]) -> ArmMetric:
    rows = arm.clean.sort_values(["seed", "example_id"])
    seeds = len(set(rows["seed"]))
    labels, predictions = (
        rows[column].map(codes).to_numpy(dtype=np.int64).reshape(seeds, -1) for column in ("label", "prediction")
    )
    groups = arm.matrix("score").groups  # in the same order: sorted by example
    found = macro_f1(labels[0], predictions, len(codes))
    return found if groups is None else grouped(found, groups)
