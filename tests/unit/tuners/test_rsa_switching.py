"""All layers switch at once: as many calls as the weights need, and the bits of layers that switch alone."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
import torch
from peft import get_peft_model
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from tuner_models import STRUCTURES, TwoLayers, bare_llama, causal_batch, learnt, llama, two_layers

from rsa_ops.tuners import RsaConfig
from rsa_ops.tuners.rsa import residency
from rsa_ops.tuners.rsa.blocks import spread_over_rows
from rsa_ops.tuners.rsa.model import rsa_layers
from rsa_ops.tuners.rsa.switching import settle, together

each_structure = pytest.mark.parametrize("structure", STRUCTURES)
VIEWS = {
    "detach",
    "view",
    "t",
    "transpose",
    "expand",
    "unsqueeze",
    "split",
    "alias",
    "slice",
    "select",
    "_unsafe_view",
}
BOTH = ["first", "second"]
READ, WRITE = "gather", "scatter_"  # of "spread", the default; in one call each, whatever the number of row groups


class Calls(TorchDispatchMode):
    """Counts the calls that compute or copy, by name; views do not."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        if name not in VIEWS:
            self.found[name] += 1
        return function(*args, **(kwargs or {}))


def calls(action):
    with Calls() as counter:
        action()
    return counter.found


def on(base, **options):
    return get_peft_model(base, RsaConfig(**{"density": 0.5, "target_modules": BOTH, "tile": 2, **options}))


def beside(model, name, **options):
    model.add_adapter(name, RsaConfig(**{"density": 0.5, "target_modules": BOTH, "tile": 2, **options}))
    return learnt(model, name)


def deep(layers, **options):
    """Two resident adapters on `layers` square linears, settled."""
    base = nn.Sequential(*(nn.Linear(8, 8) for _ in range(layers)))
    names = [str(number) for number in range(layers)]
    model = learnt(on(base, target_modules=names, mode="resident", **options))
    beside(model, "other", target_modules=names, mode="resident", seed=1, **options)
    model(torch.randn(2, 8))
    return model


def weights(model):
    return {n: m.base_layer.weight.detach().clone() for n, m in model.named_modules() if hasattr(m, "rsa_delta")}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def residents(model):
    return [layer.resident_adapter for layer in rsa_layers(model)]


def _merged_and_back(model):
    model.merge_adapter()
    model.unmerge_adapter()


def _off_and_on(model):
    with model.disable_adapter():
        pass
    with torch.no_grad():  # to learn, a forward pass would gather inputs, too
        model(torch.randn(2, 8))


def _eval(model):
    model.eval()


WAYS = {  # what each does to the weight of a layer: read places, write places
    "switch": (lambda model: model.set_adapter("other"), {WRITE: 2, READ: 1}),
    "merge": (_merged_and_back, {WRITE: 3, READ: 1}),  # the resident one leaves first
    "enable": (_off_and_on, {WRITE: 2, READ: 1, "addmm": 1}),
    "train": (_eval, {WRITE: 1}),
}


@pytest.mark.parametrize("way", list(WAYS))
@pytest.mark.parametrize("scaled", [False, True])
def test_a_further_layer_costs_the_reading_and_writing_of_its_places_and_nothing_else(way, scaled):
    action, each = WAYS[way]
    few, many = (deep(count, activation_scaling=scaled) for count in (3, 8))
    more = calls(lambda: action(many))
    more.subtract(calls(lambda: action(few)))
    assert {name: count for name, count in more.items() if count} == {name: 5 * n for name, n in each.items()}


def test_an_optimizer_step_costs_a_further_layer_one_write():
    def step(count):
        model = deep(count)
        learning = [p for p in model.parameters() if p.requires_grad]
        for parameter in learning:
            parameter.grad = torch.zeros_like(parameter)
        optimizer = torch.optim.SGD(learning, lr=0.1, foreach=True)
        return calls(optimizer.step)

    more = step(8)
    more.subtract(step(3))
    assert {name: count for name, count in more.items() if count} == {WRITE: 5}


PAIRS = [*((one, one) for one in STRUCTURES), *itertools.pairwise(STRUCTURES), ("elements", "columns")]


@pytest.mark.parametrize(("one", "two"), PAIRS)
def test_layers_that_switch_together_hold_the_bits_of_layers_that_switch_alone(one, two):
    def pair():
        torch.manual_seed(2)
        model = learnt(on(TwoLayers(), structure=one, mode="resident"))
        # Other structures, places that overlap, with scales and without, on one layer and on both.
        beside(model, "other", structure=two, seed=1, activation_scaling=False, mode="resident")
        beside(model, "partial", structure=two, seed=2, target_modules=["second"], mode="resident")
        model(torch.zeros(1, 6))
        return model

    x = torch.randn(3, 6)
    together_, alone = pair(), pair()
    for name in ("other", "default", "partial", "other", "partial", "default"):
        together_.set_adapter(name)
        for layer in rsa_layers(alone):
            layer.set_adapter(name)
        assert same(weights(together_), weights(alone))
        assert residents(together_) == residents(alone)
        assert torch.equal(together_(x), alone(x))
        assert same(weights(together_), weights(alone))
        assert residents(together_) == residents(alone) == [None if name == "partial" else name, name]


@each_structure
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_after_many_switches_every_bit_of_the_base_is_there(structure, dtype):
    torch.manual_seed(2)
    base = TwoLayers().to(dtype)
    plain = {name: p.clone() for name, p in base.state_dict().items()}
    model = beside(learnt(on(base, structure=structure, mode="resident")), "other", structure=structure, seed=3)
    x = torch.randn(2, 6, dtype=dtype)
    seen = {}
    for name in ("default", "other", "default", "other"):
        model.set_adapter(name)
        y = model(x)
        assert torch.equal(seen.setdefault(name, y), y)
        assert residents(model) == [name, name]
    assert not torch.equal(seen["default"], seen["other"])
    model.base_model.disable_adapter_layers()
    now = weights(model)
    assert all(torch.equal(now[f"base_model.model.{name}"], plain[f"{name}.weight"]) for name in BOTH)


@pytest.mark.parametrize("longest", [1, 25, 2**25])
def test_values_that_are_added_in_parts_are_the_same(longest, monkeypatch):
    monkeypatch.setattr(residency, "LONGEST", longest)
    model = deep(5)
    model.base_model.disable_adapter_layers()
    plain = weights(model)
    model.base_model.enable_adapter_layers()
    model(torch.randn(2, 8))
    for (name, weight), layer in zip(weights(model).items(), rsa_layers(model), strict=True):
        assert torch.equal(weight, plain[name] + layer.get_delta_weight("default"))


@each_structure
@pytest.mark.parametrize("layers", [1, 2])
def test_the_sum_of_each_layer_is_its_base_and_its_scaled_values_and_changes_neither(structure, layers):
    torch.manual_seed(0)
    model = learnt(two_layers(structure=structure, tile=2, mode="additive"))
    for layer in rsa_layers(model):
        layer.delta("default").scale.uniform_(0.5, 2.0)
    some = [(layer.base_layer, "default", layer.delta("default")) for layer in rsa_layers(model)[:layers]]
    values = [delta.weight.detach().clone() for _, _, delta in some]
    stays = residency.stand(some)
    kept = [stay.originals.clone() for stay in stays]
    for (_, _, delta), entry, original, value in zip(some, residency.sums(stays), kept, values, strict=True):
        scale = spread_over_rows(delta.layout, delta.scale)
        assert torch.equal(entry, original + value * scale)
        assert torch.equal(delta.weight, value)
    assert all(torch.equal(stay.originals, original) for stay, original in zip(stays, kept, strict=True))


@each_structure
@pytest.mark.parametrize("wide_first", [False, True])
def test_a_model_of_two_weight_types_is_rewritten_rightly(structure, wide_first):
    torch.manual_seed(2)
    base = TwoLayers()
    (base.second if wide_first else base.first).to(torch.bfloat16)
    before = {name: p.detach().clone() for name, p in base.named_parameters()}
    model = learnt(on(base, structure=structure, mode="resident"))
    learning = [p for p in model.parameters() if p.requires_grad]
    model.train()  # enters
    for parameter in learning:
        parameter.grad = torch.ones_like(parameter)
    torch.optim.SGD(learning, lr=0.25).step()  # the hook writes both layers by one call
    for layer, name in zip(rsa_layers(model), BOTH, strict=True):
        weight = before[f"{name}.weight"]
        assert torch.equal(layer.base_layer.weight, (weight + layer.get_delta_weight("default")).to(weight.dtype))


def test_layers_of_two_devices_are_never_one_vector():
    model = learnt(on(TwoLayers(), mode="resident"))
    far = learnt(on(TwoLayers(), mode="resident")).to("meta")
    layers = [*rsa_layers(model), *rsa_layers(far)]
    stays = residency.stand([(layer.base_layer, "default", layer.delta("default")) for layer in layers])
    found = residency.sums(stays)
    assert [entry.device.type for entry in found] == ["cpu", "cpu", "meta", "meta"]
    assert [stay.columns.device.type for stay in stays] == ["cpu", "cpu", "meta", "meta"]
    for stay, entry in zip(stays[:2], found[:2], strict=True):
        assert torch.equal(entry, stay.originals + stay.delta.values())


def test_siblings_keep_one_copy_of_their_columns_and_it_is_not_the_adapter_s():
    model = learnt(llama(mode="resident"))
    model(**causal_batch())
    attention = model.base_model.model.model.layers[0].self_attn
    stays = [getattr(attention, name).stay for name in ("q_proj", "k_proj", "v_proj")]
    assert {id(stay.columns) for stay in stays} == {id(stays[0].columns)}
    before = stays[0].columns.clone()
    attention.q_proj.delta("default").columns.zero_()
    assert torch.equal(stays[0].columns, before)


@each_structure
def test_graphs_of_every_layer_are_refused_after_a_switch_of_all(structure):
    model = beside(learnt(two_layers(structure=structure, tile=2, mode="resident")), "other", structure=structure)
    for number, name in enumerate(BOTH):
        layer = getattr(model.base_model.model, name)
        loss = layer(torch.randn(2, layer.in_features)).square().sum()
        model.set_adapter(("other", "default")[number])
        with pytest.raises(RuntimeError, match="switched, disabled, changed or reloaded"):
            loss.backward()


def test_a_base_that_can_not_be_put_back_is_told_before_any_layer_has_left():
    model = deep(3)
    before, last = weights(model), rsa_layers(model)[-1]
    whole = last.base_layer.weight
    last._modes["other"] = "auto"  # "resident" would be refused for itself
    last.base_layer.weight = nn.Parameter(whole.detach().reshape(-1), requires_grad=False)  # as FSDP 1 leaves it
    with pytest.raises(RuntimeError, match=r"can not be put back: its weight has the shape \(64,\)"):
        model.set_adapter("other")
    last.base_layer.weight = whole
    assert same(weights(model), before)
    assert residents(model) == ["default"] * 3
    model(torch.randn(2, 8))  # and each is put right by its next forward pass
    assert residents(model) == ["other"] * 3


def test_weights_that_were_tied_after_the_adapter_came_are_entered_once():
    model = deep(2)
    one, two = rsa_layers(model)
    model.base_model.disable_adapter_layers()
    two.base_layer.weight = one.base_layer.weight
    before = one.base_layer.weight.detach().clone()
    for layer in (one, two):
        layer._modes = dict.fromkeys(layer._modes, "auto")
    model.base_model.enable_adapter_layers()
    settle([one, two])
    assert residents(model) == [None, None]  # additive, both: neither may change the other's weight
    assert torch.equal(one.base_layer.weight, before)
    x = torch.randn(2, 8)
    torch.testing.assert_close(two(x), x @ (before + two.get_delta_weight("default")).T + two.bias)


def test_another_model_in_the_same_weights_leaves_when_all_layers_enter():
    one, two = TwoLayers(), TwoLayers()
    two.load_state_dict(one.state_dict())
    two.first.weight = one.first.weight
    first, second = learnt(on(one)), learnt(on(two, seed=1))
    x, original = torch.randn(3, 6), one.first.weight.detach().clone()
    first(x)
    settle(rsa_layers(second))
    assert residents(first) == [None, "default"]
    assert residents(second) == [None, "default"]
    assert torch.equal(one.first.base_layer.weight, original)


def test_what_failed_in_the_middle_is_put_right_by_the_next_forward_pass():
    model, alone = deep(3), deep(3)
    for one, other in zip(rsa_layers(model), rsa_layers(alone), strict=True):
        one.load_state_dict(other.state_dict())
    model(torch.randn(2, 8))
    alone(torch.randn(2, 8))
    with pytest.raises(KeyError), together():
        rsa_layers(model)[0].set_adapter("other")
        raise KeyError
    assert rsa_layers(model)[0].resident_adapter == "default"  # it was put off, and is not done
    rsa_layers(alone)[0].set_adapter("other")
    x = torch.randn(2, 8)
    assert torch.equal(model(x), alone(x))
    assert residents(model) == ["other", "default", "default"]


def test_disabling_and_enabling_brings_every_adapter_back_at_the_first_forward_pass():
    model = learnt(llama(mode="resident")).eval()
    batch = causal_batch()
    expected = model(**batch).logits
    with model.disable_adapter():
        assert set(residents(model)) == {None}
        assert torch.equal(model(**batch).logits, bare_llama().eval()(**batch).logits)
    assert set(residents(model)) == {None}
    assert torch.equal(model(**batch).logits, expected)
    assert set(residents(model)) == {"default"}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
@each_structure
def test_a_merged_model_that_is_converted_unmerges_to_the_converted_base(structure, dtype):
    torch.manual_seed(2)
    base = TwoLayers()
    plain = [base.first.weight.detach().to(dtype), base.second.weight.detach().to(dtype)]
    model = learnt(on(base, structure=structure))
    model.merge_adapter()
    model.to(dtype)
    model.unmerge_adapter()
    assert all(torch.equal(weight, one) for weight, one in zip(weights(model).values(), plain, strict=True))


def test_several_adapters_are_merged_in_the_named_order_where_layers_carry_them():
    model = learnt(on(TwoLayers(), density=1.0))
    beside(model, "other", density=1.0, target_modules=["second"], seed=1)
    plain = weights(model)
    model.merge_adapter(["other", "default"])
    first, second = rsa_layers(model)
    assert (first.merged_adapters, second.merged_adapters) == (["default"], ["other", "default"])
    one, two = (second.get_delta_weight(n) for n in ("other", "default"))
    assert torch.equal(second.base_layer.weight, list(plain.values())[1] + one + two)
    model.unmerge_adapter()
    assert same(weights(model), plain)
