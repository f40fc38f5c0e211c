"""Resident and additive are one function: gradients, training, and the base that comes back bit for bit."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from peft import get_peft_model
from torch import nn
from tuner_models import STRUCTURES, TwoLayers, bare_llama, causal_batch, learnt, llama, two_layers

from rsa_ops.tuners import RsaConfig

each_structure = pytest.mark.parametrize("structure", STRUCTURES)
each_mode = pytest.mark.parametrize("mode", ["additive", "resident"])
OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01),
    "foreach": lambda p: torch.optim.AdamW(p, lr=0.01, foreach=True),
    "fused": lambda p: torch.optim.AdamW(p, lr=0.01, fused=True),
}


def values_of(model):
    return {name: p for name, p in model.named_parameters() if ".rsa_delta." in name}


def train(model, steps=30, optimizer="foreach", accumulate=1, after=None):
    chosen = OPTIMIZERS[optimizer]([p for p in model.parameters() if p.requires_grad])
    losses = []
    for step in range(steps):
        for part in range(accumulate):
            loss = model(**causal_batch(seed=step * accumulate + part), use_cache=False).loss
            (loss / accumulate).backward()
        losses.append(float(loss.detach()))
        chosen.step()
        chosen.zero_grad()
        if after is not None:
            after(step)
    return losses


def assert_is_the_base(state, dtype=torch.float32):
    original = {name: t.to(dtype) for name, t in bare_llama().state_dict().items()}
    found = 0
    for name, tensor in state.items():
        key = name.removeprefix("base_model.model.").replace(".base_layer", "")
        if key in original:
            assert torch.equal(tensor, original[key]), name
            found += 1
    assert found == len(original)


def all_resident(model):
    return all(m.resident_adapter == "default" for m in model.modules() if hasattr(m, "rsa_delta"))


@each_mode
@each_structure
def test_the_gradient_of_a_whole_layer_is_its_numerical_gradient(structure, mode):
    """Central differences in float64 of values and inputs, through the public layer."""
    bare = TwoLayers().double()
    options = {"density": 0.5, "structure": structure, "tile": 2, "mode": mode, "activation_scaling": True}
    model = learnt(get_peft_model(bare, RsaConfig(target_modules=["first", "second"], **options))).double()
    layer = model.base_model.model.first
    layer.delta("default").scale.uniform_(0.5, 2.0)
    x = torch.randn(3, 6, dtype=torch.float64, requires_grad=True)

    def loss():
        return model(x).square().sum()

    loss().backward()
    assert (layer.resident_adapter == "default") == (mode == "resident")
    step = 1e-6
    for tensor in (x, *values_of(model).values()):
        mine = tensor.grad.flatten()
        for place in range(0, tensor.numel(), 3):
            ends = []
            for sign in (1, -1):
                with torch.no_grad():
                    tensor.view(-1)[place] += sign * step
                    ends.append(loss())
                    tensor.view(-1)[place] -= sign * step
            # Rounding of a central difference: 1e-16 / 1e-6 of a loss near 10.
            torch.testing.assert_close(mine[place], (ends[0] - ends[1]) / (2 * step), atol=1e-7, rtol=1e-6)


@pytest.mark.parametrize(
    ("structure", "checkpointing"), [*((one, False) for one in STRUCTURES), ("columns", True), ("elements", True)]
)
def test_resident_and_additive_train_alike_over_30_steps(structure, checkpointing):
    def run(mode):
        model = llama(structure=structure, tile=4, mode=mode).train()
        if checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        return model, train(model)

    (additive, losses), (resident, same_losses) = run("additive"), run("resident")
    assert all_resident(resident)
    assert all(p.abs().max() > 0.05 for p in values_of(additive).values())  # far from where they began
    assert same_losses == pytest.approx(losses, rel=2e-5)
    for name, values in values_of(additive).items():
        # Adam divides by the root of the squared gradient, so rounding of small gradients is a share of the rate.
        torch.testing.assert_close(values_of(resident)[name], values, atol=2e-4, rtol=1e-3)


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("optimizer", list(OPTIMIZERS))
def test_resident_and_additive_train_alike_with_every_optimizer_and_accumulation(optimizer, accumulate):
    def run(mode):
        model = llama(mode=mode).train()
        return model, train(model, 30 // accumulate, optimizer, accumulate)

    (additive, losses), (resident, same_losses) = run("additive"), run("resident")
    assert same_losses == pytest.approx(losses, rel=2e-5)
    for name, values in values_of(additive).items():
        torch.testing.assert_close(values_of(resident)[name], values, atol=2e-4, rtol=1e-3)


@each_structure
def test_in_float64_resident_and_additive_train_alike_to_its_rounding(structure):
    def run(mode):
        bare = bare_llama().double()
        model = get_peft_model(bare, RsaConfig(density=0.25, structure=structure, tile=4, mode=mode)).double()
        return model, train(model, 10, "sgd")

    (additive, losses), (resident, same_losses) = run("additive"), run("resident")
    assert same_losses == pytest.approx(losses, rel=1e-12)
    for name, values in values_of(additive).items():
        torch.testing.assert_close(values_of(resident)[name], values, atol=1e-12, rtol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@each_structure
def test_every_way_out_gives_the_bits_of_the_base_back(structure, dtype):
    config = {"density": 0.25, "structure": structure, "tile": 4, "mode": "resident"}
    model = get_peft_model(bare_llama().to(dtype), RsaConfig(**config))
    train(model, 3)
    batch = causal_batch()
    base_logits = bare_llama().to(dtype).eval()(**batch).logits
    model.eval()
    assert all_resident(model)

    assert_is_the_base(model.state_dict(), dtype)
    assert not torch.equal(model(**batch).logits, base_logits)
    assert all_resident(model)
    with model.disable_adapter():
        assert torch.equal(model(**batch).logits, base_logits)
        assert_is_the_base(dict(model.named_parameters(remove_duplicate=False)), dtype)
    assert not torch.equal(model(**batch).logits, base_logits)
    model.add_adapter("other", RsaConfig(seed=5, **config))
    assert not torch.equal(model(**batch).logits, base_logits)
    model.set_adapter("other")
    assert_is_the_base(dict(model.named_parameters(remove_duplicate=False)), dtype)
    assert torch.equal(model(**batch).logits, base_logits)
    model.set_adapter("default")
    model(**batch)
    model.delete_adapter("default")
    assert_is_the_base(dict(model.named_parameters(remove_duplicate=False)), dtype)
    learnt(model, "other")
    model.set_adapter("other")
    model(**batch)
    plain = model.unload()
    assert_is_the_base(plain.state_dict(), dtype)
    assert torch.equal(plain(**batch).logits, base_logits)


def test_merging_while_resident_and_unmerging_gives_the_base_back():
    model = llama(mode="resident")
    train(model, 3)
    model.eval()
    before = model(**causal_batch()).logits
    model.merge_adapter()
    torch.testing.assert_close(model(**causal_batch()).logits, before)
    model.unmerge_adapter()
    assert_is_the_base(dict(model.named_parameters(remove_duplicate=False)))
    assert torch.equal(model(**causal_batch()).logits, before)


@pytest.mark.parametrize("way", ["state_dict", "disable", "eval"])
def test_training_goes_on_as_if_nobody_had_looked_at_the_base(way):
    def run(*, look):
        model = llama(mode="resident").train()

        def after(step):
            if not look or step % 2:
                return
            if way == "state_dict":
                assert_is_the_base(model.state_dict())
            elif way == "disable":
                with model.disable_adapter():
                    model(**causal_batch())
            else:
                model.eval()(**causal_batch())
                model.train()

        return train(model, 8, after=after), values_of(model)

    (losses, values), (same, others) = run(look=False), run(look=True)
    assert losses == same
    assert all(torch.equal(value, others[name]) for name, value in values.items())


@pytest.mark.parametrize("twin", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
@each_structure
def test_a_copy_of_a_resident_model_trains_by_itself(structure, twin):
    model = llama(structure=structure, tile=4, mode="resident").train()
    train(model, 2)
    reference = copy.deepcopy({name: p.detach() for name, p in values_of(model).items()})
    other = twin(model)
    batch = causal_batch()
    before = model(**batch).logits
    assert torch.equal(other(**batch).logits, before)
    losses = train(other, 3)
    assert torch.equal(model(**batch).logits, before)
    assert all(torch.equal(p, reference[name]) for name, p in values_of(model).items())
    assert train(model, 3) == losses
    for name, p in values_of(model).items():
        assert torch.equal(p, values_of(other)[name])
    assert_is_the_base(model.state_dict())
    assert_is_the_base(other.state_dict())


@each_structure
def test_values_changed_in_place_are_seen_at_once_and_through_data_after_train_or_eval(structure):
    model = learnt(two_layers(structure=structure, tile=2, mode="resident"))
    layer, x = model.base_model.model.first, torch.randn(3, 6)
    base = layer.base_layer.weight.detach().clone()
    model(x)

    def expected():
        return nn.functional.linear(x, base + layer.get_delta_weight("default"), layer.bias)

    with torch.no_grad():
        layer.delta("default").weight.mul_(2)
    torch.testing.assert_close(layer(x), expected())
    for settle in (model.eval, model.train):
        layer.delta("default").weight.data.mul_(-0.7)
        settle()
        torch.testing.assert_close(layer(x), expected())
    layer.delta("default").weight = nn.Parameter(torch.ones_like(layer.delta("default").weight))
    torch.testing.assert_close(layer(x), expected())


@each_structure
def test_what_is_loaded_into_a_resident_adapter_is_seen(structure):
    model = learnt(llama(structure=structure, tile=4, mode="resident")).eval()
    batch, other = causal_batch(), learnt(llama(structure=structure, tile=4, mode="resident", seed=4)).eval()
    first = model(**batch).logits
    state = {
        name: 2 * t if name.endswith("weight") else t for name, t in other.state_dict().items() if ".rsa_" in name
    }
    model.load_state_dict(state, strict=False)
    other.load_state_dict(state, strict=False)
    assert not torch.equal(model(**batch).logits, first)
    assert torch.equal(model(**batch).logits, other(**batch).logits)
    assert_is_the_base(model.state_dict())


@each_structure
@pytest.mark.parametrize("assign", [False, True])
def test_a_base_that_is_loaded_under_a_resident_adapter_stays_what_was_loaded(structure, assign):
    options = {"structure": structure, "tile": 2}
    resident, additive = two_layers(mode="resident", **options), learnt(two_layers(mode="additive", **options))
    x = torch.randn(3, 6)
    learnt(resident)(x)
    state = {name: t.clone() for name, t in additive.state_dict().items()}
    resident.load_state_dict(state, assign=assign)
    torch.testing.assert_close(resident(x), additive(x))
    learnt(resident)
    torch.testing.assert_close(resident(x), additive(x))
    assert all(torch.equal(t, state[name]) for name, t in resident.state_dict().items())


@each_structure
def test_inference_mode_and_no_grad_see_the_adapter_and_training_goes_on(structure):
    model = learnt(two_layers(structure=structure, tile=2, mode="resident"))
    x = torch.randn(3, 6)
    with torch.inference_mode():
        inside = model(x)  # the adapter enters here
    with torch.no_grad():
        assert torch.equal(model(x), inside)
    outside = model(x)
    assert torch.equal(outside, inside)
    outside.sum().backward()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    optimizer.step()
    with torch.inference_mode():
        assert not torch.equal(model(x), inside)


@each_structure
def test_a_gradient_can_be_taken_with_its_graph_but_not_twice(structure):
    model = learnt(two_layers(structure=structure, tile=2, mode="resident"))
    values = list(values_of(model).values())
    x = torch.randn(3, 6)
    plain = torch.autograd.grad(model(x).square().sum(), values)
    graphed = torch.autograd.grad(model(x).square().sum(), values, create_graph=True)
    assert all(torch.equal(one, other) for one, other in zip(plain, graphed, strict=True))
    with pytest.raises(RuntimeError, match="once_differentiable"):
        graphed[0].sum().backward()
