"""Swapping a loaded adapter for a saved one of equal shapes, in place."""

from __future__ import annotations

import shutil

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.utils import get_peft_model_state_dict
from tuner_models import TwoLayers, bare_llama, bert, causal_batch, classified_batch, learnt, llama

from rsa_ops.tuners import RsaConfig, hotswap

STRUCTURES = ["columns", "spread", "subnet", "tiles", "elements"]


def logits(model, batch=None):
    return model.eval()(**(batch or causal_batch())).logits.detach()


def state(model):
    return {key: value.clone() for key, value in get_peft_model_state_dict(model).items()}


@pytest.fixture
def saved(tmp_path):
    """Another adapter: other places, other values; its folder and outputs."""

    def save(**options):
        other = learnt(llama(seed=5, **options))
        other.save_pretrained(tmp_path / "other")
        return tmp_path / "other", logits(other)

    return save


@pytest.mark.parametrize("mode", ["resident", "additive"])
@pytest.mark.parametrize("structure", STRUCTURES)
def test_a_swapped_model_answers_as_the_saved_one(saved, structure, mode):
    folder, expected = saved(structure=structure, tile=4, mode=mode)
    model = learnt(llama(structure=structure, tile=4, mode=mode, seed=1))
    before, kept = logits(model), [id(p) for p in model.parameters()]
    assert not torch.equal(before, expected)
    hotswap(model, folder)
    assert torch.equal(logits(model), expected)
    assert [id(p) for p in model.parameters()] == kept
    with model.disable_adapter():
        assert torch.equal(logits(model), logits(bare_llama()))


def test_scales_are_swapped_too(saved, tmp_path):
    model = llama(activation_scaling=True)
    other = learnt(llama(activation_scaling=True, seed=5))
    for module in other.modules():
        if hasattr(module, "rsa_delta"):
            module.rsa_delta["default"].scale.fill_(0.5)
    other.save_pretrained(tmp_path)
    hotswap(model, tmp_path)
    assert torch.equal(logits(model), logits(other))


def test_a_head_that_is_saved_with_the_adapter_is_swapped(tmp_path):
    other = learnt(bert(seed=5))
    torch.nn.init.normal_(other.base_model.model.classifier.modules_to_save["default"].weight)
    other.save_pretrained(tmp_path)
    model = learnt(bert())
    hotswap(model, tmp_path)
    assert torch.equal(logits(model, classified_batch()), logits(other, classified_batch()))


def test_one_of_two_adapters_and_one_without_a_peft_model(saved):
    folder, expected = saved()
    model = learnt(llama())
    first = logits(model)
    model.add_adapter("second", RsaConfig(density=0.25))
    hotswap(model, folder, "second")
    assert torch.equal(logits(model), first)
    model.set_adapter("second")
    assert torch.equal(logits(model), expected)

    plain = bare_llama()
    plain.add_adapter(RsaConfig(density=0.25))
    hotswap(plain, folder)
    assert torch.equal(logits(plain), expected)


def test_a_compiled_model_is_not_compiled_again(saved):
    folder, expected = saved()
    counted = []

    def backend(graph, _):
        counted.append(graph)
        return graph.forward

    torch._dynamo.reset()
    model = learnt(llama()).eval()
    compiled = torch.compile(model, backend=backend)
    batch = causal_batch()
    with torch.no_grad():
        compiled(**batch)
        graphs = len(counted)
        assert graphs
        for _ in range(2):
            hotswap(compiled, folder)
            torch.testing.assert_close(compiled(**batch).logits, expected)
    assert len(counted) == graphs


def test_the_optimizer_keeps_its_parameters_and_its_state(saved):
    folder, _ = saved()
    model = learnt(llama()).train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad])
    model(**causal_batch()).loss.backward()
    optimizer.step()
    moments = [entry["exp_avg"].clone() for entry in optimizer.state.values()]
    hotswap(model, folder)
    assert all(torch.equal(a, e["exp_avg"]) for a, e in zip(moments, optimizer.state.values(), strict=True))
    before = logits(model)
    optimizer.step()  # the old gradients on the new values: the parameters are the optimizer's still
    assert not torch.equal(logits(model), before)


def test_a_swap_between_forward_and_backward_is_refused_by_backward(saved):
    folder, _ = saved()
    for mode in ("resident", "additive"):
        model = learnt(llama(mode=mode)).train()
        loss = model(**causal_batch()).loss
        hotswap(model, folder)
        with pytest.raises(RuntimeError, match=r"between a forward pass|modified by an inplace operation"):
            loss.backward()


def refusals(tmp_path):
    yield learnt(llama(structure="subnet")), "structure 'columns' as in adapter 'default', found 'subnet'"
    yield (
        learnt(llama(structure="columns", density=0.5)),
        r"of shape \(16, 4\), found torch.float32 of shape \(16, 8\)",
    )
    yield (
        learnt(llama(structure="columns", target_modules=["q_proj"])),
        "expected the loaded adapter's layers, found no",
    )
    yield learnt(llama(structure="columns", modules_to_save=["norm"])), "which the loaded one lacks"
    yield learnt(llama(structure="columns", share_siblings=False)), "which the loaded one lacks"
    yield get_peft_model(bare_llama(), LoraConfig()), "found one of type LORA"


def test_what_does_not_fit_is_refused_and_nothing_changes(tmp_path):
    model = learnt(llama(structure="columns")).eval()
    before, answers = state(model), logits(model)
    for number, (other, says) in enumerate(refusals(tmp_path)):
        other.save_pretrained(tmp_path / str(number))
        with pytest.raises(ValueError, match=says):
            hotswap(model, tmp_path / str(number))
        after = state(model)
        assert all(torch.equal(before[key], after[key]) for key in before)
        assert torch.equal(logits(model), answers)


def test_an_empty_folder_a_missing_adapter_and_a_merged_one_are_refused(saved, tmp_path):
    folder, _ = saved()
    model = learnt(llama())
    with pytest.raises(FileNotFoundError, match=r"no adapter_config.json in .*nowhere"):
        hotswap(model, tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"'seconds' in the model, found \{'default': 'RsaConfig'\}"):
        hotswap(model, folder, "seconds")
    with pytest.raises(ValueError, match=r"in the model, found \{\}"):
        hotswap(TwoLayers(), folder)
    model.merge_adapter()
    with pytest.raises(ValueError, match=r"call unmerge_adapter\(\) first"):
        hotswap(model, folder)


def test_a_bfloat16_file_is_swapped_into_float32_values(saved, tmp_path):
    from safetensors.torch import load_file, save_file

    folder, _ = saved()
    half = tmp_path / "half"
    shutil.copytree(folder, half)
    tensors = load_file(folder / "adapter_model.safetensors")
    halved = {k: v.to(torch.bfloat16) if v.is_floating_point() else v for k, v in tensors.items()}
    save_file(halved, half / "adapter_model.safetensors")
    model = learnt(llama())
    hotswap(model, half)
    loaded = PeftModel.from_pretrained(bare_llama(), half)
    assert torch.equal(logits(model), logits(loaded))
    assert {p.dtype for n, p in model.named_parameters() if "rsa_delta" in n} == {torch.float32}
