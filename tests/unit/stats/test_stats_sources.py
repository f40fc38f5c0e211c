"""Every name of `rsa_ops.stats` that computes says where it comes from."""

import inspect
import re

import pytest

from rsa_ops import stats

HOLD_NO_METHOD = {
    # values that carry numbers, and helpers that only arrange what is given
    "Action",
    "ArmCounts",
    "ArmMetric",
    "Guardrail",
    "Margin",
    "Moments",
    "RolloutDecision",
    "Significance",
    "SliceDifference",
    "SlicesResult",
    "TwoArmCounts",
    "WorstSlice",
    "aligned",
    "from_sums",
    "pilot_variation",
    "slices_by",
    "weighted_mean",
}


@pytest.mark.parametrize("name", sorted(set(stats.__all__) - HOLD_NO_METHOD))
def test_a_method_names_its_paper_by_year(name: str) -> None:
    assert re.search(r"\b(19|20)\d\d\b", inspect.getdoc(getattr(stats, name)) or ""), name


def test_what_is_excepted_is_public() -> None:
    assert set(stats.__all__) >= HOLD_NO_METHOD
