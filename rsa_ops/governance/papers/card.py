"""The model card: Markdown for people, with the metadata block of model hubs (huggingface-hub's ModelCardData)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rsa_ops.core.estimate import Estimate
from rsa_ops.governance.papers.dossier import Dossier
from rsa_ops.governance.papers.limits import limits

_TASKS = {"classification": "text-classification", "generation": "text-generation"}


def card(dossier: Dossier) -> str:
    """The card as text: what the version is, what it was measured at and against, and what that does not show."""
    parts = (
        _head(dossier),
        _data(dossier),
        _training(dossier),
        _results(dossier),
        _slices(dossier),
        _judged(dossier),
        _cost(dossier),
        _end(dossier),
    )
    lines = [line for part in parts for line in part]
    return f"---\n{_metadata(dossier)}\n---\n\n" + "\n".join(lines) + "\n"


def _metadata(dossier: Dossier) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    summary = dossier.summary
    results = [
        EvalResult(
            task_type=_TASKS[dossier.run.task],
            dataset_type=dossier.validation.source,
            dataset_name=dossier.run.pipeline,
            dataset_split="test",
            metric_type=name,
            metric_value=estimate.value,
            metric_name=f"{name}, mean of {estimate.seeds} seeds",
        )
        for name, estimate in summary.metrics.items()
    ]
    data = ModelCardData(
        model_name=dossier.name,
        base_model=dossier.measurements.base_model,
        datasets=[dossier.validation.source],
        library_name="peft",
        pipeline_tag=_TASKS[dossier.run.task],
        license="other",
        license_name="terms-of-base-and-data",
        tags=["adapter", dossier.measurements.method, "rsa-ops"],
        eval_results=results,
    )
    return str(data.to_yaml())


def _head(dossier: Dossier) -> Iterator[str]:
    measured = dossier.measurements
    yield f"# {dossier.model}, version {dossier.version}"
    yield ""
    yield f"An adapter (method `{measured.method}`) beside the frozen model `{measured.base_model}`, for the task"
    yield f"`{dossier.run.pipeline}` ({dossier.run.task})."
    if dossier.description:
        yield ""
        yield f"**Made for.** {_plain(dossier.description)} Anything else was not measured."
    yield ""
    yield from _table(
        ("", ""),
        (
            ("adapter", f"`{dossier.digest}`"),
            ("base model", f"`{measured.base_model}`, `{measured.base_digest}`"),
            ("trained parameters", f"{measured.trainable_parameters:,} of {measured.total_parameters:,}"),
            ("size", f"{measured.artifact_bytes:,} bytes"),
            ("labels", ", ".join(dossier.validation.labels) or "free text"),
        ),
    )
    yield ""
    yield "It loads only on a base of that digest, and only from safetensors."


def _data(dossier: Dossier) -> Iterator[str]:
    validation = dossier.validation
    yield ""
    yield "## Data"
    yield ""
    yield f"Source `{validation.source}`, {validation.rows_used:,} of {validation.rows_read:,} rows used."
    yield _plain(validation.sampling)
    yield ""
    splits = ((split.name, f"{split.rows:,}", f"`{split.digest}`") for split in validation.splits)
    yield from _table(("split", "rows", "digest"), splits)
    yield ""
    yield f"{validation.checks_run} checks were run on it."
    for finding in validation.findings:
        yield f"- {finding.severity}: {finding.check}: {_plain(finding.message)}"


def _training(dossier: Dossier) -> Iterator[str]:
    measured = dossier.measurements
    yield ""
    yield "## Training"
    yield ""
    yield _plain(dossier.run.settings_note)
    yield ""
    energy = "not measured" if measured.energy.energy_kwh is None else f"{measured.energy.energy_kwh:.6f} kWh"
    yield from _table(
        ("", ""),
        (
            ("seed", str(measured.cell.seed)),
            ("device", measured.device),
            ("time", f"{measured.wall_seconds:.1f} s"),
            ("energy", f"{energy} ({measured.energy.source})"),
            ("rsa_ops", f"{dossier.source.version}, source `{dossier.source.package}`"),
            ("libraries", ", ".join(dossier.source.libraries)),
        ),
    )


def _results(dossier: Dossier) -> Iterator[str]:
    summary, comparison = dossier.summary, dossier.comparison
    yield ""
    yield "## Results on the test set"
    yield ""
    yield f"{comparison.examples:,} examples, seeds {', '.join(map(str, summary.seeds))}; intervals cover both."
    yield ""
    metrics = ((name, _estimate(estimate), estimate.method) for name, estimate in summary.metrics.items())
    yield from _table(("metric", "estimate [interval]", "method"), metrics)
    if summary.robustness:
        yield ""
        changed = ((name, _estimate(estimate)) for name, estimate in summary.robustness.items())
        yield from _table((f"{comparison.primary_metric} on changed text", "estimate [interval]"), changed)
    yield ""
    yield from _table(
        ("against", "difference [interval]", "margin", "answer"),
        (
            (
                entry.name,
                "none" if entry.result.difference is None else _estimate(entry.result.difference),
                f"{entry.result.margin:g}",
                entry.result.answer.value,
            )
            for entry in comparison.contrasts
        ),
    )
    for found in summary.forgetting[:1]:
        values = ", ".join(f"{entry.value:.4f}" for entry in summary.forgetting)
        yield ""
        yield f"Forgetting on {found.sentences} general sentences ({found.kind}), by seed: {values}."


def _slices(dossier: Dossier) -> Iterator[str]:
    if not dossier.summary.slices:
        return
    yield ""
    yield "## Slices"
    yield ""
    yield from _table(
        ("slice", f"{dossier.comparison.primary_metric} [interval]", "examples"),
        (
            (
                entry.slice,
                _estimate(entry.score) if entry.assessable else "not assessable: too few examples",
                str(entry.score.examples),
            )
            for entry in dossier.summary.slices
        ),
    )


def _judged(dossier: Dossier) -> Iterator[str]:
    verdict = dossier.verdict
    yield ""
    yield "## Verdict"
    yield ""
    yield f"**{verdict.outcome.value}**: {_plain(verdict.sentence)}"
    yield ""
    yield from _table(
        ("rule", "required", "observed", "outcome"),
        ((r.rule, r.required, r.observed, r.outcome.value) for r in verdict.rulings),
    )
    yield ""
    yield f"Policy `{verdict.policy}` (`{verdict.policy_digest}`), locked before any score was read;"
    yield f"the verdict is entry `{dossier.verdict_entry}` of the ledger."


def _cost(dossier: Dossier) -> Iterator[str]:
    tco = dossier.tco
    yield ""
    yield "## Cost"
    yield ""
    yield from _table(
        ("arm", "one training", f"{tco.horizon_months} months"),
        ((entry.arm, str(entry.per_training), str(entry.total)) for entry in tco.arms),
    )
    yield ""
    yield f"{tco.measured_share:.0%} of the total rests on measured quantities; prices from {tco.price_book}"
    yield f"({tco.price_book_date}). {tco.fx_note}"


def _end(dossier: Dossier) -> Iterator[str]:
    yield ""
    yield "## Limits"
    yield ""
    yield from (f"- {_plain(sentence)}" for sentence in limits(dossier))
    yield ""
    yield "## Licence and attribution"
    yield ""
    yield "The adapter keeps the terms of what it was made from."
    yield ""
    yield f"- Base model: {dossier.base_licence or 'not stated'}."
    yield f"- Data: {_plain(dossier.validation.attribution) or 'not stated'}."
    yield ""
    yield "## Signature"
    yield ""
    yield "`model.sig` beside this card is an OMS signature of the adapter's folder; the ledger's `papers` entry"
    yield "names its key. `rsa-ops evidence` puts all of it into one file, and checks it."


def _estimate(estimate: Estimate) -> str:
    return f"{estimate.value:.4f} [{estimate.low:.4f}, {estimate.high:.4f}]"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield _row(head)
    yield "|" + " --- |" * len(head)
    yield from map(_row, rows)


def _row(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(map(_plain, cells)) + " |"


def _plain(text: str) -> str:
    """Labels, slices and reasons are the user's text: neither a pipe nor a tag in them may break the page."""
    return " ".join(text.replace("|", "\\|").replace("<", "&lt;").split())
