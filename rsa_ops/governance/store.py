"""The ledger as a place: entries are appended in one transaction and read back; nothing else can be done to it.

An append reads the head, signs and inserts while it holds the one write lock (`BEGIN IMMEDIATE` on SQLite, an
advisory lock on PostgreSQL). For a writer that takes no such lock, unique indexes on the sequence number and on the
previous hash make a fork unwritable: the slower of the two is refused, and appends again after the new head.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, Engine, RowMapping, func, insert, null, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import IntegrityError as NotUnique

from rsa_ops.core.digest import Digest
from rsa_ops.errors import ConflictError, IntegrityError, MissingError, RsaOpsError, UsageError
from rsa_ops.governance.database import (
    COPIES,
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
    parse_entry,
    to_base64,
    to_instant,
)
from rsa_ops.governance.finding import Fault, Flaw
from rsa_ops.governance.keyring import KEY_KINDS, Keyring
from rsa_ops.governance.keys import Signer, signed_by
from rsa_ops.governance.payloads import Custody, Genesis, read_payload

CLOCK_TOLERANCE = timedelta(seconds=60)
"""How far the clocks of two honest writers may be apart."""

_ATTEMPTS = 20
_STREAMED = {"yield_per": 1000}
_RETRIED = ("40001", "40P01")  # PostgreSQL: serialisation failure, deadlock; both leave nothing behind


def utc_now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Row:
    """An entry as a database or a file gives it; nothing about it is believed before it is verified.

    `copies` are the columns that repeat what is in the body, by name; a file has none.
    """

    body: object
    hash: object
    signature: object
    copies: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class View:
    """The ledger as one transaction sees it."""

    connection: Connection

    def head(self) -> Sealed | None:
        """The last entry, or None in an empty ledger."""
        return next(self.find(newest_first=True, limit=1), None)

    def by_hash(self, name: Digest) -> Sealed | None:
        """The entry with this hash, or None."""
        found = self.connection.execute(select(ENTRIES).where(ENTRIES.c.hash == name)).mappings().first()
        return None if found is None else _sealed(found)

    def find(
        self,
        kinds: Sequence[Kind] = (),
        subject: str | None = None,
        *,
        after: int = -1,
        newest_first: bool = False,
        limit: int | None = None,
    ) -> Iterator[Sealed]:
        """Entries by kind and subject, numbered above `after`.

        They are parsed, not verified; `verify` is for that.

        Raises:
            IntegrityError: an entry that cannot be read.
        """
        number = ENTRIES.c.sequence
        wanted = select(ENTRIES).where(number > after).order_by(number.desc() if newest_first else number)
        if kinds:
            wanted = wanted.where(ENTRIES.c.kind.in_([kind.value for kind in kinds]))
        if subject is not None:
            wanted = wanted.where(ENTRIES.c.subject == subject)
        if limit is not None:
            wanted = wanted.limit(limit)
        for row in self.connection.execute(wanted, execution_options=_STREAMED).mappings():
            yield _sealed(row)

    def keyring(self) -> Keyring:
        """The keys that the ledger has granted and revoked so far."""
        keyring = Keyring()
        for found in self.find(KEY_KINDS):
            keyring = keyring.after(found.entry, read_payload(found.entry))
        return keyring

    def times(self) -> tuple[str, datetime | None]:
        """The latest time that an entry carries (since the last `clock-set`, if any), and the server's clock.

        The first is empty in an empty ledger; SQLite has no clock of its own, so the second is None there.
        """
        reset = select(func.max(ENTRIES.c.sequence)).where(ENTRIES.c.kind == Kind.CLOCK_SET.value)
        latest = select(func.max(ENTRIES.c.at))  # without a condition, the index answers at once
        server = self.connection.dialect.name == "postgresql"
        wanted = select(
            reset.scalar_subquery(), latest.scalar_subquery(), func.clock_timestamp() if server else null()
        )
        since, found, clock = self.connection.execute(wanted).one()
        if since is not None:
            found = self.connection.execute(latest.where(ENTRIES.c.sequence >= since)).scalar_one()
        return found or "", clock


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
            wanted = select(ENTRIES).order_by(ENTRIES.c.sequence)
            for row in view.connection.execute(wanted, execution_options=_STREAMED).mappings():
                yield Row(row["body"], row["hash"], row["signature"], {name: row[name] for name in COPIES})

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
        elif view.head() is not None:
            raise ConflictError(f"{self.address} has entries already", hint="A ledger begins once.")
        return self._written(view, None, draft, signer, Role.ADMIN)

    def _appended(self, view: View, draft: Draft, signer: Signer, guard: Guard | None) -> Sealed:
        head = view.head()
        if head is None:
            raise MissingError(f"the ledger at {self.address} is empty", hint="`rsa-ops audit init` begins it.")
        if draft.kind is Kind.GENESIS:
            raise UsageError("a ledger begins once")
        keyring = view.keyring()
        key = signer.public.key
        fault = keyring.fault(key, draft.kind)
        if fault is not None:
            raise _refused(fault)
        _require_signed(head, keyring)
        if guard is not None:
            guard(view)
        return self._written(view, head, draft, signer, keyring.holders[key].role)

    def _written(self, view: View, head: Sealed | None, draft: Draft, signer: Signer, role: Role) -> Sealed:
        entry = Entry(
            ledger=NOTHING if head is None else ledger_name(head),
            sequence=0 if head is None else head.entry.sequence + 1,
            previous=NOTHING if head is None else head.hash,
            at=to_instant(self._now(view, draft.kind)),
            kind=draft.kind,
            subject=draft.subject,
            key=signer.public.key,
            role=role,
            payload=draft.payload,
        )
        if entry.kind in KEY_KINDS and head is not None:
            view.keyring().after(entry, read_payload(entry))
        read_payload(entry)
        sealed = seal(entry, signer)
        view.connection.execute(insert(ENTRIES).values(**_columns(sealed)))
        return sealed

    def _now(self, view: View, kind: Kind) -> datetime:
        now = self.clock()
        latest, theirs = view.times()
        if theirs is not None and abs(now - theirs) > self.tolerance:
            raise ConflictError(
                f"this machine's clock says {to_instant(now)}, the database's {to_instant(theirs)}",
                hint="Set the wrong one right; nothing was written.",
            )
        if kind is not Kind.CLOCK_SET and latest and now < from_instant(latest) - self.tolerance:
            raise ConflictError(
                f"the clock says {to_instant(now)}, but the ledger has an entry of {latest}",
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


def copies(entry: Entry) -> dict[str, object]:
    """The columns of the table that repeat what is in the body, as they should be."""
    return {
        "sequence": entry.sequence,
        "previous": entry.previous,
        "kind": entry.kind.value,
        "subject": entry.subject,
        "at": entry.at,
    }


def _sealed(row: RowMapping) -> Sealed:
    """The entry of a row whose bytes give its hash; nothing is built on one that does not even do that."""
    try:
        entry = parse_entry(row["body"])
        found = Sealed(entry=entry, body=row["body"], hash=entry_hash(row["body"]), signature=row["signature"])
    except (ValueError, TypeError, IntegrityError) as error:
        raise _broken(row, str(error)) from error
    if (found.hash, entry.sequence) != (row["hash"], row["sequence"]):
        raise _broken(row, "its bytes do not give its hash or its number")
    return found


def _broken(row: RowMapping, why: str) -> IntegrityError:
    return IntegrityError(
        f"entry {row['sequence']} of the ledger is broken: {why}", hint="`rsa-ops audit verify` tells more."
    )


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
