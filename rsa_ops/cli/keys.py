"""`rsa-ops keys`: make a key, show its public half, and grant or revoke keys in a ledger."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from rsa_ops.cli.audit import Reason
from rsa_ops.cli.output import AsJson, KeyFile, LedgerAddress, print_lines, print_record
from rsa_ops.errors import ExitCode, UsageError


def add_to(app: typer.Typer) -> None:
    """Register the commands of this module."""
    group = typer.Typer(name="keys", no_args_is_help=True, help="Who may sign what in a ledger.")
    for name, command in (("new", new), ("show", show), ("list", listing), ("add", add), ("revoke", revoke)):
        group.command(name)(command)
    app.add_typer(group)


def new(
    out: Annotated[Path, typer.Option("--out", "-o", help="The private key file; OUT.pub goes beside it.")],
) -> int:
    """Make a private key that only you can read, and its public half."""
    from rsa_ops.governance.keys import make_key, public_path

    made = make_key(out)
    print_lines(f"wrote {out} (private, mode 0600)", f"wrote {public_path(out)}", made.public.key)
    return int(ExitCode.DONE)


def show(
    key: Annotated[Path, typer.Argument(help="A private key file, or a .pub file.")], as_json: AsJson = False
) -> int:
    """Show the public half of a key."""
    from rsa_ops.files import read_record
    from rsa_ops.governance.keys import PublicKey, load_key

    public = read_record(PublicKey, key) if key.suffix == ".pub" else load_key(key).public
    public.verifier()
    if as_json:
        print_record(public)
    else:
        print_lines(f"key         {public.key}", f"public key  {public.public_key}")
    return int(ExitCode.DONE)


def listing(ledger: LedgerAddress = None, as_json: AsJson = False) -> int:
    """List the keys of a ledger. It verifies nothing; `rsa-ops audit verify` does."""
    from rsa_ops.governance.audit import KeyLine, KeyList
    from rsa_ops.governance.store import open_ledger
    from rsa_ops.stages.ledger import default_address

    with closing(open_ledger(ledger or default_address(), write=False)) as opened, opened.view() as view:
        keys = tuple(map(KeyLine.of, view.keyring().holders.values()))
    if as_json:
        print_record(KeyList(source=opened.address, keys=keys))
    else:
        print_lines(*map(str, keys))
    return int(ExitCode.DONE)


def add(
    public: Annotated[Path, typer.Argument(help="The .pub file of the key to grant.")],
    role: Annotated[str, typer.Option("--role", help="admin, operator or approver.")],
    name: Annotated[str, typer.Option("--name", help="What people call its holder; a pseudonym will do.")],
    ledger: LedgerAddress = None,
    key: KeyFile = None,
) -> int:
    """Grant a key a role in the ledger; an administrator signs that."""
    from rsa_ops.files import read_record
    from rsa_ops.governance.entry import Kind, Role
    from rsa_ops.governance.keys import PublicKey
    from rsa_ops.governance.payloads import KeyGrant
    from rsa_ops.stages.ledger import open_writer

    if role not in set(Role):
        raise UsageError(f"no role {role!r}", hint=f"One of {', '.join(Role)}.")
    half = read_record(PublicKey, public)
    half.verifier()
    grant = KeyGrant(key=half.key, public_key=half.public_key, role=Role(role), name=name, custody="held")
    with open_writer(ledger, key) as notary:
        made = notary.write(Kind.KEY_ADDED, half.key, grant)
    print_lines(f"entry {made.entry.sequence}: {half.key} is {role} as {name}")
    return int(ExitCode.DONE)


def revoke(
    revoked: Annotated[str, typer.Argument(help="The id of the key, or its first digits.")],
    reason: Reason,
    ledger: LedgerAddress = None,
    key: KeyFile = None,
) -> int:
    """Revoke a key: it may write nothing from here on; what it wrote stays."""
    from rsa_ops.governance.entry import Kind
    from rsa_ops.governance.payloads import KeyRevoked
    from rsa_ops.stages.ledger import full_key, open_writer

    with open_writer(ledger, key) as notary:
        name = full_key(notary, revoked)
        made = notary.write(Kind.KEY_REVOKED, name, KeyRevoked(key=name, reason=reason))
    print_lines(f"entry {made.entry.sequence}: {name} is revoked")
    return int(ExitCode.DONE)
