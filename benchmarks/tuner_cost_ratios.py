"""The targets of `tuner_cost.py` (RSA over another method, at most so much) and the table of what was reached.

Pure arithmetic on records; knows neither torch nor a card. Rows are divided by each other only where the same card
measured both, in the same setting.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median
from typing import Any

GIB = 2**30
Records = list[dict[str, Any]]


@dataclass(frozen=True)
class Target:
    """`row` over `other`: step time and peak memory at most so much, each None where nothing is promised."""

    row: str
    other: str
    time: float | None = None
    memory: float | None = None
    checkpointing: bool = False
    compiled: bool = False

    @property
    def name(self) -> str:
        """As printed."""
        return " ".join(
            [f"{self.row} / {self.other}", *["ckpt"] * self.checkpointing, *["compiled"] * self.compiled]
        )


# The promises hold for this shape and batch; elsewhere the same ratios are printed without a target.
PROMISED = ("1b", "8x1024")
TARGETS = (
    Target("rsa", "lora-bf16", 0.80, 0.84),
    Target("rsa", "lora", 0.56, 0.60),
    Target("rsa", "shira", 0.79, 0.75),
    Target("rsa", "miss", 0.62, 1.00),
    Target("rsa", "full", 0.83, 0.60),
    Target("rsa", "lora-bf16", 0.78, 1.02, checkpointing=True),
    Target("rsa", "lora-bf16", 0.84, 0.72, compiled=True),
    Target("rsa", "floor", 1.05, 1.01),
    # Below the floor: what is promised at a depth, whose quality is measured elsewhere.
    Target("rsa-depth-75", "lora-bf16"),
    Target("rsa-depth-55", "lora-bf16", 0.60, 0.65),
    Target("rsa-depth-50", "lora-bf16", 0.60, 0.65),
    Target("rsa-depth-25", "lora-bf16"),
    Target("rsa-depth-75", "lora-bf16-depth-75"),
    Target("rsa-depth-55", "lora-bf16-depth-55"),
    Target("rsa-depth-50", "lora-bf16-depth-50"),
    Target("rsa-depth-25", "lora-bf16-depth-25"),
    Target("rsa", "rsa-columns-additive"),
    Target("rsa", "supertuning"),
    Target("rsa", "dora"),
)


def ratios(records: Records) -> Records:
    """Every target that the records can judge, for each card, shape and batch; in the order of TARGETS."""
    places = dict.fromkeys((r["card"], r["card_id"], r["shape"], r["batch"]) for r in records)
    found = []
    for place in places:
        here = [r for r in records if (r["card"], r["card_id"], r["shape"], r["batch"]) == place]
        found += [ratio for target in TARGETS if (ratio := _judge(target, here)) is not None]
    return found


def summary(records: Records) -> tuple[float, int | None] | None:
    """(median ms of all steps, largest own peak in bytes) of the repeats of a row; None without a measured one."""
    good = [r for r in records if r["error"] is None]
    if not good:
        return None
    peaks = [r["peak_bytes"] - (r["leftover_bytes"] or 0) for r in good if r["peak_bytes"] is not None]
    return median(ms for r in good for ms in r["steps_ms"]), max(peaks) if peaks else None


def fastest(records: Records) -> float | None:
    """Milliseconds of the fastest step of the repeats of a row; None without a measured one.

    What disturbs a step on the host only ever lengthens it. The promises are judged by the median all the same.
    """
    return min((ms for r in records if r["error"] is None for ms in r["steps_ms"]), default=None)


def _judge(target: Target, here: Records) -> dict[str, Any] | None:
    names = (target.row, target.other, "floor")
    ours, other, floor = (summary(_of(here, name, target)) for name in names)
    if ours is None or other is None:
        return None
    record = here[0]
    promised = (record["shape"], record["batch"]) == PROMISED
    limits = {"time": target.time, "memory": target.memory} if promised else {"time": None, "memory": None}
    found: dict[str, Any] = {key: record[key] for key in ("card", "card_id", "shape", "batch")}
    found |= {"ratio": target.name, "checkpointing": target.checkpointing, "compiled": target.compiled}
    found["time_of_fastest"] = _over(*(fastest(_of(here, name, target)) for name in names[:2]))
    for number, key in enumerate(("time", "memory")):
        reached = _over(ours[number], other[number])
        limit = limits[key]
        found[key] = reached
        found[f"{key}_target"] = limit
        found[f"{key}_met"] = None if limit is None or reached is None else reached <= limit
        found[f"{key}_of_floor"] = None if floor is None else _over(floor[number], other[number])
    return found


def _of(here: Records, name: str, target: Target) -> Records:
    wanted = (name, target.checkpointing, target.compiled)
    return [r for r in here if (r["row"], r["checkpointing"], r["compiled"]) == wanted]


def _over(one: float | None, other: float | None) -> float | None:
    return None if one is None or not other else round(one / other, 3)


def drift(records: Records) -> dict[str, float]:
    """Last repeat over first of the rows that were measured twice or more: "row, setting" -> ratio of medians."""
    repeats: dict[str, list[float]] = {}
    for r in records:
        if r["error"] is None:
            repeats.setdefault(f"{r['card_id']} {r['row']}, {setting_name(r)}", []).append(r["ms"])
    return {name: round(ms[-1] / ms[0], 4) for name, ms in repeats.items() if len(ms) > 1}


def setting_name(record: dict[str, Any]) -> str:
    """For example "1b 8x1024 ckpt compiled"."""
    words = [record["shape"], record["batch"]]
    return " ".join(words + ["ckpt"] * record["checkpointing"] + ["compiled"] * record["compiled"])


def rows_as_text(records: Records) -> Iterable[str]:
    """A table for each setting and card, in 80 columns: time, memory, and both over the floor's and LoRA's."""
    for place in dict.fromkeys((setting_name(r), r["card"], r["card_id"]) for r in records):
        here = [r for r in records if (setting_name(r), r["card"], r["card_id"]) == place]
        floor, lora = (summary([r for r in here if r["row"] == name]) for name in ("floor", "lora-bf16"))
        yield f"\n{place[0]}, {place[1]}"
        heads = f"{'ms':>8} {'x floor':>7} {'x LoRA':>7} {'GiB':>6} {'x LoRA':>7} {'kernels':>7} {'M par.':>7}"
        yield f"{'':22} {heads}"
        for name in dict.fromkeys(r["row"] for r in here):
            of_row = [r for r in here if r["row"] == name]
            found = summary(of_row)
            if found is None:
                yield f"{name:22} {str(of_row[-1]['error']).splitlines()[0][:57]}"
                continue
            last = of_row[-1]
            times = f"{found[0]:8.1f} {_times(found, floor, 0)} {_times(found, lora, 0)}"
            memory = f"{_gib(found[1])} {_times(found, lora, 1)}"
            yield f"{name:22} {times} {memory} {last['launches'] or '-':>7} {last['trainable'] / 1e6:7.2f}"


def ratios_as_text(found: Records) -> Iterable[str]:
    """What was reached beside what was promised, in 80 columns; the floor's own ratio last."""
    for place in dict.fromkeys((r["shape"], r["batch"], r["card"], r["card_id"]) for r in found):
        yield f"\n{place[0]} {place[1]}, {place[2]}: ratio, target, (floor's own)"
        yield f"{'':38} {'time':>19} {'memory':>20}"
        for r in found:
            if (r["shape"], r["batch"], r["card"], r["card_id"]) == place:
                yield f"{r['ratio']:38.38} {_cell(r, 'time')} {_cell(r, 'memory')}"


def _cell(ratio: dict[str, Any], key: str) -> str:
    mark = {True: "=", False: "!", None: " "}[ratio[f"{key}_met"]]
    words = [ratio[key], ratio[f"{key}_target"], ratio[f"{key}_of_floor"]]
    reached, limit, floor = ("" if word is None else f"{word:.3f}" for word in words)
    return f"{reached or '-':>6}{mark} {limit[:4]:>4} {f'({floor})' if floor else '':>7}"


def _gib(size: int | None) -> str:
    return f"{'-':>6}" if size is None else f"{size / GIB:6.2f}"


def _times(found: tuple[float, int | None], base: tuple[float, int | None] | None, which: int) -> str:
    ratio = None if base is None else _over(found[which], base[which])
    return f"{'-':>7}" if ratio is None else f"{ratio:7.3f}"
