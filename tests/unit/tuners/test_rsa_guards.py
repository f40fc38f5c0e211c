"""Decay and the trust ratio: closed forms, bounds, and bits that must not change."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from rsa_ops.tuners.rsa.robustness import Robustness, attached


class Delta(nn.Module):
    def __init__(self, weight):
        super().__init__()
        self.weight = nn.Parameter(weight)


class Columns(nn.Module):
    """What an adapted layer offers the guards: here columns 1 and 3 of a [4, 5] weight."""

    def __init__(self, columns=(1, 3)):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 5), requires_grad=False)
        self.columns = list(columns)
        self.rsa_delta = nn.ModuleDict({"default": Delta(torch.randn(4, len(self.columns)))})

    def delta_blocks(self, adapter_name):
        yield self.rsa_delta[adapter_name].weight.T, self.weight[:, self.columns].T


class Tiles(Columns):
    """Two blocks of 2 x 2."""

    def __init__(self):
        super().__init__()
        self.rsa_delta = nn.ModuleDict({"default": Delta(torch.randn(2, 2, 2))})

    def delta_blocks(self, adapter_name):
        original = torch.stack([self.weight[:2, :2], self.weight[2:, 2:4]])
        yield self.rsa_delta[adapter_name].weight, original


class Entries(Columns):
    """Three single entries."""

    def __init__(self):
        super().__init__()
        self.rsa_delta = nn.ModuleDict({"default": Delta(torch.randn(3))})

    def delta_blocks(self, adapter_name):
        yield self.rsa_delta[adapter_name].weight, self.weight.flatten()[:3]


def values(model):
    return model[0].rsa_delta["default"].weight


def norms(blocks):
    return blocks.detach().reshape(len(blocks), -1).norm(dim=1)


@pytest.mark.parametrize("kind", [Columns, Tiles, Entries])
def test_decay_is_the_product_of_its_steps_and_reaches_every_value_once(kind):
    model = nn.Sequential(kind())
    start = values(model).detach().clone()
    with attached(model, Robustness(delta_decay=0.1)) as handle:
        for rate in (0.5, 0.25, 0.125):
            handle.after_step(rate)
    torch.testing.assert_close(values(model).detach(), start * (1 - 0.05) * (1 - 0.025) * (1 - 0.0125))


def test_decay_equals_that_of_adamw_on_the_same_values():
    model = nn.Sequential(Columns())
    twin = nn.Parameter(values(model).detach().clone())
    optimizer = torch.optim.AdamW([twin], lr=0.3, weight_decay=0.2)
    twin.grad = torch.zeros_like(twin)
    with attached(model, Robustness(delta_decay=0.2)) as handle:
        handle.after_step(0.3)
    optimizer.step()
    torch.testing.assert_close(values(model), twin)


@pytest.mark.parametrize("kind", [Columns, Tiles, Entries])
@pytest.mark.parametrize("ratio", [0.05, 0.5])
def test_after_a_step_the_bound_holds_for_every_block(kind, ratio):
    model = nn.Sequential(kind())
    with attached(model, Robustness(trust_ratio=ratio)) as handle:
        handle.after_step(0.1)
        first = handle.limited_blocks
    ((blocks, original),) = model[0].delta_blocks("default")
    assert (norms(blocks) <= ratio * norms(original) * (1 + 1e-6)).all()
    assert first > 0


@pytest.mark.parametrize("kind", [Columns, Tiles, Entries])
def test_blocks_within_the_bound_keep_their_bits_and_others_their_direction(kind):
    model = nn.Sequential(kind())
    ((blocks, original),) = model[0].delta_blocks("default")
    with torch.no_grad():
        blocks.mul_(1e-3)
        blocks[0].mul_(1e6)
    before = blocks.detach().clone()
    with attached(model, Robustness(trust_ratio=0.5)) as handle:
        handle.after_step(0.1)
        assert handle.limited_blocks == 1
    assert torch.equal(blocks[1:], before[1:])
    shrink = 0.5 * norms(original)[0] / norms(before)[0]
    torch.testing.assert_close(blocks[0].detach(), before[0] * shrink)


def test_a_block_over_zeros_of_the_base_stays_at_zero():
    model = nn.Sequential(Columns())
    model[0].weight[:, 1] = 0
    with attached(model, Robustness(trust_ratio=0.5)) as handle:
        handle.after_step(0.1)
    assert not values(model)[:, 0].any()
    assert values(model).isfinite().all()


def test_a_resident_adapter_can_see_that_its_values_were_written():
    for flags in (Robustness(delta_decay=0.1), Robustness(trust_ratio=0.01)):
        model = nn.Sequential(Columns())
        before = values(model)._version
        with attached(model, flags) as handle:
            handle.after_step(0.1)
        assert values(model)._version > before


def test_decay_that_would_turn_the_values_round_is_refused():
    with (
        attached(nn.Sequential(Columns()), Robustness(delta_decay=20)) as handle,
        pytest.raises(ValueError, match=r"must lie in \[0, 1\], found 2"),
    ):
        handle.after_step(0.1)


def test_an_optimizer_that_decays_the_values_already_is_refused():
    model = nn.Sequential(Columns())
    optimizer = torch.optim.AdamW([values(model)], weight_decay=0.01)
    with pytest.raises(ValueError, match=r"weight_decay=0\.01 do the same to the adapter's values"):
        attached(model, Robustness(delta_decay=0.01), optimizer=optimizer)
    attached(model, Robustness(trust_ratio=0.5), optimizer=optimizer).detach()
    elsewhere = torch.optim.AdamW(
        [{"params": [nn.Parameter(torch.ones(1))]}, {"params": [values(model)], "weight_decay": 0}]
    )
    attached(model, Robustness(delta_decay=0.01), optimizer=elsewhere).detach()


def test_a_model_without_the_adapter_is_refused():
    for model in (nn.Sequential(nn.Linear(2, 2)), nn.Sequential(Columns())):
        with pytest.raises(ValueError, match="Sequential has none called 'other'"):
            attached(model, Robustness(trust_ratio=0.5), adapter_name="other")
