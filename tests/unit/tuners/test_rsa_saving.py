"""Saving and loading: bit for bit, indices too, in this process and in a fresh one."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest
import torch
from peft import PeftModel
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file
from tuner_models import bare_bert, bare_llama, bert, causal_batch, classified_batch, learnt, llama

from rsa_ops.tuners import score_blocks, select_blocks


def selected(model, batch):
    select_blocks(model, "default", score_blocks(model, [batch]))
    return learnt(model).eval()


@pytest.mark.parametrize("low_memory", [False, True])
def test_a_loaded_adapter_has_the_same_bits_and_outputs(tmp_path, low_memory):
    batch = causal_batch()
    model = selected(llama(), batch)
    model.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(bare_llama(), tmp_path, low_cpu_mem_usage=low_memory).eval()
    mine, theirs = get_peft_model_state_dict(model), get_peft_model_state_dict(loaded)
    assert mine.keys() == theirs.keys()
    for key, value in mine.items():
        assert value.dtype == theirs[key].dtype
        assert torch.equal(value, theirs[key]), key
    assert torch.equal(loaded(**batch).logits, model(**batch).logits)
    assert not any(p.requires_grad for p in loaded.parameters())


def test_the_file_holds_values_and_places_and_nothing_of_the_base(tmp_path):
    model = selected(llama(), causal_batch())
    model.save_pretrained(tmp_path)
    stored = load_file(tmp_path / "adapter_model.safetensors")
    assert {key.rsplit(".", 1)[1] for key in stored} == {"weight", "columns"}
    assert all(".rsa_delta." in key for key in stored)
    assert {v.dtype for k, v in stored.items() if k.endswith("columns")} == {torch.int32}
    assert {v.dtype for k, v in stored.items() if k.endswith("weight")} == {torch.float32}


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


def test_a_fresh_process_gives_the_same_outputs(tmp_path):
    batch = causal_batch()
    model = selected(llama(), batch)
    model.save_pretrained(tmp_path / "adapter")
    bare_llama().save_pretrained(tmp_path / "base")
    torch.save({"batch": batch, "logits": model(**batch).logits.detach()}, tmp_path / "expected.pt")
    script = """
        import sys, torch
        torch.set_num_threads(1)
        import rsa_ops.tuners
        from peft import PeftModel
        from transformers import LlamaForCausalLM
        expected = torch.load(sys.argv[1] + "/expected.pt")
        base = LlamaForCausalLM.from_pretrained(sys.argv[1] + "/base")
        model = PeftModel.from_pretrained(base, sys.argv[1] + "/adapter").eval()
        sys.exit(0 if torch.equal(model(**expected["batch"]).logits, expected["logits"]) else 3)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
