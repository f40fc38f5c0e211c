"""What a selection did, as plain values: for logs, measurements and the audit trail."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from rsa_ops.tuners.rsa.rounds import Admission
from rsa_ops.tuners.rsa.scoring import BlockScores, ScoreMap, adapted_layers
from rsa_ops.tuners.rsa.selection import Unit, as_pools, chance_overlap, overlap, top, units


@dataclass(frozen=True)
class ModuleSelection:
    """What was chosen in one layer.

    Attributes:
        name: module name in the model that the Trainer holds.
        candidates: blocks there are in a pool: columns, tiles or entries.
        picks: blocks of a pool that learn.
        scored: False when no gradient reached the layer, which keeps its seeded random blocks.
        stability: Jaccard overlap, in [0, 1], of the blocks that each half of the batches would choose; None when
            there were not two halves to compare, or nothing to score.
        chance: the overlap that two independent random choices have in expectation, about k / (2n - k).
    """

    name: str
    candidates: int
    picks: int
    scored: bool
    stability: float | None
    chance: float


@dataclass(frozen=True)
class RoundReport:
    """What one round of a selection in rounds did, over all layers.

    Attributes:
        step: optimizer steps taken before it.
        admitted: blocks admitted.
        drawn: of these, by lot, because the halves of the batches disagreed in the last round.
        waiting: blocks of the budget still without a place.
        stability: mean overlap of the halves' choices over the layers; None where there were no halves.
    """

    step: int
    admitted: int
    drawn: int
    waiting: int
    stability: float | None


@dataclass(frozen=True)
class SelectionReport:
    """What the callback did.

    Attributes:
        adapter_name: the adapter it looked at.
        scoring: the config's `scoring`.
        skipped: why nothing was selected; None when something was.
        seconds: wall time of scoring and selection.
        batches: batches read for scores, on this process.
        tokens: attended positions in them; None when the batches have no `attention_mask` and no `input_ids`.
        modules: one entry a layer, in the model's order; empty when skipped.
        rounds: one entry a round; empty for a static selection.
    """

    adapter_name: str
    scoring: str
    skipped: str | None
    seconds: float
    batches: int
    tokens: int | None
    modules: tuple[ModuleSelection, ...]
    rounds: tuple[RoundReport, ...] = ()


def describe(model: nn.Module, adapter_name: str, halves: tuple[ScoreMap, ...]) -> tuple[ModuleSelection, ...]:
    """One entry a layer, from the scores of the halves of the batches."""
    entries = {}
    for unit in units(model, adapter_name):
        layout = unit.layout
        found = [unit.scores(half) for half in halves]
        both = [one for one in found if one is not None]
        stability = _overlap(unit, both) if len(both) == 2 else None
        chance = chance_overlap(layout.candidates, layout.picks)
        for name in unit.names:
            entries[name] = ModuleSelection(name, layout.candidates, layout.picks, bool(both), stability, chance)
    return tuple(entries[name] for name in adapted_layers(model, adapter_name))


def round_report(step: int, admissions: list[Admission]) -> RoundReport:
    """The sum over units of what a round did."""
    stable = [one.stability for one in admissions if one.stability is not None]
    return RoundReport(
        step,
        sum(one.admitted for one in admissions),
        sum(one.drawn for one in admissions),
        sum(one.waiting for one in admissions),
        sum(stable) / len(stable) if stable else None,
    )


def _overlap(unit: Unit, halves: list[BlockScores]) -> float:
    layout = unit.layout
    ones, others = (top(as_pools(layout, half.total), layout.picks) for half in halves)
    per_pool = [overlap(one, other) for one, other in zip(ones, others, strict=True)]
    return sum(per_pool) / len(per_pool)
