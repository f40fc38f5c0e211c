"""A worker that trains nothing, and has the accidents that the pool must survive."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any


def work(pipe: Any, folder: Path, device: str, count: int) -> None:
    """Answer orders: one method cannot be recorded, one trial kills its process once, one always fails."""
    while (order := pipe.recv()) is not None:
        method = order.trial.variant.method
        mark = folder / order.trial.key.replace("/", "_")
        if method == "shira" and order.graphs:
            pipe.send(("unrecorded", order, "it waits for the host"))
            return
        if method == "lora" and order.trial.rate == 1e-3 and not mark.exists():
            mark.touch()
            os._exit(3)
        if method == "miss":
            pipe.send(("done", order, {"error": "no memory"}))
            continue
        score = -abs(order.trial.rate - 1e-3)
        result = {"metrics": {"nll": -score}, "diverged": False, "seconds": 0.0, "graphs": order.graphs}
        pipe.send(("done", order, result))
