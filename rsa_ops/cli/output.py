"""One grammar for every command: a table for people by default, the versioned record with `--json`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from rsa_ops.core.record import Record

AsJson = Annotated[bool, typer.Option("--json", help="Print the versioned record on stdout instead of a table.")]


def print_record(record: Record) -> None:
    """The record as JSON on stdout."""
    sys.stdout.write(record.to_json())


def print_lines(*lines: str) -> None:
    """Plain lines on stdout."""
    sys.stdout.write("\n".join(lines) + "\n")


def table_console() -> Console:
    """Where tables go: stdout, 80 columns wide where it is no terminal."""
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=80, no_color=True)
