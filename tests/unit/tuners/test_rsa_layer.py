"""The adapted layer: arithmetic, gradients, what is kept for backward, merging, several adapters."""

from __future__ import annotations

import copy

import pytest
import torch
from peft import get_peft_model
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers.pytorch_utils import Conv1D
from tuner_models import (
    STRUCTURES,
    TwoLayers,
    bare_bert,
    bare_llama,
    bert,
    causal_batch,
    classified_batch,
    learnt,
    llama,
    two_layers,
)

from rsa_ops.tuners import RsaConfig
from rsa_ops.tuners.rsa.blocks import entry_index

each_mode = pytest.mark.parametrize("mode", ["additive", "resident"])
each_structure = pytest.mark.parametrize("structure", STRUCTURES)


def layer_of(model):
    return model.base_model.model.first


@each_mode
@each_structure
def test_a_new_adapter_changes_no_output(structure, mode):
    bare = bare_llama().eval()
    batch = causal_batch()
    before = bare(**batch).logits
    adapted = get_peft_model(bare, RsaConfig(density=0.25, structure=structure, tile=4, mode=mode)).eval()
    assert torch.equal(adapted(**batch).logits, before)


@each_mode
@each_structure
@pytest.mark.parametrize("options", [{"activation_scaling": False}, {}], ids=["plain", "scaled"])
def test_the_output_is_base_plus_the_dense_delta(structure, mode, options):
    bare = TwoLayers().first
    model = learnt(two_layers(structure=structure, mode=mode, tile=2, **options))
    layer = layer_of(model)
    weight, bias = layer.base_layer.weight.detach().clone(), layer.bias.detach()
    if layer.delta("default").scale is not None:
        layer.delta("default").scale.uniform_(0.5, 2.0)
    x = torch.randn(2, 3, bare.in_features)
    delta = layer.get_delta_weight("default")
    assert int((delta != 0).sum()) == layer.delta("default").layout.parameters
    torch.testing.assert_close(layer(x), torch.nn.functional.linear(x, weight + delta, bias))
    assert (layer.resident_adapter == "default") == (mode == "resident")


@each_mode
@each_structure
def test_conv1d_is_adapted_as_the_transposed_layer_it_is(structure, mode):
    base = nn.Sequential(Conv1D(4, 6))
    nn.init.normal_(base[0].bias)
    weight, bias = base[0].weight.detach().clone(), base[0].bias.detach().clone()
    model = learnt(
        get_peft_model(base, RsaConfig(density=0.5, target_modules=["0"], structure=structure, mode=mode, tile=2))
    )
    layer, x = model.base_model.model[0], torch.randn(3, 6)
    expected = x @ (weight + layer.get_delta_weight("default").T) + bias
    torch.testing.assert_close(model(x), expected)
    model.merge_adapter()
    torch.testing.assert_close(model(x), expected)
    model.unmerge_adapter()
    torch.testing.assert_close(model(x), expected)
    assert torch.equal(model.unload()[0].weight, weight)


def test_only_the_adapter_learns_and_holds_the_declared_budget():
    model = llama(r=2, structure="columns")
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert all(".rsa_delta.default.weight" in name for name in trainable)
    assert all(p.dtype == torch.float32 for p in trainable.values())
    assert not any("lm_head" in name or "embed" in name for name in trainable)
    config = model.peft_config["default"]
    for module in model.modules():
        if hasattr(module, "rsa_delta"):
            delta = module.delta("default")
            family = {"q_proj": 16, "k_proj": 8, "v_proj": 8}, {"gate_proj": 24, "up_proj": 24}
            name = next(n for n, m in model.named_modules() if m is module).rpartition(".")[2]
            siblings = next(({n: s for n, s in f.items() if n != name} for f in family if name in f), {})
            k = config.layout(module.in_features, module.out_features, list(siblings.values())).columns
            assert delta.weight.shape == (module.out_features, k)
            assert delta.columns.shape == (k,)
            assert delta.columns.dtype == torch.int32


@each_mode
@each_structure
def test_gradients_equal_plain_autograd_through_the_dense_weight(structure, mode):
    model = learnt(two_layers(structure=structure, mode=mode, tile=2))
    layer = layer_of(model)
    base = layer.base_layer.weight.detach().clone()
    x = torch.randn(4, 6, requires_grad=True)
    delta = layer.rsa_delta["default"]
    layer(x).square().sum().backward()
    mine = (x.grad.clone(), delta.weight.grad.clone())

    reference_x = x.detach().requires_grad_()
    weight = (base + layer.get_delta_weight("default")).requires_grad_()
    torch.nn.functional.linear(reference_x, weight, layer.bias).square().sum().backward()
    torch.testing.assert_close(mine[0], reference_x.grad)
    torch.testing.assert_close(mine[1], weight.grad[entry_index(delta.layout, delta.rows, delta.columns)])
    assert layer.base_layer.weight.grad is None


@each_mode
def test_backward_keeps_the_gathered_columns_and_never_the_input(mode):
    model = learnt(two_layers(density=0.34, mode=mode, structure="columns"))  # 2 of 6 columns
    layer = layer_of(model)
    x = torch.randn(50, 6, requires_grad=True)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        layer(x)
    tokens = [tuple(t.shape) for t in kept if t.dim() == 2 and t.shape[0] == 50]
    assert tokens == [(50, 2)]
    weights = [tuple(t.shape) for t in kept if t.dim() == 2 and t.shape[0] != 50]
    # The base weight, which dX needs anyway, and for an additive adapter its values.
    assert sorted(sorted(shape) for shape in weights) == ([[5, 6]] if mode == "resident" else [[2, 5], [5, 6]])


@each_mode
def test_an_input_without_gradient_keeps_no_weight(mode):
    layer = layer_of(two_layers(density=0.34, mode=mode, structure="columns", activation_scaling=False))
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        layer(torch.randn(50, 6))
    assert [tuple(t.shape) for t in kept if t.is_floating_point() and t.dim() > 1] == [(50, 2)]


@each_structure
def test_a_checkpointed_layer_is_run_again_without_its_last_product(structure):
    """What is needed is kept before the frozen product, after which nothing is missing: torch stops there."""
    model = learnt(two_layers(structure=structure, tile=2, mode="resident"))
    inner, done = model.base_model.model, []
    for name in ("first", "second"):
        getattr(inner, name).base_layer.register_forward_hook(lambda *_, name=name: done.append(name))
    x = torch.randn(8, 6, requires_grad=True)
    output = checkpoint(inner, x, use_reentrant=False)
    assert done == ["first", "second"]
    output.sum().backward()
    assert done == ["first", "second", "first"]
    mine = [x.grad, *(p.grad for p in model.parameters() if p.requires_grad)]
    twin = x.detach().requires_grad_()
    model.zero_grad()
    inner(twin).sum().backward()
    plain = [twin.grad, *(p.grad for p in model.parameters() if p.requires_grad)]
    assert all(torch.equal(one, other) for one, other in zip(mine, plain, strict=True))


@each_mode
@each_structure
def test_autocast_computes_in_its_type_and_learns_in_float32(structure, mode):
    model = learnt(two_layers(structure=structure, mode=mode, tile=2))
    layer, x = layer_of(model), torch.randn(8, 6, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = layer(x)
    y.float().sum().backward()
    assert y.dtype == torch.bfloat16
    assert x.grad.dtype == torch.float32
    assert layer.rsa_delta["default"].weight.grad.dtype == torch.float32
    torch.testing.assert_close(y.float(), layer(x), atol=0.05, rtol=0.05)


@each_mode
@each_structure
def test_a_bfloat16_base_keeps_float32_values_and_trains(structure, mode):
    bare = bare_llama().to(torch.bfloat16)
    model = get_peft_model(bare, RsaConfig(density=0.25, structure=structure, mode=mode, tile=4))
    out = model(**causal_batch())
    out.loss.backward()
    assert out.logits.dtype == torch.bfloat16
    grads = [p.grad for p in model.parameters() if p.requires_grad]
    assert all(g is not None and g.dtype == torch.float32 and torch.isfinite(g).all() for g in grads)
    assert any(g.any() for g in grads)


@each_mode
@each_structure
def test_gradient_checkpointing_changes_no_gradient(structure, mode):
    def gradients(*, checkpointing):
        model = learnt(llama(structure=structure, mode=mode, tile=4)).train()
        if checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        model(**causal_batch(), use_cache=False).loss.backward()
        return {name: p.grad for name, p in model.named_parameters() if p.requires_grad}

    plain, checkpointed = gradients(checkpointing=False), gradients(checkpointing=True)
    assert plain.keys() == checkpointed.keys()
    assert all(torch.equal(plain[name], checkpointed[name]) for name in plain)


@pytest.mark.parametrize("safe", [False, True])
@each_mode
def test_merging_keeps_the_output_and_unmerging_restores_every_bit(safe, mode):
    model = learnt(bert(mode=mode))
    base = {name: p.clone() for name, p in model.named_parameters() if "base_layer" in name}
    model.eval()
    batch = classified_batch()
    before = model(**batch).logits
    model.merge_adapter(safe_merge=safe)
    torch.testing.assert_close(model(**batch).logits, before, atol=1e-5, rtol=1e-5)
    model.unmerge_adapter()
    original = bare_bert().state_dict()
    for name, p in model.named_parameters():
        if name in base:
            assert torch.equal(p, base[name])
            assert torch.equal(p, original[name.removeprefix("base_model.model.").replace(".base_layer", "")])
    assert torch.equal(model(**batch).logits, before)


def test_unmerging_a_bfloat16_base_restores_every_bit_though_adding_rounds():
    bare = TwoLayers().to(torch.bfloat16)
    original = bare.first.weight.clone()
    model = learnt(get_peft_model(bare, RsaConfig(density=1.0, target_modules=["first"])))
    model.merge_adapter()
    assert not torch.equal(bare.first.weight, original)
    model.unmerge_adapter()
    assert torch.equal(bare.first.weight, original)


def test_a_broken_adapter_is_not_merged_safely():
    model = learnt(two_layers())
    layer = layer_of(model)
    before = layer.base_layer.weight.clone()
    layer.rsa_delta["default"].weight.data[0, 0] = float("nan")
    with pytest.raises(ValueError, match="expected finite weights"):
        model.merge_adapter(safe_merge=True)
    assert torch.equal(layer.base_layer.weight, before)


def test_merge_and_unload_gives_a_plain_model_with_the_same_outputs():
    model = learnt(llama()).eval()
    batch = causal_batch()
    before = model(**batch).logits
    plain = model.merge_and_unload()
    assert not any("rsa" in name for name, _ in plain.named_modules())
    torch.testing.assert_close(plain(**batch).logits, before, atol=1e-5, rtol=1e-5)


def test_a_disabled_adapter_is_the_base_model_merged_or_not():
    model = learnt(llama()).eval()
    batch = causal_batch()
    base = bare_llama().eval()(**batch).logits
    assert not torch.equal(model(**batch).logits, base)
    with model.disable_adapter():
        assert torch.equal(model(**batch).logits, base)
    model.merge_adapter()
    with model.disable_adapter():
        assert torch.equal(model(**batch).logits, base)


@each_mode
def test_two_adapters_are_switched_and_deleted_without_touching_each_other(mode):
    model = learnt(two_layers(mode=mode))
    x = torch.randn(3, 6)
    first = model(x)
    model.add_adapter("other", RsaConfig(density=0.5, seed=1, target_modules=["first"], mode=mode))
    assert torch.equal(model(x), first)
    learnt(model, "other")
    model.set_adapter("other")
    second = model(x)
    assert not torch.allclose(first, second)
    assert {n.split(".")[-2] for n, p in model.named_parameters() if p.requires_grad} == {"other"}
    model.set_adapter("default")
    assert torch.equal(model(x), first)
    model.delete_adapter("default")
    model.set_adapter("other")
    assert torch.equal(model(x), second)
    assert not any(".default." in name for name in model.state_dict())


@each_mode
@each_structure
def test_two_merged_adapters_that_share_places_unmerge_to_the_same_bits(structure, mode):
    options = {"density": 1.0, "structure": structure, "tile": 1, "mode": mode}
    model = learnt(two_layers(**options))
    model.add_adapter("other", RsaConfig(target_modules=["first", "second"], **options))
    learnt(model, "other")
    before = layer_of(model).base_layer.weight.clone()
    model.base_model.set_adapter(["default", "other"])
    x = torch.randn(3, 6)
    both = model(x)
    model.merge_adapter()
    torch.testing.assert_close(model(x), both)
    model.unmerge_adapter()
    assert torch.equal(layer_of(model).base_layer.weight, before)


def test_a_model_moved_to_half_precision_still_runs():
    model = copy.deepcopy(learnt(two_layers())).to(torch.bfloat16)
    assert model(torch.randn(2, 6, dtype=torch.bfloat16)).dtype == torch.bfloat16


@each_structure
def test_random_places_depend_on_seed_and_module_alone(structure):
    layout = RsaConfig(density=0.2, structure=structure, tile=4).layout(50, 40)

    def drawn(seed, key):
        rows, columns = layout.random_index(seed, key)
        return columns if rows is None else torch.cat([rows.flatten(), columns.flatten()])

    one = drawn(3, "layers.0.q_proj")
    torch.manual_seed(99)
    assert torch.equal(one, drawn(3, "layers.0.q_proj"))
    assert not torch.equal(one, drawn(4, "layers.0.q_proj"))
    assert not torch.equal(one, drawn(3, "layers.1.q_proj"))


def test_layers_to_transform_adapts_those_layers_alone():
    model = llama(target_modules=["q_proj", "v_proj"], layers_to_transform=[1])
    adapted = [name for name, module in model.named_modules() if hasattr(module, "rsa_delta")]
    assert adapted == [f"base_model.model.model.layers.1.self_attn.{p}" for p in ("q_proj", "v_proj")]


def test_excluded_modules_are_left_plain():
    model = llama(exclude_modules=["down_proj"])
    downs = [module for name, module in model.named_modules() if name.endswith("down_proj")]
    assert downs
    assert all(type(module) is nn.Linear for module in downs)
