"""`rsa-ops rollback` and `rsa-ops gc`: what keeps a registry fit to go back."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rsa_ops.cli.output import AsJson, LedgerAddress, print_lines, print_record
from rsa_ops.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from rsa_ops.core.garbage import Garbage

StoreUri = Annotated[
    str | None,
    typer.Option("--store", help="MLflow store; default: MLFLOW_TRACKING_URI, or the one beside the ledger."),
]


def add_to(app: typer.Typer) -> None:
    """Register the commands of this module."""
    app.command("gc")(gc)


def gc(
    ledger: LedgerAddress = None,
    store: StoreUri = None,
    work: Annotated[
        Path | None, typer.Option(help="Working folder of runs, to look through its cells too.")
    ] = None,
    older_than: Annotated[float, typer.Option(min=0, help="Days; younger things stay.")] = 1.0,
    only: Annotated[
        list[str] | None, typer.Option("--only", help="version, 'logged model' or cell; may be given again.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Remove it; without this, it is only shown.")] = False,
    as_json: AsJson = False,
) -> int:
    """Show versions, logged models and cells that nothing in the ledger names; with --yes, remove them.

    What the ledger names always stays, and so do versions that an alias names and models of other ledgers.
    """
    from rsa_ops.governance.store import open_ledger
    from rsa_ops.stages.collect import KINDS, Sweep, collect
    from rsa_ops.stages.ledger import default_address
    from rsa_ops.stages.resolve import store_uri
    from rsa_ops.tracking.store import find_store

    kinds = tuple(kind for kind in KINDS if not only or kind in only)
    strange = sorted(set(only or ()) - set(KINDS))
    if strange:
        raise UsageError(f"--only {strange[0]!r}", hint=f"One of: {', '.join(KINDS)}.")
    if work is not None and not (work / "cells").is_dir():
        raise UsageError(f"{work} has no folder `cells`", hint="Give the --work folder of a run.")
    address = ledger or default_address()
    found = find_store(store_uri(store, address))
    with closing(open_ledger(address, write=False)) as opened:
        garbage = collect(opened, found, Sweep(kinds, older_than, work), remove=yes)
    if as_json:
        print_record(garbage)
    else:
        print_lines(*_garbage_lines(garbage))
    return int(ExitCode.DONE)


def _garbage_lines(garbage: Garbage) -> list[str]:
    from rsa_ops.core.digest import short

    lines = []
    for item in garbage.unnamed:
        size = "" if item.size_bytes is None else f", {item.size_bytes / 1e6:.1f} MB"
        lines.append(f"{item.what:12} {item.name}  {short(item.digest)}, {item.age_days:.1f} days old{size}")
    lines += [f"kept         {count} {why}" for why, count in garbage.kept.items()]
    count = len(garbage.unnamed)
    if garbage.removed:
        return [*lines, f"removed {count}; `mlflow gc` frees the files of deleted logged models"]
    return [*lines, f"{count} named by nothing; nothing was removed: --yes does" if count else "nothing to remove"]
