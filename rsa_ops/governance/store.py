"""The ledger as a place: entries are appended in one transaction and read back; nothing else can be done to it.

An append reads the head, signs and inserts while it holds the one write lock (`BEGIN IMMEDIATE` on SQLite, an
advisory lock on PostgreSQL). For a writer that takes no such lock, unique indexes on the sequence number and on the
previous hash make a fork unwritable: the slower of the two is refused, and appends again after the new head.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine, insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import IntegrityError as NotUnique

from rsa_ops.core.digest import Digest
from rsa_ops.errors import ConflictError, IntegrityError, MissingError, RsaOpsError, UsageError
from rsa_ops.governance.database import (
    ENTRIES,
    create_table,
    database_errors,
    has_table,
    ledger_url,
    open_engine,
    reading,
    shown,
    sqlstate,
    writing,
)
from rsa_ops.governance.entry import (
    NOTHING,
    Draft,
    Entry,
    Kind,
    Role,
    Sealed,
    entry_hash,
    from_base64,
    from_instant,
    message,
    to_base64,
    to_instant,
)
from rsa_ops.governance.finding import Fault, Flaw
from rsa_ops.governance.keyring import Keyring
from rsa_ops.governance.keys import Signer, signed_by
from rsa_ops.governance.payloads import Custody, Genesis, read_payload
from rsa_ops.governance.view import Row, State, View, copies

CLOCK_TOLERANCE = timedelta(seconds=60)
"""How far the clocks of two honest writers may be apart."""

_ATTEMPTS = 20
_RETRIED = ("40001", "40P01")  # PostgreSQL: serialisation failure, deadlock; both leave nothing behind


def utc_now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


Guard = Callable[[View], None]
"""Looks at the ledger in the appending transaction, and raises what keeps the entry from being written."""


@dataclass(frozen=True)
class Ledger:
    """An opened ledger. `address` is safe to print. `clock` gives the time of new entries."""

    engine: Engine
    address: str
    clock: Callable[[], datetime] = utc_now
    tolerance: timedelta = CLOCK_TOLERANCE

    def append(self, draft: Draft, signer: Signer, *, guard: Guard | None = None) -> Sealed:
        """Write one entry after the last one; on the disk when this returns.

        `guard` runs under the lock, after which nobody else can write before this entry: what it checks still holds
        when the entry stands. It may run again after a conflict. When the connection breaks in the commit itself,
        the error does not tell whether the entry was written; look for it before you try again.

        Raises:
            UsageError: a payload that no ledger holds, a role that may not write this kind, a read-only disk.
            IntegrityError: a revoked key; key entries that contradict the ledger.
            MissingError: an empty ledger, a key that was never granted, no database.
            ConflictError: another writer kept the ledger, or the clock stands before the last entry.
        """
        return self._transact(lambda view: self._appended(view, draft, signer, guard))

    def begin(self, signer: Signer, name: str, custody: Custody = "held") -> Sealed:
        """Write the first entry of an empty ledger: `signer` becomes its first administrator, called `name`.

        Raises:
            ConflictError: the ledger has entries.
        """
        public = signer.public
        grant = Genesis(
            key=public.key,
            public_key=public.public_key,
            role=Role.ADMIN,
            name=name,
            custody=custody,
            nonce=secrets.token_hex(16),
        )
        draft = Draft.of(Kind.GENESIS, public.key, grant)
        return self._transact(lambda view: self._begun(view, draft, signer))

    @contextmanager
    def view(self) -> Iterator[View]:
        """One state of the ledger, to read from; entries written meanwhile do not show.

        Raises:
            MissingError: no ledger there. IntegrityError: a damaged database.
        """
        with reading(self.engine) as connection:
            if not has_table(connection):
                raise MissingError(f"{self.address} holds no ledger", hint="`rsa-ops audit init` begins one.")
            yield View(connection)

    def rows(self) -> Iterator[Row]:
        """All rows in order, just as they are: for verification and export.

        Raises:
            MissingError: no ledger there. IntegrityError: a damaged database.
        """
        with self.view() as view:
            yield from view.rows()

    def close(self) -> None:
        """Let go of the database."""
        self.engine.dispose()

    def _transact(self, work: Callable[[View], Sealed]) -> Sealed:
        with database_errors():
            for _ in range(_ATTEMPTS):
                try:
                    with writing(self.engine) as connection:
                        return work(View(connection))
                except NotUnique:
                    continue  # another writer, without our lock, was faster; nothing of ours was written
                except DBAPIError as error:
                    if sqlstate(error) not in _RETRIED:
                        raise
        raise ConflictError(
            f"other writers were faster {_ATTEMPTS} times at {self.address}", hint="Run again; nothing was written."
        )

    def _begun(self, view: View, draft: Draft, signer: Signer) -> Sealed:
        if not has_table(view.connection):
            create_table(view.connection)
        state = view.state()
        if state.head is not None:
            raise ConflictError(f"{self.address} has entries already", hint="A ledger begins once.")
        return self._written(view, state, draft, signer, Role.ADMIN)

    def _appended(self, view: View, draft: Draft, signer: Signer, guard: Guard | None) -> Sealed:
        state = view.state()
        if state.head is None:
            raise MissingError(f"the ledger at {self.address} is empty", hint="`rsa-ops audit init` begins it.")
        if draft.kind is Kind.GENESIS:
            raise UsageError("a ledger begins once")
        key = signer.public.key
        fault = state.keyring.fault(key, draft.kind)
        if fault is not None:
            raise _refused(fault)
        _require_signed(state.head, state.keyring)
        if guard is not None:
            guard(view)
        return self._written(view, state, draft, signer, state.keyring.holders[key].role)

    def _written(self, view: View, state: State, draft: Draft, signer: Signer, role: Role) -> Sealed:
        head = state.head
        entry = Entry(
            ledger=NOTHING if head is None else ledger_name(head),
            sequence=0 if head is None else head.entry.sequence + 1,
            previous=NOTHING if head is None else head.hash,
            at=to_instant(self._now(state, draft.kind)),
            kind=draft.kind,
            subject=draft.subject,
            key=signer.public.key,
            role=role,
            payload=draft.payload,
        )
        state.keyring.after(entry, read_payload(entry))  # refuses what contradicts the keys so far
        sealed = seal(entry, signer)
        view.connection.execute(insert(ENTRIES).values(**_columns(sealed)))
        return sealed

    def _now(self, state: State, kind: Kind) -> datetime:
        now = self.clock()
        if state.clock is not None and abs(now - state.clock) > self.tolerance:
            raise ConflictError(
                f"this machine's clock says {to_instant(now)}, the database's {to_instant(state.clock)}",
                hint="Set the wrong one right; nothing was written.",
            )
        if kind is not Kind.CLOCK_SET and state.latest and now < from_instant(state.latest) - self.tolerance:
            raise ConflictError(
                f"the clock says {to_instant(now)}, but the ledger has an entry of {state.latest}",
                hint="Set the clock right. Was it ahead before? An administrator writes so: `rsa-ops audit clock`.",
            )
        return now


def open_ledger(address: str, *, write: bool) -> Ledger:
    """The ledger at an address (`database.ledger_url`); nothing is created before something is written.

    Raises:
        UsageError: no such kind of database. MissingError: no file there to read, no driver.
    """
    url = ledger_url(address)
    return Ledger(open_engine(url, write=write), shown(url))


def seal(entry: Entry, signer: Signer) -> Sealed:
    """The entry with its text, hash and signature."""
    body = entry.body()
    return Sealed(entry=entry, body=body, hash=entry_hash(body), signature=to_base64(signer.sign(message(body))))


def ledger_name(head: Sealed) -> Digest:
    """The name of the ledger that an entry belongs to: the hash of its first entry."""
    return head.hash if head.entry.sequence == 0 else head.entry.ledger


def _columns(sealed: Sealed) -> dict[str, object]:
    return {**copies(sealed.entry), "hash": sealed.hash, "body": sealed.body, "signature": sealed.signature}


def _require_signed(head: Sealed, keyring: Keyring) -> None:
    """No entry is built on one that its key has not signed: it would vouch for a forger's."""
    holder = keyring.holders.get(head.entry.key)
    if holder is None or not signed_by(holder.public, from_base64(head.signature), message(head.body)):
        raise IntegrityError(
            f"entry {head.entry.sequence}, the last of the ledger, is not signed by a key of it",
            hint="`rsa-ops audit verify` tells more; nothing was written.",
        )


def _refused(fault: Fault) -> RsaOpsError:
    if fault.flaw is Flaw.UNKNOWN_KEY:
        return MissingError(
            fault.reason, hint="An administrator grants it: `rsa-ops keys add FILE.pub --role ROLE --name NAME`."
        )
    if fault.flaw is Flaw.REVOKED_KEY:
        return IntegrityError(fault.reason, hint="Sign with a key that is good.")
    return UsageError(fault.reason, hint="Sign with a key of another role.")
