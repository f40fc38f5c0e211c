"""The design of the comparison: written before training, read back before comparing, and every look counted.

What counts as a look: another set of artifacts, or another design, compared on the same test set in the same MLflow
experiment. The same run again is the same look. Not counted: other experiments and stores, `rsa-ops compare` on
tables, and whoever reads the scores of single cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rsa_ops.core.comparison import Comparison
from rsa_ops.core.design import ComparisonDesign
from rsa_ops.core.digest import Digest, digest_value, short
from rsa_ops.core.validation import Validation
from rsa_ops.data.validate import read_split
from rsa_ops.errors import DataRefused, IntegrityError
from rsa_ops.evaluation.matrix import draws_of
from rsa_ops.evaluation.metrics import slices_in
from rsa_ops.files import read_record
from rsa_ops.gates.design import departures, design_of, policy_departures
from rsa_ops.stages.config import PRIMARY
from rsa_ops.stages.run import Run
from rsa_ops.tracking.runs import run_tag, tag_values

RECORD = "design.json"
DESIGN, TEST, LOOK = "design.sha256", "test.sha256", "look.sha256"
"""Tags of a run: its design and test set, locked before training; and, once it compares, artifacts and design."""


def write_design(run: Run, validation: Validation, folder: Path) -> ComparisonDesign:
    """Derive the design from policy, pipeline and the test split in `folder`; keep it as `design.json`.

    Raises:
        DataRefused: the whole test split is one group, from which nothing can be concluded.
    """
    test, table = validation.split("test"), read_split(folder, "test")
    slices = slices_in(table, classes=run.config.task == "classification")
    groups = len(set(draws_of(table, "the test split").values()))
    if groups < min(2, test.rows):
        raise DataRefused(
            f"all {test.rows} examples of the test split are one group, that is, one draw",
            hint="Test on examples of several groups, or take a finer column for `data.columns.group`.",
        )
    design = design_of(
        run.policy,
        primary_metric=PRIMARY[run.config.task],
        seeds=run.config.train.seeds,
        examples=test.rows,
        slices={name: len(examples) for name, examples in slices.items()},
        test_digest=test.digest,
        groups=groups if groups < test.rows else None,
    )
    run.keep(design, RECORD)
    return design


def locked_design(run: Run) -> ComparisonDesign:
    """The design of this run, as it was locked.

    Raises:
        MissingError: no design.json. IntegrityError: it is not the one that the run was tagged with before
        training, or the policy is not the one that it was made from.
    """
    design = read_record(ComparisonDesign, run.results / RECORD)
    locked = run_tag(run.store, run.run_id, DESIGN)
    if locked != design.digest():
        raise IntegrityError(
            f"{RECORD} has the digest {short(design.digest())}, the run was locked with {short(locked or 'none')}",
            hint="The design was changed after training began. Run again: finished cells are kept.",
        )
    _refuse(policy_departures(design, run.policy), design)
    return design


def require_design(design: ComparisonDesign, comparison: Comparison) -> None:
    """Refuse a comparison that is not the one that was designed.

    Raises:
        IntegrityError: every departure at once.
    """
    _refuse(departures(design, comparison), design)


def count_look(run: Run, design: ComparisonDesign, artifacts: Sequence[Digest]) -> int:
    """Which of the different comparisons on this test set this one is, from 1; it is tagged as such.

    Raises:
        IntegrityError: the design declares fewer looks. Nothing is tagged then.
    """
    ours = digest_value([design.digest(), *sorted(artifacts)])
    seen = tag_values(run.store, LOOK, {TEST: str(design.test_digest)})
    look = seen.index(ours) + 1 if ours in seen else len(seen) + 1
    if design.looks is not None and look > design.looks:
        raise IntegrityError(
            f"look {look} at the test set {short(str(design.test_digest))}; the policy declares {design.looks}",
            hint="Judge new candidates on a fresh test set. Declaring more looks tests each at alpha / looks.",
        )
    run.tag({LOOK: ours})
    if design.looks is None and look > 1:
        run.progress.note(
            f"look {look} at this test set: the error rate holds for one look; `looks: {look}` in policy.yaml "
            "would pay for all of them"
        )
    return look


def _refuse(found: tuple[str, ...], design: ComparisonDesign) -> None:
    if found:
        listed = "\n".join(f"  {words}" for words in found)
        raise IntegrityError(
            f"not the comparison that was designed as {short(design.digest())}:\n{listed}",
            hint="Margins, level, slices, seeds and looks are fixed before training; change them and run again.",
        )
