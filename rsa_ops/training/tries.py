"""Tries at one cell. Each leaves a mark when it begins and renews it while it lives, so that a killed one counts.

A mark is an empty file beside the finished cells: its name holds when the try began, its time of change when it was
last seen alive. Nothing has to run when a try dies, which is why it also counts those that the kernel ended.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Earlier:
    """The tries before this one: how many, and their wall seconds from beginning to last sign of life."""

    count: int
    seconds: float


class Try:
    """One try at a cell whose marks are in `folder`; None keeps none, for a cell that is trained by itself."""

    def __init__(self, folder: Path | None) -> None:
        self.earlier = Earlier(0, 0.0)
        self._mark: Path | None = None
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            self.earlier = earlier_tries(folder)
            self._mark = folder / f"{time.time_ns()}.{os.getpid()}"
            self.alive()

    def alive(self) -> None:
        """Renew the mark."""
        if self._mark is not None:
            self._mark.touch()


def earlier_tries(folder: Path) -> Earlier:
    """What the marks in `folder` say. A clock that was set back gives a try no time rather than less than none."""
    lives = [
        max(mark.stat().st_mtime_ns - int(mark.name.partition(".")[0]), 0) / 1e9
        for mark in folder.iterdir()
        if mark.name.partition(".")[0].isdigit()
    ]
    return Earlier(len(lives), sum(lives))
