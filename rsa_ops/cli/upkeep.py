"""`rsa-ops rollback` and `rsa-ops gc`: what keeps a registry fit to go back."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rsa_ops.cli.output import AsJson, KeyFile, LedgerAddress, print_lines, print_note, print_record
from rsa_ops.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from rsa_ops.core.garbage import Garbage
    from rsa_ops.serving.rehearsal import Rehearsal

StoreUri = Annotated[
    str | None,
    typer.Option("--store", help="MLflow store; default: MLFLOW_TRACKING_URI, or the one beside the ledger."),
]


def add_to(app: typer.Typer) -> None:
    """Register the commands of this module."""
    app.command("rollback")(rollback)
    app.command("gc")(gc)


def rollback(
    model: Annotated[str, typer.Argument(help="The registered model, such as incident-triage.e8f321f8ca93.")],
    alias: Annotated[str, typer.Option(help="The alias that goes back.")] = "champion",
    to: Annotated[str | None, typer.Option(help="A version; default: that of the last good generation.")] = None,
    reason: Annotated[str, typer.Option(help="Why; it stays in the ledger. A drill needs none.")] = "",
    drill: Annotated[bool, typer.Option("--drill", help="All but the move: tells whether it would work.")] = False,
    base: Annotated[
        str | None, typer.Option(help="Where the base model is, if not where the adapter says; same bytes.")
    ] = None,
    ledger: LedgerAddress = None,
    store: StoreUri = None,
    key: KeyFile = None,
    as_json: AsJson = False,
) -> int:
    """Go back to the last good generation, after it was loaded in a fresh process and asked as it was judged.

    A generation that was rolled back from is not good. Anything wrong with the target ends it, and nothing moves.
    """
    started = time.perf_counter()
    from rsa_ops.serving.trial import fresh_process

    with fresh_process() as fresh:  # it imports its libraries while this process does
        from rsa_ops.governance.store import open_ledger
        from rsa_ops.stages.ledger import default_address, open_writer
        from rsa_ops.stages.resolve import standing_store
        from rsa_ops.stages.rollback import Wish, roll_back
        from rsa_ops.stages.rollback import drill as drill_only

        wish = Wish(model, alias, to, reason, base)
        address = ledger or default_address()
        if drill:
            with closing(open_ledger(address, write=False)) as opened:
                found = drill_only(opened, standing_store(address, store), wish, fresh, print_note, started)
        else:
            with open_writer(address, key) as notary:
                found = roll_back(notary, standing_store(address, store), wish, fresh, print_note, started)
    if as_json:
        print_record(found)
    else:
        print_lines(*_rollback_lines(found))
    return int(ExitCode.DONE)


def _rollback_lines(found: Rehearsal) -> list[str]:
    from rsa_ops.core.digest import short

    target = found.target
    lines = [f"from  {target.model} version {found.before_version}, generation {found.before_generation}"]
    lines += [
        f"to    version {target.version} ({short(target.digest)}), {target.alias} of generation {target.generation}"
    ]
    lines += [f"  {check}" for check in found.checks]
    if found.drill:
        return [*lines, f"drill: would work, {found.wall_seconds:.1f} s; nothing was moved"]
    done = f"rolled back: {target.alias} is version {target.version}, generation {found.before_generation + 1}"
    return [*lines, f"{done}, entry {short(found.moved or '')} of the ledger, {found.wall_seconds:.1f} s"]


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
    from rsa_ops.stages.resolve import standing_store

    kinds = tuple(kind for kind in KINDS if not only or kind in only)
    strange = sorted(set(only or ()) - set(KINDS))
    if strange:
        raise UsageError(f"--only {strange[0]!r}", hint=f"One of: {', '.join(KINDS)}.")
    if work is not None and not (work / "cells").is_dir():
        raise UsageError(f"{work} has no folder `cells`", hint="Give the --work folder of a run.")
    address = ledger or default_address()
    found = standing_store(address, store)
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
