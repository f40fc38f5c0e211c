"""What would corrupt a resident adapter is refused or handled: shared and tied weights, early switches."""

from __future__ import annotations

import weakref

import pytest
import torch
from peft import get_peft_model
from torch import nn
from tuner_models import STRUCTURES, TwoLayers, bare_llama, causal_batch, learnt, llama, two_layers

from rsa_ops.tuners import RsaConfig
from rsa_ops.tuners.rsa import delta
from rsa_ops.tuners.rsa.selection import units, write_places

each_structure = pytest.mark.parametrize("structure", STRUCTURES)


def on(base, **options):
    return get_peft_model(base, RsaConfig(density=0.5, target_modules=["first", "second"], **options))


def sharing():
    """Two models over the same weights."""
    one, two = TwoLayers(), TwoLayers()
    for name in ("first", "second"):
        getattr(two, name).weight = getattr(one, name).weight
        getattr(two, name).bias = getattr(one, name).bias
    return one, two


@pytest.mark.parametrize("second_mode", ["auto", "additive"])
@pytest.mark.parametrize("first_mode", ["auto", "resident"])
def test_the_second_model_on_shared_weights_is_additive_and_both_are_right(first_mode, second_mode):
    one, two = sharing()
    x = torch.randn(3, 6)
    plain, original = one(x), one.first.weight.detach().clone()
    first, second = on(one, mode=first_mode), learnt(on(two, mode=second_mode, seed=1))
    expected_of_second = second(x)
    second.state_dict()  # leaves, and meets nobody
    learnt(first)
    expected_of_first = first(x)
    assert first.base_model.model.first.resident_adapter == "default"
    assert not torch.allclose(expected_of_first, plain)
    for _ in range(2):
        torch.testing.assert_close(second(x), expected_of_second)
        assert second.base_model.model.first.resident_adapter is None
        with second.disable_adapter():
            first(x)
            assert torch.equal(second(x), plain)
        torch.testing.assert_close(first(x), expected_of_first)
    second.merge_adapter()
    torch.testing.assert_close(second(x), expected_of_second)
    second.unmerge_adapter()
    assert torch.equal(second.unload().first.weight, original)


def test_two_models_on_shared_weights_both_train_as_if_alone():
    def run(which):
        one, two = sharing()
        models = [on(one, seed=0), on(two, seed=1)]
        optimizer = torch.optim.SGD([p for m in models for p in m.parameters() if p.requires_grad], lr=0.2)
        for step in range(4):
            x = torch.randn(3, 6, generator=torch.Generator().manual_seed(step))
            for number in which:
                models[number](x).square().sum().backward()
                optimizer.step()
                optimizer.zero_grad()
        return [{n: p.detach() for n, p in m.named_parameters() if ".rsa_delta." in n} for m in models]

    torch.manual_seed(3)
    both = run([0, 1])
    for number in (0, 1):
        torch.manual_seed(3)
        torch.testing.assert_close(both[number], run([number])[number])


def test_resident_on_a_weight_in_use_by_another_model_is_refused_until_it_is_free():
    one, two = sharing()
    first, second = learnt(on(one, mode="resident")), on(two, mode="resident")
    x = torch.randn(3, 6)
    first(x)
    with pytest.raises(RuntimeError, match="another model's adapter is resident in the same base weight"):
        second(x)
    first.delete_adapter("default")
    second(x)
    assert second.base_model.model.first.resident_adapter == "default"


def test_a_tenant_that_is_gone_with_its_model_does_not_block_the_weight():
    one, two = sharing()
    first = on(one, mode="resident")
    first(torch.randn(3, 6))
    del first, one
    second = on(two, mode="resident")
    second(torch.randn(3, 6))
    assert second.base_model.model.first.resident_adapter == "default"


@pytest.mark.parametrize("mode", ["auto", "resident"])
def test_a_tied_weight_is_left_alone(mode):
    bare = bare_llama()
    embedding = bare.model.embed_tokens.weight
    before, batch = embedding.detach().clone(), causal_batch()
    targets = ["lm_head", "q_proj"]
    model = learnt(get_peft_model(bare, RsaConfig(density=0.25, target_modules=targets, mode=mode)))
    assert bare.lm_head.base_layer.weight is embedding
    if mode == "resident":
        with pytest.raises(RuntimeError, match="not possible in this layer: its weight is tied"):
            model(**batch)
        return
    logits = model(**batch).logits
    assert torch.equal(embedding, before)
    assert bare.lm_head.resident_adapter is None
    assert bare.model.layers[0].self_attn.q_proj.resident_adapter == "default"
    additive = learnt(
        get_peft_model(bare_llama(), RsaConfig(density=0.25, target_modules=targets, mode="additive"))
    )
    torch.testing.assert_close(logits, additive(**batch).logits)


def _switch(model):
    model.set_adapter("other")


def _disable(model):
    with model.disable_adapter():
        pass


def _change(model):
    model.base_model.model.first.delta("default").weight.data.mul_(2)
    model.eval()


def _change_in_place(model):
    with torch.no_grad():
        model.base_model.model.first.delta("default").weight.mul_(2)
    model(torch.randn(1, 6))


def _reselect(model):
    unit = units(model, "default")[0]
    layout = unit.layout
    write_places(unit.delta, *layout.random_index(9, "elsewhere"))
    model(torch.randn(1, 6))


def _step(model):
    weight = model.base_model.model.first.delta("default").weight
    weight.grad = torch.ones_like(weight)
    torch.optim.SGD([weight], lr=0.1).step()


def _look(model):
    model.state_dict()


def _delete(model):
    model.delete_adapter("default")


SWITCHES = [_switch, _disable, _change, _change_in_place, _reselect, _step, _look, _delete]


@each_structure
@pytest.mark.parametrize("switch", SWITCHES)
def test_a_graph_from_before_a_switch_is_not_used_after_it(structure, switch):
    model = learnt(two_layers(structure=structure, tile=2, mode="resident"))
    model.add_adapter(
        "other", RsaConfig(density=0.5, structure=structure, tile=2, target_modules=["first", "second"])
    )
    loss = model(torch.randn(3, 6)).square().sum()
    switch(model)
    with pytest.raises(RuntimeError, match=r"(switched, disabled, changed or reloaded|modified by an inplace)"):
        loss.backward()


@pytest.mark.parametrize("switch", [_switch, _disable, _step, _look, _reselect])
def test_under_gradient_checkpointing_a_switch_is_noticed_too(switch):
    model = learnt(two_layers(mode="resident")).train()
    model.add_adapter("other", RsaConfig(density=0.5, target_modules=["first", "second"], mode="resident"))
    x = torch.randn(3, 6, requires_grad=True)
    loss = torch.utils.checkpoint.checkpoint(model, x, use_reentrant=False).square().sum()
    switch(model)
    with pytest.raises((RuntimeError, torch.utils.checkpoint.CheckpointError)):
        loss.backward()


@each_structure
def test_a_resident_layer_adds_one_tensor_to_what_is_packed_for_backward(structure):
    def packed(model):
        found = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda tensor: found.append(tensor) or tensor, lambda kept: kept
        ):
            model(torch.randn(3, 6, requires_grad=True))
        return len(found)

    model = two_layers(structure=structure, tile=2, mode="resident")
    assert packed(model) - packed(TwoLayers().requires_grad_(requires_grad=False)) == 2


def test_a_layer_called_twice_and_two_forwards_before_backward_are_right():
    def gradients(mode):
        model = learnt(two_layers(mode=mode))
        first = model.base_model.model.first
        x, y = torch.randn(3, 6), torch.randn(2, 6)
        (first(x).sum() + first(x * 2).square().sum() + model(y).square().sum()).backward()
        return {n: p.grad for n, p in model.named_parameters() if p.grad is not None}

    torch.manual_seed(5)
    additive = gradients("additive")
    torch.manual_seed(5)
    torch.testing.assert_close(gradients("resident"), additive)


@pytest.mark.parametrize("mode", ["additive", "resident"])
@each_structure
def test_an_activation_in_place_after_the_layer_changes_no_gradient(structure, mode):
    def gradients(*, inplace):
        torch.manual_seed(0)
        base = nn.Sequential(nn.Linear(6, 8), nn.ReLU(inplace=inplace), nn.Linear(8, 4))
        options = {"density": 0.5, "structure": structure, "tile": 2, "mode": mode, "target_modules": ["0", "2"]}
        model = learnt(get_peft_model(base, RsaConfig(**options)))
        x = torch.randn(5, 6, requires_grad=True)
        model(x).square().sum().backward()
        return [x.grad, *(p.grad for p in model.parameters() if p.requires_grad)]

    for mine, plain in zip(gradients(inplace=True), gradients(inplace=False), strict=True):
        assert torch.equal(mine, plain)


def kept_tensors(model, batch):
    kept = {}
    with torch.autograd.graph.saved_tensors_hooks(lambda t: [t, kept.setdefault(t.data_ptr(), t)][0], lambda t: t):
        loss = model(**batch, use_cache=False).loss
    return list(kept.values()), loss


def test_siblings_keep_one_gathered_tensor_together():
    """Distinct tensors of [rows, tokens, k] or its flat form that a Llama layer keeps for its adapters."""
    batch = causal_batch(rows=3, tokens=11)
    bare, _ = kept_tensors(bare_llama().requires_grad_(requires_grad=False), batch)
    assert bare == []
    # Budgets that give every family a width of its own, which no other tensor of the model has.
    widths = {"q_proj": 5, "k_proj": 5, "v_proj": 5, "gate_proj": 3, "up_proj": 3, "o_proj": 6, "down_proj": 7}
    size = {"down_proj": 24}
    pattern = {
        f"model.layers.{n}.{'mlp' if one in {'gate_proj', 'up_proj', 'down_proj'} else 'self_attn'}.{one}": k
        / size.get(one, 16)
        for n in (0, 1)
        for one, k in widths.items()
    }
    for shared, expected in ((True, {5: 2, 3: 2, 6: 2, 7: 2}), (False, {5: 6, 3: 4, 6: 2, 7: 2})):
        model = get_peft_model(
            bare_llama(),
            RsaConfig(
                density=1.0,
                budget_pattern=pattern,
                share_siblings=shared,
                structure="columns",
                mode="resident",
            ),
        )
        tensors, _ = kept_tensors(model, batch)
        counts = {
            k: sum(t.is_floating_point() and t.numel() == 33 * k and t.shape[-1] == k for t in tensors)
            for k in expected
        }
        assert counts == expected


@pytest.mark.parametrize("scaled", [False, True])
@each_structure
def test_a_resident_layer_keeps_gathered_inputs_alone(structure, scaled):
    options = {"structure": structure, "tile": 2, "mode": "resident", "density": 0.34, "activation_scaling": scaled}
    layer = learnt(two_layers(**options)).base_model.model.first
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        layer(torch.randn(50, 6))
    layout = layer.delta("default").layout
    wide = 6 if structure == "elements" else layout.groups * layout.columns
    made = [t for t in kept if t.is_floating_point() and t is not layer.delta("default").scale]
    assert [tuple(t.shape) for t in made] == [(50, wide)]


@pytest.mark.parametrize("mode", ["additive", "resident"])
def test_gathered_inputs_do_not_outlive_their_graph(mode, monkeypatch):
    gathered, pick = [], delta.pick

    def noted(*args, **options):
        picked = pick(*args, **options)
        gathered.append(weakref.ref(picked))
        return picked

    monkeypatch.setattr(delta, "pick", noted)
    loss = llama(mode=mode).train()(**causal_batch(), use_cache=False).loss
    assert len(gathered) == 8  # q/k/v, o, gate/up and down of two layers
    assert all(ref() is not None for ref in gathered)
    del loss
    assert all(ref() is None for ref in gathered)
