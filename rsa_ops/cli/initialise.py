"""`rsa-ops init`: a project folder of one's own, from a table of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rsa_ops.cli.output import print_lines
from rsa_ops.cli.running import pipelines_folder
from rsa_ops.errors import ExitCode, UsageError


def add_to(app: typer.Typer) -> None:
    """Register the commands of this module."""
    app.command("init")(init)


def init(
    folder: Annotated[Path, typer.Argument(help="The folder to make.")],
    data: Annotated[str, typer.Option(help="CSV, JSONL, Parquet, a `datasets` folder, or hub:<id>.")],
    task: Annotated[str, typer.Option(help="classification or generation.")] = "classification",
    text: Annotated[str | None, typer.Option(help="Classification: the column with the text.")] = None,
    label: Annotated[str | None, typer.Option(help="Classification: the column with the label.")] = None,
    source: Annotated[str | None, typer.Option(help="Generation: the column with the record.")] = None,
    target: Annotated[str | None, typer.Option(help="Generation: the column with the text to write.")] = None,
    test_data: Annotated[str | None, typer.Option(help="A test set of its own; else one is split off.")] = None,
    base: Annotated[str | None, typer.Option(help="Base model: asset:<name>, a directory, or hub:<id>.")] = None,
) -> int:
    """Make a pipeline folder: pipeline.py, pipeline.yaml, policy.yaml, data checks inferred from DATA, a CI job."""
    from rsa_ops.stages.project import Question, write_project

    wanted = (text, label) if task == "classification" else (source, target)
    options = "--text and --label" if task == "classification" else "--source and --target"
    if task not in ("classification", "generation"):
        raise UsageError(f"unknown task {task!r}", hint="classification or generation")
    if wanted[0] is None or wanted[1] is None:
        raise UsageError(f"a {task} needs {options}", hint="Name the two columns of the data.")
    question = Question(
        folder=folder,
        task="classification" if task == "classification" else "generation",
        data=data,
        test_data=test_data,
        text=wanted[0],
        label=wanted[1],
        base=base,
    )
    notes = write_project(question, pipelines_folder())
    print_lines(*notes, f"wrote {folder}", f"next: rsa-ops run {folder}")
    return int(ExitCode.DONE)
