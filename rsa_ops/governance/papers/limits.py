"""What the numbers do not show, said of one version: read off its own records, not from a list of good words."""

from __future__ import annotations

from collections.abc import Iterator

from rsa_ops.core.verdict import Outcome
from rsa_ops.governance.papers.dossier import Dossier


def limits(dossier: Dossier) -> tuple[str, ...]:
    """One sentence for each limit."""
    return tuple(_limits(dossier))


def _limits(dossier: Dossier) -> Iterator[str]:
    summary, validation = dossier.summary, dossier.validation
    yield (
        f"Measured on {dossier.comparison.examples} test examples of one source ({validation.source}); "
        "other texts, later texts and other languages were not measured."
    )
    yield (
        f"Metrics are means over the seeds {', '.join(map(str, summary.seeds))} of the training; "
        f"the released adapter is seed {dossier.measurements.cell.seed}, named before any score existed."
    )
    if validation.labels:
        yield f"It knows {len(validation.labels)} labels and answers with one of them, also where none fits."
    unknown = [entry.slice for entry in summary.slices if not entry.assessable]
    if unknown:
        yield f"Slices too small to be judged, about which nothing is claimed: {', '.join(unknown)}."
    for drop in dossier.comparison.drops:
        if drop.arm == summary.arm and drop.difference is not None and drop.difference < 0:
            yield (
                f"Lowest slice against {drop.reference}: {drop.slice}, {drop.difference:+.4f} "
                f"(of {drop.slices_judged} slices; describes, does not judge)."
            )
    for ruling in dossier.verdict.rulings:
        if ruling.outcome is not Outcome.PROMOTE:
            yield f"The rule '{ruling.rule}' is {ruling.outcome.value}: {ruling.reason}"
    if dossier.base_licence is None:
        yield "The licence of the base model was not stated; look it up before the adapter is passed on."
    if not validation.attribution:
        yield "The licence of the training data was not stated; look it up before the adapter is passed on."
    yield from dossier.tco.warnings
