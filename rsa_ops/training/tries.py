"""Tries at one cell. Each leaves a mark when it begins and renews it while it lives, so that a killed one counts.

A mark is an empty file beside the finished cells: its name holds when the try began, its time of change when it was
last seen alive. Nothing has to run when a try dies, which is why it also counts those that the kernel ended.
"""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

BEAT_SECONDS = 1.0
"""How often a mark is renewed; a killed try is short of its last beat by at most this."""


@dataclass(frozen=True)
class Earlier:
    """The tries before this one: how many, and their wall seconds from beginning to last sign of life."""

    count: int
    seconds: float


class Try:
    """One try at a cell, for a `with` block. Its marks are in `folder`; None keeps none, for a cell alone.

    A thread renews the mark each second, from loading the model on, until the block or the process ends.
    """

    def __init__(self, folder: Path | None) -> None:
        self.earlier = Earlier(0, 0.0)
        self._folder = folder
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self.earlier = earlier_tries(self._folder)
            mark = self._folder / f"{time.time_ns()}.{os.getpid()}"
            mark.touch()
            self._thread = threading.Thread(target=self._renew, args=(mark,), daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    def _renew(self, mark: Path) -> None:
        while not self._ended.wait(BEAT_SECONDS):
            mark.touch()
        mark.touch()


def earlier_tries(folder: Path) -> Earlier:
    """What the marks in `folder` say. A clock that was set back gives a try no time rather than less than none."""
    lives = [
        max(mark.stat().st_mtime_ns - int(mark.name.partition(".")[0]), 0) / 1e9
        for mark in folder.iterdir()
        if mark.name.partition(".")[0].isdigit()
    ]
    return Earlier(len(lives), sum(lives))
