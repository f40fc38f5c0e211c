"""A ledger with a key to write it by, and what happens where nobody has set up keys.

Without a key of its own, a ledger in an SQLite file gets one that lies beside it (`ledger.key`, mode 0600). That
shows order and finds every change by somebody who cannot read that key; it shows nothing against the account that
runs rsa_ops, which could write the whole ledger anew. The first entry says so (`custody: beside ledger`), and so do
the output of the run and of `audit verify`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rsa_ops.core.digest import short
from rsa_ops.core.record import Value
from rsa_ops.errors import ConflictError, MissingError
from rsa_ops.governance.database import database_file, ledger_url
from rsa_ops.governance.entry import Draft, Kind, Sealed
from rsa_ops.governance.key_file import require_own_folder
from rsa_ops.governance.keys import FileKey, Signer, load_key, make_key
from rsa_ops.governance.store import Guard, Ledger, open_ledger

LOCAL_NAME = "made beside the ledger"


@dataclass(frozen=True)
class Notary:
    """Who writes a ledger: the ledger and the signing key, with its file where it has one."""

    ledger: Ledger
    signer: Signer
    key_file: Path | None = None

    def write(self, kind: Kind, subject: str, payload: Value, *, guard: Guard | None = None) -> Sealed:
        """Append an entry with a typed payload; errors and `guard` as for `Ledger.append`."""
        return self.ledger.append(Draft.of(kind, subject, payload), self.signer, guard=guard)


def open_notary(address: str, key: Path | None, tell: Callable[[str], None]) -> Notary:
    """Open the ledger at `address` for writing with the key file `key`, or with the key beside the ledger.

    An SQLite ledger that is not there yet is begun, with `key` or with a key made for it; `tell` is told so.

    Raises:
        MissingError: no key for a ledger that has entries; an empty or keyless PostgreSQL ledger.
        UsageError: the key file may be read by others, or a key cannot be kept safely beside the ledger.
    """
    ledger = open_ledger(address, write=True)
    file = database_file(ledger_url(address))
    if file is None:
        if key is None:
            raise MissingError(
                f"the ledger at {ledger.address} is shared, and no key is given to sign with",
                hint="Give --key FILE (or RSA_OPS_KEY); `rsa-ops keys new` makes one, an administrator grants it.",
            )
        return Notary(ledger, load_key(key), key)
    local = local_key(file)
    if key is not None:
        signer = load_key(key)
        if _begun(ledger, file, signer, key.name, local=False):
            tell(f"began the ledger {file}, signed by {short(signer.public.key)} ({key})")
        return Notary(ledger, signer, key)
    signer = load_key(local) if _has_entries(ledger, file) else _local_signer(local)
    if _begun(ledger, file, signer, LOCAL_NAME, local=True):
        tell(f"began the ledger {file}, signed by a key that was made beside it ({local})")
        tell("whoever may read that key can write such a ledger anew: keep checkpoints elsewhere, or give --key")
    return Notary(ledger, signer, local)


def local_key(file: Path) -> Path:
    """Where the key of a ledger file lies that nobody has set up keys for: `ledger.db` has `ledger.key`."""
    return file.with_suffix(".key")


def _begun(ledger: Ledger, file: Path, signer: FileKey, name: str, *, local: bool) -> bool:
    if _has_entries(ledger, file):
        return False
    try:
        ledger.begin(signer, name, "beside ledger" if local else "held")
    except ConflictError:
        if not _has_entries(ledger, file):
            raise
        return False  # another process began it in this moment
    return True


def _has_entries(ledger: Ledger, file: Path) -> bool:
    if not file.exists():
        return False
    try:
        with ledger.view() as view:
            return view.head() is not None
    except MissingError:
        return False


def _local_signer(path: Path) -> FileKey:
    if path.exists():
        return load_key(path)
    require_own_folder(path.parent)
    try:
        return make_key(path)
    except ConflictError:
        return load_key(path)  # another process made it in this moment
