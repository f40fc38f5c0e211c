"""Each stage on its own, on files from anywhere: validate, train, benchmark, compare, cost, gate, report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rsa_ops.cli.output import AsJson, KeyFile, LedgerAddress, print_lines, print_note, print_record, table_console
from rsa_ops.cli.progress import shown_progress
from rsa_ops.errors import ExitCode, UsageError

Pipeline = Annotated[Path, typer.Argument(help="A pipeline folder, or its pipeline.yaml.")]
Out = Annotated[Path, typer.Option("--out", "-o", help="Where the results go.")]
Validated = Annotated[Path, typer.Option("--data", help="A folder that `rsa-ops validate` wrote.")]


def add_to(app: typer.Typer) -> None:
    """Register the commands of this module."""
    for name, command in (
        ("validate", validate),
        ("train", train),
        ("benchmark", benchmark),
        ("compare", compare),
        ("cost", cost),
        ("gate", gate),
        ("report", report),
    ):
        app.command(name)(command)


def validate(pipeline: Pipeline, out: Out = Path("validated"), as_json: AsJson = False) -> int:
    """Check and split the data of a pipeline; exit 3 when it is refused. Data Docs go to OUT/data_docs."""
    from rsa_ops.data.validate import require_valid
    from rsa_ops.reporting.terminal import findings_table
    from rsa_ops.stages.single import validate_alone

    with shown_progress() as progress:
        found = validate_alone(pipeline, out, progress)
    if as_json:
        print_record(found)
    else:
        findings_table(table_console(), found)
        sizes = ", ".join(f"{split.name} {split.rows}" for split in found.splits)
        print_lines(f"rows: {sizes}", f"fingerprint: {found.fingerprint}", f"wrote {out}")
    require_valid(found)
    return int(ExitCode.DONE)


def train(
    pipeline: Pipeline,
    arm: Annotated[str, typer.Option("--arm", help="One of the arms of pipeline.yaml.")],
    data: Validated,
    seed: Annotated[int, typer.Option("--seed")] = 1,
    out: Out = Path("trained"),
    as_json: AsJson = False,
) -> int:
    """Train one cell; writes OUT/artifact, OUT/measurements.json and OUT/history.csv."""
    from rsa_ops.reporting.terminal import arms_table
    from rsa_ops.stages.single import train_alone

    with shown_progress() as progress:
        found = train_alone(pipeline, arm, seed, data, out, progress)
    if as_json:
        print_record(found)
    else:
        arms_table(table_console(), None, (found,), None)
        print_lines(f"wrote {out}")
    return int(ExitCode.DONE)


def benchmark(
    pipeline: Pipeline,
    model: Annotated[Path, typer.Option("--model", help="An artifact folder that `rsa-ops train` wrote.")],
    data: Validated,
    out: Out = Path("benchmarked"),
    as_json: AsJson = False,
) -> int:
    """Score one artifact on the test split; writes OUT/predictions.parquet and OUT/benchmark.json."""
    from rsa_ops.stages.single import benchmark_alone

    with shown_progress() as progress:
        found = benchmark_alone(pipeline, model, data, out, progress)
    if as_json:
        print_record(found)
    else:
        shown = {**found.metrics, f"forgetting ({found.forgetting.kind})": found.forgetting.value}
        print_lines(*(f"{name:15} {value:.4f}" for name, value in shown.items()), f"wrote {out}")
    return int(ExitCode.DONE)


def compare(
    candidate: Annotated[Path, typer.Option(help="Table with example_id, seed, score (CSV or Parquet).")],
    baseline: Annotated[Path, typer.Option(help="The same for the baseline, on the same examples.")],
    margin: Annotated[
        float | None, typer.Option(help="How much worse is still acceptable, in units of the score.")
    ] = None,
    alpha: Annotated[
        float | None, typer.Option(help="One-sided error rate; 0.05 where neither this nor a design says.")
    ] = None,
    design: Annotated[
        Path | None, typer.Option(help="A design that `rsa-ops plan --write` wrote: margin, alpha, seeds, size.")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Compare two tables of scores, whoever made them: is the candidate not worse by more than the margin?

    Two or more seeds on each side: training procedures are compared. One seed: two artifacts are. Another
    comparison than a given design's is refused with exit 6.
    """
    from rsa_ops.reporting.terminal import contrasts_plot, contrasts_table
    from rsa_ops.stages.single import compare_alone

    found = compare_alone(candidate, baseline, margin=margin, alpha=alpha, design=design)
    if as_json:
        print_record(found)
    else:
        contrasts_table(table_console(), found)
        contrasts_plot(table_console(), found)
        print_lines(*(contrast.result.reason for contrast in found.contrasts))
    return int(ExitCode.DONE)


def cost(
    measurements: Annotated[
        list[Path],
        typer.Argument(help="measurements.json files, one for each cell; with --scenario, results folders."),
    ],
    book: Annotated[
        Path | None, typer.Option(help="Your own price book; its lines override the embedded ones.")
    ] = None,
    currency: Annotated[str, typer.Option(help="JPY or USD.")] = "JPY",
    scenario: Annotated[
        str | None, typer.Option(help="pilot, department, company, or a YAML file: makes the business case.")
    ] = None,
    focus: Annotated[
        Path | None,
        typer.Option(help="With --scenario and one run: write FOCUS 1.2 cost data here (.csv or .parquet)."),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Price measured trainings: line items, each with where its figures come from.

    With --scenario: the business case of a run (NPV, payback, risk), or of several runs added up.
    """
    from rsa_ops.reporting.terminal import costs_table
    from rsa_ops.stages.single import cost_alone

    if scenario is not None:
        return _business(measurements, book, scenario, focus, as_json=as_json)
    if focus is not None:
        raise UsageError("--focus without --scenario", hint="Give --scenario pilot and a results folder.")
    found = cost_alone(measurements, book, currency)
    if as_json:
        print_record(found)
    else:
        costs_table(table_console(), found)
    return int(ExitCode.DONE)


def _business(results: list[Path], book: Path | None, scenario: str, focus: Path | None, *, as_json: bool) -> int:
    from rsa_ops.reporting.business import case_lines, portfolio_lines
    from rsa_ops.stages.business import case_of, portfolio_of, write_focus

    if len(results) > 1:
        if focus is not None:
            raise UsageError("--focus takes one run", hint="Give one results folder.")
        added = portfolio_of(results, scenario, book)
        print_record(added) if as_json else print_lines(*portfolio_lines(added))
        return int(ExitCode.DONE)
    found = case_of(results[0], scenario, book)
    if focus is not None:
        write_focus(found, results[0], focus)
    print_record(found) if as_json else print_lines(*case_lines(found))
    return int(ExitCode.DONE)


def gate(
    candidate: Annotated[str, typer.Option(help="A results folder, or the id of a pipeline's MLflow run.")],
    policy: Annotated[Path, typer.Option(help="policy.yaml")],
    champion: Annotated[str | None, typer.Option(help="Alias or number of the version to stand against.")] = None,
    store: Annotated[
        str | None, typer.Option(help="MLflow store; default: MLFLOW_TRACKING_URI, or the folder's.")
    ] = None,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML here.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write Markdown for a pull request here.")] = None,
    ledger: LedgerAddress = None,
    key: KeyFile = None,
    as_json: AsJson = False,
) -> int:
    """Judge the evidence of a run by a policy: exit 0 promote, 4 reject, 5 inconclusive, 6 or 8 error.

    The verdict goes to the ledger of the run, the one beside its MLflow store, or the one that --ledger names.
    """
    from rsa_ops.files import write_text
    from rsa_ops.reporting.junit import verdict_junit
    from rsa_ops.reporting.markdown import verdict_markdown
    from rsa_ops.reporting.terminal import rulings_table
    from rsa_ops.stages.judge import gate_alone
    from rsa_ops.stages.ledger import LedgerChoice

    choice = LedgerChoice(ledger, key)
    judged = gate_alone(candidate, policy, champion, store, choice, print_note)
    if junit is not None:
        write_text(junit, verdict_junit(judged.verdict))
    if markdown is not None:
        write_text(markdown, verdict_markdown(judged.verdict, judged.comparison, judged.tco, judged.case))
    if as_json:
        print_record(judged.verdict)
    else:
        console = table_console()
        rulings_table(console, judged.verdict)
        console.print(judged.verdict.sentence, markup=False, highlight=False)
    return int(judged.verdict.exit_code)


def report(
    run: Annotated[
        str | None, typer.Argument(help="A results folder with the records of a run, or the id of its MLflow run.")
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The file to write: .html, or with --lang .pdf or .xlsx as well.")
    ] = Path("report.html"),
    lang: Annotated[
        str | None,
        typer.Option(help="ja or en: the decision sheet in that language. Without: the technical report."),
    ] = None,
    scenario: Annotated[
        str | None,
        typer.Option(help="With --lang: another scenario (a name or a YAML file) for the business case."),
    ] = None,
    portfolio: Annotated[
        bool, typer.Option("--portfolio", help="One sheet of all runs of a store, instead of one run.")
    ] = False,
    store: Annotated[
        str | None, typer.Option(help="MLflow store or working folder; default: MLFLOW_TRACKING_URI, or here.")
    ] = None,
    ledger: LedgerAddress = None,
    as_json: AsJson = False,
) -> int:
    """Render the records of a run: the technical report, or the decision sheet for a manager (--lang).

    With --portfolio: what all runs of a store decided and save. A .pdf is printed by Chromium, where there is one;
    a .xlsx has live formulas.
    """
    from rsa_ops.files import write_text
    from rsa_ops.reporting.html import render_report
    from rsa_ops.stages.decision import locale_language, write_decision, write_portfolio
    from rsa_ops.stages.portfolio import find_store, read_named

    if portfolio == (run is not None):
        raise UsageError("one run or --portfolio", hint="`rsa-ops report RUN`, or `rsa-ops report --portfolio`.")
    if run is None:
        count = write_portfolio(find_store(store), out, lang or locale_language())
        print_lines(f"wrote {out}: {count:,} runs")
        return int(ExitCode.DONE)
    if lang is None and (out.suffix in (".pdf", ".xlsx") or scenario is not None):
        raise UsageError(f"{out}: without a language only .html is written", hint="Give --lang ja or --lang en.")
    found = read_named(run, store, ledger)
    if lang is not None:
        found = write_decision(found, out, lang, scenario)
    else:
        write_text(out, render_report(found))
    print_lines(found.model_dump_json(indent=2) if as_json else f"wrote {out}")
    return int(ExitCode.DONE)
