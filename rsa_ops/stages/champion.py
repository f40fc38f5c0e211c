"""The champion in production: found in the registry, scored on the same test split, compared as an artifact.

Arms are compared as procedures (seeds random); the champion is one artifact, and so is the adapter that may
replace it, so here only the examples are random.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from rsa_ops.core.cell import Cell
from rsa_ops.core.comparison import ALL, Contrast
from rsa_ops.core.digest import Digest, short
from rsa_ops.errors import IntegrityError, MissingError
from rsa_ops.evaluation.matrix import Matrix, clean_rows, read_scores, require_same_examples, score_matrix
from rsa_ops.files import digest_folder, fresh_folder
from rsa_ops.gates.policy import CHAMPION, ChampionRule, Policy
from rsa_ops.governance.payloads import PointerMoved, payload_as
from rsa_ops.governance.pointer import pointer_history
from rsa_ops.models.task import Task
from rsa_ops.stages.benchmark import Scored, score_artifacts
from rsa_ops.stages.compare import score_column
from rsa_ops.stages.run import Run
from rsa_ops.stages.train import Trained
from rsa_ops.stages.validate import Data
from rsa_ops.stats import artifact_noninferiority, measure_variation
from rsa_ops.tracking.registry import Version, by_alias, by_number, fetch_adapter, registered_name


@dataclass(frozen=True)
class Champion:
    """The version that the candidate would replace, and its scores on this run's test split."""

    version: Version
    scored: Scored


def released(run: Run, models: tuple[Trained, ...]) -> Trained:
    """The candidate's model whose seed was named for release before any score existed."""
    wanted = (run.policy.candidate, run.config.released_seed)
    return next(model for model in models if (model.cell.arm, model.cell.seed) == wanted)


def model_name(run: Run, models: tuple[Trained, ...]) -> str:
    """The registered model of this task and base."""
    return registered_name(run.config.name, models[0].measurements.base_digest)


def find_champion(run: Run, data: Data, models: tuple[Trained, ...]) -> Champion | None:
    """The champion that the candidate stands against, or None where there is no other one.

    When the candidate itself is the champion already (the same run again), it stands against the one that
    it replaced. Which version that is, the ledger says; an alias counts only where no ledger has ever moved it.

    Raises:
        MissingError, IntegrityError, CellFailed: the champion cannot be evaluated; never a pass.
    """
    version = _standing(run, model_name(run, models), released(run, models).measurements.artifact_digest)
    if version is None:
        return None
    folder = run.cells / "champion-adapters" / short(version.digest)
    if not folder.is_dir():
        with fresh_folder(folder) as target:
            fetched = fetch_adapter(run.store, version, run.work / "fetched")
            shutil.copytree(fetched, target, dirs_exist_ok=True)
    _require_digest(folder, version)
    cell = Cell(arm=CHAMPION, seed=run.config.released_seed)
    (scored,) = score_artifacts(run, data, [(cell, folder)], CHAMPION)
    return Champion(version, scored)


def _standing(run: Run, name: str, candidate: Digest) -> Version | None:
    with run.notary.ledger.view() as view:
        history = [payload_as(sealed.entry, PointerMoved) for sealed in pointer_history(view, name, CHAMPION)]
    if not history:
        found = by_alias(run.store, name, CHAMPION)
        return None if found is None or found.digest == candidate else found
    moved = next((move for move in reversed(history) if move.digest != candidate), None)
    if moved is None:
        return None
    version = by_number(run.store, name, moved.version)
    if version is None:
        raise MissingError(
            f"the champion, version {moved.version} of {name}, is not in the registry any more",
            hint="`rsa-ops audit verify` tells what else is gone; `rsa-ops rollback` goes to one that exists.",
        )
    return replace(version, digest=moved.digest)


def champion_contrasts(
    run: Run, scores: tuple[Scored, ...], champion: Champion, groups: int | None
) -> tuple[Contrast, ...]:
    """The candidate's released adapter against the champion, one contrast for each rule about it.

    `groups`: how many groups the test examples come in, None where each is a draw of its own.
    """
    wanted = (run.policy.candidate, run.config.released_seed)
    ours = next(entry for entry in scores if (entry.cell.arm, entry.cell.seed) == wanted)
    return tuple(
        champion_contrast(
            rule, run.policy, run.config.task, (ours.predictions, champion.scored.predictions), groups
        )
        for rule in run.policy.champion_rules
    )


def champion_contrast(
    rule: ChampionRule, policy: Policy, task: Task, tables: tuple[Path, Path], groups: int | None
) -> Contrast:
    """One contrast from two predictions tables, candidate and champion, of one artifact each on the same examples.

    Raises:
        IntegrityError: other examples on one side, or other groups than the `groups` that the comparison has.
    """
    column = score_column(rule.metric, task)
    sides = [
        (name, score_matrix(clean_rows(read_scores(path)), column, name))
        for name, path in zip((policy.candidate, CHAMPION), tables, strict=True)
    ]
    require_same_examples(sides)
    candidate, champion = (matrix.values for _, matrix in sides)
    labels = _require_groups(sides[0][1], groups)
    return Contrast(
        metric=rule.metric,
        population=ALL,
        candidate=policy.candidate,
        baseline=CHAMPION,
        result=artifact_noninferiority(
            candidate[0], champion[0], margin=rule.margin, alpha=policy.level, groups=labels
        ),
        variation=measure_variation(candidate, champion, groups=labels),
    )


def _require_groups(matrix: Matrix, groups: int | None) -> tuple[str, ...] | None:
    if matrix.group_count != groups:
        raise IntegrityError(
            f"the test examples come in {groups or 'no'} groups, the stored predictions in "
            f"{matrix.group_count or 'none'}",
            hint="They were made by another version. `rsa-ops run` scores candidate and champion again.",
        )
    return matrix.groups


def _require_digest(folder: Path, version: Version) -> None:
    found: Digest = digest_folder(folder)
    if found != version.digest:
        raise IntegrityError(
            f"{version.name} version {version.version} was registered as {version.digest} but holds {found}",
            hint="Its files were changed after registration. Move the champion alias to an intact version.",
        )
