"""Bases in 4 and 8 bits (bitsandbytes, which runs on CPU too): the adapter beside them, and merged into them."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
from peft import get_peft_model
from peft.utils import prepare_model_for_kbit_training
from torch import nn
from tuner_models import causal_batch, learnt

from rsa_ops.tuners import RsaConfig, score_blocks, select_blocks

bnb = pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed; make test-quantised installs it")

KINDS = ["4bit", "8bit"]
STRUCTURES = ["columns", "spread", "subnet", "tiles", "elements"]


class Two(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.first, self.second = quantised(nn.Linear(64, 128), kind), quantised(nn.Linear(128, 64), kind)

    def forward(self, x):
        return self.second(torch.tanh(self.first(x)))


def quantised(linear, kind):
    shape = (linear.in_features, linear.out_features)
    if kind == "4bit":
        layer = bnb.nn.Linear4bit(*shape, compute_dtype=torch.float32, quant_type="nf4")
    else:
        layer = bnb.nn.Linear8bitLt(*shape, has_fp16_weights=False)
    layer.load_state_dict(linear.state_dict())
    return layer.to("cpu")


def two(kind, **options):
    config = {"density": 0.1, "target_modules": ["first", "second"], "tile": 8, **options}
    return get_peft_model(Two(kind), RsaConfig(**config))


def layers(model):
    return [module for module in model.modules() if hasattr(module, "rsa_delta")]


def bits(model):
    return [layer.base_layer.weight.data.clone() for layer in layers(model)]


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("kind", KINDS)
def test_the_output_is_the_quantised_base_plus_the_delta(kind, structure):
    model = learnt(two(kind, structure=structure))
    x = torch.randn(5, 64)
    layer = layers(model)[0]
    assert layer.base_layer.weight.dtype in {torch.uint8, torch.int8}
    expected = layer.base_layer(x) + x @ layer.get_delta_weight("default").T
    torch.testing.assert_close(layer(x), expected, atol=1e-5, rtol=1e-5)
    assert layer.resident_adapter is None
    with model.disable_adapter():
        assert torch.equal(layer(x), layer.base_layer(x))


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_finite_differences(kind, structure):
    # Of one layer, and not through a second: 8-bit rounds its inputs too, and is a staircase in them.
    layer = layers(learnt(two(kind, structure=structure)))[0]
    x, weights = torch.randn(5, 64), torch.randn(5, 128)
    (layer(x) * weights).sum().backward()
    values = layer.rsa_delta["default"].weight
    direction = torch.randn_like(values)

    def loss(step):
        with torch.no_grad():
            values.add_(direction, alpha=step)
            found = (layer(x) * weights).double().sum()
            values.sub_(direction, alpha=step)
        return found

    numerical = (loss(0.5) - loss(-0.5)) / 1.0  # the loss is linear in the values
    torch.testing.assert_close((values.grad * direction).double().sum(), numerical, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_training_copies_no_weight_and_lowers_the_loss(kind):
    model = two(kind)
    x, y = torch.randn(50, 64), torch.randn(50, 64)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: kept.append((tuple(t.shape), t.dtype)) or t, lambda t: t
    ):
        model(x)
    dense = {((128, 64), torch.float32), ((64, 128), torch.float32)}
    assert not dense & set(kept), kept
    assert not any(p.requires_grad for layer in layers(model) for p in layer.base_layer.parameters())
    before = bits(model)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    losses = []
    for _ in range(10):
        optimizer.zero_grad()
        loss = (model(x) - y).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert all(torch.equal(a, b) for a, b in zip(before, bits(model), strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_unmerging_restores_every_quantised_bit_and_the_loss_of_merging_is_told(kind):
    model = learnt(two(kind, density=0.5))  # in training mode: see the next test
    x = torch.randn(5, 64)
    before, output = bits(model), model(x)
    with model.disable_adapter():
        base = model(x)
    for _ in range(2):
        with pytest.warns(UserWarning, match=r"the error is 0\.\d\d of the adapter's own size"):
            model.merge_adapter(safe_merge=True)
        errors = [layer.merge_error["default"] for layer in layers(model)]
        assert all(0 < error < 0.6 for error in errors), errors
        assert not torch.equal(bits(model)[0], before[0])
        assert (model(x) - output).norm() < 0.8 * (base - output).norm()
        model.unmerge_adapter()
        assert all(torch.equal(a, b) for a, b in zip(before, bits(model), strict=True))
        assert torch.equal(model(x), output)
        assert not any(layer.merge_error for layer in layers(model))
        model.to("cpu")  # would quantise a second time what forgot that it is quantised
        assert torch.equal(model(x), output)


@pytest.mark.parametrize("kind", KINDS)
def test_merging_after_an_evaluation_reads_the_weight_that_bitsandbytes_reordered(kind):
    model = learnt(two(kind, density=0.5)).eval()
    x = torch.randn(5, 64)
    output = model(x)  # on a CPU with AVX512-BF16, this reorders 4-bit weights
    with model.disable_adapter():
        base = model(x)
    with pytest.warns(UserWarning, match="merged into quantised"):
        model.merge_adapter()
    assert max(layer.merge_error["default"] for layer in layers(model)) < 0.6
    assert (model(x) - output).norm() < 0.8 * (base - output).norm()
    model.unmerge_adapter()
    torch.testing.assert_close(model(x), output, atol=0.05, rtol=0.05)


@pytest.mark.parametrize("kind", KINDS)
def test_two_adapters_merge_and_unmerge(kind):
    model = learnt(two(kind))
    model.add_adapter("other", RsaConfig(density=0.1, seed=3, target_modules=["first", "second"]))
    learnt(model, "other")
    model.base_model.set_adapter(["default", "other"])
    x, before = torch.randn(5, 64), bits(model)
    output = model(x)
    with pytest.warns(UserWarning, match="merged into quantised weights"):
        model.merge_adapter()
    model.unmerge_adapter()
    assert all(torch.equal(a, b) for a, b in zip(before, bits(model), strict=True))
    assert torch.equal(model(x), output)


@pytest.mark.parametrize("kind", KINDS)
def test_merge_and_unload_leaves_a_quantised_model_and_unload_the_base(kind):
    model = learnt(two(kind))
    x = torch.randn(5, 64)
    with model.disable_adapter():
        base = model(x)
    twin = copy.deepcopy(model)
    assert torch.equal(twin.unload()(x), base)
    with pytest.warns(UserWarning, match="Serve the adapter unmerged"):
        merged = model.merge_and_unload()
    assert type(merged.first).__name__ in {"Linear4bit", "Linear8bitLt"}
    assert not torch.equal(merged(x), base)


def test_a_broken_adapter_is_not_merged_safely_into_quantised_weights():
    model = learnt(two("4bit"))
    layers(model)[0].rsa_delta["default"].weight.data[0, 0] = float("nan")
    before = bits(model)
    with pytest.raises(ValueError, match="expected finite weights"):
        model.merge_adapter(safe_merge=True)
    assert all(torch.equal(a, b) for a, b in zip(before, bits(model), strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_places_are_chosen_by_gradients_through_a_quantised_base(kind):
    model = two(kind, structure="columns", choice="top")
    batch = {"x": torch.randn(9, 64)}
    scores = score_blocks(model, [batch], lambda m, b: m(b["x"]).square().mean())
    select_blocks(model, "default", scores)
    name = next(name for name in scores if name.endswith("first"))
    top = scores[name].total.flatten().topk(layers(model)[0].rsa_delta["default"].columns.numel()).indices
    assert set(layers(model)[0].rsa_delta["default"].columns.tolist()) == set(top.tolist())


@pytest.mark.parametrize("kind", KINDS)
def test_saving_and_loading_beside_a_quantised_base(kind, tmp_path):
    from peft import PeftModel

    model = learnt(two(kind))
    x = torch.randn(5, 64)
    output = model(x)
    model.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(Two(kind), tmp_path).train()
    assert torch.equal(loaded(x), output)


def test_a_resident_adapter_is_refused_in_a_quantised_base():
    with pytest.raises(RuntimeError, match=r"mode='resident' is not possible.*Params4bit.*mode='auto'"):
        two("4bit", mode="resident")(torch.randn(5, 64))


def test_qlora_s_recipe_with_one_line_changed():
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    base = LlamaForCausalLM(
        LlamaConfig(vocab_size=40, hidden_size=64, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2)
    )
    for name, module in list(base.named_modules()):
        if isinstance(module, nn.Linear) and "lm_head" not in name:
            parent, _, child = name.rpartition(".")
            linear = nn.Linear(module.in_features, module.out_features, bias=False)
            layer = bnb.nn.Linear4bit(*linear.weight.shape[::-1], bias=False, compute_dtype=torch.float32)
            layer.load_state_dict(linear.state_dict())
            setattr(base.get_submodule(parent), child, layer.to("cpu"))
    base.is_loaded_in_4bit = True
    base = prepare_model_for_kbit_training(base, gradient_checkpointing_kwargs={"use_reentrant": False})
    model = get_peft_model(base, RsaConfig(density=0.05, task_type="CAUSAL_LM")).train()
    assert model.get_model_status().quantization_backend == "bnb 4bit"
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    losses = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(4):
            optimizer.zero_grad()
            loss = model(**causal_batch(), use_cache=False).loss
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    assert losses[-1] < losses[0]
