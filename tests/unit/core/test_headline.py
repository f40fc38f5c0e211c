"""A headline says what the records say, exactly."""

from __future__ import annotations

from decimal import Decimal

from rsa_ops.core.comparison import Comparison, Contrast
from rsa_ops.core.costs import ArmCost, Tco
from rsa_ops.core.estimate import Answer, Estimate, PairedResult
from rsa_ops.core.headline import Headline
from rsa_ops.core.money import Money
from rsa_ops.core.verdict import Outcome, Verdict

ZERO = "sha256:" + "0" * 64


def yen(amount: str) -> Money:
    return Money(amount=Decimal(amount), currency="JPY")


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
TCO = Tco(
    currency="JPY",
    horizon_months=12,
    price_book="b",
    price_book_digest=ZERO,
    price_book_date="2026-11-24",
    fx_note="",
    items=(),
    arms=(
        ArmCost(arm="rsa", per_training=yen("1"), total=yen("10.000000001")),
        ArmCost(arm="full", per_training=yen("3"), total=yen("40")),
    ),
    measured_share=0.25,
)
ESTIMATE = Estimate(value=0.001, low=-0.02, high=0.022, confidence=0.9, method="m", examples=600, seeds=3)


def test_a_headline_repeats_the_primary_contrast_and_the_totals() -> None:
    found = Headline.of(VERDICT, comparison(ESTIMATE), TCO)
    assert (found.difference, found.low, found.high, found.margin) == (0.001, -0.02, 0.022, 0.03)
    assert (found.candidate_cost, found.baseline_cost) == (yen("10.000000001"), yen("40"))
    assert found.saving == yen("29.999999999")
    assert found.measured_share == 0.25


def test_a_headline_comes_back_from_its_tag_to_the_last_digit() -> None:
    found = Headline.of(VERDICT, comparison(ESTIMATE), TCO)
    assert Headline.from_json(found.model_dump_json(), "a tag") == found


def test_what_is_missing_is_none_and_never_zero() -> None:
    found = Headline.of(VERDICT, comparison(None), None)
    assert (found.difference, found.low, found.high) == (None, None, None)
    assert (found.candidate_cost, found.baseline_cost, found.saving, found.measured_share) == (None,) * 4
