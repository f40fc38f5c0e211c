"""`rsa-ops models`: every trained variant, where it came from and what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from rsa_ops.cli.output import AsJson, LedgerAddress, print_lines, print_note, print_record
from rsa_ops.cli.upkeep import StoreUri
from rsa_ops.errors import ExitCode

if TYPE_CHECKING:
    from rsa_ops.core.variants import Variant


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command("models")(models)


def models(
    ledger: LedgerAddress = None,
    store: StoreUri = None,
    limit: Annotated[int, typer.Option(min=0, help="The newest so many; 0: all.")] = 50,
    as_json: AsJson = False,
) -> int:
    """List trained variants, the newest first, with base, data, configuration and parent, verdict and state."""
    from rsa_ops.stages.models import list_models

    found = list_models(ledger, store, limit)
    if found.ledger is None:
        print_note("no ledger is beside this store, and --ledger names none: no verdict and no champion is known")
    if as_json:
        print_record(found)
        return int(ExitCode.DONE)
    hidden = found.total - len(found.variants)
    rest = f"; {hidden} older ones: --limit" if hidden else ""
    print_lines(*(line for each in found.variants for line in _lines(each)), f"{found.total} variants{rest}")
    return int(ExitCode.DONE)


def _lines(found: Variant) -> list[str]:
    from rsa_ops.core.digest import short

    state = found.state if found.generation is None else f"{found.state} {found.generation}"
    cell = f"{found.arm}-s{found.seed}"
    verdict = found.verdict.value if found.verdict is not None else "-"
    versions = f"  {' '.join(found.versions)}" if found.versions else ""
    lineage = f"base {short(found.base)}  data {short(found.data)}  config {short(found.config)}"
    return [
        f"{found.made[:16]}  {cell:14} {state:14} {verdict:12} {short(found.digest)}{versions}",
        f"    {lineage}  run {found.parent[:12]}",
    ]
