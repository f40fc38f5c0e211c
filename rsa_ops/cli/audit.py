"""`rsa-ops audit`: begin a ledger, read it, verify it, take it elsewhere."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rsa_ops.cli.output import AsJson, KeyFile, LedgerAddress, print_lines, print_record
from rsa_ops.errors import ExitCode, MissingError, UsageError

if TYPE_CHECKING:
    from rsa_ops.governance.audit import AuditReport
    from rsa_ops.governance.entry import Sealed

Reason = Annotated[str, typer.Option("--reason", help="Why; it stays in the ledger.")]


def add_to(app: typer.Typer) -> None:
    """Register the commands of this module."""
    group = typer.Typer(
        name="audit", no_args_is_help=True, help="The ledger: what was decided, by which key, in which order."
    )
    for command in (init, log, show, verify, export, checkpoint, clock):
        group.command(command.__name__)(command)
    app.add_typer(group)


def init(
    name: Annotated[str, typer.Option("--name", help="What people call the key's holder; a pseudonym will do.")],
    ledger: LedgerAddress = None,
    key: KeyFile = None,
) -> int:
    """Begin an empty ledger; the key becomes its first administrator."""
    from rsa_ops.governance.keys import load_key
    from rsa_ops.governance.store import open_ledger

    if ledger is None or key is None:
        raise UsageError("a ledger is begun at --ledger with --key", hint="`rsa-ops keys new -o FILE` makes a key.")
    signer = load_key(key)
    with closing(open_ledger(ledger, write=True)) as opened:
        begun = opened.begin(signer, name)
    print_lines(f"began {opened.address}", f"ledger  {begun.hash}", f"admin   {signer.public.key} {name}")
    return int(ExitCode.DONE)


def log(
    ledger: LedgerAddress = None,
    kind: Annotated[str | None, typer.Option("--kind", help="Only entries of this kind, such as verdict.")] = None,
    subject: Annotated[str | None, typer.Option("--subject", help="Only entries about this run, key, ...")] = None,
    last: Annotated[int, typer.Option("--last", min=1, help="How many, the newest.")] = 50,
    as_json: AsJson = False,
) -> int:
    """List entries as they stand there, oldest first. It verifies nothing; `rsa-ops audit verify` does."""
    from rsa_ops.governance.audit import LedgerEntries
    from rsa_ops.governance.entry import Kind
    from rsa_ops.governance.store import open_ledger
    from rsa_ops.stages.ledger import default_address

    if kind is not None and kind not in set(Kind):
        raise UsageError(f"no kind {kind!r}", hint=f"One of {', '.join(Kind)}.")
    with closing(open_ledger(ledger or default_address(), write=False)) as opened, opened.view() as view:
        kinds = () if kind is None else (Kind(kind),)
        found = tuple(view.find(kinds, subject, newest_first=True, limit=last))[::-1]
    if as_json:
        print_record(LedgerEntries(source=opened.address, entries=found))
    else:
        print_lines(*map(_line, found))
    return int(ExitCode.DONE)


def show(
    entry: Annotated[str, typer.Argument(help="The number of an entry, or its hash.")],
    ledger: LedgerAddress = None,
    as_json: AsJson = False,
) -> int:
    """Show one entry, who signed it, and whether the signature holds."""
    from rsa_ops.governance.audit import LedgerEntries
    from rsa_ops.governance.store import open_ledger
    from rsa_ops.stages.audit import signature_words
    from rsa_ops.stages.ledger import default_address

    with closing(open_ledger(ledger or default_address(), write=False)) as opened, opened.view() as view:
        number = int(entry) if entry.isdecimal() else None
        found = view.by_hash(entry) if number is None else next(view.find(after=number - 1, limit=1), None)
        if found is None or (number is not None and found.entry.sequence != number):
            raise MissingError(f"{opened.address} has no entry {entry}", hint="`rsa-ops audit log` lists them.")
        words = signature_words(view, found)
    if as_json:
        print_record(LedgerEntries(source=opened.address, entries=(found,)))
    else:
        text = json.dumps(json.loads(found.body), indent=2, ensure_ascii=False)
        print_lines(text, f"hash       {found.hash}", f"signature  {found.signature}", words)
    return int(ExitCode.DONE)


def verify(
    ledger: LedgerAddress = None,
    file: Annotated[Path | None, typer.Option("--file", help="An exported file instead of a ledger.")] = None,
    checkpoint: Annotated[
        list[Path] | None, typer.Option("--checkpoint", help="A checkpoint kept elsewhere; may be given again.")
    ] = None,
    store: Annotated[
        str | None, typer.Option(help="MLflow store; default: MLFLOW_TRACKING_URI, or the one beside the ledger.")
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Do not ask MLflow.")] = False,
    tsa_roots: Annotated[
        Path | None, typer.Option(help="PEM certificates; each checkpoint must have a time stamp by one of theirs.")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Verify every entry, and what MLflow says now: exit 0, or 6 with the first bad entry."""
    from rsa_ops.stages.audit import Question, audit

    report = audit(Question(ledger, file, tuple(checkpoint or ()), store, offline, tsa_roots))
    if as_json:
        print_record(report)
    else:
        print_lines(*_report_lines(report))
    return int(report.exit_code)


def export(ledger: LedgerAddress = None) -> int:
    """Write every entry to stdout, one JSON line each; `rsa-ops audit verify --file` checks them anywhere."""
    from rsa_ops.governance.export import export_lines
    from rsa_ops.governance.store import open_ledger
    from rsa_ops.stages.ledger import default_address

    with closing(open_ledger(ledger or default_address(), write=False)) as opened:
        sys.stdout.writelines(export_lines(opened.rows()))
    return int(ExitCode.DONE)


def checkpoint(
    out: Annotated[Path, typer.Option("--out", "-o", help="The file to write; keep it where the ledger is not.")],
    ledger: LedgerAddress = None,
    key: KeyFile = None,
    tsa: Annotated[
        str | None, typer.Option(help="URL of a time-stamping authority (RFC 3161); writes OUT.tsr as well.")
    ] = None,
) -> int:
    """Verify the ledger and sign how far it has come; shows later whether it was cut off or written anew."""
    from rsa_ops.governance.checkpoint import write_checkpoint
    from rsa_ops.governance.timestamp import stamp_file
    from rsa_ops.stages.audit import checkpoint as checkpoint_of
    from rsa_ops.stages.ledger import default_address, signing_key

    address = ledger or default_address()
    made = checkpoint_of(address, signing_key(address, key))
    write_checkpoint(out, made)
    print_lines(f"wrote {out}: entry {made.sequence} is {made.head}")
    if tsa is not None:
        print_lines(f"wrote {stamp_file(out, tsa)}")
    return int(ExitCode.DONE)


def clock(reason: Reason, ledger: LedgerAddress = None, key: KeyFile = None) -> int:
    """Go on after a clock that was ahead: an administrator's entry says so, loudly and for ever."""
    from rsa_ops.governance.entry import Kind
    from rsa_ops.governance.payloads import ClockSet
    from rsa_ops.stages.ledger import open_writer

    with open_writer(ledger, key) as notary:
        made = notary.write(Kind.CLOCK_SET, "clock", ClockSet(reason=reason))
    print_lines(f"entry {made.entry.sequence}: the clock counts from {made.entry.at}")
    return int(ExitCode.DONE)


def _line(sealed: Sealed) -> str:
    from rsa_ops.core.digest import short

    entry = sealed.entry
    subject = short(entry.subject) if entry.subject.startswith("sha256:") else entry.subject
    said = entry.payload.get("outcome") or entry.payload.get("reason") or entry.payload.get("name") or ""
    return (
        f"{entry.sequence:6} {entry.at[:19]}Z {entry.kind.value:12} {subject:34.34} "
        f"{entry.role.value:8} {short(entry.key)} {said!s:.32}"
    ).rstrip()


def _report_lines(report: AuditReport) -> list[str]:
    lines = [f"ledger   {report.source}", f"name     {report.ledger}", f"head     {report.head}"]
    lines += [f"checked  {words}" for words in report.checked]
    lines += [f"not      {words}" for words in report.not_checked]
    lines += [f"note     {note}" for note in report.notes]
    bad = [report.first_bad] if report.first_bad is not None else []
    lines += [f"BAD      {finding}" for finding in (*bad, *report.registry, *report.overdue)]
    return [*lines, "INTEGRITY BROKEN" if report.exit_code else "verified"]
