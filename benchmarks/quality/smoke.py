"""A minute before the long run: does recording a step change what is computed, and what does it save?

Every method takes a few steps eagerly and again from the same start as recorded graphs. Without dropout the
losses of both must agree to rounding; with it they differ by its draws alone. Then several trials run side by
side in this one process, to show whether streams overlap. Nothing here is scored.
"""

from __future__ import annotations

import gc
import json
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from quality.bench import Batches, Bench
from quality.methods import METHODS
from quality.plan import STRUCTURES, Trial, Variant, formed
from quality.stepping import CaptureError
from quality.tasks import TASKS
from quality.training import Loop, attach

STEPS = 12
SIDE_BY_SIDE = (1, 2, 4)


def variants() -> list[Variant]:
    """Every method, and RSA in every structure, at the smallest budget."""
    methods = [Variant(name, name, 0 if method.peft is None else 2) for name, method in METHODS.items()]
    return methods + [formed(structure, "static", 2) for structure in STRUCTURES]


def compare(folder: Path, out: Path, device: str, tasks: list[str]) -> None:
    """Print one line a method and write `smoke.json`."""
    torch.set_num_threads(1)
    torch.set_float32_matmul_precision("high")
    bench = Bench(folder, device)
    rows = []
    stream = torch.cuda.Stream() if device == "cuda" else None
    for task in tasks:
        for variant in variants():
            row = {"task": task, "variant": variant.name, **_both(bench, task, variant, stream)}
            rows.append(row)
            print(json.dumps(row), flush=True)
        if device == "cuda":
            for count in SIDE_BY_SIDE:
                row = {"task": task, "side_by_side": count, "milliseconds_a_step": _together(bench, task, count)}
                rows.append(row)
                print(json.dumps(row), flush=True)
    out.mkdir(parents=True, exist_ok=True)
    (out / "smoke.json").write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def _loop(bench: Bench, task: str, variant: Variant, seed: int = 1) -> Loop:
    trial = Trial(task, variant, 1e-4, seed, "validation")
    batches = Batches(bench.split(TASKS[task].data, TASKS[task].train), TASKS[task], seed)
    loop = Loop(attach(bench, TASKS[task], trial, batches), trial, batches)
    torch.manual_seed(seed)
    loop.begin()
    return loop


def _tidy() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _both(bench: Bench, task: str, variant: Variant, stream: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for graphs in (False,) if stream is None else (False, True):
        name = "recorded" if graphs else "eager"
        _tidy()
        with nullcontext() if stream is None else torch.cuda.stream(stream):
            try:
                loop = _loop(bench, task, variant)
                times = [_timed(loop, step, graphs=graphs) for step in range(STEPS)]
            except CaptureError as error:
                found[name] = str(error)
                continue
            # The median leaves out the steps in which a width was recorded.
            found[f"{name}_milliseconds"] = round(sorted(times)[len(times) // 2], 2)
            found[f"{name}_loss"] = float(loop.loss) / STEPS
            loop.end()
            found["finite"] = loop.finite and found.get("finite", True)
    return found


def _timed(loop: Loop, step: int, *, graphs: bool) -> float:
    started = time.perf_counter()
    loop.step(step, graphs=graphs)
    if loop.loss.is_cuda:
        torch.cuda.current_stream().synchronize()
    return 1000 * (time.perf_counter() - started)


def _together(bench: Bench, task: str, count: int) -> float:
    """Milliseconds a step and trial with `count` recorded LoRA trainings side by side."""
    variant = Variant("lora", "lora", 2)
    _tidy()
    sides = [(torch.cuda.Stream(), _loop(bench, task, variant, seed)) for seed in range(count)]
    torch.cuda.synchronize()
    started, steps = time.perf_counter(), 60
    for step in range(steps):
        if step == steps // 2:  # every width has been met by now
            torch.cuda.synchronize()
            started = time.perf_counter()
        for stream, loop in sides:
            with torch.cuda.stream(stream):
                loop.step(step, graphs=True)
    torch.cuda.synchronize()
    took = time.perf_counter() - started
    for _, loop in sides:
        loop.end()
    return round(1000 * took / (steps - steps // 2) / count, 3)
