"""Decay and the trust ratio: closed forms, bounds, and bits that must not change."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from tuner_models import causal_batch, learnt, llama, two_layers

from rsa_ops.tuners.rsa.guards import base_entries
from rsa_ops.tuners.rsa.robustness import Robustness, attached

STRUCTURES = ("columns", "spread", "subnet", "tiles", "elements")
EVERY = pytest.mark.parametrize("structure", STRUCTURES)
MODES = pytest.mark.parametrize("mode", ["additive", "resident"])


def made(structure="columns", mode="additive", **options):
    """Two layers [5, 6] and [4, 5] whose adapter has learnt; half of each weight."""
    model = learnt(two_layers(structure=structure, mode=mode, tile=2, row_groups=2, **options))
    model(torch.zeros(1, 6))  # a resident adapter enters its weight here
    return model


def layers(model):
    return [model.base_model.model.first, model.base_model.model.second]


def values(model):
    return [layer.delta("default").weight for layer in layers(model)]


def norms(layer, entries):
    """Norm of every block, spelt out. (One row group of "spread" is "columns".)"""
    structure, entries = layer.delta("default").layout.structure, entries.detach()
    if structure in {"columns", "subnet"}:
        return entries.T.norm(dim=1)
    return entries.norm()[None] if structure == "elements" else entries.flatten(1).norm(dim=1)


def kept(model):
    return [value.detach().clone() for value in values(model)]


@EVERY
@MODES
def test_decay_is_the_product_of_its_steps(structure, mode):
    model = made(structure, mode)
    start = kept(model)
    with attached(model, Robustness(delta_decay=0.1)) as handle:
        for rate in (0.5, 0.25, 0.125):
            handle.after_step(rate)
    for value, was in zip(values(model), start, strict=True):
        torch.testing.assert_close(value.detach(), was * (1 - 0.05) * (1 - 0.025) * (1 - 0.0125))


def test_decay_equals_that_of_adamw_on_the_same_values():
    model = made()
    twins = [nn.Parameter(value) for value in kept(model)]
    optimizer = torch.optim.AdamW(twins, lr=0.3, weight_decay=0.2)
    for twin in twins:
        twin.grad = torch.zeros_like(twin)
    with attached(model, Robustness(delta_decay=0.2)) as handle:
        handle.after_step(0.3)
    optimizer.step()
    for value, twin in zip(values(model), twins, strict=True):
        torch.testing.assert_close(value, twin)


@EVERY
@MODES
@pytest.mark.parametrize("ratio", [0.05, 0.5])
def test_after_a_step_the_bound_holds_for_every_block(structure, mode, ratio):
    model = made(structure, mode)
    with attached(model, Robustness(trust_ratio=ratio)) as handle:
        handle.after_step(0.1)
        shrunk = handle.limited_blocks
        assert shrunk > 0
        handle.after_step(0.1)
    for layer in layers(model):
        bound = ratio * norms(layer, base_entries(layer, "default"))
        assert (norms(layer, layer.delta("default").weight) <= bound * (1 + 1e-6)).all()


@EVERY
@MODES
def test_blocks_within_the_bound_keep_their_bits(structure, mode):
    model = made(structure, mode)
    with torch.no_grad():
        for value in values(model):
            value.mul_(1e-3)
    before = kept(model)
    with attached(model, Robustness(trust_ratio=0.5)) as handle:
        handle.after_step(0.1)
        assert handle.limited_blocks == 0
    assert all(torch.equal(value, was) for value, was in zip(values(model), before, strict=True))


@pytest.mark.parametrize("structure", ["columns", "spread", "subnet", "tiles"])
def test_one_block_that_is_too_long_is_shrunk_onto_the_bound_and_keeps_its_direction(structure):
    model = made(structure)
    first = values(model)[0]
    whole = layers(model)[0].delta("default").layout.structure in {"columns", "subnet"}
    block = (slice(None), 0) if whole else 0
    with torch.no_grad():
        for value in values(model):
            value.mul_(1e-3)
        first[block] *= 1e6
    before = first.detach().clone()
    original = base_entries(layers(model)[0], "default")
    with attached(model, Robustness(trust_ratio=0.5)) as handle:
        handle.after_step(0.1)
        assert handle.limited_blocks == 1
    expected = before.clone()
    expected[block] *= 0.5 * original[block].norm() / before[block].norm()
    torch.testing.assert_close(first.detach(), expected)
    rest = torch.ones_like(before, dtype=torch.bool)
    rest[block] = False
    assert torch.equal(first[rest], before[rest])


def test_the_bound_is_on_the_values_as_they_act():
    model = made(activation_scaling=True)
    for layer in layers(model):
        layer.delta("default").scale.copy_(torch.linspace(0.5, 8, layer.delta("default").scale.numel()))
    with attached(model, Robustness(trust_ratio=0.1)) as handle:
        handle.after_step(0.1)
    for layer in layers(model):
        bound = 0.1 * norms(layer, base_entries(layer, "default"))
        assert (norms(layer, layer.delta("default").values()) <= bound * (1 + 1e-6)).all()


def test_a_block_over_zeros_of_the_base_stays_at_zero():
    model = made()
    layer = layers(model)[0]
    column = int(layer.delta("default").columns[0])
    layer.base_layer.weight.data[:, column] = 0
    with attached(model, Robustness(trust_ratio=0.5)) as handle:
        handle.after_step(0.1)
    assert not values(model)[0][:, 0].any()
    assert values(model)[0].isfinite().all()


@pytest.mark.parametrize("flags", [Robustness(delta_decay=0.1), Robustness(trust_ratio=0.01)])
def test_a_resident_adapter_is_written_anew_and_its_base_is_the_frozen_one(flags):
    resident, additive = (learnt(llama(mode=mode)).eval() for mode in ("resident", "additive"))
    batch = causal_batch()
    with resident.disable_adapter():
        base = resident(**batch).logits
    resident(**batch)
    for model in (resident, additive):
        with attached(model, flags) as handle:
            handle.after_step(0.1)
            handle.after_step(0.1)
    torch.testing.assert_close(resident(**batch).logits, additive(**batch).logits)
    pairs = zip(resident.parameters(), additive.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs if one.requires_grad)
    with resident.disable_adapter():
        assert torch.equal(resident(**batch).logits, base)


def test_decay_that_would_turn_the_values_round_is_refused():
    with (
        attached(made(), Robustness(delta_decay=20)) as handle,
        pytest.raises(ValueError, match=r"must lie in \[0, 1\], found 2"),
    ):
        handle.after_step(0.1)


def test_an_optimizer_that_decays_the_values_already_is_refused():
    model = made()
    optimizer = torch.optim.AdamW(values(model), weight_decay=0.01)
    with pytest.raises(ValueError, match=r"weight_decay=0\.01 do the same to the adapter's values"):
        attached(model, Robustness(delta_decay=0.01), optimizer=optimizer)
    attached(model, Robustness(trust_ratio=0.5), optimizer=optimizer).detach()
    elsewhere = torch.optim.AdamW(
        [{"params": [nn.Parameter(torch.ones(1))]}, {"params": values(model), "weight_decay": 0}]
    )
    attached(model, Robustness(delta_decay=0.01), optimizer=elsewhere).detach()


def test_a_model_without_the_adapter_is_refused():
    for model, name in ((nn.Sequential(nn.Linear(2, 2)), "default"), (made(), "other")):
        with pytest.raises(ValueError, match=f"no adapted layer that carries adapter '{name}'"):
            attached(model, Robustness(trust_ratio=0.5), adapter_name=name)
