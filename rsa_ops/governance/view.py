"""The rows of a ledger: as they are, as entries, and the state of the ledger as one transaction sees it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, RowMapping, func, null, or_, select

from rsa_ops.core.digest import Digest
from rsa_ops.errors import IntegrityError
from rsa_ops.governance.database import COPIES, ENTRIES
from rsa_ops.governance.entry import Entry, Kind, Sealed, entry_hash, parse_entry
from rsa_ops.governance.keyring import KEY_KINDS, Keyring
from rsa_ops.governance.payloads import read_payload

_STREAMED = {"yield_per": 1000}
_TIMES = ("since", "latest", "clock")


@dataclass(frozen=True)
class Row:
    """An entry as a database or a file gives it; nothing about it is believed before it is verified.

    `copies` are the columns that repeat what is in the body, by name; a file has none.
    """

    body: object
    hash: object
    signature: object
    copies: dict[str, object] = field(default_factory=dict)


class State(NamedTuple):
    """The ledger as the next entry meets it.

    `latest` is the latest time that an entry carries, since the last `clock-set` where there is one; `clock` is the
    database server's, None for SQLite, which has none of its own.
    """

    head: Sealed | None
    keyring: Keyring
    latest: str
    clock: datetime | None


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
        few = bool(kinds) or subject is not None or limit is not None
        how = {} if few else _STREAMED
        for row in self.connection.execute(wanted, execution_options=how).mappings():
            yield _sealed(row)

    def rows(self, *, after: int | None = None) -> Iterator[Row]:
        """All rows in order, or those numbered above `after`, just as they are."""
        number = ENTRIES.c.sequence
        wanted = select(ENTRIES).order_by(number)  # all of them: a number below zero, or none, is a finding too
        if after is not None:
            wanted = wanted.where(number > after)
        for row in self.connection.execute(wanted, execution_options=_STREAMED).mappings():
            yield Row(row["body"], row["hash"], row["signature"], {name: row[name] for name in COPIES})

    def keyring(self) -> Keyring:
        """The keys that the ledger has granted and revoked so far."""
        return _keyring(self.find(KEY_KINDS))

    def state(self) -> State:
        """All that an append must know, in one question, because each costs a round trip to a server."""
        number = ENTRIES.c.sequence
        reset = select(func.max(number)).where(ENTRIES.c.kind == Kind.CLOCK_SET.value).scalar_subquery()
        latest = select(func.max(ENTRIES.c.at))  # without a condition, the index answers at once
        server = self.connection.dialect.name == "postgresql"
        times = (reset, latest.scalar_subquery(), func.clock_timestamp() if server else null())
        top = select(func.max(number)).scalar_subquery()
        wanted = select(ENTRIES, *(each.label(name) for each, name in zip(times, _TIMES, strict=True)))
        wanted = wanted.where(or_(ENTRIES.c.kind.in_(KEY_KINDS), number == top)).order_by(number)
        rows = self.connection.execute(wanted).mappings().all()
        if not rows:
            clock = self.connection.execute(select(times[-1])).scalar_one()
            return State(None, Keyring(), "", clock)
        entries = [_sealed(row) for row in rows]
        since, found, clock = (rows[-1][name] for name in _TIMES)
        if since is not None:
            found = self.connection.execute(latest.where(number >= since)).scalar_one()
        keys = (sealed for sealed in entries if sealed.entry.kind in KEY_KINDS)
        return State(entries[-1], _keyring(keys), found, clock)


def copies(entry: Entry) -> dict[str, object]:
    """The columns of the table that repeat what is in the body, as they should be."""
    return {
        "sequence": entry.sequence,
        "previous": entry.previous,
        "kind": entry.kind.value,
        "subject": entry.subject,
        "at": entry.at,
    }


def _keyring(entries: Iterable[Sealed]) -> Keyring:
    keyring = Keyring()
    for sealed in entries:
        keyring = keyring.after(sealed.entry, read_payload(sealed.entry))
    return keyring


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
