"""What users of LoRA do with a PEFT model, as laws: switch, delete, merge, unload, disable, convert, mix."""

from __future__ import annotations

import copy

import pytest
import torch
from peft import get_peft_model
from torch import nn
from tuner_models import TwoLayers, bare_bert, bare_llama, bert, causal_batch, classified_batch, learnt, llama

from rsa_ops.tuners import RsaConfig

STRUCTURES = ["columns", "spread", "subnet", "tiles", "elements"]
MODES = ["additive", "resident"]


def logits(model, batch=None, **options):
    with torch.no_grad():
        return model.eval()(**(batch or causal_batch()), **options).logits


def base_weights(model):
    return {n: p.clone() for n, p in model.named_parameters() if "rsa_delta" not in n}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def two_adapters(mode="auto", **options):
    model = learnt(llama(mode=mode, **options))
    model.add_adapter("other", RsaConfig(density=0.25, seed=9, mode=mode, **options))
    return learnt(model, "other")


def delta_of(model, adapter_name):
    return {n: m.get_delta_weight(adapter_name) for n, m in model.named_modules() if hasattr(m, "rsa_delta")}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("structure", STRUCTURES)
def test_switching_disabling_merging_and_unloading_never_change_a_bit_of_the_base(structure, mode):
    bare = bare_llama()
    untouched, base = base_weights(bare), logits(bare)
    model = learnt(get_peft_model(bare, RsaConfig(density=0.25, structure=structure, tile=4, mode=mode)))
    model.add_adapter("other", RsaConfig(density=0.25, structure=structure, tile=4, mode=mode, seed=9))
    learnt(model, "other")
    first = logits(model)
    model.set_adapter("other")
    second = logits(model)
    assert not torch.allclose(first, second)
    with model.disable_adapter():
        assert torch.equal(logits(model), base)
    assert torch.equal(logits(model), second)
    model.set_adapter("default")
    assert torch.equal(logits(model), first)
    model.merge_adapter()
    torch.testing.assert_close(logits(model), first, atol=1e-5, rtol=1e-5)
    with model.disable_adapter():  # unmerges, as LoRA does
        assert torch.equal(logits(model), base)
    model.merge_adapter(["other"])
    torch.testing.assert_close(logits(model), second, atol=1e-5, rtol=1e-5)
    model.unmerge_adapter()
    assert torch.equal(logits(model), first)
    plain = model.unload()
    assert same(base_weights(plain), untouched)
    assert torch.equal(logits(plain), base)
    assert not hasattr(plain, "peft_config")


@pytest.mark.parametrize("mode", MODES)
def test_two_adapters_at_once_are_the_sum_of_both(mode):
    model = two_adapters(mode)
    one, other = delta_of(model, "default"), delta_of(model, "other")
    model.base_model.set_adapter(["default", "other"])
    assert model.active_adapters == ["default", "other"]
    both = logits(model)
    reference = bare_llama()
    for name, module in reference.named_modules():
        key = f"base_model.model.{name}"
        if key in one:
            module.weight.data += one[key] + other[key]
    torch.testing.assert_close(both, logits(reference), atol=1e-5, rtol=1e-5)
    assert all(p.requires_grad == ("rsa_delta" in n) for n, p in model.named_parameters())
    model.merge_adapter()
    torch.testing.assert_close(logits(model), both, atol=1e-5, rtol=1e-5)
    model.unmerge_adapter()
    assert torch.equal(logits(model), both)
    merged = copy.deepcopy(model).merge_and_unload()
    torch.testing.assert_close(logits(merged), both, atol=1e-5, rtol=1e-5)


def test_two_adapters_at_once_both_learn():
    model = two_adapters()
    model.base_model.set_adapter(["default", "other"])
    model.train()(**causal_batch()).loss.backward()
    grads = {n: p.grad for n, p in model.named_parameters() if "rsa_delta" in n}
    assert all(grad is not None and grad.any() for grad in grads.values())


@pytest.mark.parametrize("mode", MODES)
def test_deleting_the_active_adapter_gives_way_to_the_other(mode):
    model = two_adapters(mode)
    model.set_adapter("other")
    second = logits(model)
    model.set_adapter("default")
    logits(model)
    with pytest.warns(UserWarning, match="was active which is now deleted"):
        model.delete_adapter("default")
    assert torch.equal(logits(model), second)
    assert not any(".default." in name for name in model.state_dict())
    model.delete_adapter("other")  # PEFT's own model can not be called without any adapter, LoRA's neither
    assert torch.equal(logits(model.base_model.model), logits(bare_llama()))


def test_a_merged_adapter_is_not_deleted():
    model = two_adapters()
    model.merge_adapter()
    with pytest.raises(ValueError, match=r"(?i)merged"):
        model.delete_adapter("default")


@pytest.mark.parametrize("mode", MODES)
def test_only_the_active_adapter_learns_and_a_resident_one_leaves_the_other_alone(mode):
    model = two_adapters(mode).train()
    for name in ("default", "other", "default"):
        model.set_adapter(name)
        model.zero_grad()
        optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
        before = {n: p.clone() for n, p in model.named_parameters() if "rsa_delta" in n}
        model(**causal_batch()).loss.backward()
        optimizer.step()
        changed = {n.split(".")[-2] for n, p in model.named_parameters() if n in before and not p.equal(before[n])}
        assert changed == {name}
    with model.disable_adapter():
        assert torch.equal(logits(model), logits(bare_llama()))


@pytest.mark.parametrize("mode", ["additive", "auto"])
def test_rows_with_adapters_of_their_own(mode):
    model, batch = two_adapters(mode), causal_batch(rows=4)
    alone = {"__base__": logits(bare_llama(), batch)}
    for name in ("default", "other"):
        model.set_adapter(name)
        alone[name] = logits(model, batch)
    model.set_adapter("default")
    names = ["other", "__base__", "default", "other"]
    mixed = logits(model, batch, adapter_names=names)
    expected = torch.stack([alone[name][row] for row, name in enumerate(names)])
    torch.testing.assert_close(mixed, expected, atol=1e-5, rtol=1e-5)
    assert torch.equal(logits(model, batch), alone["default"])  # and back again
    assert not any(
        m.rsa_delta["default"].shared._picked is not None for m in model.modules() if hasattr(m, "rsa_delta")
    )


def test_rows_with_heads_of_their_own():
    model = learnt(bert())
    model.add_adapter("other", RsaConfig(density=0.25, task_type="SEQ_CLS", seed=4))
    learnt(model, "other")
    heads = model.base_model.model.classifier.modules_to_save
    for number, name in enumerate(("default", "other")):
        nn.init.constant_(heads[name].bias, number + 1.0)
    batch, alone = classified_batch(), {}
    for name in ("other", "default"):
        model.set_adapter(name)
        alone[name] = logits(model, batch)
    names = ["default", "other", "other", "default"]
    expected = torch.stack([alone[name][row] for row, name in enumerate(names)])
    torch.testing.assert_close(logits(model, batch, adapter_names=names), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("beams", [1, 2])
def test_generating_with_adapters_of_their_own(beams):
    model, batch = two_adapters(), causal_batch(rows=2)
    del batch["labels"]
    options = {"max_new_tokens": 4, "do_sample": False, "num_beams": beams, "eos_token_id": None}
    alone = {}
    for name in ("other", "default"):
        model.set_adapter(name)
        alone[name] = model.eval().generate(**batch, **options)
    mixed = model.generate(**batch, **options, adapter_names=["default", "other"])
    assert torch.equal(mixed, torch.stack([alone["default"][0], alone["other"][1]]))


def test_rows_with_adapters_of_their_own_say_what_is_wrong():
    model, batch = two_adapters().eval(), causal_batch(rows=2)
    with pytest.raises(ValueError, match=r"no adapter is called 'othr'; expected some of \['default', 'other'\]"):
        model(**batch, adapter_names=["othr", "default"])
    with pytest.raises(ValueError, match="found 3 names and 2 rows"):
        model(**batch, adapter_names=["default"] * 3)
    with pytest.raises(ValueError, match=r"call model.eval\(\)"):
        model.train()(**batch, adapter_names=["default", "other"])
    model.merge_adapter()
    with pytest.raises(ValueError, match="adapter is merged"):
        model.eval()(**batch, adapter_names=["default", "other"])


def test_a_weighted_combination_is_refused_with_what_to_do():
    model = two_adapters()
    with pytest.raises(TypeError, match=r"(?s)no weighted combination.*set_adapter\(\[...\]\)"):
        model.add_weighted_adapter(["default", "other"], [0.5, 0.5], "both")


@pytest.mark.parametrize("mode", MODES)
def test_a_merge_that_is_refused_leaves_the_whole_model_as_it_was(mode):
    model = learnt(llama(mode=mode))
    last = model.base_model.model.model.layers[1].mlp.down_proj.rsa_delta["default"]
    last.weight.data[0, 0] = float("nan")
    for merge in (model.merge_adapter, model.merge_and_unload):
        with pytest.raises(ValueError, match="expected finite weights, found NaN"):
            merge(safe_merge=True)
        assert model.get_model_status().merged_adapters == []
    last.weight.data[0, 0] = 0.0
    expected = logits(model)
    with model.disable_adapter():
        assert torch.equal(logits(model), logits(bare_llama()))
    model.merge_adapter()
    plain = model.merge_and_unload(safe_merge=True)
    torch.testing.assert_close(logits(plain), expected, atol=1e-5, rtol=1e-5)


def test_a_mixed_peft_model_is_refused():
    with pytest.raises(ValueError, match="'ROBUST_SPARSE' is not compatible with the `PeftMixedModel`"):
        get_peft_model(bare_llama(), RsaConfig(), mixed=True)


def test_status_and_counts():
    model = two_adapters()
    status = model.get_model_status()
    assert status.peft_types == {"default": "ROBUST_SPARSE", "other": "ROBUST_SPARSE"}
    assert (status.enabled, status.active_adapters, status.merged_adapters) == (True, ["default"], [])
    assert status.requires_grad == {"default": True, "other": False}
    assert status.num_adapter_layers == 14
    assert {layer.module_type for layer in model.get_layer_status()} == {"rsa.Linear"}
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert status.trainable_params == trainable == model.get_nb_trainable_parameters()[0]
    with model.disable_adapter():
        assert model.get_model_status().enabled is False
    model.merge_adapter()
    assert model.get_model_status().merged_adapters == ["default"]


def test_printed_counts(capsys):
    model = llama(r=2)
    model.print_trainable_parameters()
    trainable = sum(p.numel() for n, p in model.named_parameters() if "rsa_delta" in n)
    assert capsys.readouterr().out.startswith(f"trainable params: {trainable} ||")


@pytest.mark.parametrize("mode", ["additive", "auto"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_a_model_that_has_run_is_converted_without_its_values_in_the_base(dtype, mode):
    model = learnt(llama(mode=mode))
    logits(model)
    model.to(dtype)
    expected = bare_llama().to(dtype)
    assert torch.equal(
        model.base_model.model.model.layers[0].self_attn.q_proj.base_layer.weight,
        expected.model.layers[0].self_attn.q_proj.weight,
    )
    with model.disable_adapter():
        assert torch.equal(logits(model), logits(expected))
    model.train()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    model(**causal_batch()).loss.backward()
    optimizer.step()
    assert torch.isfinite(logits(model)).all()


def test_moving_to_a_device_moves_everything():
    model = learnt(get_peft_model(TwoLayers(), RsaConfig(density=0.5, target_modules=["first", "second"])))
    model(torch.randn(2, 6))
    moved = model.to("meta")
    assert {t.device.type for t in (*moved.parameters(), *moved.buffers())} == {"meta"}
    assert moved(torch.randn(2, 6, device="meta")).shape == (2, 4)  # additive: nothing is written to nothing
    strict = RsaConfig(density=0.5, target_modules=["first", "second"], mode="resident")
    with pytest.raises(RuntimeError, match="its weight is on the meta device"):
        get_peft_model(TwoLayers(), strict).to("meta")(torch.randn(2, 6, device="meta"))


@pytest.mark.parametrize("mode", MODES)
def test_no_cast_of_the_values_and_a_bfloat16_base(mode):
    model = get_peft_model(
        bare_llama().to(torch.bfloat16), RsaConfig(density=0.25, mode=mode), autocast_adapter_dtype=False
    )
    assert {p.dtype for p in model.parameters() if p.requires_grad} == {torch.float32}  # they learn in float32
    loss = model.train()(**causal_batch()).loss
    loss.backward()
    assert all(p.grad.dtype == torch.float32 for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize("mode", MODES)
def test_a_new_head_learns_and_is_kept_apart_for_each_adapter(mode):
    model = learnt(bert(mode=mode)).train()
    head = model.base_model.model.classifier
    assert type(head).__name__ == "ModulesToSaveWrapper"
    original = head.original_module.weight.clone()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.1)
    model(**classified_batch()).loss.backward()
    optimizer.step()
    assert not torch.equal(head.modules_to_save["default"].weight, original)
    assert torch.equal(head.original_module.weight, original)
    with model.disable_adapter():
        assert torch.equal(logits(model, classified_batch()), logits(bare_bert(), classified_batch()))


def test_a_copy_of_the_model_is_its_own(tmp_path):
    model = learnt(llama())
    answers = logits(model)
    twin = copy.deepcopy(model)
    assert torch.equal(logits(twin), answers)
    learnt(twin).train()(**causal_batch()).loss.backward()
    torch.optim.SGD([p for p in twin.parameters() if p.requires_grad], lr=1.0).step()
    assert not torch.equal(logits(twin), answers)
    assert torch.equal(logits(model), answers)
    torch.save(model, tmp_path / "whole.pt")
    again = torch.load(tmp_path / "whole.pt", weights_only=False)
    assert torch.equal(logits(again), answers)
    with again.disable_adapter():
        assert torch.equal(logits(again), logits(bare_llama()))


def test_a_model_is_not_copied_for_every_batch():
    layer = learnt(llama()).base_model.model.model.layers[0].self_attn.q_proj
    with pytest.raises(RuntimeError, match=r"(?s)does not run in torch.nn.DataParallel.*one process per GPU"):
        layer._replicate_for_data_parallel()(torch.randn(2, 16))
