"""Selection from hand-made scores: top, sample, scales, quotas; and rounds, block by block."""

from __future__ import annotations

import pytest
import torch
from tuner_models import STRUCTURES, by_hand, causal_batch, learnt, llama, two_layers

from rsa_ops.tuners import BlockScores, RsaConfig, score_blocks, select_blocks
from rsa_ops.tuners.rsa.delta import RsaDelta
from rsa_ops.tuners.rsa.layout import lay_out
from rsa_ops.tuners.rsa.rounds import Round, admit, empty_places, slots_of
from rsa_ops.tuners.rsa.schedule import round_steps
from rsa_ops.tuners.rsa.selection import activation_scales, as_pools, choose, scale_by_activation, units

each_structure = pytest.mark.parametrize("structure", STRUCTURES)


def delta_of(structure, budget=12):
    layout = lay_out(structure, 4, 12, budget, row_groups=2, tile=2)
    delta = RsaDelta(layout, *layout.random_index(0, "x"), scaled=True)
    empty_places(delta)
    return delta


def random_scores(layout, batches=8, seed=0):
    per_batch = torch.rand(batches, *layout.score_shape, generator=torch.Generator().manual_seed(seed))
    return BlockScores(per_batch.sum(0), per_batch.square().sum(0), batches, torch.ones(layout.in_features))


def blocks_of(delta):
    """Admitted block numbers, one list a pool."""
    blocks, active = slots_of(delta)
    return [sorted(pool[on].tolist()) for pool, on in zip(blocks, active, strict=True)]


def acting(delta):
    """How many values act on each entry of the weight."""
    delta.weight.data.fill_(1.0)
    return delta.dense()


@each_structure
def test_the_top_choice_is_the_best_blocks_of_every_pool(structure):
    layout = delta_of(structure).layout
    score = random_scores(layout).total
    picks, rows = choose(layout, score, "top", 0)
    pools = as_pools(layout, score)
    expected = torch.topk(pools, layout.picks, dim=1).indices.sort(dim=1).values
    assert torch.equal(picks.reshape(expected.shape), expected)
    assert (rows is None) == (structure != "subnet")
    if rows is not None:
        assert torch.equal(rows, torch.topk(score[0, :4], layout.rows).indices.sort().values)


def test_every_row_group_has_its_own_quota():
    model = two_layers(structure="spread", density=0.34, row_groups=2)
    layer = model.base_model.model.second  # 4 rows, 5 columns
    score = torch.zeros(2, 5)
    score[0, [1, 4]], score[1, [0, 3]] = 1.0, 100.0
    select_blocks(model, "default", {"base_model.model.second": by_hand(score)})
    assert layer.delta("default").columns.tolist() == [[1, 4], [0, 3]]


def test_siblings_choose_by_the_sum_of_their_scores():
    model = llama(target_modules=["q_proj", "k_proj"], density=2 / 16, structure="columns")
    q, k = (f"base_model.model.model.layers.0.self_attn.{one}_proj" for one in "qk")
    score = {q: torch.zeros(16), k: torch.zeros(16)}
    score[q][[1, 2]], score[k][[2, 5]] = torch.tensor([3.0, 2.0]), torch.tensor([2.0, 3.5])
    assert select_blocks(model, "default", {name: by_hand(one) for name, one in score.items()}) == (q, k)
    assert model.get_submodule(q).delta("default").columns.tolist() == [2, 5]
    assert model.get_submodule(k).delta("default").columns.tolist() == [2, 5]


def test_sampled_inclusion_follows_the_root_of_the_score():
    """One pick of four has probability proportional to the root; each share within 4 standard errors."""
    layout = lay_out("columns", 2, 4, 2, row_groups=1, tile=1)
    score = torch.tensor([[1.0, 4.0, 9.0, 16.0]])
    draws = 4000
    counts = torch.zeros(4)
    for seed in range(draws):
        counts[choose(layout, score, "sample", seed)[0]] += 1
    expected = torch.tensor([1.0, 2.0, 3.0, 4.0]) / 10
    error = (expected * (1 - expected) / draws).sqrt()
    assert ((counts / draws - expected).abs() < 4 * error).all()


@each_structure
def test_a_sample_has_no_repeats_is_seeded_and_hardly_takes_a_block_without_score(structure):
    layout = delta_of(structure).layout
    score = random_scores(layout).total
    score[..., -1] = 0.0
    picks, rows = choose(layout, score, "sample", 3)
    again, same_rows = choose(layout, score, "sample", 3)
    assert torch.equal(picks, again)
    assert rows is None or torch.equal(rows, same_rows)
    for pool in picks.reshape(-1, layout.picks):
        assert pool.unique().numel() == layout.picks
    taken = sum(int((choose(layout, score, "sample", s)[0] == layout.candidates - 1).sum()) for s in range(30))
    assert taken <= 1


def test_activation_scales_are_inverse_rms_relative_to_the_layers_median():
    power = torch.tensor([1.0, 4.0, 16.0, 4.0, 1e4])
    torch.testing.assert_close(activation_scales(power), 2.0 / torch.tensor([1.0, 2.0, 4.0, 2.0, 16.0]))
    assert activation_scales(torch.tensor([1.0, 1.0, 1e9, 0.0, 1.0])).tolist() == [1.0, 1.0, 1 / 8, 8.0, 1.0]
    assert float(activation_scales(torch.cat([torch.ones(999), torch.tensor([1e6])]))[-1]) == 1 / 8
    assert activation_scales(torch.tensor([0.0, 0.0, 9.0])).tolist() == [1.0, 1.0, 1.0]


@each_structure
def test_scaled_blocks_move_the_output_alike_whatever_column_they_stand_in(structure):
    model = two_layers(structure=structure, tile=2, activation_scaling=True)
    batch = {"x": torch.randn(2, 50, 6) * torch.tensor([0.5, 1.0, 2.0, 1.0, 0.7, 1.5])}
    scores = score_blocks(model, [batch], lambda m, b: m(b["x"]).square().sum())
    select_blocks(model, "default", scores)
    scale_by_activation(model, "default", scores)
    delta = model.base_model.model.first.delta("default")
    rms = batch["x"].square().mean(dim=(0, 1)).sqrt()
    torch.testing.assert_close(delta.scale * rms[delta.columns.long()], rms.median().expand(delta.scale.shape))
    select_blocks(model, "default", scores)
    assert (delta.scale == 1).all()  # a new choice starts anew


@each_structure
def test_certain_scores_fill_each_rounds_share_with_the_best(structure):
    delta = delta_of(structure)
    layout = delta.layout
    per_batch = random_scores(layout, 1).total
    certain = by_hand(per_batch * 8, 8, in_features=12)
    for number in range(3):
        round_ = Round(number, 3, 1.64)
        done = admit(delta, certain, (certain, certain), round_, 0)
        wanted = torch.topk(as_pools(layout, per_batch), round_.ceiling(layout.picks), dim=1).indices.sort().values
        assert blocks_of(delta) == wanted.tolist()
        assert done.waiting == as_pools(layout, per_batch).shape[0] * (layout.picks - wanted.shape[1])
        assert done.drawn == 0
    assert (acting(delta) != 0).sum() == layout.parameters


def test_nothing_is_admitted_below_the_bound_and_what_is_unspent_carries_over():
    delta = delta_of("columns", budget=16)  # 4 of 12
    means = torch.tensor([9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0, 0.5, 0.4, 0.3])
    error = torch.full((12,), 10.0)
    error[0] = 0.1
    unsure = by_hand(means * 6, 6, error)
    torch.testing.assert_close(unsure.error[0], error, rtol=1e-3, atol=0)
    # Two may be had by the end of round one: the threshold is 8, and only 9 - 2 * 0.1 clears it.
    first = admit(delta, unsure, (unsure, unsure), Round(0, 2, 2.0), 0)
    assert (first.admitted, first.waiting) == (1, 3)
    assert blocks_of(delta) == [[0]]
    last = admit(delta, unsure, (unsure, unsure), Round(1, 2, 2.0), 0)
    assert (last.admitted, last.drawn, last.waiting) == (3, 0, 0)
    assert blocks_of(delta) == [[0, 1, 2, 3]]


def test_a_bound_that_just_reaches_the_threshold_is_enough():
    delta = delta_of("columns", budget=8)  # 2 of 12
    means = torch.arange(12.0, 0, -1)
    score = by_hand(means * 4, 4, torch.zeros(12))
    assert admit(delta, score, (score,), Round(0, 3, 5.0), 0).admitted == 1
    assert blocks_of(delta) == [[0]]


def test_one_batch_is_as_unsure_as_can_be_until_the_last_round():
    delta = delta_of("columns", budget=16)
    score = by_hand(torch.arange(12.0), 1)
    assert admit(delta, score, (score,), Round(0, 2, 0.1), 0).admitted == 0
    assert admit(delta, score, (score,), Round(1, 2, 0.1), 0).admitted == 4
    assert blocks_of(delta) == [[8, 9, 10, 11]]


def test_without_a_bound_an_uncertain_round_admits_its_share_by_the_mean():
    delta = delta_of("columns", budget=16)
    score = by_hand(torch.arange(12.0), 1)
    assert admit(delta, score, (score,), Round(0, 2, 0.0), 0).admitted == 2
    assert blocks_of(delta) == [[10, 11]]


def test_z_falls_linearly_to_zero_and_the_ceiling_rises_to_the_budget():
    rounds = [Round(number, 4, 1.5) for number in range(4)]
    assert [one.z for one in rounds] == pytest.approx([1.5, 1.0, 0.5, 0.0])
    assert [one.ceiling(10) for one in rounds] == [3, 5, 8, 10]
    assert [one.last for one in rounds] == [False, False, False, True]
    assert (Round(0, 1, 9.0).z, Round(0, 1, 9.0).last) == (0.0, True)


@pytest.mark.parametrize(
    ("options", "max_steps", "expected"),
    [
        ({"rounds": 4, "selection_share": 0.3}, 100, (0, 10, 20, 30)),
        ({"rounds": 3, "selection_share": 0.1}, 10, (0, 0, 1)),
        ({"rounds": 1}, 1000, (0,)),
        ({"rounds": 2, "selection_share": 1.0}, 7, (0, 7)),
        ({"rounds": 3, "selection_share": 0.0}, 50, (0, 0, 0)),
    ],
)
def test_rounds_are_spread_over_the_share_of_the_steps(options, max_steps, expected):
    assert round_steps(RsaConfig(selection="rounds", **options), max_steps) == expected


def disagreeing(layout, swap=True):
    """Halves that would choose disjoint blocks."""
    pools = torch.zeros(*layout.score_shape)
    flat = pools.view(-1)
    flat[:] = torch.arange(flat.numel(), dtype=torch.float32)
    one, other = by_hand(pools, 2, in_features=12), by_hand(pools.flip(-1).flip(0), 2, in_features=12)
    return (one, other), one + other


def test_halves_that_disagree_spend_half_and_at_last_draw_lots_that_are_counted():
    delta = delta_of("columns", budget=16)
    halves, scores = disagreeing(delta.layout)
    scores = by_hand(scores.total, 4, torch.zeros(12))  # sure, but of nothing: all means are equal
    first = admit(delta, scores, halves, Round(0, 2, 1.0), 0)
    assert first.stability == 0.0
    assert (first.admitted, first.drawn) == (1, 0)  # half of the two that the round's share would allow
    held = blocks_of(delta)[0]
    last = admit(delta, scores, halves, Round(1, 2, 1.0), 0)
    assert last.stability < 0.5
    assert (last.admitted, last.drawn, last.waiting) == (3, 3, 0)
    assert set(held) < set(blocks_of(delta)[0])

    def lot(seed):
        fresh = delta_of("columns", budget=16)
        admit(fresh, scores, halves, Round(0, 1, 0.0), seed)
        return blocks_of(fresh)

    assert lot(1) == lot(1)
    assert len({tuple(lot(seed)[0]) for seed in range(8)}) > 4


def test_halves_that_agree_are_fully_stable_and_one_half_says_nothing():
    delta = delta_of("columns")
    score = by_hand(torch.arange(12.0) * 2, 2)
    assert admit(delta, score, (score,), Round(0, 2, 0.0), 0).stability is None
    assert admit(delta, score, (score, score), Round(1, 2, 0.0), 0).stability == 1.0


@each_structure
@pytest.mark.parametrize("confidence", [0.0, 1.0])
def test_no_block_is_ever_in_two_slots_and_the_last_round_fills_exactly(structure, confidence):
    delta = delta_of(structure, budget=20)
    layout, before = delta.layout, []
    for number in range(5):
        halves = tuple(random_scores(layout, 4, seed=10 * number + half) for half in (0, 1))
        done = admit(delta, halves[0] + halves[1], halves, Round(number, 5, confidence), number)
        blocks, _ = slots_of(delta)
        held = blocks_of(delta)
        assert all(set(old) <= set(new) for old, new in zip(before, held, strict=False))  # admitted is admitted
        for every, on in zip(blocks, held, strict=True):
            assert len(set(every.tolist())) == layout.picks  # those that wait do not stand in anyone's place either
            assert len(on) <= Round(number, 5, confidence).ceiling(layout.picks)
        assert done.waiting == sum(layout.picks - len(on) for on in held)
        before = held
    assert done.waiting == 0
    matrix = acting(delta)
    assert set(matrix.unique().tolist()) <= {0.0, 1.0}
    assert int(matrix.sum()) == layout.parameters


@pytest.mark.parametrize("mode", ["additive", "resident"])
@each_structure
def test_blocks_that_are_not_admitted_stay_zero_under_adamw_and_have_no_effect(structure, mode):
    model = llama(structure=structure, tile=4, mode=mode, selection="rounds")
    every = units(model, "default")
    for unit in every:
        empty_places(unit.delta)
    base = model.eval()(**causal_batch()).logits
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.05, weight_decay=0.5)

    def step():
        model(**causal_batch()).loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    step()
    assert torch.equal(model(**causal_batch()).logits, base)
    for unit in every:
        scores = random_scores(unit.layout)
        admit(unit.delta, scores, (scores, scores), Round(0, 3, 0.0), 0)
    waiting = [unit.delta.scale == 0 for unit in every]
    assert any(bool(mask.any()) for mask in waiting)
    for _ in range(3):
        step()
    moved = 0
    for unit, mask in zip(every, waiting, strict=True):
        for layer in unit.layers:
            weight = layer.delta("default").weight
            off = mask.unsqueeze(-2) if structure in {"spread", "tiles"} else mask
            assert not weight[off.expand(weight.shape)].any()
            moved += bool(weight.any())
    assert moved
    assert not torch.equal(model(**causal_batch()).logits, base)


def test_places_can_not_be_emptied_without_scales_and_a_trained_adapter_is_not_moved():
    with pytest.raises(ValueError, match="selection='rounds'"):
        empty_places(two_layers(activation_scaling=False).base_model.model.first.delta("default"))
    with pytest.raises(ValueError, match="has learnt"):
        select_blocks(learnt(two_layers()), "default", {})


@each_structure
def test_a_selection_made_while_resident_moves_the_written_entries_too(structure):
    model = two_layers(structure=structure, tile=2, mode="resident")
    layer, x = model.base_model.model.first, torch.randn(3, 6)
    original = layer.base_layer.weight.detach().clone()
    model(x)
    scores = {"base_model.model.first": random_scores(layer.delta("default").layout)}
    select_blocks(model, "default", scores)
    learnt(model)
    expected = torch.nn.functional.linear(x, original + layer.get_delta_weight("default"), layer.bias)
    torch.testing.assert_close(layer(x), expected)
    assert torch.equal(model.state_dict()["base_model.model.first.base_layer.weight"], original)
