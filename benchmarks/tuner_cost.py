"""Step time and peak memory of training with RSA and with its rivals, on one device.

Run: python benchmarks/tuner_cost.py OUT.json [--shapes 1b] [--batches 8x1024] [--settings eager ckpt ...]
         [--rows table depth ...] [--limit SECONDS] [--append [PART.json ...]]
The rows are in `tuner_cost_rows.py`, the targets in `tuner_cost_ratios.py`. OUT.json is written anew after every
row, and a row that fails is recorded with its error. `--append` keeps the records that OUT.json (or each PART.json)
holds already; with `--rows` and nothing behind it, parts are only put together. `--limit` starts no row that would
not end in time, and says which were left.

A step is forward, backward, `optimizer.step()` (fused AdamW) and `zero_grad`. Of 12 steps the first 4 are warm-up;
each of the others is kept, from CUDA event to CUDA event without a stop between them, as in training. The peak is
that of the 8 measured steps; what earlier rows left on the card (`leftover_bytes`) is no part of it in the tables.
Kernel launches are counted in one more step, by torch's profiler. The first rows are measured again at the end of
each setting (`drift`). The models are `llama_shapes.py`'s: random weights in bfloat16, sdpa, random tokens, every
token a label.
"""

import argparse
import gc
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import torch
from llama_shapes import LAUNCHES, SHAPES, Shape, build, machine, write
from torch import Tensor
from torch._dynamo.utils import counters
from tuner_cost_ratios import drift, ratios, ratios_as_text, rows_as_text, setting_name
from tuner_cost_rows import ROWS, Row, chosen

from rsa_ops.tuners import magnitude_scores, score_blocks, select_blocks
from rsa_ops.tuners.rsa.layer import Linear

WARM_UP, STEPS = 4, 8
LEARNING_RATE = 1e-4
REPEATED = ("floor", "lora-bf16", "rsa")
SETTINGS = {  # name -> (gradient checkpointing, torch.compile)
    "eager": (False, False),
    "ckpt": (True, False),
    "compiled": (False, True),
    "ckpt-compiled": (True, True),
}

Step = Callable[[], Tensor]
_CACHED = type(lru_cache(lambda: None))


@dataclass(frozen=True)
class Setting:
    """Where rows are compared with each other. `batch` is sequences x tokens."""

    shape: str
    batch: tuple[int, int]
    checkpointing: bool
    compiled: bool
    device: str
    rank: int

    def facts(self) -> dict[str, Any]:
        """What a record says about it."""
        return {
            "shape": self.shape,
            "batch": "x".join(map(str, self.batch)),
            "checkpointing": self.checkpointing,
            "compiled": self.compiled,
            "rank": self.rank,
        }


def measure(row: Row, setting: Setting) -> dict[str, Any]:
    """The record of one row; its `error` is None, or the first lines of what went wrong."""
    start = time.perf_counter()
    record: dict[str, Any] = {"row": row.name, **setting.facts(), **machine(setting.device), "error": None}
    record["leftover_bytes"] = torch.cuda.memory_allocated() if setting.device == "cuda" else None
    try:
        record |= _measure(row, setting)
    except Exception as error:  # noqa: BLE001  a row that does not fit or is not supported is a result
        record["error"] = f"{type(error).__name__}: {error}"[:500]
    # Only now, out of the handler, are the frames that the error held gone, and their tensors with them.
    _clean(setting.device)
    record["seconds"] = round(time.perf_counter() - start, 1)
    return record


def _measure(row: Row, setting: Setting) -> dict[str, Any]:
    torch.manual_seed(0)
    shape = SHAPES[setting.shape]
    base = build(shape, setting.device)
    parameters = sum(p.numel() for p in base.parameters())
    model = prepare(row, base, setting)
    learning = [p for p in model.parameters() if p.requires_grad]
    step = make_step(row, model, learning, shape, setting)
    found = {
        "parameters": parameters,
        "trainable": sum(p.numel() for p in learning),
        "trainable_types": sorted({str(p.dtype).removeprefix("torch.") for p in learning}),
        "built_bytes": torch.cuda.memory_allocated() if setting.device == "cuda" else None,
    }
    found |= timed(step, setting.device) | _residency(model)
    if setting.compiled:
        found["compile"]["break_reasons"] = [reason[:200] for reason in list(counters["graph_break"])[:2]]
        found["compile"] |= _after_reselection(model, step)
    found |= _profiled(step, setting.device)
    return found


def prepare(row: Row, base: Any, setting: Setting) -> Any:
    """The base with what the row trains, and gradient checkpointing where the setting has it; in training mode."""
    model = row.adapt(base, SHAPES[setting.shape], setting.rank)
    if setting.checkpointing:  # after the adapter, as Trainer does it
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        if row.group == "depth":
            # transformers makes the embeddings' output require a gradient, which only reentrant checkpointing
            # needs; backward would then go on below the lowest adapter, through all that the row leaves out.
            model.disable_input_require_grads()
    return model.train()  # as Trainer does; a compiled forward pass finds RSA's values where this puts them


def make_step(row: Row, model: Any, learning: list[Tensor], shape: Shape, setting: Setting) -> Step:
    """One training step of the row, on the same tokens each time; returns the loss, on the device."""
    tokens = torch.randint(shape.vocab, setting.batch, device=setting.device)
    called = torch.compile(model) if setting.compiled else model
    if row.kind == "floor":
        embed = model.get_input_embeddings()

        def floor() -> Tensor:
            loss: Tensor = called(inputs_embeds=embed(tokens).requires_grad_(), labels=tokens).loss
            loss.backward()
            return loss.detach()

        return floor
    batch = {"input_ids": tokens, "labels": tokens}
    if row.kind == "scoring":

        def scoring() -> Tensor:
            return torch.stack([score.mean.mean() for score in score_blocks(model, [batch]).values()]).mean()

        return scoring
    optimizer = torch.optim.AdamW(learning, lr=LEARNING_RATE, fused=True)

    def train() -> Tensor:
        loss: Tensor = called(**batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    return train


def timed(step: Step, device: str) -> dict[str, Any]:
    """Times of the steps after the warm-up, their peak memory, and what was compiled before and during them."""
    start = time.perf_counter()
    losses = [step()]
    _wait(device)
    first_seconds = time.perf_counter() - start
    losses += [step() for _ in range(WARM_UP - 1)]
    before = _graphs()
    gc.collect()
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    marks = [_mark(device)]
    with _no_collection():
        for _ in range(STEPS):
            losses.append(step())
            marks.append(_mark(device))
    _wait(device)
    steps_ms = [round(_between(one, two), 3) for one, two in pairwise(marks)]
    values = [round(float(loss), 4) for loss in losses]
    if values != [value for value in values if abs(value) < float("inf")]:
        raise ValueError(f"the loss is not finite: {values}")
    return {
        "ms": round(median(steps_ms), 3),
        "ms_least": min(steps_ms),
        "ms_most": max(steps_ms),
        "steps_ms": steps_ms,
        "first_step_seconds": round(first_seconds, 2),
        "peak_bytes": torch.cuda.max_memory_allocated() if device == "cuda" else None,
        "reserved_bytes": torch.cuda.max_memory_reserved() if device == "cuda" else None,
        "losses": [values[0], values[-1]],
        "compile": {**before, "recompiled_while_timed": _graphs()["graphs"] - before["graphs"]},
    }


def _residency(model: Any) -> dict[str, int]:
    """How many layers carry an RSA adapter, and in how many its values stand in the base weight."""
    layers = [module for module in model.modules() if isinstance(module, Linear)]
    resident = sum(layer.resident_adapter is not None for layer in layers)
    return {"rsa_layers": len(layers), "resident_layers": resident} if layers else {}


def _after_reselection(model: Any, step: Step) -> dict[str, int]:
    """Graphs compiled anew after the adapter was pointed at other places; nothing for other methods."""
    if not _residency(model):
        return {}
    before = _graphs()["graphs"]
    reselect(model)
    for _ in range(2):
        step()
    return {"recompiled_after_reselection": _graphs()["graphs"] - before}


@torch.no_grad()
def reselect(model: Any) -> None:
    """Zero the values of an RSA model and point them at the largest weights, in place."""
    for layer in (module for module in model.modules() if isinstance(module, Linear)):
        for delta in layer.rsa_delta.values():
            delta.weight.zero_()
    select_blocks(model, "default", magnitude_scores(model))
    model.train()  # as Trainer does at every step: where the forward pass is compiled, this rewrites the weights


def _profiled(step: Step, device: str) -> dict[str, Any]:
    """Kernel launches of one step, and the milliseconds in which the card computed; None where it can't be told."""
    found: dict[str, Any] = {"launches": None, "kernel_ms": None}
    if device != "cuda":
        return found
    from torch.profiler import ProfilerActivity, profile

    try:
        with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
            step()
            torch.cuda.synchronize()
        events = list(profiler.profiler.kineto_results.events())
        found["launches"] = sum(event.name() in LAUNCHES for event in events)
        found["kernel_ms"] = round(sum(e.duration_ns() for e in events if _on_card(e)) / 1e6, 3)
    except Exception as error:  # noqa: BLE001  the times are worth more than this
        found["profiler_error"] = f"{type(error).__name__}: {error}"[:200]
    return found


def _on_card(event: Any) -> bool:
    """Whether a profiler's event is work on the card, and not a name that spans such work."""
    name = event.name()
    return (
        str(event.device_type()).endswith("CUDA")
        and not event.is_user_annotation()
        and not name.startswith(("Optimizer.", "Torch-Compiled", "ProfilerStep", "##"))
    )


def _graphs() -> dict[str, int]:
    return {"graphs": counters["stats"]["unique_graphs"], "graph_breaks": sum(counters["graph_break"].values())}


def _mark(device: str) -> Any:
    if device != "cuda":
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def _between(one: Any, two: Any) -> float:
    """Milliseconds between two marks."""
    return (two - one) * 1000 if isinstance(one, float) else one.elapsed_time(two)


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


@contextmanager
def _no_collection() -> Iterator[None]:
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _clean(device: str) -> None:
    """Free what the last row held; PEFT's SHiRA and Super-Tuning keep a layer, hence its model, in a cache."""
    torch.compiler.reset()
    counters.clear()
    for one in gc.get_objects():
        if isinstance(one, _CACHED) and str(getattr(one, "__module__", "")).startswith("peft."):
            one.cache_clear()
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()


def settings(words: argparse.Namespace) -> list[Setting]:
    """Every shape, batch and setting that was asked for."""
    return [
        Setting(shape, tuple(map(int, batch.split("x"))), *SETTINGS[name], words.device, words.rank)
        for shape in words.shapes
        for batch in words.batches
        for name in words.settings
    ]


def measure_all(words: argparse.Namespace, records: list[dict[str, Any]]) -> list[str]:
    """Append the record of every wanted row to `records` and write them; returns what the limit left out."""
    start, left = time.perf_counter(), []
    rows = chosen(words.rows)
    if rows and words.device == "cuda":  # clocks, cuBLAS and the allocator wake up before anything counts
        measure(ROWS["floor"], replace(settings(words)[0], checkpointing=False, compiled=False))
    for setting in settings(words):
        took: dict[str, float] = {}
        repeated = [ROWS[name] for name in words.repeat if ROWS[name] in rows]
        for number, row in enumerate([*rows, *repeated]):
            # Time is kept for the repeats: without them nobody knows whether the card drifted.
            kept = sum(took.get(one.name, 0) for one in repeated) if number < len(rows) else 0
            if time.perf_counter() - start + max(took.values(), default=0) + kept > words.limit:
                left.append(f"{row.name}, {setting_name(setting.facts())}")
                continue
            record = measure(row, setting)
            took[row.name] = max(took.get(row.name, 0), record["seconds"])
            records.append(record)
            save(records, left, Path(words.out))
            reached = record["error"] or f"{record['ms']:.1f} ms"
            print(f"{time.perf_counter() - start:5.0f} s  {row.name:22} {reached[:300]}", flush=True)
            if "CUDA error" in reached:  # the process can use the card no more; the next call appends
                raise SystemExit(f"stopped at {row.name}: {reached}")
    return left


def save(records: list[dict[str, Any]], left: list[str], file: Path) -> None:
    """Write the records with what follows from them."""
    record = {
        "script": "benchmarks/tuner_cost.py",
        "ratios": ratios(records),
        "drift": drift(records),
        "not_run": left,
        "records": records,
    }
    write(record, file)


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    """The command line, or `words` in its place."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out")
    parser.add_argument("--shapes", nargs="+", default=["1b"], choices=SHAPES)
    parser.add_argument("--batches", nargs="+", default=["8x1024"], help="sequences x tokens")
    parser.add_argument("--settings", nargs="+", default=["eager"], choices=SETTINGS)
    parser.add_argument("--rows", nargs="*", default=["all"], help="rows or groups: table depth modes others")
    parser.add_argument("--repeat", nargs="*", default=REPEATED, help="rows measured again at a setting's end")
    parser.add_argument("--rank", type=int, default=16, help="LoRA's rank, whose parameter count all rows get")
    parser.add_argument("--limit", type=float, default=float("inf"), help="seconds after which no row is begun")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--append", nargs="*", default=None, help="keep the records of OUT.json, or of these files")
    return parser.parse_args(words)


def main(command: list[str] | None = None) -> None:
    """Measure, write and print."""
    words = arguments(command)
    kept = [] if words.append is None else words.append or [words.out]
    records = [r for file in kept for r in json.loads(Path(file).read_text(encoding="utf-8"))["records"]]
    left = measure_all(words, records)
    save(records, left, Path(words.out))
    print("\n".join([*rows_as_text(records), *ratios_as_text(ratios(records))]))
    if left:
        print("\nnot run for lack of time: " + "; ".join(left))


if __name__ == "__main__":
    main()
