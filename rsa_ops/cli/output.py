"""One grammar for every command: a table for people by default, the versioned record with `--json`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from rsa_ops.core.record import Record

AsJson = Annotated[bool, typer.Option("--json", help="Print the versioned record on stdout instead of a table.")]

LedgerAddress = Annotated[
    str | None,
    typer.Option(
        "--ledger",
        envvar="RSA_OPS_LEDGER",
        help="The ledger: a file, sqlite:///FILE or postgresql://...; default: ledger.db beside the MLflow store.",
    ),
]
KeyFile = Annotated[
    Path | None,
    typer.Option(
        "--key", envvar="RSA_OPS_KEY", help="Private key file to sign with; default: the one beside the ledger."
    ),
]


def print_record(record: Record) -> None:
    """The record as JSON on stdout."""
    sys.stdout.write(record.to_json())


def print_lines(*lines: str) -> None:
    """Plain lines on stdout."""
    sys.stdout.write("\n".join(lines) + "\n")


def print_note(words: str) -> None:
    """A line for people, on stderr."""
    sys.stderr.write(f"{words}\n")


def table_console() -> Console:
    """Where tables go: stdout, 80 columns wide where it is no terminal."""
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=80, no_color=True)
