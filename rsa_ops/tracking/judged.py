"""The recorded answers of a version: the probe that its benchmark run left in MLflow when it was judged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from rsa_ops.core.digest import short
from rsa_ops.errors import IntegrityError, MissingError
from rsa_ops.tracking.registry import Version
from rsa_ops.tracking.runs import fetch_files
from rsa_ops.tracking.store import Store, store_errors

_STAGES = ("benchmark", "champion")  # an arm's cell, or a champion that was scored again


class Judged(NamedTuple):
    """Texts, each predicted alone, the answers to them, and the file that says so, of an MLflow run."""

    texts: tuple[str, ...]
    outputs: tuple[str, ...]
    run: str
    file: Path


def judged_answers(store: Store, version: Version, name: str, target: Path) -> Judged:
    """The newest recorded probe (a file called `name`) of the adapter that `version` is, brought to `target`.

    It is looked for by the adapter's digest, among the finished benchmark runs beside the run that trained it.

    Raises:
        MissingError: no such run, or its file is gone. IntegrityError: the file is none of ours.
    """
    for run in _runs(store, version):
        try:
            file = fetch_files(store, run, name, target)
        except MissingError:
            continue
        return read_judged(file, run)
    raise MissingError(
        f"{version.name} version {version.version}: no benchmark run in MLflow holds the answers that were judged "
        f"(adapter {short(version.digest)}, file {name})",
        hint="Run its pipeline again; finished cells are reused, and the answers are written down anew.",
    )


def _runs(store: Store, version: Version) -> list[str]:
    wanted = f"attributes.status = 'FINISHED' and tags.`rsa.digest.sha256` = '{version.digest}'"
    with store_errors(store.uri):
        experiment = store.client.get_run(version.run_id).info.experiment_id
        found = store.client.search_runs([experiment], wanted, max_results=50)  # newest first
        return [run.info.run_id for run in found if run.data.tags.get("rsa.stage") in _STAGES]


def read_judged(file: Path, run: str) -> Judged:
    """The texts and answers in a file of an MLflow run.

    Raises:
        IntegrityError: it is no such file, or holds not one answer for each text.
    """
    try:
        found = json.loads(file.read_bytes())
        texts, outputs = ([str(part) for part in found[name]] for name in ("texts", "outputs"))
    except (ValueError, TypeError, KeyError) as error:
        raise IntegrityError(f"{file.name} of run {run} is no probe: {error}") from error
    if not texts or len(texts) != len(outputs):
        raise IntegrityError(f"{file.name} of run {run} has {len(texts)} texts and {len(outputs)} answers")
    return Judged(tuple(texts), tuple(outputs), run, file)
