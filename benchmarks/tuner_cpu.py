"""Training-step time on a CPU: RSA, LoRA, SHiRA and full fine-tuning of the embedded MiniLM, side by side.

Run: python benchmarks/tuner_cpu.py [OUT.json] [--batches 8x64 32x64] [--rounds 24] [--threads 2]
     ->  benchmarks/results/tuner_cpu.json

All arms are in memory at once and take turns: each round times STEPS steps of every arm, in an order that changes
from round to round, so that whatever else the machine does hits all alike. A ratio is taken within a round; its
median over the rounds is reported, with the quartiles. Processor time (of all threads) is kept beside wall time: it
moves less when the machine is shared. A step is forward, backward, fused AdamW and `zero_grad`, in training mode
(MiniLM has dropout), on full-length random tokens; every arm has the project's mean-pool head of 12 classes, which
learns too. The floor trains the head and carries the gradient down to the embeddings.
"""

import argparse
import gc
import random
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import torch
from llama_shapes import machine, write

from rsa_ops.models.base import resolve_base
from rsa_ops.models.task import ModelConfig, load_base_model
from rsa_ops.training.arms import apply_arm
from rsa_ops.training.config import ArmConfig

HERE = Path(__file__).parent
BASE = "asset:minilm-l6"
LABELS = tuple(f"class-{number}" for number in range(12))
RANK = 8
STEPS = 4
WARM_UP = 3
# Arm -> method and options of pipeline.yaml. All adapters have the parameters of a LoRA of RANK on all linears.
ARMS: dict[str, tuple[str, dict[str, Any]]] = {
    "rsa": ("rsa", {"r": RANK}),
    "lora": ("lora", {"r": RANK, "lora_alpha": 2 * RANK}),
    "shira": ("shira", {"r": RANK}),
    "full": ("full", {}),
    "floor": ("full", {}),
    "rsa-additive": ("rsa", {"r": RANK, "mode": "additive"}),
}
TARGETS = {"full": 0.75, "lora": 0.95}  # RSA's step time over the other's, at most

Step = Callable[[], None]


def arm(name: str, batch: tuple[int, int], base: str = BASE) -> tuple[Step, int]:
    """One training step of the arm, always on the same tokens; and how many parameters learn."""
    method, options = ARMS[name]
    torch.manual_seed(1)
    model = load_base_model(resolve_base(base).folder, ModelConfig(base=base), "classification", LABELS, seed=1)
    config = ArmConfig(method=method, learning_rate=1e-4, options=options)
    model, _ = apply_arm(model, config, name, "classification", seed=1)
    model.train()
    tokens = torch.randint(10, model.config.vocab_size, batch)
    labels = torch.randint(len(LABELS), batch[:1])
    inputs = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens), "labels": labels}
    if name == "floor":
        embed = model.get_input_embeddings()
        model.encoder.requires_grad_(requires_grad=False)
    learning = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=1e-5, fused=True)

    def step() -> None:
        if name == "floor":
            words = {"input_ids": None, "inputs_embeds": embed(tokens).requires_grad_()}
            loss = model(**{**inputs, **words}).loss
        else:
            loss = model(**inputs).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step, sum(p.numel() for p in learning)


def compare(batch: tuple[int, int], names: list[str], rounds: int, base: str = BASE) -> dict[str, Any]:
    """Times of every arm in one batch size, and the ratios of RSA to the others."""
    steps, learning = {}, {}
    for name in names:
        steps[name], learning[name] = arm(name, batch, base)
        for _ in range(WARM_UP):
            steps[name]()
    wall: dict[str, list[float]] = {name: [] for name in names}
    busy: dict[str, list[float]] = {name: [] for name in names}
    gc.collect()
    gc.disable()
    order = random.Random(1)
    for _ in range(rounds):
        for name in order.sample(names, len(names)):
            taken = [_timed(steps[name]) for _ in range(STEPS)][
                1:
            ]  # the first finds the caches full of another arm
            wall[name].append(median(ms for ms, _ in taken))
            busy[name].append(median(ms for _, ms in taken))
    gc.enable()
    return {
        "batch": "x".join(map(str, batch)),
        "arms": {
            name: {
                "trainable": learning[name],
                "ms": round(median(wall[name]), 2),
                "processor_ms": round(median(busy[name]), 2),
                "rounds_ms": [round(ms, 2) for ms in wall[name]],
            }
            for name in names
        },
        "ratios": ratios(wall, busy),
    }


def ratios(wall: dict[str, list[float]], busy: dict[str, list[float]]) -> list[dict[str, Any]]:
    """RSA over every other arm, round by round."""
    found = []
    for other in (name for name in wall if name != "rsa"):
        times = [one / two for one, two in zip(wall["rsa"], wall[other], strict=True)]
        busy_times = [one / two for one, two in zip(busy["rsa"], busy[other], strict=True)]
        low, middle, high = quantiles(times, n=4) if len(times) > 1 else times * 3
        target = TARGETS.get(other)
        found.append(
            {
                "ratio": f"rsa / {other}",
                "time": round(middle, 3),
                "quartiles": [round(low, 3), round(high, 3)],
                "processor_time": round(median(busy_times), 3),
                "time_target": target,
                "time_met": None if target is None else middle <= target,
            }
        )
    return found


def _timed(step: Step) -> tuple[float, float]:
    wall, busy = time.perf_counter(), time.process_time()
    step()
    return (time.perf_counter() - wall) * 1000, (time.process_time() - busy) * 1000


def processor() -> str:
    """The processor's name, where Linux tells it."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def main() -> None:
    """Measure, write and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", nargs="?", default=str(HERE / "results" / "tuner_cpu.json"))
    parser.add_argument("--batches", nargs="+", default=["8x64"], help="sequences x tokens")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=ARMS)
    words = parser.parse_args()
    torch.set_num_threads(words.threads)
    record: dict[str, Any] = {
        "script": "benchmarks/tuner_cpu.py",
        **machine("cpu"),
        "processor": processor(),
        "base": BASE,
        "rank": RANK,
        "batches": [],
    }
    for batch in words.batches:
        found = compare(tuple(map(int, batch.split("x"))), list(dict.fromkeys(["rsa", *words.arms])), words.rounds)
        record["batches"].append(found)
        write(record, Path(words.out))
        print(f"\nMiniLM, {batch}, {words.threads} threads, {processor()}")
        for name, one in found["arms"].items():
            print(
                f"{name:14} {one['ms']:8.1f} ms {one['processor_ms']:8.1f} ms of processor {one['trainable']:>11,}"
            )
        for one in found["ratios"]:
            target = "" if one["time_target"] is None else f"target {one['time_target']:.2f}"
            low, high = one["quartiles"]
            print(f"{one['ratio']:20} {one['time']:.3f} ({low:.3f} to {high:.3f}) {target}")


if __name__ == "__main__":
    main()
