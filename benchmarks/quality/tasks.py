"""The tasks of the quality benchmark, as data: which base, how long, how many seeds, which score decides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Base = Literal["encoder", "causal"]


@dataclass(frozen=True)
class Task:
    """One training task.

    Attributes:
        base: the base model: `encoder` (MiniLM, a new mean-pool head) or `causal` (SmolLM2-135M).
        train: name of the training split in the prepared folder.
        data: the data set that validation and test splits come from.
        widths: padded lengths in tokens; a batch takes the smallest that holds its longest row.
        sweep_seeds: seeds of the search for a learning rate, on the validation split only.
        final_seeds: seeds at the rate found; the test split is scored for these alone.
    """

    name: str
    base: Base
    train: str
    data: Literal["banking", "e2e"]
    epochs: int
    batch: int
    widths: tuple[int, ...]
    sweep_seeds: tuple[int, ...]
    final_seeds: tuple[int, ...]

    @property
    def higher_is_better(self) -> bool:
        """Accuracy of a classifier; the loss per token of a generator is better when lower."""
        return self.base == "encoder"

    def steps(self, rows: int) -> int:
        """Optimizer steps on `rows` training rows; what does not fill a batch is left out, anew in each epoch."""
        return self.epochs * (rows // self.batch)


BANKING_WIDTHS = (16, 24, 32, 48, 64)
E2E_WIDTHS = (48, 64, 80, 96, 128)

TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task("b10", "encoder", "train10", "banking", 20, 32, BANKING_WIDTHS, (101, 102), tuple(range(1, 21))),
        Task("b77", "encoder", "train", "banking", 5, 64, BANKING_WIDTHS, (101,), (1, 2, 3, 4, 5)),
        Task("e2e", "causal", "train", "e2e", 2, 16, E2E_WIDTHS, (101,), (1, 2, 3, 4, 5)),
        Task("e2e200", "causal", "train200", "e2e", 8, 16, E2E_WIDTHS, (101,), (1, 2, 3)),
    )
}

HEAD_RATE = 5e-3
"""Learning rate of a new classification head, in every arm, as in pipelines/incident-triage."""
WEIGHT_DECAY = 0.01
WARMUP_SHARE = 0.06
MAX_GRAD_NORM = 1.0
