"""Scores against brute force, what scoring leaves behind, and what selection may change."""

from __future__ import annotations

import random

import pytest
import torch
from peft import get_peft_model
from torch import nn
from tuner_models import (
    TwoLayers,
    bare_llama,
    bert,
    by_hand,
    causal_batch,
    classified_batch,
    learnt,
    llama,
    two_layers,
)

from rsa_ops.tuners import RsaConfig, magnitude_scores, score_blocks, select_blocks
from rsa_ops.tuners.rsa.selection import top


def toy_loss(model, batch):
    # Mixes tokens, so that a token's gradient depends on its neighbours, as attention does.
    y = model(batch["x"])
    return (y.cumsum(dim=1).square()).mean() + y.sin().mean()


def per_token_fisher(model, x):
    """Brute force: every token gets its own copy of each weight, whose gradient is that token's dense gradient."""
    first, second = model.first, model.second
    tokens = x.shape[0] * x.shape[1]
    copies = [layer.weight.detach().repeat(tokens, 1, 1).requires_grad_() for layer in (first, second)]
    hidden = torch.tanh(torch.einsum("toi,ti->to", copies[0], x.reshape(tokens, -1)) + first.bias)
    y = torch.einsum("toi,ti->to", copies[1], hidden).reshape(*x.shape[:2], -1)
    loss = (y.cumsum(dim=1).square()).mean() + y.sin().mean()
    return [g.square().sum(dim=(0, 1)) for g in torch.autograd.grad(loss, copies)]


def test_the_fisher_score_is_the_sum_of_squared_per_token_gradients():
    bare = TwoLayers()
    batches = [{"x": torch.randn(3, 4, 6)}, {"x": torch.randn(2, 5, 6)}]
    expected = [sum(pair) for pair in zip(*(per_token_fisher(bare, b["x"]) for b in batches), strict=True)]
    config = RsaConfig(density=0.5, target_modules=["first", "second"], structure="columns")
    scores = score_blocks(get_peft_model(bare, config), batches, toy_loss)
    assert list(scores) == ["base_model.model.first", "base_model.model.second"]
    for score, oracle in zip(scores.values(), expected, strict=True):
        assert score.total.dtype == torch.float32
        assert score.batches == 2
        torch.testing.assert_close(score.total, oracle[None])


def test_scoring_in_chunks_is_scoring_at_once(monkeypatch):
    model, batch = llama(), causal_batch(rows=5)
    at_once = score_blocks(model, [batch])
    monkeypatch.setattr("rsa_ops.tuners.rsa.scoring._CHUNK", 4)
    in_chunks = score_blocks(model, [batch])
    for name in at_once:
        torch.testing.assert_close(in_chunks[name].total, at_once[name].total)


@pytest.mark.parametrize("build", [llama, bert])
def test_unattended_padding_counts_for_nothing(build):
    model = build()
    batch = causal_batch() if build is llama else classified_batch()
    rows = batch["input_ids"].shape[0]
    junk = torch.randint(1, 40, (rows, 4))
    padded = {
        "input_ids": torch.cat([batch["input_ids"], junk], dim=1),
        "attention_mask": torch.cat([batch["attention_mask"], torch.zeros_like(junk)], dim=1),
        "labels": batch["labels"],
    }
    if build is llama:
        padded["labels"] = torch.cat([batch["labels"], torch.full_like(junk, -100)], dim=1)
    plain, with_padding = score_blocks(model, [batch]), score_blocks(model, [padded])
    for name in plain:
        assert plain[name].total.any()
        torch.testing.assert_close(with_padding[name].total, plain[name].total, rtol=1e-4, atol=1e-12)
        # A first token that attends to itself alone has a query gradient of 0 up to rounding, hence counts or not.
        if not (build is llama and "q_proj" in name):
            torch.testing.assert_close(with_padding[name].power, plain[name].power, rtol=1e-4, atol=1e-12)


def test_dropout_is_off_while_scoring():
    model = bert().train()
    batch = classified_batch()
    one, two = score_blocks(model, [batch]), score_blocks(model, [batch])
    assert all(torch.equal(one[name].total, two[name].total) for name in one)


def everything(model):
    return {
        "modes": [m.training for m in model.modules()],
        "flags": [p.requires_grad for p in model.parameters()],
        "grads": [None if p.grad is None else p.grad.clone() for p in model.parameters()],
        "hooks": [len(m._forward_hooks) + len(m._backward_hooks) for m in model.modules()],
        "state": {k: v.clone() for k, v in model.state_dict().items()},
        "torch": torch.get_rng_state(),
        "python": random.getstate(),
    }


def drawing_loss(model, batch):
    return model(**batch).loss * (torch.rand(()) + random.random() + 1)  # a loss that uses both random states


def same(one, two):
    torch.testing.assert_close(one, two, rtol=0, atol=0)


def test_scoring_leaves_the_model_as_found():
    model = bert().train()
    model.base_model.model.bert.pooler.eval()  # a mixed state must survive too
    next(p for p in model.parameters() if p.requires_grad).grad = torch.tensor(1.0).expand(
        next(p for p in model.parameters() if p.requires_grad).shape
    )
    before = everything(model)
    score_blocks(model, [classified_batch()], drawing_loss)
    after = everything(model)
    same(after, before)
    assert sum(g is not None for g in after["grads"]) == 1


def test_scoring_that_fails_leaves_the_model_as_found():
    model = bert().train()
    before = everything(model)
    with pytest.raises(ZeroDivisionError):
        score_blocks(model, [classified_batch()], lambda *_: 1 / 0)
    same(everything(model), before)


def test_no_weight_gradient_is_formed_while_scoring(monkeypatch):
    """Of base, head or adapter: AccumulateGrad is never reached, and no matmul gives a weight's shape."""
    model = llama()
    seen = []
    handles = [p.register_hook(seen.append) for p in model.parameters() if p.requires_grad]
    score_blocks(model, [causal_batch()])
    assert seen == []
    assert all(p.grad is None for p in model.parameters())
    for handle in handles:
        handle.remove()


def test_scoring_under_gradient_checkpointing_gives_the_same_scores_and_keeps_no_inputs():
    batch = causal_batch()

    def run(*, checkpointing):
        model = llama().train()
        if checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        kept = []

        def loss(model, batch):
            with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
                return model(**batch, use_cache=False).loss

        return score_blocks(model, [batch], loss), sum(t.numel() for t in kept)

    plain, kept_plain = run(checkpointing=False)
    checkpointed, kept_checkpointed = run(checkpointing=True)
    assert all(torch.equal(plain[name].total, checkpointed[name].total) for name in plain)
    assert kept_checkpointed < kept_plain / 2


def test_scores_do_not_depend_on_the_adapter_being_fresh_or_a_bfloat16_base_much():
    batch = causal_batch()
    exact = score_blocks(llama(), [batch])
    low = get_peft_model(bare_llama().to(torch.bfloat16), RsaConfig(density=0.25, task_type="CAUSAL_LM"))
    rough = score_blocks(low, [batch])
    for name, score in exact.items():
        assert rough[name].total.dtype == torch.float32
        assert torch.corrcoef(torch.stack([score.total.flatten(), rough[name].total.flatten()]))[0, 1] > 0.99


def test_a_layer_without_gradient_is_missing_and_keeps_its_columns():
    model = two_layers()
    only_first = score_blocks(model, [{"x": torch.randn(2, 3, 6)}], lambda m, b: m.first(b["x"]).square().sum())
    assert list(only_first) == ["base_model.model.first"]
    second = model.base_model.model.second.delta("default").columns
    before = second.clone()
    assert select_blocks(model, "default", only_first) == ("base_model.model.first",)
    assert torch.equal(second, before)


@pytest.mark.parametrize(
    ("batches", "loss", "says"),
    [
        ([], toy_loss, "at least one batch"),
        ([{"x": torch.ones(1, 2, 6)}], lambda m, b: torch.zeros(()), "no gradient reached any of the 2"),
        ([{"x": torch.full((1, 2, 6), float("nan"))}], toy_loss, "finite scores"),
    ],
)
def test_scoring_refuses_what_gives_no_score(batches, loss, says):
    with pytest.raises(ValueError, match=says):
        score_blocks(two_layers(), batches, loss)


def test_a_batch_without_labels_is_refused():
    batch = causal_batch()
    del batch["labels"]
    with pytest.raises(ValueError, match="no loss for a batch with"):
        score_blocks(llama(), [batch])


def test_a_model_without_adapter_and_a_merged_one_are_refused():
    with pytest.raises(ValueError, match="found no adapted layer"):
        score_blocks(nn.Linear(2, 2), [])
    model = learnt(two_layers())
    model.merge_adapter()
    with pytest.raises(ValueError, match="unmerge_adapter"):
        score_blocks(model, [])


def test_magnitude_is_the_squared_norm_of_each_column():
    model = two_layers(structure="columns")
    scores = magnitude_scores(model)
    weight = model.base_model.model.first.base_layer.weight
    torch.testing.assert_close(scores["base_model.model.first"].total[0], weight.detach().pow(2).sum(0))


def test_selection_takes_the_best_columns_in_place():
    model = two_layers(structure="columns")
    delta = model.base_model.model.first.delta("default")
    columns, weight = delta.columns, delta.weight
    select_blocks(
        model, "default", {"base_model.model.first": by_hand(torch.tensor([1.0, 9.0, 0.0, 8.0, 7.0, 2.0]))}
    )
    assert delta.columns is columns
    assert delta.weight is weight
    assert columns.tolist() == [1, 3, 4]
    assert columns.dtype == torch.int32


def test_ties_go_to_the_lower_index():
    assert top(torch.tensor([[0.0, 1.0, 1.0, 1.0, 2.0]]), 3).tolist() == [[1, 2, 4]]


@pytest.mark.parametrize(
    ("scores", "says"),
    [
        ({"nowhere": by_hand(torch.ones(6))}, "carries no adapter"),
        ({"base_model.model.first": by_hand(torch.ones(5))}, r"shape \(1, 6\), found \(1, 5\)"),
    ],
)
def test_scores_of_another_model_are_refused(scores, says):
    with pytest.raises(ValueError, match=says):
        select_blocks(two_layers(structure="columns"), "default", scores)


def test_an_adapter_that_has_learnt_is_not_pointed_elsewhere():
    with pytest.raises(ValueError, match="has learnt"):
        select_blocks(learnt(two_layers()), "default", {})
