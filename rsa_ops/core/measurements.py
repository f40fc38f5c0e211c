"""What training one cell took: time, memory, energy, parameters, bytes, tokens."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rsa_ops.core.cell import Cell
from rsa_ops.core.digest import Digest
from rsa_ops.core.record import Record, Value

EnergySource = Literal["nvml counter", "rapl counter", "estimate from processor power", "not measured"]


class Energy(Value):
    """Energy of the training window. `energy_kwh` is None when nothing could measure or estimate it.

    `relative_uncertainty`: how far the figure may be off, as a share of it (0.05 is 5 % either way); None where
    nobody says, as in records of before.
    """

    energy_kwh: float | None
    source: EnergySource
    note: str = ""
    relative_uncertainty: float | None = None


def kilowatt_hours(watts: float, seconds: float) -> float:
    """Energy of a constant power over a time. An estimate wherever the power is a rated one and not measured."""
    return watts * seconds / 3.6e6


class Measurements(Record):
    """One trained cell, measured. Times cover selection and training, not loading or evaluation.

    `attempts`: trainings of this cell that were begun, this one too. `failed_seconds`: wall seconds of the others,
    from their beginning to their last sign of life, loading included; None where nobody kept them, as in records of
    before.
    """

    schema_: Literal["rsa_ops/measurements/v1"] = Field(default="rsa_ops/measurements/v1", alias="schema")

    cell: Cell
    method: str
    base_model: str
    base_digest: Digest
    artifact_digest: Digest
    data_digest: Digest
    device: str
    workers: int
    threads: int
    wall_seconds: float
    cpu_seconds: float
    selection_seconds: float
    peak_host_memory_bytes: int
    peak_device_memory_bytes: int | None
    energy: Energy
    trainable_parameters: int
    total_parameters: int
    artifact_bytes: int
    tokens: int
    examples: int
    steps: int
    epochs: float
    learning_rate: float
    effort: str
    final_loss: float
    attempts: int = 1
    failed_seconds: float | None = None

    @property
    def trainable_share(self) -> float:
        """Trainable / total parameters, in (0, 1]."""
        return self.trainable_parameters / self.total_parameters
