"""What the compare stage hands on: estimates per arm, and contrasts of the candidate with each baseline."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rsa_ops.core.benchmark import Forgetting
from rsa_ops.core.digest import Digest
from rsa_ops.core.estimate import Estimate, PairedResult
from rsa_ops.core.plan import Variation
from rsa_ops.core.record import Record, Value
from rsa_ops.core.slices import SlicesResult, WorstSlice

ALL = "all"


class SliceScore(Value):
    """An arm's primary score on one slice, mean over seeds. `slice` reads `vector=xss`."""

    slice: str
    score: Estimate
    assessable: bool


class WorstSliceDrop(Value):
    """Local collapse: the lowest of (arm - reference) in primary score over the slices that are large enough.

    `reference` is the arm of full fine-tuning, or `base model`. Below zero is a drop; the lowest of many
    differences is lower than a typical one also where nothing collapsed, so this describes and does not judge.
    `difference` and `slice` are None where it is not assessable, and `reason` says why.
    """

    arm: str
    reference: str
    slice: str | None
    difference: float | None
    slices_judged: int
    reason: str = ""


class ArmSummary(Value):
    """One arm over all its seeds. `metrics` and `robustness` are keyed by metric and by perturbation.

    `forgetting` holds one entry a seed, and none where the scores came from a table of somebody else's.
    """

    arm: str
    seeds: tuple[int, ...]
    artifact_digests: tuple[Digest, ...]
    metrics: dict[str, Estimate]
    robustness: dict[str, Estimate]
    slices: tuple[SliceScore, ...]
    latency_ms: dict[str, float]
    forgetting: tuple[Forgetting, ...]

    @property
    def worst_slice(self) -> SliceScore | None:
        """The slice with the lowest score among those large enough to judge."""
        judged = [entry for entry in self.slices if entry.assessable]
        return min(judged, key=lambda entry: entry.score.value) if judged else None


class Contrast(Value):
    """Candidate against one baseline, on one metric and one population (`all` or a slice).

    `variation` is what the next comparison can be planned from; None where the metric is no mean over examples,
    examples come in groups (then `result`, which knows of them, is planned from), or no example differs.
    """

    metric: str
    population: str
    candidate: str
    baseline: str
    result: PairedResult
    variation: Variation | None = None

    @property
    def name(self) -> str:
        """`accuracy, rsa against full` or with ` on vector=xss`."""
        where = "" if self.population == ALL else f" on {self.population}"
        return f"{self.metric}{where}, {self.candidate} against {self.baseline}"


class SliceFamily(Value):
    """All slices against one baseline on the primary metric, read together; it describes, the policy's rules judge.

    `result`: bounds that hold for all slices at once, and which are harmed after Holm. `worst`: whether the lowest
    difference is lower than chance makes the lowest of so many; None where no slice is assessable.
    """

    metric: str
    baseline: str
    result: SlicesResult
    worst: WorstSlice | None


class Comparison(Record):
    """`comparison.json`. Version 2 added `drops`, and `forgetting` to the arms.

    Version 3 added `variation` to the contrasts, and: `design_digest`, which names the design that the comparison
    keeps to, None where two tables were compared without one; `look`, which one of the different comparisons on
    this test set this is, from 1, counted in its MLflow experiment, None where nobody counted; `groups`, how many
    groups the test examples come in, None where each is a draw of its own; `families`, the slices as one family for
    each baseline.
    """

    schema_: Literal["rsa_ops/comparison/v3"] = Field(default="rsa_ops/comparison/v3", alias="schema")

    candidate: str
    baselines: tuple[str, ...]
    primary_metric: str
    test_digest: Digest
    examples: int
    arms: tuple[ArmSummary, ...]
    contrasts: tuple[Contrast, ...]
    drops: tuple[WorstSliceDrop, ...]
    design_digest: Digest | None = None
    look: int | None = None
    groups: int | None = None
    families: tuple[SliceFamily, ...] = ()

    def arm(self, name: str) -> ArmSummary | None:
        """The summary of one arm, or None."""
        return next((arm for arm in self.arms if arm.arm == name), None)

    @property
    def assessable(self) -> bool:
        """Whether the primary contrast with the first baseline has a difference."""
        found = self.contrast(self.primary_metric, self.baselines[0]) if self.baselines else None
        return found is not None and found.result.difference is not None

    def contrast(self, metric: str, baseline: str, population: str = ALL) -> Contrast | None:
        """The contrast with one baseline on one metric and population, or None."""
        for entry in self.contrasts:
            if (entry.metric, entry.baseline, entry.population) == (metric, baseline, population):
                return entry
        return None
