"""What somebody does to a ledger who may write its database; with the keys that they hold, or without any."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping
from typing import Any

from rsa_ops.governance.entry import NOTHING, entry_hash, message, parse_entry, plain_canonical, to_base64
from rsa_ops.governance.keys import FileKey
from rsa_ops.governance.view import copies

from .conftest import Kit, loosen

Change = Callable[[dict[str, Any]], None]
COLUMNS = ("sequence", "previous", "hash", "kind", "subject", "at", "body", "signature")


def bodies(kit: Kit) -> list[dict[str, Any]]:
    """The entries as JSON values, in order."""
    return [json.loads(body) for (body,) in kit.fetch("SELECT body FROM rsa_ops_ledger ORDER BY sequence")]


def signatures(kit: Kit) -> list[str]:
    return [text for (text,) in kit.fetch("SELECT signature FROM rsa_ops_ledger ORDER BY sequence")]


def put(kit: Kit, rows: list[dict[str, Any]]) -> None:
    """Replace all rows of the table."""
    connection = sqlite3.connect(kit.file, isolation_level=None)
    loosen(connection)
    connection.execute("DELETE FROM rsa_ops_ledger")
    marks = ", ".join("?" for _ in COLUMNS)
    for row in rows:
        connection.execute(f"INSERT INTO rsa_ops_ledger VALUES ({marks})", [row[name] for name in COLUMNS])
    connection.close()


def rows(kit: Kit) -> list[dict[str, Any]]:
    found = kit.fetch(f"SELECT {', '.join(COLUMNS)} FROM rsa_ops_ledger ORDER BY sequence")
    return [dict(zip(COLUMNS, row, strict=True)) for row in found]


def row(body: dict[str, Any] | str, signer: FileKey | None, signature: str = "") -> dict[str, Any]:
    """A row whose columns fit its body; signed by `signer`, or with `signature` as it is."""
    text = body if isinstance(body, str) else plain_canonical(body)
    signed = to_base64(signer.sign(message(text))) if signer is not None else signature
    value = json.loads(text)
    columns = {name: value[name] for name in ("sequence", "previous", "kind", "subject", "at")}
    return {**columns, "hash": entry_hash(text), "body": text, "signature": signed}


def rewrite(kit: Kit, sequence: int, change: Change, keys: Mapping[str, FileKey], *, rest: bool) -> None:
    """Change one entry; `rest`: chain all later ones to it anew. Signed anew as far as `keys` (by id) go."""
    found, old = bodies(kit), signatures(kit)
    change(found[sequence])
    made = rows(kit)[:sequence]
    for number in range(sequence, len(found)):
        if number > sequence and not rest:
            made += rows(kit)[number:]
            break
        if number > sequence:
            found[number]["previous"] = made[-1]["hash"]
        made.append(row(found[number], keys.get(found[number]["key"]), old[number]))
    put(kit, made)


def all_keys(kit: Kit) -> dict[str, FileKey]:
    return {key.public.key: key for key in kit.keys.values()}


def add(kit: Kit, by: str, **changes: Any) -> None:
    """Put an entry behind the last one, by hand, signed by a key as it is; `changes` to a fitting plan entry."""
    last = parse_entry(kit.fetch("SELECT body FROM rsa_ops_ledger ORDER BY sequence DESC LIMIT 1")[0][0])
    text = last.body()
    base = {
        **last.model_dump(mode="json"),
        "ledger": last.ledger if last.sequence else entry_hash(text),
        "sequence": last.sequence + 1,
        "previous": entry_hash(text),
        "kind": "policy-lock",
        "subject": "some run",
        "key": kit.key(by).public.key,
        "role": "operator",
        "payload": {"pipeline": "p", "policy": "q", "policy_digest": NOTHING, "test_digest": NOTHING},
    }
    put(kit, [*rows(kit), row({**base, **changes}, kit.key(by))])


__all__ = ["COLUMNS", "add", "all_keys", "bodies", "copies", "put", "rewrite", "row", "rows", "signatures"]
