"""`plan_budget` and regrowth: the budget is kept, bounds hold, the base is untouched, blocks move cleanly."""

from __future__ import annotations

import pytest
import torch
from peft import get_peft_model
from tuner_models import STRUCTURES, bare_bert, bare_llama, by_hand, causal_batch, learnt, llama, two_layers

from rsa_ops.tuners import RsaConfig, plan_budget
from rsa_ops.tuners.rsa.layer import Linear
from rsa_ops.tuners.rsa.regrow import regrow, regrow_steps
from rsa_ops.tuners.rsa.selection import units

BY_IMPORTANCE = {"floor": 0.25, "ceiling": 4.0}
each_structure = pytest.mark.parametrize("structure", STRUCTURES)


def learning(model):
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def planned(structure="columns", **options):
    config = RsaConfig(density=0.25, structure=structure, tile=2, task_type="CAUSAL_LM")
    batches = [causal_batch(seed=seed) for seed in (0, 1)]
    return config, plan_budget(bare_llama(), config, batches, **options)


@each_structure
@pytest.mark.parametrize("options", [{}, {"depth": 0.5}, {**BY_IMPORTANCE, "depth": 0.5}, BY_IMPORTANCE])
def test_a_planned_budget_spends_the_uniform_one_up_to_whole_blocks(structure, options):
    config, plan = planned(structure, **options)
    uniform, model = get_peft_model(bare_llama(), config), get_peft_model(bare_llama(), plan)
    blocks = 0
    for module in model.modules():
        if isinstance(module, Linear):
            layout = module.delta("default").layout
            by_structure = {"tiles": 4, "elements": 1, "subnet": layout.rows + layout.columns}
            blocks += by_structure.get(structure, layout.out_features)
    # Every layer may round by half a block (a subnet by half a row and half a column), or be full.
    assert abs(learning(model) - learning(uniform)) <= blocks / 2 + learning(uniform) * 0.02
    assert config.budget_pattern is None


def test_multiples_lie_between_the_bounds_and_siblings_have_one():
    _, plan = planned(floor=0.5, ceiling=2.0)
    pattern = plan.budget_pattern
    assert len(pattern) == 14
    assert all(0.5 - 1e-6 <= multiple <= 2.0 + 1e-6 for multiple in pattern.values())
    assert len(set(pattern.values())) > 2
    for layer in (0, 1):
        q, k, v = (pattern[f"model.layers.{layer}.self_attn.{one}_proj"] for one in "qkv")
        assert q == k == v


def test_unless_bounds_are_given_shares_stay_uniform_at_every_depth():
    _, uniform = planned()
    assert list(uniform.budget_pattern.values()) == pytest.approx([1.0] * 14)
    _, upper = planned(depth=0.5)
    assert list(upper.budget_pattern.values()) == pytest.approx([2.0] * 7)


def test_with_depth_only_the_top_layers_are_adapted_and_no_gradient_goes_below():
    _, plan = planned(depth=0.5)
    assert all(".layers.1." in f".{name}" for name in plan.budget_pattern)
    model = get_peft_model(bare_llama(), plan)
    below, above = [], []
    lower, upper = model.base_model.model.model.layers
    lower.register_forward_hook(
        lambda m, a, out: below.append((out[0] if isinstance(out, tuple) else out).requires_grad)
    )
    upper.register_forward_hook(
        lambda m, a, out: above.append((out[0] if isinstance(out, tuple) else out).requires_grad)
    )
    model(**causal_batch(), use_cache=False).loss.backward()
    assert (below, above) == ([False], [True])


@pytest.mark.parametrize(("coverage", "layers"), [(1.0, 2), (1e-6, 1)])
def test_coverage_keeps_as_few_top_layers_as_hold_it(coverage, layers):
    _, plan = planned(coverage=coverage)
    assert len({name.split(".")[2] for name in plan.budget_pattern}) == layers


def test_planning_leaves_the_base_as_it_was():
    bare = bare_llama()
    bare.requires_grad_(requires_grad=True)
    next(bare.parameters()).requires_grad_(requires_grad=False)
    before = {name: tensor.clone() for name, tensor in bare.state_dict().items()}
    marks, modules = set(vars(bare)), [type(m) for m in bare.modules()]
    flags = [p.requires_grad for p in bare.parameters()]
    plan_budget(bare, RsaConfig(density=0.25, mode="resident"), [causal_batch()])
    assert all(torch.equal(tensor, before[name]) for name, tensor in bare.state_dict().items())
    assert (set(vars(bare)), [type(m) for m in bare.modules()]) == (marks, modules)
    assert [p.requires_grad for p in bare.parameters()] == flags


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"depth": 0.0}, "depth: expected a share"),
        ({"coverage": 1.5}, "coverage: expected a share"),
        ({"depth": 0.5, "coverage": 0.5}, "found both"),
        ({"floor": 2.0, "ceiling": 4.0}, "floor <= 1 <= ceiling"),
        ({"floor": 0.25, "ceiling": 0.5}, "floor <= 1 <= ceiling"),
    ],
)
def test_arguments_out_of_range_are_refused(options, says):
    with pytest.raises(ValueError, match=says):
        planned(**options)


def test_a_plan_of_a_plan_and_a_batch_without_labels_are_refused_and_leave_no_trace():
    with pytest.raises(ValueError, match="has a budget_pattern already"):
        plan_budget(bare_llama(), planned()[1], [causal_batch()])
    bare, batch = bare_bert(), causal_batch()
    modules = [type(m) for m in bare.modules()]
    del batch["labels"]
    with pytest.raises(ValueError, match="returned no loss"):
        plan_budget(bare, RsaConfig(), [batch])
    assert [type(m) for m in bare.modules()] == modules


def test_regrowth_is_spread_between_the_rounds_and_six_tenths_of_training():
    assert regrow_steps(10, 100) == (15, 20, 25, 30, 35, 40, 45, 50, 55, 60)
    assert regrow_steps(80, 100) == ()


@pytest.mark.parametrize("mode", ["additive", "resident"])
@each_structure
def test_regrowth_moves_the_weakest_to_the_best_free_and_starts_them_anew(structure, mode):
    model = learnt(two_layers(structure=structure, tile=2, mode=mode, regrow=0.5, row_groups=1))
    layer = model.base_model.model.first
    unit = units(model, "default")[0]
    delta, layout = unit.delta, unit.layout
    original = layer.base_layer.weight.detach().clone()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.01)
    x = torch.randn(4, 6)
    model(x).square().sum().backward()
    optimizer.step()
    before = delta.dense().clone()
    score = torch.rand(layout.score_shape)
    moved = regrow(model, "default", {unit.names[0]: by_hand(score, in_features=6)}, 0.5, optimizer)
    free = layout.candidates - layout.picks
    assert moved == min(free, round(0.5 * layout.picks))
    after = delta.dense()
    kept = after != 0
    assert torch.equal(after[kept], before[kept])  # who stays keeps its values; who comes has none yet
    assert int((before != 0).sum() - kept.sum()) == moved * (delta.weight.numel() // layout.picks)
    assert not optimizer.state[delta.weight]["exp_avg"][delta.weight == 0].any()
    expected = torch.nn.functional.linear(x, original + after, layer.bias)
    torch.testing.assert_close(layer(x), expected)
    assert (delta.scale == 1).all()


@pytest.mark.parametrize("scaled", [False, True])
def test_a_run_with_regrowth_keeps_its_budget_and_the_base(tmp_path, scaled):
    from test_rsa_callback import trainer

    from rsa_ops.tuners import RsaCallback

    model = llama(regrow=0.5, mode="resident", scoring_batches=2, activation_scaling=scaled)
    before = {id(unit.delta): unit.delta.columns.clone() for unit in units(model, "default")}
    trainer(model, causal_batch(rows=8), tmp_path, [RsaCallback()], max_steps=20).train()
    for unit in units(model, "default"):
        groups = (part.view(unit.layout.groups, -1) for part in (unit.delta.columns, unit.delta.scale))
        for columns, scale in zip(*groups, strict=True):
            assert columns.unique().numel() == unit.layout.picks
            # The input that is typical has the scale 1, and may be another one when blocks move later.
            assert (scale != 1).any() if scaled else (scale == 1).all()
        assert (unit.delta.scale > 0).all()
    assert any(not torch.equal(unit.delta.columns, before[id(unit.delta)]) for unit in units(model, "default"))
    original = bare_llama().state_dict()
    for name, tensor in model.state_dict().items():
        key = name.removeprefix("base_model.model.").replace(".base_layer", "")
        assert key not in original or torch.equal(tensor, original[key])
