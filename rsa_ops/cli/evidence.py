"""`rsa-ops evidence`: all that is known about a version in one file for an auditor, and such a file checked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rsa_ops.cli.output import AsJson, LedgerAddress, print_lines, print_record
from rsa_ops.errors import ExitCode, UsageError


def add_to(app: typer.Typer) -> None:
    """Register the command of this module."""
    app.command("evidence")(evidence)


def evidence(
    model: Annotated[str | None, typer.Argument(help="A registered model.")] = None,
    version: Annotated[str | None, typer.Argument(help="Its version.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The zip file to write.")] = None,
    check: Annotated[Path | None, typer.Option("--check", help="A bundle to check, offline, instead.")] = None,
    ledger: LedgerAddress = None,
    store: Annotated[
        str | None, typer.Option(help="MLflow store; default: MLFLOW_TRACKING_URI, or the one beside the ledger.")
    ] = None,
    checkpoint: Annotated[
        list[Path] | None,
        typer.Option("--checkpoint", help="A checkpoint kept elsewhere: goes into the bundle, or checks one."),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Write the evidence about a version to one zip file, or check such a file: exit 0, or 6 on any change.

    Evidence for an audit, and not legal advice.
    """
    from rsa_ops.stages.evidence import Wanted, gather
    from rsa_ops.stages.evidence import check as checked

    kept = tuple(checkpoint or ())
    if check is not None:
        if model is not None or out is not None:
            raise UsageError("--check takes a bundle and nothing to make", hint="rsa-ops evidence --check FILE")
        report = checked(check, kept)
        if as_json:
            print_record(report)
        else:
            title = f"{report.model} version {report.version}"
            lines = [f"about    {title}", f"adapter  {report.adapter_digest}", f"ledger   {report.ledger}"]
            lines += [f"key      {key}" for key in report.keys]
            lines += [f"checked  {words}" for words in report.checked]
            lines += [f"not      {words}" for words in report.not_checked]
            print_lines(*lines, "verified")
        return int(ExitCode.DONE)
    if model is None or version is None or out is None:
        raise UsageError(
            "evidence of which version, and where to?", hint="rsa-ops evidence MODEL VERSION -o FILE.zip"
        )
    bundle = gather(Wanted(model, version, ledger, store, kept), out)
    if as_json:
        print_record(bundle.index)
    else:
        files, entries = len(bundle.index.files) + 3, bundle.index.entries
        print_lines(
            f"wrote {out}: {files} files, {entries} entries of the ledger", "begin with INDEX.md (INDEX.ja.md)"
        )
    return int(ExitCode.DONE)
