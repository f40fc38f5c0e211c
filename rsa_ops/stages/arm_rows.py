"""All rows of one arm over its seeds, and the slices that its examples fall into."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from rsa_ops.core.benchmark import CLEAN, Forgetting
from rsa_ops.core.digest import Digest
from rsa_ops.evaluation.matrix import Matrix, clean_rows, draws_of, read_scores, score_matrix
from rsa_ops.evaluation.metrics import slices_in
from rsa_ops.stages.benchmark import Scored, ScoredBase

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class ArmRows:
    """All rows of one arm, over its seeds, and the digests of its artifacts."""

    arm: str
    rows: pd.DataFrame
    digests: tuple[Digest, ...]
    latency_ms: dict[str, float]
    forgetting: tuple[Forgetting, ...]

    @cached_property
    def clean(self) -> pd.DataFrame:
        """Rows on the undisturbed examples."""
        return clean_rows(self.rows)

    @cached_property
    def draws(self) -> dict[str, str]:
        """Example -> the draw it is part of: its group, or itself."""
        return draws_of(self.clean, f"arm {self.arm}")

    def size(self, examples: frozenset[str]) -> int:
        """How many independent draws `examples` are: their groups, or as many as they are."""
        return len({self.draws[name] for name in examples})

    def only(self, examples: frozenset[str] | None) -> pd.DataFrame:
        """Clean rows of some examples, or of all."""
        return self.clean if examples is None else self.clean[self.clean["example_id"].isin(examples)]

    def matrix(self, column: str, condition: str = CLEAN) -> Matrix:
        """`column` of one condition as seeds x examples."""
        return score_matrix(clean_rows(self.rows, condition), column, f"arm {self.arm}")


def gather(scores: Sequence[Scored]) -> tuple[ArmRows, ...]:
    """The predictions of each arm, over its seeds."""
    import pandas as pd

    arms = dict.fromkeys(entry.cell.arm for entry in scores)
    found = []
    for arm in arms:
        cells = [entry for entry in scores if entry.cell.arm == arm]
        keys = cells[0].scores.latency_ms
        found.append(
            ArmRows(
                arm=arm,
                rows=pd.concat([read_scores(entry.predictions) for entry in cells], ignore_index=True),
                digests=tuple(entry.scores.artifact_digest for entry in cells),
                latency_ms={key: float(np.mean([entry.scores.latency_ms[key] for entry in cells])) for key in keys},
                forgetting=tuple(entry.scores.forgetting for entry in cells),
            )
        )
    return tuple(found)


def base_rows(base: ScoredBase) -> ArmRows:
    """The predictions of the untrained base."""
    rows = read_scores(base.predictions)
    return ArmRows("base", rows, (base.scores.base_digest,), latency_ms={}, forgetting=())


def slices_of(arm: ArmRows) -> dict[str, frozenset[str]]:
    """`column=value` -> the ids of its examples. For classification each class is a slice as well."""
    classes = "confidence" in arm.clean.columns and bool(arm.clean["confidence"].notna().any())
    return slices_in(arm.clean, classes=classes)
