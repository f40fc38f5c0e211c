"""How a difference reads: no printed number may contradict the answer that was drawn from the exact ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsa_ops.core.estimate import Answer, Estimate, PairedResult
from rsa_ops.gates.ruling import observed
from rsa_ops.reporting import text


def result(low: float, high: float, margin: float = 0.03) -> PairedResult:
    difference = Estimate(
        value=(low + high) / 2, low=low, high=high, confidence=0.9, method="t", examples=1000, seeds=3
    )
    return PairedResult(
        answer=Answer.NON_INFERIOR,
        margin=margin,
        alpha=0.05,
        difference=difference,
        p_noninferior=0.04,
        variance_share_seeds=0.5,
        more_examples=None,
        more_seeds=None,
        reason="",
    )


@pytest.mark.parametrize(
    ("low", "high", "ruled", "shown"),
    [
        (-0.0296, 0.0031, "-0.0296 to +0.0031", "[−2.96, +0.31]"),  # not "-0.030", which is the margin
        (-0.0304, -0.012, "-0.0304 to -0.0120", "[−3.04, −1.20]"),
        (0.0004, 0.021, "+0.0004 to +0.0210", "[+0.04, +2.10]"),  # not "+0.000": superior
        (-0.021, 0.004, "-0.021 to +0.004", "[−2.1, +0.4]"),
        (-0.03, 0.004, "-0.030 to +0.004", "[−3.0, +0.4]"),  # exactly the margin reads as the margin
    ],
)
def test_an_end_that_stands_off_a_border_does_not_read_as_the_border(
    low: float, high: float, ruled: str, shown: str
) -> None:
    found = result(low, high)
    assert ruled in observed(found)
    assert shown in text.difference(found, "accuracy")


@given(low=st.floats(-0.2, 0.1), width=st.floats(0.001, 0.1), margin=st.sampled_from([0.01, 0.02, 0.03, 0.1]))
def test_the_printed_end_lies_on_the_side_of_the_exact_one(low: float, width: float, margin: float) -> None:
    found = result(low, low + width, margin)
    printed = float(f"{low:.{found.decimals(3)}f}")
    for border in (-margin, 0.0):
        if abs(low - border) > 1e-6:
            assert (printed > border) == (low > border)


def test_a_result_without_a_difference_has_the_least_decimals() -> None:
    empty = result(0, 1).model_copy(update={"difference": None})
    assert empty.decimals(3) == 3
