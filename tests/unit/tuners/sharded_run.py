"""One of two processes that train with FSDP 2 and compare with a run of one; started by test_citizen_sharded.

Prints one JSON object: case -> largest difference of a value and of an output, and which layers were resident.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import torch
from peft import get_peft_model
from peft.utils import get_peft_model_state_dict
from peft.utils.other import fsdp_auto_wrap_policy
from torch import distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from tuner_models import bare_llama, causal_batch, learnt

from rsa_ops.tuners import RsaConfig

RANK = int(sys.argv[1])


def make(case: str, mode: str = "auto", structure: str = "columns", dtype: torch.dtype = torch.float32):
    config = RsaConfig(density=0.25, structure=structure, tile=4, mode=mode)
    model = get_peft_model(bare_llama().to(dtype), config)
    if "trained" in case:
        learnt(model)
    if "ran" in case.split():
        model.train()(**causal_batch())
        assert layers(model)[0].resident_adapter == "default"
    return model


def layers(model):
    return [module for module in model.modules() if hasattr(module, "rsa_delta")]


def shard(model, case: str, mesh):
    def go() -> None:
        for block in model.base_model.model.model.layers if "root" not in case else ():
            fully_shard(block, mesh=mesh)
        fully_shard(model, mesh=mesh)

    if "disabled" in case:
        with model.disable_adapter():
            go()
    else:
        go()
    return model


def train(model, *, parallel: bool, evaluate: bool = False, collect: bool = True):
    model.train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.05)
    for seed in range(3):
        batch = causal_batch(rows=4, seed=seed)
        if parallel:
            batch = {key: value[2 * RANK : 2 * RANK + 2] for key, value in batch.items()}
        optimizer.zero_grad()
        model(**batch).loss.backward()
        optimizer.step()
        if evaluate:
            with torch.no_grad():
                model.eval()(**batch)
            model.train()
    with torch.no_grad():
        output = model.eval()(**causal_batch(rows=4, seed=9)).logits
    saved = get_peft_model_state_dict(model) if collect else {}
    return {k: getattr(v, "full_tensor", lambda v=v: v)() for k, v in saved.items()}, output


def main() -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{sys.argv[2]}", rank=RANK, world_size=2)
    found = whole() if sys.argv[3] == "whole" else {}
    mesh = init_device_mesh("cpu", (2,))
    # All before the first is sharded: a process that has sharded keeps new adapters additive.
    cases = [("fresh ran", "columns"), ("trained ran disabled", "columns")]
    if sys.argv[3] == "whole":
        cases += [(case, "columns") for case in ("fresh", "fresh root", "trained root")]
        cases += [("trained", structure) for structure in ("columns", "spread", "subnet", "tiles", "elements")]
    models = [make(case, structure=structure) for case, structure in cases]
    late, half, strict = make("trained ran"), make("fresh", dtype=torch.bfloat16), make("fresh", "resident")
    for (case, structure), model in zip(cases, models, strict=True):
        found[f"{case} {structure}"] = compare(case, shard(model, case, mesh), structure)
    _, answered = train(shard(half, "fresh", mesh), parallel=True)
    found["bfloat16"] = (0.0 if answered.isfinite().all() else 1.0, 0.0, [])
    for case, model in (("trained ran", late), ("resident", strict)):
        try:
            train(shard(model, case, mesh), parallel=True)
        except RuntimeError as error:
            found[f"refused {case}"] = str(error)
    sys.stdout.write(json.dumps(found) + "\n")


def compare(case: str, model, structure: str = "columns"):
    values, output = train(make(case.replace("ran", ""), "additive", structure), parallel=False)
    theirs, answered = train(model, parallel=True, evaluate="root" in case)
    difference = max((values[key].double() - theirs[key].double()).abs().max().item() for key in theirs)
    resident = [layer.resident_adapter for layer in layers(model) if layer.resident_adapter]
    return difference, (output - answered).abs().max().item(), resident


def whole():
    """FSDP 1 without accelerate, where nothing but the weights tells of it; with PEFT's policy of wrapping, too."""
    os.environ["FSDP_TRANSFORMER_CLS_TO_WRAP"] = "LlamaDecoderLayer"
    found = {}
    for case in ("fresh ran", "trained", "trained policy"):
        model = make(case)
        options = {"use_orig_params": True}
        if "policy" in case:
            options = {"use_orig_params": False, "auto_wrap_policy": fsdp_auto_wrap_policy(model)}
        sharded = FullyShardedDataParallel(model, device_id=torch.device("cpu"), **options)
        _, output = train(make(case.replace("ran", ""), "additive"), parallel=False)
        _, answered = train(sharded, parallel=True, collect=False)
        resident = [layer.resident_adapter for layer in layers(model) if layer.resident_adapter]
        found[f"FSDP 1 {case}"] = (0.0, (output - answered).abs().max().item(), resident)
    return found


main()
