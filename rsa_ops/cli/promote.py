"""`rsa-ops promote` and `rsa-ops reconcile`: plan, approve, apply, the exceptions, the end of what a crash left."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rsa_ops.cli.audit import Reason
from rsa_ops.cli.output import AsJson, KeyFile, LedgerAddress, print_lines, print_note, print_record
from rsa_ops.errors import ExitCode, IntegrityError, UsageError

if TYPE_CHECKING:
    from rsa_ops.governance.desk import Audited
    from rsa_ops.governance.entry import Sealed
    from rsa_ops.governance.plan import PlanFile

PlanArgument = Annotated[Path, typer.Argument(help="A plan.json that `rsa-ops promote plan` or a run wrote.")]
StoreUri = Annotated[
    str | None, typer.Option(help="MLflow store; default: MLFLOW_TRACKING_URI, or the one beside the ledger.")
]
Alias = Annotated[str, typer.Option("--alias", help="The alias to move.")]
Expires = Annotated[str, typer.Option("--expires", help="How long it lasts: 30m, 12h, 7d.")]


def add_to(app: typer.Typer) -> None:
    """Register the commands of this module."""
    group = typer.Typer(
        name="promote", no_args_is_help=True, help="Move an alias by a plan that others approve; never by hand."
    )
    for name, command in (
        ("plan", plan),
        ("approve", approve),
        ("apply", apply),
        ("show", show),
        ("waive", waive),
        ("break-glass", break_glass),
        ("ratify", ratify),
    ):
        group.command(name)(command)
    app.add_typer(group)
    app.command("reconcile")(reconcile)


def plan(
    model: Annotated[str, typer.Argument(help="A registered model.")],
    version: Annotated[str, typer.Argument(help="Its version that shall be promoted.")],
    reason: Reason,
    alias: Alias = "champion",
    verdict: Annotated[
        str | None, typer.Option("--verdict", help="The run of the verdict; default: the newest about these bytes.")
    ] = None,
    approvals: Annotated[
        int | None, typer.Option("--approvals", min=0, help="More than the policy asks for; never fewer.")
    ] = None,
    expires: Expires = "7d",
    out: Annotated[Path, typer.Option("--out", "-o", help="The plan file to write.")] = Path("plan.json"),
    ledger: LedgerAddress = None,
    key: KeyFile = None,
    store: StoreUri = None,
    as_json: AsJson = False,
) -> int:
    """Plan a promotion from where the alias stands now; the plan is signed, and filed in the ledger."""
    from rsa_ops.governance.plan import write_plan
    from rsa_ops.stages.promotion import Wish, duration, file_plan, live_digest, opened_desk, store_of

    lasts = duration(expires)
    with opened_desk(ledger, key) as desk:
        digest = live_digest(store_of(desk, store), model, version)
        wish = Wish(model, version, digest, reason, alias, verdict, approvals=approvals, lasts=lasts)
        file = file_plan(desk, wish)
        write_plan(out, file)
        _told(desk, file, as_json=as_json, before=f"wrote {out}")
    return int(ExitCode.DONE)


def approve(file: PlanArgument, ledger: LedgerAddress = None, key: KeyFile = None, as_json: AsJson = False) -> int:
    """Approve a plan: your signature goes on the same bytes, into the ledger and into the file."""
    from rsa_ops.governance.plan import read_plan, write_plan
    from rsa_ops.stages.promotion import approve as signed
    from rsa_ops.stages.promotion import opened_desk

    found = read_plan(file)
    with opened_desk(ledger, key) as desk:
        made = signed(desk, found)
        write_plan(file, made)
        _told(desk, made, as_json=as_json)
    return int(ExitCode.DONE)


def apply(
    file: PlanArgument,
    ledger: LedgerAddress = None,
    key: KeyFile = None,
    store: StoreUri = None,
    as_json: AsJson = False,
) -> int:
    """Apply a plan, or say why not.

    Exit 4 or 5: the verdict; 6: edited or tampered with; 7: stale, expired or not approved; 8: missing.
    """
    from rsa_ops.governance.plan import read_plan
    from rsa_ops.stages.promotion import apply as applied
    from rsa_ops.stages.promotion import opened_desk, store_of

    found = read_plan(file)
    with opened_desk(ledger, key) as desk:
        applied(desk, store_of(desk, store), found)
        _told(desk, found, as_json=as_json)
        _warn(desk, found)
    return int(ExitCode.DONE)


def show(file: PlanArgument, ledger: LedgerAddress = None, as_json: AsJson = False) -> int:
    """Show a plan, how far it has come, and what would keep it from being applied now."""
    from contextlib import closing

    from rsa_ops.governance.desk import audited
    from rsa_ops.governance.plan import read_plan, require_signatures
    from rsa_ops.governance.store import open_ledger
    from rsa_ops.stages.ledger import default_address

    found = read_plan(file)
    with closing(open_ledger(ledger or default_address(), write=False)) as opened:
        desk = audited(opened)
        require_signatures(found, desk.walk.keyring)
        _told(desk, found, as_json=as_json)
    return int(ExitCode.DONE)


def waive(
    run: Annotated[str, typer.Argument(help="The run whose verdict does not promote.")],
    reason: Reason,
    rule: Annotated[list[str] | None, typer.Option("--rule", help="An unmet rule; may be given again.")] = None,
    all_rules: Annotated[bool, typer.Option("--all-rules", help="All of them, whatever they are.")] = False,
    expires: Expires = "7d",
    ledger: LedgerAddress = None,
    key: KeyFile = None,
) -> int:
    """Waive unmet rules of a verdict, as an approver, for a while and for a reason that stays in the ledger."""
    from rsa_ops.stages.promotion import duration, opened_desk
    from rsa_ops.stages.promotion import waive as waived

    if bool(rule) == all_rules:
        raise UsageError("which rules?", hint="Give --rule NAME for each, or --all-rules.")
    with opened_desk(ledger, key) as desk:
        _loud(waived(desk, run, tuple(rule or ()), reason, duration(expires)), "WAIVED", reason)
    return int(ExitCode.DONE)


def break_glass(
    file: PlanArgument,
    reason: Reason,
    expires: Expires = "24h",
    ledger: LedgerAddress = None,
    key: KeyFile = None,
) -> int:
    """Let a plan be applied without approvals and on any verdict; another key must ratify that in time."""
    from rsa_ops.governance.plan import read_plan
    from rsa_ops.stages.promotion import break_glass as broken
    from rsa_ops.stages.promotion import duration, opened_desk

    found = read_plan(file)
    with opened_desk(ledger, key) as desk:
        made = broken(desk, found, reason, duration(expires))
    _loud(made, "GLASS BROKEN", reason)
    print_note(
        f"another key must ratify it in {expires}: `rsa-ops promote ratify {made.entry.sequence} --reason ...`"
    )
    return int(ExitCode.DONE)


def ratify(
    entry: Annotated[int, typer.Argument(help="The number of the break-glass entry.", min=0)],
    reason: Reason,
    ledger: LedgerAddress = None,
    key: KeyFile = None,
) -> int:
    """Stand by a break-glass entry of somebody else's."""
    from rsa_ops.stages.promotion import opened_desk
    from rsa_ops.stages.promotion import ratify as ratified

    with opened_desk(ledger, key) as desk:
        _loud(ratified(desk, entry, reason), f"entry {entry} RATIFIED", reason)
    return int(ExitCode.DONE)


def reconcile(
    model: Annotated[str | None, typer.Argument(help="Only this model; default: all.")] = None,
    onward: Annotated[
        bool, typer.Option("--onward", help="Move the alias as was intended, instead of giving the move up.")
    ] = False,
    put_back: Annotated[
        bool,
        typer.Option("--restore", help="Move an alias that was moved outside of rsa_ops back; needs --reason."),
    ] = False,
    reason: Annotated[str, typer.Option(help="Why it is put back; it stays in the ledger.")] = "",
    ledger: LedgerAddress = None,
    key: KeyFile = None,
    store: StoreUri = None,
    as_json: AsJson = False,
) -> int:
    """End what a crash left open: completed where the alias had moved, abandoned where it had not.

    Tells of aliases that were moved outside of rsa_ops (exit 6), and with --restore puts them back.
    """
    from rsa_ops.governance.promotion import Ended, Reconciliation
    from rsa_ops.stages.promotion import end_open, opened_desk, restore

    with opened_desk(ledger, key) as desk:
        found = end_open(desk, store, model, onward=onward)
        outside = restore(desk, store, model, reason if put_back else None)
        record = Reconciliation(source=desk.ledger.address, ended=tuple(map(Ended.of, found)), outside=outside)
    if as_json:
        print_record(record)
    else:
        print_lines(*(map(str, (*record.ended, *record.outside)) if found or outside else ("nothing was open",)))
    if any(each.entry is None for each in outside):
        raise IntegrityError(
            "an alias was moved outside of rsa_ops",
            hint="`rsa-ops audit verify` tells more; `rsa-ops reconcile --restore --reason ...` puts it back.",
        )
    return int(ExitCode.DONE)


def _told(desk: Audited, file: PlanFile, *, as_json: bool, before: str = "") -> None:
    from rsa_ops.governance.promotion import promotion_of

    made = promotion_of(desk, file.plan())
    if as_json:
        print_record(made)
        return
    lines = [
        made.sentence,
        f"plan      {made.plan}",
        f"adapter   {made.adapter_digest}",
        f"approved  {len(made.approved_by)} of {made.approvals}",
        f"expires   {made.expires}",
        f"ledger    {desk.ledger.address}: entry {made.entry}, {made.entries} entries verified",
    ]
    print_lines(*([before] if before else []), *lines)


def _warn(desk: Audited, file: PlanFile) -> None:
    """Say loudly what a promotion leaned on."""
    from rsa_ops.governance.promotion import leaned_on

    for words in leaned_on(desk, file.plan()):
        print_note(words)


def _loud(made: Sealed, what: str, reason: str) -> None:
    print_note(f"{what}: {reason}")
    print_lines(f"entry {made.entry.sequence}: {made.entry.kind.value}, {made.hash}")
