"""The recorded answers of a version: the probe that its benchmark run left in MLflow when it was judged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from rsa_ops.core.digest import Digest, short
from rsa_ops.errors import IntegrityError, MissingError
from rsa_ops.files import digest_file
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


def judged_answers(store: Store, version: Version, name: str, target: Path, wanted: Digest | None) -> Judged:
    """The newest recorded probe (a file called `name`) of the adapter that `version` is, brought to `target`.

    It is looked for by the adapter's digest, among the finished benchmark runs beside the run that trained it; with
    `wanted`, only a file of that digest is taken.

    Raises:
        MissingError: no such run, or its file is gone. IntegrityError: none has the digest, or it is none of ours.
    """
    others = []
    for run in _runs(store, version):
        try:
            file = fetch_files(store, run, name, target / run)
        except MissingError:
            continue
        if wanted is None or digest_file(file) == wanted:
            return _read(file, run)
        others.append(run)
    if others:
        raise IntegrityError(
            f"{version.name} version {version.version}: the judged answers in MLflow (run {others[0]}) are not "
            "those that its papers name",
            hint="They were changed after the papers were written.",
        )
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


def _read(file: Path, run: str) -> Judged:
    try:
        found = json.loads(file.read_bytes())
        texts, outputs = ([str(part) for part in found[name]] for name in ("texts", "outputs"))
    except (ValueError, TypeError, KeyError) as error:
        raise IntegrityError(f"{file.name} of run {run} is no probe: {error}") from error
    if not texts or len(texts) != len(outputs):
        raise IntegrityError(f"{file.name} of run {run} has {len(texts)} texts and {len(outputs)} answers")
    return Judged(tuple(texts), tuple(outputs), run, file)
