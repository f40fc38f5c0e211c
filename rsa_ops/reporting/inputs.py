"""What a report is made from: the records of one run, and the few words that stand in no record."""

from __future__ import annotations

from typing import Literal

from rsa_ops.core.benchmark import CellScores
from rsa_ops.core.business_case import BusinessCase
from rsa_ops.core.comparison import Comparison
from rsa_ops.core.costs import Tco
from rsa_ops.core.measurements import Measurements
from rsa_ops.core.record import Value
from rsa_ops.core.validation import Validation
from rsa_ops.core.verdict import Verdict


class TrailEntry(Value):
    """One entry of the ledger about the run: its number, when (UTC), of what kind, in short what, and whose key."""

    sequence: int
    at: str
    kind: str
    what: str
    who: str


class ReportInputs(Value):
    """The records of one run; what is None is said to be missing, never left out silently.

    `generated_at`: date and time as text. `settings_note`: what the trainer was told, for every arm alike.
    `sizes_note`: how much of the available data was used, and why. `mlflow_hint`: the command that opens
    the run's store. `trail`: what the ledger has about the run; empty where there is no ledger to look in.
    """

    pipeline: str
    task: Literal["classification", "generation"]
    generated_at: str
    version: str
    validation: Validation | None = None
    comparison: Comparison | None = None
    measurements: tuple[Measurements, ...] = ()
    scores: tuple[CellScores, ...] = ()
    tco: Tco | None = None
    case: BusinessCase | None = None
    verdict: Verdict | None = None
    settings_note: str = ""
    sizes_note: str = ""
    mlflow_hint: str = ""
    trail: tuple[TrailEntry, ...] = ()
