"""Evidence that promotes, piece by piece, so that a test changes one piece only."""

from __future__ import annotations

from decimal import Decimal
from types import SimpleNamespace

import pytest

from rsa_ops.core.cell import Cell
from rsa_ops.core.comparison import ALL, ArmSummary, Comparison, Contrast, SliceScore
from rsa_ops.core.costs import ArmCost, Tco
from rsa_ops.core.digest import digest_bytes
from rsa_ops.core.estimate import Answer, Estimate, PairedResult
from rsa_ops.core.measurements import Energy, Measurements
from rsa_ops.core.money import Money
from rsa_ops.core.verdict import Evidence
from rsa_ops.gates import Policy
from rsa_ops.gates.policy import (
    CostRule,
    FloorRule,
    MeasuredRule,
    NonInferiorityRule,
    RobustnessRule,
    SlicesRule,
    WorstSliceRule,
)

TEST = digest_bytes(b"test set")
OTHER = digest_bytes(b"something else")
SEEDS = (1, 2, 3)
EXAMPLES = 900
SLICES = {"vector=xss": (200, True), "vector=sqli": (150, True), "vector=rare": (12, False)}
DIFFERENCES = {
    Answer.SUPERIOR: (0.03, 0.01, 0.05),
    Answer.NON_INFERIOR: (0.004, -0.006, 0.014),
    Answer.INFERIOR: (-0.08, -0.10, -0.06),
    Answer.INCONCLUSIVE: (-0.02, -0.07, 0.03),
}


def sha(arm: str, seed: int) -> str:
    return digest_bytes(f"{arm} {seed}".encode())


def estimate(value: float, low: float, high: float, *, n: int = EXAMPLES, confidence: float = 0.95) -> Estimate:
    return Estimate(
        value=value, low=low, high=high, confidence=confidence, method="t", examples=n, seeds=len(SEEDS)
    )


def paired(answer: Answer, *, margin: float = 0.02, n: int = EXAMPLES) -> PairedResult:
    if answer is Answer.INVALID:
        return PairedResult(
            answer=answer,
            margin=margin,
            alpha=0.05,
            difference=None,
            p_noninferior=None,
            variance_share_seeds=None,
            more_examples=None,
            more_seeds=None,
            reason="a score is NaN",
        )
    open_ = answer is Answer.INCONCLUSIVE
    return PairedResult(
        answer=answer,
        margin=margin,
        alpha=0.05,
        difference=estimate(*DIFFERENCES[answer], n=n, confidence=0.9),
        p_noninferior={Answer.INFERIOR: 0.999, Answer.INCONCLUSIVE: 0.3}.get(answer, 0.01),
        variance_share_seeds=0.2,
        more_examples=400 if open_ else None,
        more_seeds=2 if open_ else None,
        reason="so it is",
    )


def contrast(
    answer: Answer, *, baseline: str = "full", population: str = ALL, margin: float | None = None
) -> Contrast:
    on_all = population == ALL
    chosen = margin if margin is not None else (0.02 if on_all else 0.05)
    n = EXAMPLES if on_all else SLICES[population][0]
    return Contrast(
        metric="accuracy",
        population=population,
        candidate="rsa",
        baseline=baseline,
        result=paired(answer, margin=chosen, n=n),
    )


def arm(name: str) -> ArmSummary:
    return ArmSummary(
        arm=name,
        seeds=SEEDS,
        artifact_digests=tuple(sha(name, seed) for seed in SEEDS),
        metrics={"accuracy": estimate(0.84, 0.81, 0.87), "macro_f1": estimate(0.7, 0.66, 0.74)},
        robustness={"typos": estimate(0.82, 0.80, 0.84, n=300)},
        slices=tuple(
            SliceScore(slice=key, score=estimate(0.8, 0.75, 0.85, n=n), assessable=large)
            for key, (n, large) in SLICES.items()
        ),
        latency_ms={},
        forgetting=(),
    )


def measured(name: str, seed: int, *, wall_seconds: float = 10.0) -> Measurements:
    return Measurements(
        cell=Cell(arm=name, seed=seed),
        method=name,
        base_model="asset:minilm-l6",
        base_digest=TEST,
        artifact_digest=sha(name, seed),
        data_digest=TEST,
        device="cpu",
        workers=1,
        threads=2,
        wall_seconds=wall_seconds if name == "rsa" else 40.0,
        cpu_seconds=1.0,
        selection_seconds=0.0,
        peak_host_memory_bytes=500 if name == "rsa" else 1000,
        peak_device_memory_bytes=None,
        energy=Energy(energy_kwh=None, source="not measured"),
        trainable_parameters=1 if name == "rsa" else 100,
        total_parameters=100,
        artifact_bytes=1 if name == "rsa" else 100,
        tokens=1,
        examples=1,
        steps=1,
        epochs=1.0,
        learning_rate=1e-3,
        effort="none",
        final_loss=0.1,
    )


def yen(amount: int) -> Money:
    return Money(amount=Decimal(amount), currency="JPY")


def tco(ours: Money, theirs: Money) -> Tco:
    return Tco(
        currency="JPY",
        horizon_months=12,
        price_book="test",
        price_book_digest=TEST,
        price_book_date="2026-11-01",
        fx_note="none",
        items=(),
        arms=(
            ArmCost(arm="rsa", per_training=ours, total=ours),
            ArmCost(arm="full", per_training=theirs, total=theirs),
        ),
        measured_share=1.0,
    )


def comparison() -> Comparison:
    return Comparison(
        candidate="rsa",
        baselines=("full", "lora"),
        primary_metric="accuracy",
        test_digest=TEST,
        examples=EXAMPLES,
        arms=(arm("rsa"), arm("full"), arm("lora")),
        contrasts=(
            contrast(Answer.NON_INFERIOR),
            contrast(Answer.SUPERIOR, baseline="lora"),
            *(contrast(Answer.NON_INFERIOR, population=key) for key, (_, large) in SLICES.items() if large),
        ),
        drops=(),
    )


@pytest.fixture
def evidence() -> Evidence:
    return good_evidence()


def good_evidence() -> Evidence:
    return Evidence(
        comparison=comparison(),
        measurements=tuple(measured(name, seed) for name in ("rsa", "full", "lora") for seed in SEEDS),
        tco=tco(yen(30), yen(100)),
        candidate_digest=sha("rsa", 1),
        champion_digest=OTHER,
        test_digest=TEST,
    )


ALL_RULES = (
    NonInferiorityRule(kind="noninferiority", metric="accuracy", against="full", margin=0.02),
    NonInferiorityRule(kind="noninferiority", metric="accuracy", against="lora", margin=0.02, require="superior"),
    SlicesRule(kind="slices", metric="accuracy", against="full", margin=0.05, min_assessable=2),
    FloorRule(kind="floor", metric="accuracy", at_least=0.8),
    RobustnessRule(kind="robustness", perturbation="typos", max_drop=0.05),
    WorstSliceRule(kind="worst_slice", at_least=0.7),
    MeasuredRule(kind="measured", quantity="trainable_share", at_most=0.02),
    MeasuredRule(kind="measured", quantity="wall_seconds_ratio", at_most=0.5, against="full"),
    MeasuredRule(kind="measured", quantity="peak_host_memory_ratio", at_most=0.5, against="full"),
    MeasuredRule(kind="measured", quantity="artifact_bytes_ratio", at_most=0.1, against="full"),
    CostRule(kind="cost", against="full", at_most=0.4),
)


@pytest.fixture
def policy() -> Policy:
    return make_policy(*ALL_RULES)


def make_policy(*rules: object) -> Policy:
    return Policy(name="triage", candidate="rsa", rules=rules)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def kit() -> SimpleNamespace:
    """The makers above, for tests that change one piece."""
    return SimpleNamespace(
        all_rules=ALL_RULES,
        arm=arm,
        contrast=contrast,
        estimate=estimate,
        evidence=good_evidence,
        measured=measured,
        other=OTHER,
        paired=paired,
        policy=make_policy,
        sha=sha,
        tco=tco,
        yen=yen,
    )
