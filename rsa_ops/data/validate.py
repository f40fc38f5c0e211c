"""Load, sample, split, check, fingerprint: from a source to split files and the record of what was found."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rsa_ops.core.canonical import canonical_json
from rsa_ops.core.validation import SPLITS, SplitInfo, Validation
from rsa_ops.data.checks.catalog import Subject, run_checks
from rsa_ops.data.checks.expectations import write_data_docs
from rsa_ops.data.checks.outcome import Outcome, plural, shorten
from rsa_ops.data.config import DataConfig, Task
from rsa_ops.data.fingerprint import fingerprint
from rsa_ops.data.load import attribution
from rsa_ops.data.prepare import Prepared, prepare, read_reference
from rsa_ops.data.source import is_unpinned, source_key
from rsa_ops.errors import DataRefused, MissingError
from rsa_ops.files import disk_errors, write_record

if TYPE_CHECKING:
    import pandas as pd

RECORD = "validation.json"
DATA_DOCS = "data_docs"


def validate(
    config: DataConfig, task: Task, out: Path, progress: Callable[[str], None], base: Path | None = None
) -> Validation:
    """Validate the data of `config` into the folder `out` (made by the caller, who also makes it atomic).

    Writes `train.parquet`, `validation.parquet`, `test.parquet`, `data_docs/` and `validation.json`. Relative
    sources start at `base`. Checks that refuse do not raise here; see `require_valid`.

    Raises:
        MissingError, DataRefused, UsageError: the data cannot be read at all, or leaves no rows for a split.
    """
    progress("reading")
    prepared = prepare(config, task, base)
    progress(f"checking {sum(map(len, prepared.splits.values())):,} rows")
    subject = Subject(
        task=task,
        loaded=prepared.loaded,
        splits=prepared.splits,
        reference=read_reference(config, task, base),
        leaked=prepared.leaked,
        leaked_texts=prepared.leaked_texts,
        unpinned=tuple(source for source in config.sources() if is_unpinned(source)),
    )
    outcomes = run_checks(subject, config.checks)
    progress("writing Data Docs (Great Expectations)")
    with disk_errors(out):
        write_data_docs(subject, outcomes, config.checks, out / DATA_DOCS)
        for name, table in prepared.splits.items():
            table.to_parquet(out / f"{name}.parquet", index=False)
    record = _record(config, task, prepared, outcomes)
    write_record(out / RECORD, record)
    return record


def _record(config: DataConfig, task: Task, prepared: Prepared, outcomes: Sequence[Outcome]) -> Validation:
    return Validation(
        task=task,
        source=config.source,
        rows_read=len(prepared.loaded),
        rows_used=sum(map(len, prepared.splits.values())),
        sampling=prepared.sampling,
        fingerprint=fingerprint(prepared.loaded),
        splits=tuple(
            SplitInfo(name=name, rows=len(prepared.splits[name]), digest=fingerprint(prepared.splits[name]))
            for name in SPLITS
        ),
        labels=_labels(prepared.splits, task),
        slices=config.columns.slices,
        findings=tuple(finding for outcome in outcomes if (finding := outcome.finding()) is not None),
        checks_run=len(outcomes),
        attribution=attribution(config.sources()),
    )


def require_valid(validation: Validation) -> None:
    """Do nothing when no check refused.

    Raises:
        DataRefused: every refusal: which check, how many rows, examples, what to do.
    """
    if not validation.refusals:
        return
    parts = []
    for found in validation.refusals:
        lines = [f"{found.check} ({plural(found.rows, 'row')}): {found.message}"]
        lines += [f"    {shorten(example)}" for example in found.examples]
        parts.append("\n".join([*lines, f"    -> {found.advice}"]))
    listed = "\n  ".join(parts)
    raise DataRefused(
        f"{validation.source} is refused by {len(parts)} of {validation.checks_run} checks\n  {listed}",
        hint="Severities (refuse, warn, off) stand under `data.checks` in pipeline.yaml.",
    )


def read_split(folder: Path, name: str) -> pd.DataFrame:
    """The split `name` of a folder that `validate` wrote.

    Raises:
        MissingError: no such file.
    """
    import pandas as pd

    path = folder / f"{name}.parquet"
    if not path.is_file():
        raise MissingError(f"{path} is not there", hint="`rsa-ops validate` writes it.")
    return pd.read_parquet(path)


def data_key(config: DataConfig, task: Task, base: Path | None = None) -> list[bytes]:
    """Bytes that decide whether an earlier result still stands: settings, task, the digests of the sources.

    Raises:
        MissingError, UsageError: a source that is not there or that nothing here reads.
    """
    settings = canonical_json([config.model_dump(mode="json"), task])
    return [settings, *(source_key(source, base) for source in config.sources())]


def _labels(splits: Mapping[str, pd.DataFrame], task: Task) -> tuple[str, ...]:
    if task == "generation":
        return ()
    return tuple(sorted({label for table in splits.values() for label in table["label"].tolist()}))
