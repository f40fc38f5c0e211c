"""Stage: data in, splits with a fingerprint out; refused data ends the run."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rsa_ops.core.digest import digest_parts
from rsa_ops.core.run_record import RunRecord
from rsa_ops.core.validation import Validation
from rsa_ops.data.validate import data_key, require_valid
from rsa_ops.data.validate import validate as validate_data
from rsa_ops.execution.cached_map import Item, cached_map
from rsa_ops.execution.key import content_key
from rsa_ops.files import read_record
from rsa_ops.stages.design import DESIGN, TEST, write_design
from rsa_ops.stages.ledger import lock_policy
from rsa_ops.stages.run import Run
from rsa_ops.tracking.runs import CellLog, RunFacts, log_files

RECORD = "validation.json"
RUN_RECORD = "run.json"


@dataclass(frozen=True)
class Data:
    """Validated data: the folder with `train.parquet`, `validation.parquet`, `test.parquet`, `data_docs/`."""

    folder: Path
    validation: Validation


def split_file(data: Path, name: str) -> Path:
    """The Parquet file of a split, in a folder of validated data."""
    return data / f"{name}.parquet"


def validate(run: Run) -> Data:
    """Validate the data of the pipeline, or take the result of an earlier run on the same bytes.

    The digests of policy, test split and the design of the comparison are written to the run before anything is
    trained.

    Raises:
        DataRefused: a check of severity `refuse` found something.
    """
    run.progress.stage("validate", run.config.data.source)
    config = run.config
    key = content_key(
        "validate",
        {"data": config.data.model_dump(mode="json"), "task": config.task},
        digest_parts(data_key(config.data, config.task, run.folder)),
    )
    item = Item("validate", "data", key, (config.data, config.task, run.folder))
    log = CellLog(run.store, run.run_id, "validate", _facts)
    (result,) = cached_map(_work, [item], root=run.cells, log=log, executor=run.executor, progress=run.progress)
    validation = read_record(Validation, result.folder / RECORD)
    run.keep(validation, RECORD)
    if not result.reused:
        log_files(run.store, run.run_id, result.folder / "data_docs", "data_docs")
    for finding in validation.findings:
        run.progress.note(f"{finding.severity}: {finding.check}: {finding.message}")
    require_valid(validation)
    _lock(run, validation, result.folder)
    return Data(result.folder, validation)


def _lock(run: Run, validation: Validation, folder: Path) -> None:
    """Write policy, test set and design down, also in the ledger, before this run reads a score."""
    design = write_design(run, validation, folder)
    record = RunRecord(
        pipeline=run.config.name,
        task=run.config.task,
        run_id=run.run_id,
        store=run.store.uri,
        started_at=datetime.now(UTC).isoformat(timespec="seconds"),
        release_seed=run.config.released_seed,
        policy_digest=run.policy.digest(),
        design_digest=design.digest(),
        test_digest=validation.split("test").digest,
        data_digest=validation.fingerprint,
        settings_note=run.config.settings_note,
        mlflow_hint=run.mlflow_command,
    )
    lock = lock_policy(
        run.notary, run.config.name, run.run_id, run.policy, record.test_digest, record.design_digest
    )
    run.keep(record, RUN_RECORD)
    tags = {TEST: record.test_digest, "policy.sha256": record.policy_digest, DESIGN: record.design_digest}
    run.tag({**tags, "ledger.lock": lock.hash})
    run.progress.note(f"policy, test set and design are locked by entry {lock.entry.sequence} of the ledger")


def _work(task: Any, folder: Path, progress: Any) -> None:
    config, kind, base = task
    validate_data(config, kind, folder, lambda words: progress(0.5, words), base)


def _facts(folder: Path) -> RunFacts:
    found = read_record(Validation, folder / RECORD)
    return RunFacts(
        params={"source": found.source, "sampling": found.sampling},
        metrics={f"rows_{split.name}": float(split.rows) for split in found.splits}
        | {"findings": float(len(found.findings))},
        tags={"data.sha256": found.fingerprint, "attribution": found.attribution},
    )
