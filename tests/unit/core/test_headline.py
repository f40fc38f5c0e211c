"""A headline says what the records say, exactly."""

from __future__ import annotations

from rsa_ops.core.comparison import Comparison, Contrast
from rsa_ops.core.estimate import Answer, Estimate, PairedResult
from rsa_ops.core.headline import Headline
from rsa_ops.core.verdict import Outcome, Verdict

from ...worlds import a_case

ZERO = "sha256:" + "0" * 64


def comparison(difference: Estimate | None) -> Comparison:
    answer = Answer.INVALID if difference is None else Answer.NON_INFERIOR
    result = PairedResult(
        answer=answer,
        margin=0.03,
        alpha=0.05,
        difference=difference,
        p_noninferior=None,
        variance_share_seeds=None,
        more_examples=None,
        more_seeds=None,
        reason="",
    )
    contrast = Contrast(metric="accuracy", population="all", candidate="rsa", baseline="full", result=result)
    return Comparison(
        candidate="rsa",
        baselines=("full", "lora"),
        primary_metric="accuracy",
        test_digest=ZERO,
        examples=600,
        arms=(),
        contrasts=(contrast,),
        drops=(),
    )


VERDICT = Verdict(
    outcome=Outcome.PROMOTE,
    sentence="",
    candidate="rsa",
    baselines=("full",),
    rulings=(),
    policy="p",
    policy_digest=ZERO,
    test_digest=ZERO,
    candidate_digest=ZERO,
    champion_digest=None,
)
ESTIMATE = Estimate(value=0.001, low=-0.02, high=0.022, confidence=0.9, method="m", examples=600, seeds=3)


def test_a_headline_repeats_the_primary_contrast_and_the_business_case() -> None:
    case = a_case()
    found = Headline.of(VERDICT, comparison(ESTIMATE), case)
    assert (found.difference, found.low, found.high, found.margin) == (0.001, -0.02, 0.022, 0.03)
    assert (found.candidate_cost, found.baseline_cost) == (case.arm("rsa").total, case.arm("full").total)
    assert (found.saving, found.npv, found.scenario) == (case.saving, case.npv, "department")
    assert (found.horizon_months, found.measured_share) == (case.horizon_months, case.shares.measured)


def test_a_headline_comes_back_from_its_tag_to_the_last_digit() -> None:
    found = Headline.of(VERDICT, comparison(ESTIMATE), a_case())
    assert Headline.from_json(found.model_dump_json(), "a tag") == found


def test_what_is_missing_is_none_and_never_zero() -> None:
    found = Headline.of(VERDICT, comparison(None), None)
    assert (found.difference, found.low, found.high) == (None, None, None)
    assert (found.candidate_cost, found.baseline_cost, found.saving, found.measured_share) == (None,) * 4
    assert (found.npv, found.scenario, found.horizon_months) == (None,) * 3
