"""The alpha sweep: exact ends, the rule of choice, and values that come back when something breaks."""

from __future__ import annotations

import pytest
import torch
from tuner_models import causal_batch, learnt, llama, two_layers

from rsa_ops.tuners.rsa.alpha import alpha_sweep


def values(model):
    return [p for name, p in model.named_parameters() if "rsa_delta" in name]


def strength(model, before):
    """Which alpha the values stand at."""
    return float(values(model)[0].detach().flatten()[0] / before[0].flatten()[0])


def sweep(table, **options):
    """Sweep where `table` says, for each alpha, the scores of slices a and b."""
    model = learnt(two_layers())
    before = [value.detach().clone() for value in values(model)]

    def evaluate(model):
        found = min(table, key=lambda alpha: abs(alpha - strength(model, before)))
        return dict(zip("ab", table[found], strict=True))

    found = alpha_sweep(model, evaluate, **{"alphas": tuple(table), "tolerance": 0.0, **options})
    return found, strength(model, before)


def test_alpha_0_is_the_base_and_alpha_1_the_adapter_bit_for_bit():
    model, batch = learnt(llama()).eval(), causal_batch()
    before = [value.detach().clone() for value in values(model)]
    trained = model(**batch).logits
    with model.disable_adapter():
        base = model(**batch).logits
    seen = {}

    def evaluate(model):
        seen[len(seen)] = model(**batch).logits
        return {"all": 0.5}

    found = alpha_sweep(model, evaluate, alphas=(0, 0.5, 1), tolerance=0.0)
    assert found.chosen == 1.0  # of equal scores the largest
    assert torch.equal(seen[0], base)
    assert torch.equal(seen[2], trained)
    assert all(torch.equal(a, b) for a, b in zip(values(model), before, strict=True))

    alpha_sweep(model, lambda _: {"all": 1.0}, alphas=(0,), tolerance=0.0)
    assert torch.equal(model(**batch).logits, base)


def test_the_best_mean_wins_among_those_that_keep_the_worst_slice():
    table = {0: (0.5, 0.6), 0.5: (0.55, 0.7), 1: (0.4, 0.99), 1.25: (0.3, 1.0)}
    found, now = sweep(table)
    assert found.chosen == 0.5
    assert now == pytest.approx(0.5)
    assert [point.admitted for point in found.points] == [True, True, False, False]
    assert [point.alpha for point in found.points] == [0, 0.5, 1, 1.25]
    assert (found.points[1].worst_slice, found.points[1].worst) == ("a", 0.55)
    assert found.points[1].mean == pytest.approx(0.625)


def test_the_tolerance_admits_a_small_loss():
    table = {0: (0.5, 0.6), 1: (0.4, 0.99), 1.25: (0.3, 1.0)}
    assert sweep(table, tolerance=0.1)[0].chosen == 1
    assert sweep(table, tolerance=0.25)[0].chosen == 1  # the same mean is not reached at 1.25 without slice a


def test_a_tie_goes_to_the_larger_alpha():
    table = {0: (0.5, 0.5), 0.25: (0.6, 0.8), 0.75: (0.8, 0.6), 1: (0.5, 0.5)}
    assert sweep(table)[0].chosen == 0.75


def test_without_alpha_0_the_base_is_evaluated_all_the_same_and_none_may_be_admitted():
    table = {0: (0.9, 0.9), 0.5: (0.5, 0.9), 1: (0.4, 0.9)}
    found, now = sweep(table, alphas=(0.5, 1.0))
    assert found.base.scores == {"a": 0.9, "b": 0.9}
    assert [point.alpha for point in found.points] == [0.5, 1]
    assert found.chosen is None
    assert now == 1.0


@pytest.mark.parametrize("broken", [{"a": float("nan")}, {}, {"b": 0.5}])
def test_values_come_back_when_an_evaluation_breaks(broken):
    model = learnt(two_layers())
    before = [value.detach().clone() for value in values(model)]
    answers = iter([{"a": 0.5}, broken])
    with pytest.raises(ValueError, match=r"at alpha 0\.5"):
        alpha_sweep(model, lambda _: next(answers), alphas=(0, 0.5), tolerance=0.0)
    assert all(torch.equal(a, b) for a, b in zip(values(model), before, strict=True))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"alphas": ()}, "finite alphas of 0 or more, found"),
        ({"alphas": (-0.5,)}, "found"),
        ({"tolerance": -0.1}, "tolerance of 0 or more"),
        ({"adapter_name": "other"}, "no adapted layer that carries adapter 'other'"),
    ],
)
def test_a_sweep_that_means_nothing_is_refused(options, says):
    with pytest.raises(ValueError, match=says):
        alpha_sweep(two_layers(), lambda _: {"a": 1.0}, **{"tolerance": 0.0, **options})


def test_other_adapters_are_left_alone():
    from rsa_ops.tuners import RsaConfig

    model = learnt(two_layers())
    model.add_adapter("second", RsaConfig(density=0.5, target_modules=["first", "second"]))
    learnt(model, "second")
    before = {n: p.clone() for n, p in model.named_parameters() if "rsa_delta.second" in n}
    alpha_sweep(model, lambda _: {"a": 1.0}, alphas=(0,), tolerance=0.0)
    assert all(torch.equal(p, before[n]) for n, p in model.named_parameters() if n in before)
    assert not any(value.any() for name, value in model.named_parameters() if "rsa_delta.default" in name)
