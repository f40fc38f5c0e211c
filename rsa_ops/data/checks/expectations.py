"""The checks as Great Expectations 1.x suites: a Checkpoint for every table, and Data Docs of all results.

What GX can express is computed by GX from the rows (schema, nulls, unique ids, row counts, label sets, lengths);
the rest reaches it as a column of flags. GX and our own functions must agree on every check, or the run stops.
Texts stay out of the batches, so that Data Docs show no personal data.
"""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rsa_ops.data.checks.catalog import Subject
from rsa_ops.data.checks.config import ChecksConfig
from rsa_ops.data.checks.labels import allowed_labels
from rsa_ops.data.checks.outcome import Outcome
from rsa_ops.data.checks.texts import LOADED
from rsa_ops.errors import IntegrityError

if TYPE_CHECKING:
    import pandas as pd

SITE = "rsa_ops"
_ALWAYS = "structure"
_MISSING = {"missing_text": "text_characters", "missing_label": "label_characters"}
_TABLE_CHECKS = "whole_table"


@dataclass(frozen=True)
class _Batch:
    """A table for GX and what is expected of it; each expectation carries the name of its check in `meta`."""

    name: str
    table: pd.DataFrame
    expectations: tuple[Any, ...]


def write_data_docs(subject: Subject, outcomes: Sequence[Outcome], config: ChecksConfig, folder: Path) -> int:
    """Run a Checkpoint on every table and build Data Docs into `folder`; returns the number of expectations.

    Raises:
        IntegrityError: GX found another result than our own functions did.
    """
    gx = _great_expectations()
    with _quiet():
        context = gx.get_context(mode="ephemeral")
        context.variables.progress_bars = {"globally": False}
        context.add_data_docs_site(SITE, _site(folder))
        _remove_own_site(context)
        source = context.data_sources.add_pandas("rsa_ops")
        ran = 0
        for batch in _batches(subject, outcomes, config):
            for result in _run(gx, context, source, batch):
                _require_agreement(batch.name, result, outcomes)
                ran += 1
        context.build_data_docs(site_names=[SITE])
    return ran


def _great_expectations() -> Any:
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")  # read at import; the user may turn it on
    import great_expectations as gx

    return gx


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", category=FutureWarning)
        yield


def _remove_own_site(context: Any) -> None:
    """Take away the site that an ephemeral context makes for itself, and its folder."""
    made = context.variables.data_docs_sites["local_site"]["store_backend"]["base_directory"]
    context.delete_data_docs_site("local_site")
    shutil.rmtree(made, ignore_errors=True)


def _site(folder: Path) -> dict[str, Any]:
    return {
        "class_name": "SiteBuilder",
        "show_how_to_buttons": False,
        "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(folder)},
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
    }


def _run(gx: Any, context: Any, source: Any, batch: _Batch) -> list[Any]:
    definition = source.add_dataframe_asset(batch.name).add_batch_definition_whole_dataframe(batch.name)
    suite = context.suites.add(gx.ExpectationSuite(name=batch.name, expectations=list(batch.expectations)))
    validation = context.validation_definitions.add(
        gx.ValidationDefinition(name=batch.name, data=definition, suite=suite)
    )
    checkpoint = context.checkpoints.add(gx.Checkpoint(name=batch.name, validation_definitions=[validation]))
    name = gx.RunIdentifier(run_name=batch.name)
    found = checkpoint.run(batch_parameters={"dataframe": batch.table}, run_id=name)
    return [result for run in found.run_results.values() for result in run.results]


def _require_agreement(table: str, result: Any, outcomes: Sequence[Outcome]) -> None:
    check = result.expectation_config.meta["check"]
    ours = next((outcome for outcome in outcomes if outcome.check == check), None)
    if ours is None:
        expected = True
    elif table == _TABLE_CHECKS:
        value, limit = (ours.measured or {})[result.expectation_config.meta["measure"]]
        expected = value <= limit
    else:
        expected = not bool(ours.flagged[table].any())
    if bool(result.success) != expected:
        raise IntegrityError(
            f"check {check!r} on {table}: Great Expectations says {_word(held=bool(result.success))}, "
            f"rsa_ops says {_word(held=expected)} {result.exception_info.get('exception_message') or ''}".rstrip(),
            hint="Please report this; the two should never differ.",
        )


def _word(*, held: bool) -> str:
    return "it holds" if held else "it does not hold"


def _batches(subject: Subject, outcomes: Sequence[Outcome], config: ChecksConfig) -> list[_Batch]:
    tables = {LOADED: subject.loaded, **subject.splits}
    batches = [_row_batch(name, table, outcomes, subject, config) for name, table in tables.items()]
    whole = _whole_batch([outcome for outcome in outcomes if outcome.measured])
    return [*batches, whole] if whole is not None else batches


def _row_batch(
    name: str, table: pd.DataFrame, outcomes: Sequence[Outcome], subject: Subject, config: ChecksConfig
) -> _Batch:
    here = [outcome for outcome in outcomes if name in outcome.flagged]
    shown = table.assign(**{f"{column}_characters": table[column].str.len() for column in ("text", "label")})
    shown = shown.drop(columns=["text", "label"] if subject.task == "generation" else ["text"])
    expectations = _structure(shown, name)
    shown = shown.assign(**{f"flag_{outcome.check}": outcome.flagged[name] for outcome in here})
    return _Batch(name, shown, (*expectations, *(_expect(outcome, config, subject) for outcome in here)))


def _structure(table: pd.DataFrame, name: str) -> tuple[Any, ...]:
    import great_expectations.expectations as gxe

    meta = {"check": _ALWAYS}
    return (
        gxe.ExpectTableRowCountToBeBetween(min_value=1, meta=meta, notes=f"The table {name!r} has rows."),
        *(gxe.ExpectColumnToExist(column=column, meta=meta) for column in table.columns),
        *([] if name == LOADED else [gxe.ExpectColumnValuesToBeUnique(column="example_id", meta=meta)]),
    )


def _expect(outcome: Outcome, config: ChecksConfig, subject: Subject) -> Any:
    import great_expectations.expectations as gxe

    common = {
        "meta": {"check": outcome.check},
        "notes": f"{outcome.check}: {outcome.advice}",
        "severity": "critical" if outcome.severity == "refuse" else "warning",
    }
    if outcome.check in _MISSING:
        return gxe.ExpectColumnValuesToNotBeNull(column=_MISSING[outcome.check], **common)
    if outcome.check == "label_set":
        allowed = list(allowed_labels(subject.splits, config.label_set))
        return gxe.ExpectColumnValuesToBeInSet(column="label", value_set=allowed, **common)
    if outcome.check == "text_length":
        low, high = config.text_length.min_characters, config.text_length.max_characters
        return gxe.ExpectColumnValuesToBeBetween(column="text_characters", min_value=low, max_value=high, **common)
    return gxe.ExpectColumnValuesToBeInSet(column=f"flag_{outcome.check}", value_set=[False], **common)


def _whole_batch(outcomes: Sequence[Outcome]) -> _Batch | None:
    """Checks on whole tables as one row of measurements."""
    import great_expectations.expectations as gxe
    import pandas as pd

    values: dict[str, list[float]] = {}
    expectations = []
    for outcome in outcomes:
        for measure, (value, limit) in (outcome.measured or {}).items():
            values[measure] = [value]
            meta = {"check": outcome.check, "measure": measure}
            expectations.append(
                gxe.ExpectColumnValuesToBeBetween(column=measure, max_value=limit, meta=meta, notes=outcome.advice)
            )
    return _Batch(_TABLE_CHECKS, pd.DataFrame(values), tuple(expectations)) if values else None
