"""Saving and loading: bit for bit, indices too, in this process and in a fresh one."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap

import pytest
import torch
from peft import PeftModel
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file
from tuner_models import (
    STRUCTURES,
    bare_bert,
    bare_llama,
    bert,
    causal_batch,
    classified_batch,
    learnt,
    llama,
    places,
)

from rsa_ops.tuners import score_blocks, select_blocks


def selected(model, batch):
    select_blocks(model, "default", score_blocks(model, [batch]))
    return learnt(model).eval()


def saved(tmp_path, **options):
    """A trained adapter as it would be saved, on its way through scores, values and scales."""
    model = llama(**{"tile": 4, **options})
    chosen = selected(model, causal_batch())
    for name, buffer in chosen.named_buffers():
        if name.endswith(".scale"):
            buffer.uniform_(0.5, 2.0)
    chosen(**causal_batch())
    chosen.save_pretrained(tmp_path)
    return chosen


@pytest.mark.parametrize("low_memory", [False, True])
@pytest.mark.parametrize("options", [{"activation_scaling": False}, {}], ids=["plain", "scaled"])
@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("mode", ["additive", "resident"])
def test_a_loaded_adapter_has_the_same_bits_and_outputs(tmp_path, structure, mode, options, low_memory):
    batch = causal_batch()
    model = saved(tmp_path, structure=structure, mode=mode, **options)
    loaded = PeftModel.from_pretrained(bare_llama(), tmp_path, low_cpu_mem_usage=low_memory).eval()
    mine, theirs = get_peft_model_state_dict(model), get_peft_model_state_dict(loaded)
    assert mine.keys() == theirs.keys()
    for key, value in mine.items():
        assert value.dtype == theirs[key].dtype
        assert torch.equal(value, theirs[key]), key
    assert torch.equal(loaded(**batch).logits, model(**batch).logits)
    assert not any(p.requires_grad for p in loaded.parameters())
    original = bare_llama().state_dict()
    for name, tensor in loaded.base_model.model.state_dict().items():
        key = name.replace(".base_layer", "")
        assert key not in original or torch.equal(tensor, original[key])


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("structure", STRUCTURES)
def test_the_file_holds_values_and_places_and_nothing_of_the_base(tmp_path, structure, scaled):
    model = saved(tmp_path, structure=structure, activation_scaling=scaled)
    stored = load_file(tmp_path / "adapter_model.safetensors")
    kinds = {"weight": torch.float32, "columns": torch.int32}
    kinds |= {"rows": torch.int32} if structure in {"subnet", "tiles", "elements"} else {}
    kinds |= {"scale": torch.float32} if scaled else {}
    assert {key.rsplit(".", 1)[1] for key in stored} == set(kinds)
    assert all(".rsa_delta." in key for key in stored)
    assert all(tensor.dtype == kinds[key.rsplit(".", 1)[1]] for key, tensor in stored.items())
    layers = sum(hasattr(module, "rsa_delta") for module in model.modules())
    assert sum(key.endswith("weight") for key in stored) == layers
    assert sum(key.endswith("columns") for key in stored) == (8 if structure in {"columns", "spread"} else layers)


def test_an_adapter_cast_to_bfloat16_keeps_its_places_and_loads(tmp_path):
    model = saved(tmp_path / "float32")
    places_before = places(model)
    model.to(torch.bfloat16).save_pretrained(tmp_path / "bfloat16")
    stored = load_file(tmp_path / "bfloat16" / "adapter_model.safetensors")
    assert {tensor.dtype for key, tensor in stored.items() if key.endswith("weight")} == {torch.bfloat16}
    loaded = PeftModel.from_pretrained(bare_llama(), tmp_path / "bfloat16").eval()
    assert all(torch.equal(place, places_before[name]) for name, place in places(loaded).items())
    exact = PeftModel.from_pretrained(bare_llama(), tmp_path / "float32").eval()
    for (name, value), kept in zip(loaded.named_parameters(), exact.parameters(), strict=True):
        if ".rsa_delta." in name:
            assert value.dtype == torch.float32
            assert torch.equal(value, kept.bfloat16().float())


@pytest.mark.parametrize("change", [{"density": 0.5}, {"structure": "tiles"}, {"r": 1, "density": None}])
def test_an_adapter_of_another_shape_is_refused(tmp_path, change):
    saved(tmp_path)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    (tmp_path / "adapter_config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(
        ValueError, match=r"expected .*rsa_delta.* of shape .* found .*It was trained on another base"
    ):
        PeftModel.from_pretrained(bare_llama(), tmp_path)


def test_loading_under_another_name_and_beside_another_adapter(tmp_path):
    batch = causal_batch()
    model = selected(llama(), batch)
    model.save_pretrained(tmp_path)
    host = llama(seed=9)
    host.load_adapter(tmp_path, "guest")
    host.set_adapter("guest")
    assert torch.equal(host.eval()(**batch).logits, model(**batch).logits)


def test_a_new_head_is_saved_with_the_adapter(tmp_path):
    batch = classified_batch()
    model = selected(bert(), batch)
    model.base_model.model.classifier.modules_to_save["default"].weight.data.normal_()
    model.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(bare_bert(), tmp_path).eval()
    assert torch.equal(loaded(**batch).logits, model(**batch).logits)


def python(script, *arguments):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_fresh_process_gives_the_same_outputs_once_it_imports_the_room(tmp_path):
    batch = causal_batch()
    expected = {}
    for structure in STRUCTURES:
        model = saved(tmp_path / structure, structure=structure, activation_scaling=True)
        expected[structure] = model(**batch).logits.detach()
    bare_llama().save_pretrained(tmp_path / "base")
    torch.save({"batch": batch, "logits": expected}, tmp_path / "expected.pt")
    script = """
        import sys, torch
        torch.set_num_threads(1)
        from peft import PeftConfig, PeftModel
        from transformers import LlamaForCausalLM
        folder = sys.argv[1]
        try:
            PeftConfig.from_pretrained(folder + "/columns")
        except Exception as error:
            print(type(error).__name__, error)
        import rsa_ops.tuners
        expected = torch.load(folder + "/expected.pt")
        for structure, logits in expected["logits"].items():
            base = LlamaForCausalLM.from_pretrained(folder + "/base")
            model = PeftModel.from_pretrained(base, folder + "/" + structure).eval()
            print(structure, torch.equal(model(**expected["batch"]).logits, logits))
    """
    done = python(script, tmp_path)
    assert done.returncode == 0, done.stderr
    # What a user sees who has not imported the room: PEFT looks the name up in its table.
    refused, *same = done.stdout.splitlines()
    assert refused == "KeyError 'ROBUST_SPARSE'"
    assert same == [f"{structure} True" for structure in STRUCTURES]
