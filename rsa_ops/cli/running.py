"""`rsa-ops run` and `rsa-ops demo`: a whole pipeline, from its folder to its verdict."""

from __future__ import annotations

import importlib.util
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rsa_ops.cli.output import AsJson, KeyFile, LedgerAddress, print_lines, print_record, table_console
from rsa_ops.cli.progress import shown_progress
from rsa_ops.errors import ExitCode, MissingError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rsa_ops.core.verdict import Verdict
    from rsa_ops.stages.ledger import LedgerChoice
    from rsa_ops.stages.run import Run

DEMO = "incident-triage"
Language = Annotated[
    str | None, typer.Option("--lang", help="Of the decision sheet: ja or en; default: the locale's.")
]
Work = Annotated[Path, typer.Option("--work", help="Working folder: MLflow store, finished cells, report.")]


def add_to(app: typer.Typer) -> None:
    """Register the commands of this module."""
    app.command("run")(run)
    app.command("demo")(demo)


def run(
    pipeline: Annotated[Path, typer.Argument(help="A pipeline folder, such as `rsa-ops init` writes.")],
    work: Work = Path("rsa-ops-run"),
    ledger: LedgerAddress = None,
    key: KeyFile = None,
    lang: Language = None,
    as_json: AsJson = False,
) -> int:
    """Run a pipeline: validate, train, benchmark, compare, cost, gate, report, promote.

    Finished cells are taken from earlier runs. The exit code is the verdict's.
    """
    from rsa_ops.stages.ledger import LedgerChoice

    return int(run_pipeline(pipeline, work, LedgerChoice(ledger, key), lang, as_json=as_json).exit_code)


def demo(work: Work = Path("rsa-ops-demo"), lang: Language = None, as_json: AsJson = False) -> int:
    """Run the embedded incident-triage pipeline from data to verdict, offline.

    Exits 0 when the walk is finished, whatever the verdict: the demo shows a verdict, it gates nothing.
    """
    from rsa_ops.stages.ledger import LedgerChoice

    run_pipeline(pipelines_folder() / DEMO, work, LedgerChoice(), lang, as_json=as_json)
    return int(ExitCode.DONE)


def run_pipeline(folder: Path, work: Path, ledger: LedgerChoice, lang: str | None, *, as_json: bool) -> Verdict:
    """Run the pipeline in `folder`, show its results, return its verdict. `lang` None is the locale's language."""
    from rsa_ops.reporting.decision import words_of
    from rsa_ops.stages.config import read_pipeline
    from rsa_ops.stages.decision import locale_language
    from rsa_ops.stages.run import open_run

    language = lang or locale_language()
    words_of(language)  # an unknown one is refused before anything runs
    config, policy, home = read_pipeline(folder)
    walk = load_walk(home)
    with shown_progress() as progress, open_run(config, policy, home, work, progress, ledger, language) as opened:
        verdict = walk(opened)
    if as_json:
        print_record(verdict)
    else:
        _show(opened, verdict)
    return verdict


def load_walk(folder: Path) -> Callable[[Run], Verdict]:
    """The function `pipeline` of a folder's pipeline.py.

    Raises:
        MissingError: no such file. UsageError: it has no function `pipeline`.
    """
    file = folder / "pipeline.py"
    if not file.is_file():
        raise MissingError(f"{file} is not there", hint="`rsa-ops init DIR` writes a pipeline folder.")
    spec = importlib.util.spec_from_file_location("rsa_ops_pipeline", file)
    if spec is None or spec.loader is None:
        raise UsageError(f"{file} cannot be loaded as Python")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    walk: Callable[[Run], Verdict] | None = getattr(module, "pipeline", None)
    if walk is None:
        raise UsageError(f"{file} has no function `pipeline(run)`")
    return walk


def pipelines_folder() -> Path:
    """Where the pipelines that come with rsa_ops lie: beside the package, or where the wheel put them."""
    beside = Path(__file__).resolve().parents[2] / "pipelines"
    installed = Path(sysconfig.get_path("data")) / "share" / "rsa_ops" / "pipelines"
    for folder in (beside, installed):
        if (folder / DEMO / "pipeline.py").is_file():
            return folder
    raise MissingError(f"the pipelines are neither in {beside} nor in {installed}", hint="Install rsa-ops again.")


def _show(opened: Run, verdict: Verdict) -> None:
    from rsa_ops.reporting.terminal import arms_table, slice_lines
    from rsa_ops.stages.report import DECISION, REPORT, read_results

    found = read_results(opened.results)
    console = table_console()
    if found.comparison is not None:
        arms_table(console, found.comparison, found.measurements, found.tco)
        slice_lines(console, found.comparison)
    console.print(f"\n{verdict.sentence}\n", markup=False, highlight=False)
    sheet = opened.results / DECISION
    print_lines(
        *([f"Decision {sheet}"] if sheet.is_file() else []),
        f"Report   {opened.results / REPORT}",
        f"MLflow   {opened.mlflow_command}",
        *_promotion_lines(opened),
    )


def _promotion_lines(opened: Run) -> list[str]:
    """The last line of a run that promotes: where its plan stands, by a verified ledger."""
    from rsa_ops.governance.promotion import Promotion
    from rsa_ops.stages.promote import RECORD
    from rsa_ops.stages.report import optional_record

    made = optional_record(Promotion, opened.results / RECORD)
    return [] if made is None else [f"{made.sentence}; ledger verified ({made.entries} entries)"]
