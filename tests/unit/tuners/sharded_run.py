"""One of two processes that train with FSDP 2 and compare with a run of one; started by test_citizen_sharded.

Prints one JSON object: case -> largest difference of a value and of an output, and which layers were resident.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import torch
from peft import get_peft_model
from peft.utils import get_peft_model_state_dict
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


def train(model, *, parallel: bool, evaluate: bool = False, steps: int = 3):
    model.train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.05)
    for seed in range(steps):
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
    saved = get_peft_model_state_dict(model)
    return {k: getattr(v, "full_tensor", lambda v=v: v)() for k, v in saved.items()}, output


def main() -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{sys.argv[2]}", rank=RANK, world_size=2)
    mesh = init_device_mesh("cpu", (2,))
    cases = ["fresh", "fresh root", "fresh ran", "trained", "trained root", "trained ran disabled"]
    structures = ["spread", "subnet", "tiles", "elements"]
    # All before the first is sharded: a process that has sharded keeps new adapters additive.
    models = {case: make(case) for case in cases}
    models |= {f"trained {one}": make("trained", structure=one) for one in structures}
    late, half, strict = make("trained ran"), make("fresh", dtype=torch.bfloat16), make("fresh", "resident")
    found = {}
    for case, model in models.items():
        structure = next((one for one in structures if one in case), "columns")
        values, output = train(make(case.replace("ran", ""), "additive", structure), parallel=False)
        theirs, answered = train(shard(model, case, mesh), parallel=True, evaluate="root" in case)
        difference = max((values[key].double() - theirs[key].double()).abs().max().item() for key in values)
        resident = [layer.resident_adapter for layer in layers(model) if layer.resident_adapter]
        found[case] = (difference, (output - answered).abs().max().item(), resident)
    _, answered = train(shard(half, "fresh", mesh), parallel=True)
    found["bfloat16"] = (0.0 if answered.isfinite().all() else 1.0, 0.0, [])
    for case, model in (("trained ran", late), ("resident", strict)):
        try:
            train(shard(model, case, mesh), parallel=True)
        except RuntimeError as error:
            found[f"refused {case}"] = str(error)
    distributed.barrier()
    found["fsdp 1"] = older()
    print(json.dumps(found))


def older():
    """FSDP 1 without accelerate: nothing but the weights tells that it is there."""
    try:
        values, output = train(make("trained", "additive"), parallel=False)
        model = make("trained")
        wrapped = FullyShardedDataParallel(model, use_orig_params=True, device_id=torch.device("cpu"))
        theirs, answered = train(wrapped, parallel=True)
    except (RuntimeError, ValueError, NotImplementedError, AssertionError, AttributeError) as error:
        return f"{type(error).__name__}: {error}"
    return (output - answered).abs().max().item()


main()
