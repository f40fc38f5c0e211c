"""A run as the demo makes it: three arms, three seeds, twelve classes; figures in the range of real ones."""

from datetime import date
from decimal import Decimal

import pytest

from rsa_ops.core.benchmark import CellScores, Forgetting, GroupScore
from rsa_ops.core.cell import Cell
from rsa_ops.core.comparison import ArmSummary, Comparison, Contrast, SliceFamily, SliceScore, WorstSliceDrop
from rsa_ops.core.estimate import Answer, Estimate, PairedResult
from rsa_ops.core.measurements import Energy, Measurements
from rsa_ops.core.slices import SliceDifference, SlicesResult, WorstSlice
from rsa_ops.core.validation import Finding, SplitInfo, Validation
from rsa_ops.core.verdict import Outcome, Ruling, Verdict
from rsa_ops.costs import CostConfig, default_book, total_cost
from rsa_ops.reporting import ReportInputs

ARMS = {"rsa": (0.873, 62.0, 142_000), "lora": (0.869, 55.0, 313_344), "full": (0.877, 148.0, 22_717_836)}
SEEDS = (1, 2, 3)
VECTORS = (
    ("sql injection", 96, 0.04),
    ("cross-site scripting", 91, 0.05),
    ("buffer overflow", 64, -0.01),
    ("path traversal", 48, 0.01),
    ("privilege escalation", 41, -0.09),
    ("denial of service", 38, -0.02),
    ("認証回避", 33, -0.05),
    ("deserialization", 9, 0.02),
)


def sha(letter: str) -> str:
    return "sha256:" + letter * 64


def estimate(value: float, half: float, examples: int = 590) -> Estimate:
    return Estimate(
        value=value,
        low=value - half,
        high=value + half,
        confidence=0.95,
        method="crossed variance, t",
        examples=examples,
        seeds=3,
        standard_error=half / 2,
        degrees_of_freedom=11.4,
    )


def paired(value: float, half: float, answer: Answer, reason: str, more: int | None = None) -> PairedResult:
    return PairedResult(
        answer=answer,
        margin=0.02,
        alpha=0.05,
        difference=None if answer is Answer.INVALID else estimate(value, half),
        p_noninferior=0.012,
        variance_share_seeds=0.31,
        more_examples=more,
        more_seeds=2 if more else None,
        reason=reason,
    )


def summary(arm: str, metrics: tuple[str, ...]) -> ArmSummary:
    accuracy = ARMS[arm][0]
    return ArmSummary(
        arm=arm,
        seeds=SEEDS,
        artifact_digests=tuple(sha(letter) for letter in "abc"),
        metrics={name: estimate(accuracy - 0.015 * i, 0.013) for i, name in enumerate(metrics)}
        | ({"ece": estimate(0.041, 0.011)} if "accuracy" in metrics else {}),
        robustness={
            k: estimate(accuracy - d, 0.02) for k, d in (("typos", 0.061), ("case", 0.004), ("spaces", 0.012))
        },
        slices=tuple(
            SliceScore(slice=f"vector={name}", score=estimate(accuracy + gap, 0.05, rows), assessable=rows >= 30)
            for name, rows, gap in VECTORS
        ),
        latency_ms={"p50": 6.4, "p95": 9.8},
        forgetting=tuple(forgotten("accuracy" in metrics, seed) for seed in SEEDS),
    )


def forgotten(classifier: bool, seed: int) -> Forgetting:
    return Forgetting(
        kind="vector_drift" if classifier else "loss_per_token",
        value=0.01 * seed if classifier else 0.052 * (seed - 1),
        trained=None if classifier else 3.4 + 0.052 * (seed - 1),
        base=None if classifier else 3.4,
        sentences=60,
        tokens=700,
        text_digest=sha("9"),
    )


def drops(classifier: bool) -> tuple[WorstSliceDrop, ...]:
    found = [
        WorstSliceDrop(arm=arm, reference="full", slice="vector=xss", difference=-0.051, slices_judged=7)
        for arm in ARMS
        if arm != "full"
    ]
    for arm in ARMS:
        found.append(
            WorstSliceDrop(
                arm=arm,
                reference="base model",
                slice=None if classifier else "vector=xss",
                difference=None if classifier else 0.123,
                slices_judged=0 if classifier else 7,
                reason="the base model has no head for these classes" if classifier else "",
            )
        )
    return tuple(found)


def family(metric: str) -> SliceFamily:
    """One slice is harmed, one too small; the lowest is lower than chance makes it."""
    found = tuple(
        SliceDifference(
            slice=f"vector={name}",
            examples=rows,
            assessable=rows >= 30,
            result=paired(gap, 0.03, Answer.NON_INFERIOR, "") if rows >= 30 else None,
            low=gap - 0.04 if rows >= 30 else None,
            high=gap + 0.04 if rows >= 30 else None,
            p_harmed=(0.004 if gap < -0.08 else 0.6) if rows >= 30 else None,
        )
        for name, rows, gap in VECTORS
    )
    return SliceFamily(
        metric=metric,
        baseline="full",
        result=SlicesResult(margin=0.02, alpha=0.05, examples_needed=30, slices=found),
        worst=WorstSlice(
            slice="vector=privilege escalation",
            difference=-0.09,
            expected=-0.031,
            p_value=0.0125,
            slices=7,
            draws=2000,
        ),
    )


def comparison_of(metrics: tuple[str, ...]) -> Comparison:
    fine = "The lower end of the interval lies above minus the margin."
    wide = "The interval contains minus the margin."
    contrasts = [
        Contrast(metric=m, population="all", candidate="rsa", baseline=b, result=paired(v, h, a, r, n))
        for m in metrics[:2]
        for b, v, h, a, r, n in (
            ("full", -0.004, 0.011, Answer.NON_INFERIOR, fine, None),
            ("lora", 0.004, 0.027, Answer.INCONCLUSIVE, wide, 410),
        )
    ]
    contrasts.append(
        Contrast(
            metric=metrics[0],
            population="vector=privilege escalation",
            candidate="rsa",
            baseline="full",
            result=paired(-0.051, 0.02, Answer.INFERIOR, "The whole interval lies below minus the margin."),
        )
    )
    return Comparison(
        candidate="rsa",
        baselines=("full", "lora"),
        primary_metric=metrics[0],
        test_digest=sha("d"),
        examples=590,
        arms=tuple(summary(arm, metrics) for arm in ARMS),
        contrasts=tuple(contrasts),
        drops=drops("accuracy" in metrics),
        families=(family(metrics[0]),),
    )


def measured(arm: str, seed: int) -> Measurements:
    _, seconds, trainable = ARMS[arm]
    return Measurements(
        cell=Cell(arm=arm, seed=seed),
        method=arm,
        base_model="asset:minilm-l6",
        base_digest=sha("e"),
        artifact_digest=sha("f"),
        data_digest=sha("0"),
        device="CPU, 1 thread",
        workers=2,
        threads=1,
        wall_seconds=seconds + seed,
        cpu_seconds=seconds,
        selection_seconds=3.1 if arm == "rsa" else 0.0,
        peak_host_memory_bytes=912_000_000 + seed * 1_000_000 + (400_000_000 if arm == "full" else 0),
        peak_device_memory_bytes=None,
        energy=Energy(energy_kwh=seconds * 1.1e-5, source="estimate from processor power"),
        trainable_parameters=trainable,
        total_parameters=22_717_836,
        artifact_bytes=trainable * 4 + 2000,
        tokens=312_000,
        examples=4132,
        steps=388,
        epochs=3.0,
        learning_rate=3e-3 if arm != "full" else 5e-5,
        effort="learning rates as set in pipeline.yaml; no search",
        final_loss=0.412,
    )


def scores(arm: str, seed: int) -> CellScores:
    value = ARMS[arm][0] + (seed - 2) * 0.006
    return CellScores(
        cell=Cell(arm=arm, seed=seed),
        artifact_digest=sha("f"),
        test_digest=sha("d"),
        predictions_digest=sha("1"),
        examples=590,
        metrics={"accuracy": value, "macro_f1": value - 0.015},
        robustness={"typos": value - 0.06},
        classes=(GroupScore(group="network", examples=90, score=0.91),),
        slices=(),
        latency_ms={"p50": 6.4},
        changed_against_base=0.71,
        forgetting=forgotten(True, seed),
        wall_seconds=11.5,
    )


@pytest.fixture
def measurements() -> tuple[Measurements, ...]:
    return tuple(measured(arm, seed) for arm in ARMS for seed in SEEDS)


@pytest.fixture
def comparison() -> Comparison:
    return comparison_of(("accuracy", "macro_f1"))


@pytest.fixture
def generation() -> Comparison:
    return comparison_of(("chrf", "bleu", "rouge_l", "field_coverage"))


@pytest.fixture
def tco(measurements):
    config = CostConfig(trainings_per_year=Decimal(12))
    return total_cost(measurements, dict.fromkeys(ARMS, 34.5), default_book(), config, date(2026, 11, 24))


@pytest.fixture
def validation() -> Validation:
    return Validation(
        task="classification",
        source="asset:genai-incidents",
        rows_read=5904,
        rows_used=5312,
        sampling="stratified by label, seed 7",
        fingerprint=sha("2"),
        splits=tuple(
            SplitInfo(name=n, rows=r, digest=sha("d"))
            for n, r in (("train", 4132), ("validation", 590), ("test", 590))
        ),
        labels=("local", "network", "physical"),
        slices=("vector",),
        findings=(
            Finding(
                check="near duplicates inside train",
                severity="warn",
                rows=37,
                message="37 rows are nearly the same as another one.",
                examples=("<script>alert(1)</script> in the title field", "A buffer overflow in [b]libfoo[/b]"),
                advice="Remove them, or group them with `data.group`, so that they do not count twice.",
            ),
        ),
        checks_run=14,
        attribution="NVD via genai-incidents 2.13.0, CC BY 4.0",
    )


@pytest.fixture
def verdict() -> Verdict:
    return Verdict(
        outcome=Outcome.REJECT,
        sentence="REJECT: rsa is not worse than full overall, but it lost more than 5 points on one slice",
        candidate="rsa",
        baselines=("full", "lora"),
        rulings=(
            Ruling(
                rule="quality against full",
                required="accuracy difference above −2.0 points",
                observed="−0.4 points [−1.5, +0.7]",
                outcome=Outcome.PROMOTE,
                reason="The lower end of the interval lies above minus the margin.",
            ),
            Ruling(
                rule="quality against lora",
                required="accuracy difference above −2.0 points",
                observed="+0.4 points [−2.3, +3.1]",
                outcome=Outcome.INCONCLUSIVE,
                reason="The interval contains minus the margin; 410 more examples would decide.",
            ),
            Ruling(
                rule="worst slice against full | all",
                required="no slice more than 5 points worse",
                observed="vector=privilege escalation: −5.1 points",
                outcome=Outcome.REJECT,
                reason="vector=privilege escalation lost <b>more</b> than 5 points, see @owner.",
            ),
        ),
        policy="incident-triage v1",
        policy_digest=sha("3"),
        test_digest=sha("d"),
        candidate_digest=sha("f"),
        champion_digest=None,
    )


@pytest.fixture
def inputs(comparison, measurements, tco, validation, verdict) -> ReportInputs:
    return ReportInputs(
        pipeline="incident-triage",
        task="classification",
        generated_at="2026-11-24 11:02 UTC",
        version="0.1.0",
        validation=validation,
        comparison=comparison,
        measurements=measurements,
        scores=tuple(scores(arm, seed) for arm in ARMS for seed in SEEDS),
        tco=tco,
        verdict=verdict,
        settings_note="3 epochs, batch 32, linear schedule, 2 cells at a time on 2 cores.",
        sizes_note="4,132 of 4,132 training rows, all 590 test rows.",
        mlflow_hint="mlflow ui --backend-store-uri sqlite:///rsa-ops-demo/mlflow.db",
    )
