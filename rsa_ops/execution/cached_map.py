"""One look-up, one map: run only what no finished run holds, and believe a result only by its digest.

The order of writes is what makes a crash harmless: the worker writes, fsyncs and renames the folder; only
then is the run recorded as finished. A folder that is there without a record was finished by a driver that
died before it could say so; it is taken over. Two drivers at once may train the same key twice: there is no
lock between them, and either result is as good as the other.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from rsa_ops.core.digest import Digest, short
from rsa_ops.errors import CellFailed, ExitCode, RsaOpsError
from rsa_ops.execution.local import Job, LocalExecutor
from rsa_ops.execution.progress import Progress
from rsa_ops.execution.worker import Work
from rsa_ops.files import digest_folder


@dataclass(frozen=True)
class Item:
    """One piece of work: `key` names its result, `stage` groups it."""

    stage: str
    name: str
    key: Digest
    task: Any


@dataclass(frozen=True)
class Result:
    """Where the result of an item lies, and whether it was there before."""

    item: Item
    folder: Path
    digest: Digest
    reused: bool


class RunLog(Protocol):
    """The record of finished work; MLflow behind it, in this house."""

    def finished(self, keys: Sequence[Digest]) -> Mapping[Digest, Digest]:
        """Key -> digest of the result folder, for those keys that have a finished run."""

    def restore(self, key: Digest, folder: Path) -> None:
        """Bring the result of a finished run back into `folder`, if the store still has it."""

    def record(self, *, stage: str, name: str, key: Digest, folder: Path, digest: Digest) -> None:
        """Write down that the result is there and finished."""


def cached_map(
    work: Work, items: Sequence[Item], *, root: Path, log: RunLog, executor: LocalExecutor, progress: Progress
) -> list[Result]:
    """Results of all `items`, in their order; only the missing ones are computed.

    Raises:
        CellFailed: some items ended without a result; every other one is finished and recorded.
        ValueError: two items have the same name.
    """
    if len({item.name for item in items}) != len(items):
        raise ValueError(f"names of items repeat: {sorted(item.name for item in items)}")
    known = log.finished([item.key for item in items])
    results = {item.name: _find(item, root, known, log, progress) for item in items}
    missing = [item for item in items if results[item.name] is None]
    for item in items:
        found = results[item.name]
        if found is not None and item.key not in known:
            _record(log, found)
    if missing:
        reused = len(items) - len(missing)
        progress.note(f"{len(missing)} to compute, {reused} taken from finished runs")
    errors = _compute(work, missing, root, log, executor, progress, results)
    _refuse_holes(errors, total=len(items))
    return [result for result in results.values() if result is not None]


def _compute(
    work: Work,
    missing: Sequence[Item],
    root: Path,
    log: RunLog,
    executor: LocalExecutor,
    progress: Progress,
    results: dict[str, Result | None],
) -> dict[str, RsaOpsError]:
    by_name = {item.name: item for item in missing}

    class Recorder:
        """Records each result the moment it is there, so that a later crash cannot lose it."""

        stage, note, update = progress.stage, progress.note, progress.update

        def finish(self, job: str, words: str) -> None:
            item = by_name[job]
            folder = folder_of(item, root)
            if words == "done":
                result = Result(item, folder, digest_folder(folder), reused=False)
                _record(log, result)
                results[job] = result
            progress.finish(job, words)

    jobs = [Job(item.name, work, item.task, folder_of(item, root)) for item in missing]
    outcome = executor.run(jobs, Recorder())
    return {name: error for name, error in outcome.items() if error is not None}


def _record(log: RunLog, result: Result) -> None:
    item = result.item
    log.record(stage=item.stage, name=item.name, key=item.key, folder=result.folder, digest=result.digest)


def folder_of(item: Item, root: Path) -> Path:
    """Where the result of an item lies: `<root>/<stage>/<name>-<key>`."""
    return root / item.stage / f"{item.name}-{short(item.key)}"


def _find(item: Item, root: Path, known: Mapping[Digest, Digest], log: RunLog, progress: Progress) -> Result | None:
    folder = folder_of(item, root)
    if not folder.exists() and item.key in known:
        log.restore(item.key, folder)
    if not folder.exists():
        return None
    digest = digest_folder(folder)
    if item.key in known and digest != known[item.key]:
        progress.note(f"{item.name}: {folder} was changed after it was finished; it is computed again")
        shutil.rmtree(folder)
        return None
    return Result(item, folder, digest, reused=True)


def _refuse_holes(errors: Mapping[str, RsaOpsError], *, total: int) -> None:
    if not errors:
        return
    listed = "\n".join(f"  {error.message}" for error in errors.values())
    hints = "\n  ".join(dict.fromkeys(error.hint for error in errors.values() if error.hint))
    failed = CellFailed(f"{len(errors)} of {total} cells failed:\n{listed}", hint=hints)
    failed.exit_code = max((error.exit_code for error in errors.values()), key=_gravity)
    raise failed


def _gravity(code: ExitCode) -> int:
    order = (ExitCode.MISSING, ExitCode.USAGE, ExitCode.DATA_REFUSED, ExitCode.INTEGRITY, ExitCode.BUG)
    return order.index(code) if code in order else 0
