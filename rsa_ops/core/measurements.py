"""What training one cell took: time, memory, energy, parameters, bytes, tokens."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rsa_ops.core.cell import Cell
from rsa_ops.core.digest import Digest
from rsa_ops.core.record import Record, Value

EnergySource = Literal["nvml counter", "rapl counter", "estimate from processor power", "not measured"]


class Energy(Value):
    """Energy of the training window. `energy_kwh` is None when nothing could measure or estimate it."""

    energy_kwh: float | None
    source: EnergySource
    note: str = ""


class Measurements(Record):
    """One trained cell, measured. Times cover selection and training, not loading or evaluation."""

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

    @property
    def trainable_share(self) -> float:
        """Trainable / total parameters, in (0, 1]."""
        return self.trainable_parameters / self.total_parameters
