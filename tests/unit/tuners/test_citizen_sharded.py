"""Weights that are sharded over processes: the adapter becomes additive by itself and trains as in one process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tuner_models import causal_batch, learnt, llama


def both(tmp_path, extent):
    """What the two processes of sharded_run.py found."""
    script = Path(__file__).with_name("sharded_run.py")
    calls = [[sys.executable, script, str(rank), tmp_path / "meet", extent] for rank in range(2)]
    room = {**os.environ, "PYTHONWARNINGS": "ignore"}
    runs = [subprocess.Popen(c, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=room) for c in calls]
    outputs = [run.communicate(timeout=280) for run in runs]
    assert [run.returncode for run in runs] == [0, 0], outputs[0][1][-3000:] + outputs[1][1][-3000:]
    return json.loads(outputs[0][0].splitlines()[-1])


@pytest.mark.parametrize("extent", ["short", pytest.param("whole", marks=pytest.mark.slow)])
def test_two_processes_with_fsdp_train_as_one(extent, tmp_path):
    found = both(tmp_path, extent)
    late, strict = found.pop("refused trained ran"), found.pop("refused resident")
    assert "the base can not be put back: its weight is a DTensor" in late
    assert "inside `with model.disable_adapter():`" in late
    assert "its weight is a DTensor. Use mode='auto', which is additive there" in strict
    assert len(found) == {"short": 3, "whole": 14}[extent]
    for case, (values, outputs, resident) in found.items():
        assert values < 1e-5, case
        assert outputs < 1e-5, case
        assert resident == [], case


@pytest.mark.parametrize("switch", ["ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED"])
def test_accelerate_s_switch_keeps_an_adapter_additive(switch, monkeypatch):
    monkeypatch.setenv(switch, "true")
    model = learnt(llama()).train()
    model(**causal_batch()).loss.backward()
    layer = model.base_model.model.model.layers[0].self_attn.q_proj
    assert layer.resident_adapter is None
    assert layer.rsa_delta["default"].weight.grad.any()
    engine = "FSDP" if "FSDP" in switch else "DeepSpeed"
    with pytest.raises(RuntimeError, match=f"the model is trained with {engine}"):
        llama(mode="resident")(**causal_batch())


def test_a_weight_that_is_no_parameter_is_not_written_to():
    layer = learnt(llama()).base_model.model.model.layers[0].self_attn.q_proj
    x, weight = torch.randn(2, 3, 16), torch.randn(16, 16)
    kept = weight.clone()
    output = torch.func.functional_call(layer, {"base_layer.weight": weight}, (x,))
    torch.testing.assert_close(output, x @ (kept + layer.get_delta_weight("default")).T)
    assert torch.equal(weight, kept)
    layer(x)
    assert layer.resident_adapter == "default"
    with pytest.raises(RuntimeError, match="the base can not be put back: its weight is a Tensor"):
        torch.func.functional_call(layer, {"base_layer.weight": weight}, (x,))
    assert torch.equal(weight, kept)
