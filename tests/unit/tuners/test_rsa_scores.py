"""Scores of every structure against brute force, their errors, stored maps, and sums over two processes."""

from __future__ import annotations

import pytest
import torch
from tuner_models import STRUCTURES, by_hand, causal_batch, learnt, llama, two_layers

from rsa_ops.tuners import BlockScores, score_blocks
from rsa_ops.tuners.rsa.scoremaps import load_scores, save_scores, with_prior
from rsa_ops.tuners.rsa.scoring import magnitude_scores

each_structure = pytest.mark.parametrize("structure", STRUCTURES)
NAMES = ("first", "second")


def loss_of(y):
    # Mixes tokens, so that a token's gradient depends on its neighbours, as attention does.
    return (y.cumsum(dim=1).square()).mean() + y.sin().mean()


def toy_loss(model, batch):
    return loss_of(model(batch["x"]))


def toy_batches():
    return [{"x": torch.randn(3, 4, 6)}, {"x": torch.randn(2, 5, 6)}, {"x": torch.randn(1, 3, 6)}]


def through_copies(layers, x):
    """Every token its own copy of each weight, so that one backward gives all per-token dense gradients."""
    tokens = x.shape[0] * x.shape[1]
    copies = [w.detach().double().repeat(tokens, 1, 1).requires_grad_() for w, _ in layers]
    hidden = torch.einsum("toi,ti->to", copies[0], x.double().reshape(tokens, -1)) + layers[0][1].double()
    y = torch.einsum("toi,ti->to", copies[1], torch.tanh(hidden)).reshape(*x.shape[:2], -1)
    return torch.autograd.grad(loss_of(y), copies)


def through_weights(layers, x):
    weights = [w.detach().double().requires_grad_() for w, _ in layers]
    hidden = torch.tanh(torch.nn.functional.linear(x.double(), weights[0], layers[0][1].double()))
    return torch.autograd.grad(loss_of(torch.nn.functional.linear(hidden, weights[1])), weights)


def block_sums(matrix, structure):
    """By a loop over entries: what each block's entries add up to."""
    out, width = matrix.shape
    if structure == "subnet":
        return torch.cat([matrix.sum(1), matrix.sum(0)])[None]
    shape = {
        "columns": (1, width),
        "spread": ({5: 5, 4: 4}[out], width),  # 8 row groups, lowered to a divisor of the rows
        "tiles": (out // 2, width // 2),
        "elements": (out, width),
    }[structure]
    sums = torch.zeros(shape, dtype=matrix.dtype)
    high, wide = (2, 2) if structure == "tiles" else (out // shape[0], 1)
    for i in range(shape[0] * high):
        for j in range(shape[1] * wide):
            sums[i // high, j // wide] += matrix[i, j]
    return sums


@pytest.fixture(params=["additive", "resident"])
def toy(request):
    """A model whose adapter has learnt, and the weights that it acts with."""

    def build(structure):
        model = learnt(two_layers(structure=structure, tile=2, mode=request.param))
        layers = [getattr(model.base_model.model, name) for name in NAMES]
        acting = [
            (layer.base_layer.weight.detach() + layer.get_delta_weight("default"), layer.base_layer.bias)
            for layer in layers
        ]
        frozen = [layer.base_layer.weight.detach().clone() for layer in layers]
        return model, acting, frozen

    return build


@each_structure
@pytest.mark.parametrize("scoring", ["fisher", "relative", "grad", "snip"])
def test_scores_are_the_block_sums_of_brute_force_and_so_are_their_squares(toy, structure, scoring):
    model, acting, frozen = toy(structure)
    batches = toy_batches()
    scores = score_blocks(model, batches, toy_loss, scoring=scoring)
    for number, name in enumerate(NAMES):
        per_batch = []
        for batch in batches:
            if scoring in {"fisher", "relative"}:
                dense = through_copies(acting, batch["x"])[number].square().sum(0)
            else:
                gradient = through_weights(acting, batch["x"])[number]
                dense = gradient.square() if scoring == "grad" else (gradient * frozen[number]).abs()
            per_batch.append(block_sums(dense.detach(), structure))
        score = scores[f"base_model.model.{name}"]
        stacked = torch.stack(per_batch)
        if scoring == "relative":  # divided by what the block's inputs bring, over all batches
            power = score.power.double()
            inverse = 1 / (power if structure != "tiles" else power[: len(power) // 2 * 2].view(-1, 2).mean(1))
            if structure == "subnet":
                inverse = torch.cat([torch.ones(stacked.shape[-1] - len(power)), inverse])
            stacked = stacked * inverse
        assert score.batches == 3
        # Float32 sums of some dozens of terms against float64.
        torch.testing.assert_close(score.total, stacked.sum(0).float(), rtol=2e-5, atol=1e-8)
        torch.testing.assert_close(score.squares, stacked.square().sum(0).float(), rtol=4e-5, atol=1e-10)


def test_the_power_is_the_sum_of_squared_inputs():
    model, batches = two_layers(), toy_batches()
    scores = score_blocks(model, batches, toy_loss)
    inputs = torch.cat([batch["x"].reshape(-1, 6) for batch in batches])
    torch.testing.assert_close(scores["base_model.model.first"].power, inputs.square().sum(0))
    hidden = torch.tanh(model.base_model.model.first(inputs))
    torch.testing.assert_close(scores["base_model.model.second"].power, hidden.square().sum(0).detach())


@each_structure
def test_magnitudes_are_block_sums_of_the_squared_base_also_under_a_resident_adapter(structure):
    model = learnt(two_layers(structure=structure, tile=2, mode="resident"))
    weight = model.base_model.model.first.base_layer.weight.detach().clone()
    model(torch.randn(1, 6))
    score = magnitude_scores(model)["base_model.model.first"]
    torch.testing.assert_close(score.total, block_sums(weight.square(), structure))


@each_structure
@pytest.mark.parametrize("scoring", ["fisher", "grad", "snip"])
def test_padding_counts_nothing_in_any_structure(structure, scoring):
    model = llama(structure=structure, tile=4)
    batch = causal_batch()
    junk = torch.randint(1, 40, (3, 4))
    padded = {
        "input_ids": torch.cat([batch["input_ids"], junk], dim=1),
        "attention_mask": torch.cat([batch["attention_mask"], torch.zeros_like(junk)], dim=1),
        "labels": torch.cat([batch["labels"], torch.full_like(junk, -100)], dim=1),
    }
    plain, with_padding = (score_blocks(model, [one], scoring=scoring) for one in (batch, padded))
    for name in plain:
        # A block whose gradients cancel is as exact as the layer's others, not as its own sum.
        atol = 1e-5 * float(plain[name].total.max())
        torch.testing.assert_close(with_padding[name].total, plain[name].total, rtol=1e-4, atol=atol)


def test_mean_and_standard_error_are_numpys():
    import numpy as np

    per_batch = torch.rand(7, 2, 5) * 10
    scores = BlockScores(per_batch.sum(0), per_batch.square().sum(0), 7, torch.ones(5))
    np.testing.assert_allclose(scores.mean, per_batch.numpy().mean(0), rtol=1e-6)
    expected = per_batch.numpy().astype(np.float64).std(0, ddof=1) / np.sqrt(7)
    np.testing.assert_allclose(scores.error, expected, rtol=1e-4)  # a difference of float32 sums
    halves = [
        BlockScores(p.sum(0), p.square().sum(0), len(p), torch.ones(5)) for p in (per_batch[:3], per_batch[3:])
    ]
    torch.testing.assert_close((halves[0] + halves[1]).error, scores.error, rtol=1e-4, atol=0)


def test_one_batch_has_no_standard_error():
    assert by_hand(torch.ones(3)).error.isinf().all()


def test_a_stored_score_map_is_read_back_bit_for_bit(tmp_path):
    scores = score_blocks(llama(), [causal_batch(), causal_batch(seed=1)])
    save_scores(scores, tmp_path / "scores.safetensors")
    loaded = load_scores(tmp_path / "scores.safetensors")
    assert loaded.keys() == scores.keys()
    for name, score in scores.items():
        assert loaded[name].batches == score.batches == 2
        assert all(
            torch.equal(getattr(loaded[name], one), getattr(score, one)) for one in ("total", "squares", "power")
        )


def test_nothing_to_store_and_another_file_are_refused(tmp_path):
    with pytest.raises(ValueError, match="expected scores, found none"):
        save_scores({}, tmp_path / "scores.safetensors")
    from safetensors.torch import save_file

    save_file({"layer:total": torch.ones(2)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=r"expected a score map of RsaCallback.save_scores"):
        load_scores(tmp_path / "other.safetensors")


def test_a_prior_of_the_same_scores_counts_as_more_batches():
    scores = score_blocks(llama(), [causal_batch(seed=seed) for seed in range(4)])
    both = with_prior(scores, [scores])
    for name, score in scores.items():
        assert both[name].batches == 8
        torch.testing.assert_close(both[name].mean, score.mean)
        # The same spread from n = 8 in place of 4: (n - 1) n grows from 3 * 4 to 7 * 8, the sum of squares twofold.
        torch.testing.assert_close(both[name].error, score.error * (2 * 12 / 56) ** 0.5, rtol=1e-3, atol=1e-9)
        assert torch.equal(both[name].power, score.power)


def test_a_prior_is_brought_to_the_mean_of_the_new_scores():
    own, known = by_hand(torch.tensor([1.0, 2.0, 3.0]), 2), by_hand(torch.tensor([300.0, 200.0, 100.0]), 4)
    both = with_prior({"a": own, "b": own}, [{"a": known, "c": known}])
    # Mean 1 a batch against 50: four batches of the prior become 6, 4, 2.
    torch.testing.assert_close(both["a"].total, torch.tensor([[7.0, 6.0, 5.0]]))
    assert (both["a"].batches, both["b"].batches) == (6, 2)
    assert both.keys() == {"a", "b"}


def test_a_prior_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"warm start: 'a' expects scores of shape \(1, 3\), found \(1, 4\)"):
        with_prior({"a": by_hand(torch.ones(3))}, [{"a": by_hand(torch.ones(4))}])
