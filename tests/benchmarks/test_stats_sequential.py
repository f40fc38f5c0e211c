"""The laws of the full benchmark at a small size, and that its vectorised lives are those of the public states."""

import json
from pathlib import Path

import numpy as np
import pytest
import stats_sequential as bench

from rsa_ops.stats import ArmCounts, BernoulliEProcess, ConfidenceSequence, EProcess


@pytest.fixture(scope="module")
def small() -> dict:
    return bench.measure(200)


def test_every_law_holds_at_a_small_size(small) -> None:
    doubled = "a doubled 1 % is stopped within 3,000 an arm with probability 0.8"
    assert {law for law, holds in small["laws"].items() if not holds} <= {doubled}
    harm = [r for r in small["rows"] if (r["cell"], r["method"]) == ("harm", "e-process")]
    (found,) = [r for r in harm if r["challenger"] == 0.02]
    assert found["stopped_by_3000"] >= 0.8 - 3 * (0.8 * 0.2 / 200) ** 0.5


def test_the_rates_published_before_are_met_within_the_error(small) -> None:
    """research/ab_tco.md section 2.5, 4,000 lives; its e-process has a uniform prior."""
    published = {
        "peeked z": (0.334, 0.333, 0.262),
        "confidence sequence": (0.023, 0.024, 0.012),
        "e-process, uniform prior": (0.008, 0.031, 0.023),
    }
    for method, rates in published.items():
        found = [
            r["stopped"] for r in small["rows"] if r["cell"] == "no harm, 50/50 blocks" and r["method"] == method
        ]
        errors = [3.5 * (rate * (1 - rate) * (1 / 200 + 1 / 4000)) ** 0.5 for rate in rates]
        assert all(abs(f - p) <= e for f, p, e in zip(found, rates, errors, strict=True)), (method, found)


def test_the_committed_result_is_of_this_script_and_keeps_every_law() -> None:
    committed = json.loads((Path(bench.__file__).parent / "results" / "stats_sequential.json").read_text("utf-8"))
    assert committed["repetitions"] == bench.REPETITIONS == 4000
    assert committed["laws"] == bench.laws(committed["rows"], committed["repetitions"])
    assert all(committed["laws"].values())


@pytest.mark.parametrize("steps", [(50, 50), (10, 90)])
def test_the_vectorised_lives_are_those_of_the_states(steps: tuple[int, int]) -> None:
    seen = bench.blocks(np.random.default_rng(4), (0.06, 0.04), steps, 3)
    exact, two = bench.e_process(seen, margin=1.1), bench.two_streams(seen, margin=0.01)
    means = bench.means(seen)
    for life, look in [(0, 199), (1, 99), (2, 20)]:
        arms = [
            ArmCounts(exposures=int(units[life, look]), bad=int(bad[life, look]))
            for units, bad in ((seen.ours, seen.bad_ours), (seen.theirs, seen.bad_theirs))
        ]
        one = EProcess(ratio_margin=1.1, allocation=seen.share).update(*arms)
        assert exact[life, look] == (one.log_e_harm >= np.log(20))
        guess = 0.8 * 0.04
        other = BernoulliEProcess(
            margin=0.01, allocation=seen.share, baseline_rate=guess, design_difference=0.01 + min(guess, 0.02)
        ).update(*arms)
        assert two[life, look] == (other.log_e_harm >= np.log(20))
        scores = [np.repeat([1.0, 0.0], [arm.bad, arm.exposures - arm.bad]) for arm in arms]
        found = ConfidenceSequence(expected_observations=10_000).update(*scores).estimate
        assert found is not None
        assert means[life, look] == (found.low > 0)
