"""A cell of the grid: one arm trained with one seed."""

from __future__ import annotations

from rsa_ops.core.record import Value


class Cell(Value):
    """One arm (a way of training) and one seed (a repetition)."""

    arm: str
    seed: int

    @property
    def name(self) -> str:
        """`rsa-s1`: names the cell in paths, runs and messages."""
        return f"{self.arm}-s{self.seed}"
