"""The adapted layer: arithmetic, gradients, what is kept for backward, merging, several adapters."""

from __future__ import annotations

import copy

import pytest
import torch
from peft import get_peft_model
from torch import nn
from tuner_models import TwoLayers, bare_llama, bert, causal_batch, classified_batch, learnt, llama, two_layers

from rsa_ops.tuners import RsaConfig
from rsa_ops.tuners.rsa.layer import ColumnProduct, random_columns


def layer_of(model):
    return model.base_model.model.first


def test_a_new_adapter_changes_no_output():
    bare = bare_llama().eval()
    batch = causal_batch()
    before = bare(**batch).logits
    adapted = get_peft_model(bare, RsaConfig(density=0.25)).eval()
    assert torch.equal(adapted(**batch).logits, before)


def test_the_output_is_base_plus_the_dense_delta():
    model = learnt(two_layers())
    layer = layer_of(model)
    x = torch.randn(2, 3, 6)
    dense = torch.nn.functional.linear(x, layer.base_layer.weight + layer.get_delta_weight("default"), layer.bias)
    torch.testing.assert_close(layer(x), dense)


def test_only_the_adapter_learns_and_holds_the_declared_budget():
    model = llama(r=2)
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert all(".rsa_delta.default.weight" in name for name in trainable)
    assert all(p.dtype == torch.float32 for p in trainable.values())
    assert not any("lm_head" in name or "embed" in name for name in trainable)
    config = model.peft_config["default"]
    for module in model.modules():
        if hasattr(module, "rsa_delta"):
            k = config.columns(module.in_features, module.out_features)
            assert module.rsa_delta["default"].weight.shape == (module.out_features, k)
            assert module.rsa_delta["default"].columns.shape == (k,)
            assert module.rsa_delta["default"].columns.dtype == torch.int32


def test_the_custom_gradient_is_the_numerical_gradient():
    x = torch.randn(2, 3, 6, dtype=torch.float64, requires_grad=True)
    values = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    columns = torch.tensor([0, 2, 5], dtype=torch.int32)
    assert torch.autograd.gradcheck(lambda a, b: ColumnProduct.apply(a, b, columns, torch.float64), (x, values))


def test_gradients_equal_plain_autograd_through_the_dense_weight():
    model = learnt(two_layers())
    layer = layer_of(model)
    x = torch.randn(4, 6, requires_grad=True)
    delta = layer.rsa_delta["default"]
    layer(x).square().sum().backward()
    mine = (x.grad.clone(), delta.weight.grad.clone())

    reference_x = x.detach().requires_grad_()
    weight = (layer.base_layer.weight + layer.get_delta_weight("default")).detach().requires_grad_()
    torch.nn.functional.linear(reference_x, weight, layer.bias).square().sum().backward()
    torch.testing.assert_close(mine[0], reference_x.grad)
    torch.testing.assert_close(mine[1], weight.grad[:, delta.columns.long()])
    assert layer.base_layer.weight.grad is None


def test_backward_keeps_the_gathered_columns_and_never_the_input():
    model = learnt(two_layers(density=0.34))  # 2 of 6 columns
    layer = layer_of(model)
    x = torch.randn(50, 6, requires_grad=True)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        layer(x)
    tokens = [tuple(t.shape) for t in kept if t.dim() == 2 and t.shape[0] == 50]
    assert tokens == [(50, 2)]
    weights = [tuple(t.shape) for t in kept if t.dim() == 2 and t.shape[0] != 50]
    assert sorted(weights) == [(5, 2), (6, 5)]  # the adapter's values, and the base weight that dX needs anyway


def test_an_input_without_gradient_keeps_no_weight():
    layer = layer_of(two_layers(density=0.34))
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(tuple(t.shape)) or t, lambda t: t):
        layer(torch.randn(50, 6))
    assert kept == [(50, 2)]


def test_autocast_computes_in_its_type_and_learns_in_float32():
    model = learnt(two_layers())
    layer, x = layer_of(model), torch.randn(8, 6, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = layer(x)
    y.float().sum().backward()
    assert y.dtype == torch.bfloat16
    assert x.grad.dtype == torch.float32
    assert layer.rsa_delta["default"].weight.grad.dtype == torch.float32
    torch.testing.assert_close(y.float(), layer(x), atol=0.05, rtol=0.05)


def test_a_bfloat16_base_keeps_float32_values_and_trains():
    bare = bare_llama().to(torch.bfloat16)
    model = get_peft_model(bare, RsaConfig(density=0.25))
    out = model(**causal_batch())
    out.loss.backward()
    assert out.logits.dtype == torch.bfloat16
    grads = [p.grad for p in model.parameters() if p.requires_grad]
    assert all(g is not None and g.dtype == torch.float32 and torch.isfinite(g).all() for g in grads)
    assert any(g.any() for g in grads)


def test_gradient_checkpointing_changes_no_gradient():
    def gradients(*, checkpointing):
        model = learnt(llama()).train()
        if checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        model(**causal_batch(), use_cache=False).loss.backward()
        return {name: p.grad for name, p in model.named_parameters() if p.requires_grad}

    plain, checkpointed = gradients(checkpointing=False), gradients(checkpointing=True)
    assert plain.keys() == checkpointed.keys()
    assert all(torch.equal(plain[name], checkpointed[name]) for name in plain)


@pytest.mark.parametrize("safe", [False, True])
def test_merging_keeps_the_output_and_unmerging_restores_every_bit(safe):
    model = learnt(bert()).eval()
    batch = classified_batch()
    base = {name: p.clone() for name, p in model.named_parameters() if "base_layer" in name}
    before = model(**batch).logits
    model.merge_adapter(safe_merge=safe)
    torch.testing.assert_close(model(**batch).logits, before, atol=1e-5, rtol=1e-5)
    model.unmerge_adapter()
    assert all(torch.equal(p, base[name]) for name, p in model.named_parameters() if name in base)
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


def test_two_adapters_are_switched_and_deleted_without_touching_each_other():
    model = learnt(two_layers())
    x = torch.randn(3, 6)
    first = model(x)
    model.add_adapter("other", RsaConfig(density=0.5, seed=1, target_modules=["first"]))
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


def test_two_merged_adapters_that_share_columns_unmerge_to_the_same_bits():
    model = learnt(two_layers(density=1.0))
    model.add_adapter("other", RsaConfig(density=1.0, target_modules=["first", "second"]))
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


def test_random_columns_depend_on_seed_and_module_alone():
    one = random_columns(50, 9, 3, "layers.0.q_proj")
    torch.manual_seed(99)
    assert torch.equal(one, random_columns(50, 9, 3, "layers.0.q_proj"))
    assert not torch.equal(one, random_columns(50, 9, 4, "layers.0.q_proj"))
    assert not torch.equal(one, random_columns(50, 9, 3, "layers.1.q_proj"))
    assert one.tolist() == sorted(set(one.tolist()))


def test_layers_to_transform_adapts_those_layers_alone():
    model = llama(target_modules=["q_proj", "v_proj"], layers_to_transform=[1])
    adapted = [name for name, module in model.named_modules() if hasattr(module, "rsa_delta")]
    assert adapted == [f"base_model.model.model.layers.1.self_attn.{p}" for p in ("q_proj", "v_proj")]


def test_excluded_modules_are_left_plain():
    model = llama(exclude_modules=["down_proj"])
    downs = [module for name, module in model.named_modules() if name.endswith("down_proj")]
    assert downs
    assert all(type(module) is nn.Linear for module in downs)
