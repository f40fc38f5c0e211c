"""What each of two gloo processes does for test_rsa_processes.py: python two_processes.py RANK FOLDER."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel
from transformers import TrainerControl, TrainerState
from tuner_models import STRUCTURES, causal_batch, llama

from rsa_ops.tuners import RsaCallback, score_blocks
from rsa_ops.tuners.rsa.batches import over_processes

MISSED = "base_model.model.model.layers.0.mlp.up_proj"


def steps(model, forward, rank, world):
    """Six steps of which every process sees its share of the rows."""
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.01)
    model.train()
    losses = []
    for step in range(6):
        batch = {name: value[rank::world] for name, value in causal_batch(rows=4, seed=step).items()}
        loss = forward(**batch, use_cache=False).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    return losses, {name: p.detach().clone() for name, p in model.named_parameters() if ".rsa_delta." in name}


def selected(rank, **options):
    model, callback = llama(scoring_batches=2, **options), RsaCallback()
    own = [causal_batch(seed=10 + rank), causal_batch(seed=20 + rank)][: 2 - rank]  # one batch less on rank 1
    state = TrainerState()
    state.max_steps = 20
    callback.on_train_begin(None, state, TrainerControl(), model=model, train_dataloader=own)
    for step in (1, 2):
        state.global_step = step
        callback.on_step_end(None, state, TrainerControl(), model=model)
    places = {k: v for k, v in model.state_dict().items() if k.endswith(("columns", "rows", "scale"))}
    return places, callback.report


def scored(structure, rank):
    own = score_blocks(
        model := llama(structure=structure, tile=4), [causal_batch(seed=10 + 2 * i + rank) for i in range(2 - rank)]
    )
    if rank:  # as if no gradient had come by on this rank
        own.pop(MISSED)
    return over_processes(model, "default", own)


def main(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    found = {
        "scores": {structure: scored(structure, rank) for structure in STRUCTURES},
        "static": selected(rank, choice="top"),
        "rounds": selected(rank, selection="rounds", rounds=2),
    }
    for structure, mode in [
        *((s, "resident") for s in STRUCTURES),
        ("columns", "additive"),
        ("spread", "additive"),
    ]:
        model = llama(structure=structure, tile=4, mode=mode)
        found[structure, mode] = steps(model, DistributedDataParallel(model), rank, 2)
    torch.save(found, folder / f"{rank}.pt")
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
