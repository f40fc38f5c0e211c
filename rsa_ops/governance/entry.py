"""One entry of the ledger: a frozen value, its canonical bytes, its hash.

The bytes are canonical JSON (RFC 8785), restricted so that every JSON library writes the same: no floats (numbers
are integers below 2**53 or strings), ASCII keys. Hash and signature are taken over the pre-authentication encoding
of DSSE 1.0.2 (`PAE` in its protocol.md), so that any DSSE tool can check a signature, and one made for an entry can
never pass as one for a checkpoint or a plan. Byte format, field by field: docs/governance.md.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import Field, JsonValue, StringConstraints, ValidationError

from rsa_ops.core.canonical import canonical_json
from rsa_ops.core.digest import Digest, digest_bytes
from rsa_ops.core.record import Value
from rsa_ops.errors import IntegrityError, UsageError

ENTRY_TYPE = "application/vnd.rsa-ops.ledger-entry.v1+json"
NOTHING: Digest = "sha256:" + "0" * 64
"""Stands for the entry before the first one, and for the ledger's name inside it."""

LARGEST_INTEGER = 2**53 - 1
LARGEST_BODY_BYTES = 65_536
DEEPEST = 32

Instant = Annotated[str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$")]
"""UTC with microseconds, always 27 characters, so that text order is time order."""


class Kind(StrEnum):
    """What an entry says. The payloads that verification reads are typed in `payloads`."""

    GENESIS = "genesis"
    KEY_ADDED = "key-added"
    KEY_REVOKED = "key-revoked"
    CLOCK_SET = "clock-set"
    POLICY_LOCK = "policy-lock"
    VERDICT = "verdict"
    PAPERS = "papers"
    PLAN = "plan"
    APPROVAL = "approval"
    INTENT = "intent"
    APPLIED = "applied"
    ABANDONED = "abandoned"
    ROLLBACK = "rollback"
    WAIVER = "waiver"
    BREAK_GLASS = "break-glass"
    RATIFIED = "ratified"


class Role(StrEnum):
    """What a key may write (`keyring.MAY_WRITE`)."""

    ADMIN = "admin"
    OPERATOR = "operator"
    APPROVER = "approver"


class Draft(Value):
    """What somebody wants to have written; place, time and signature come from the ledger and the key."""

    kind: Kind
    subject: Annotated[str, StringConstraints(min_length=1, max_length=255)]
    payload: dict[str, JsonValue]

    @classmethod
    def of(cls, kind: Kind, subject: str, payload: Value) -> Self:
        """A draft from a typed payload.

        Raises:
            UsageError: the subject is empty or longer than 255 characters.
        """
        try:
            return cls(kind=kind, subject=subject, payload=payload.model_dump(mode="json"))
        except ValidationError as error:
            raise UsageError(f"not an entry of the ledger: {error.errors()[0]['msg']}") from error


class Entry(Value):
    """The signed part of an entry.

    `ledger` is the hash of the ledger's first entry (`NOTHING` in that entry itself), `previous` the hash of the
    entry before, `key` the id of the key that signs, `role` the role it signs in.
    """

    schema_: Literal["rsa_ops/ledger-entry/v1"] = Field(default="rsa_ops/ledger-entry/v1", alias="schema")

    ledger: Digest
    sequence: Annotated[int, Field(ge=0, le=LARGEST_INTEGER)]
    previous: Digest
    at: Instant
    kind: Kind
    subject: Annotated[str, StringConstraints(min_length=1, max_length=255)]
    key: Digest
    role: Role
    payload: dict[str, JsonValue]

    def body(self) -> str:
        """The canonical JSON text of the entry: what is stored, hashed and signed.

        Raises:
            UsageError: the payload holds a float, a key beyond ASCII, an integer of 2**53 or more, or is too large.
        """
        _require_plain(self.payload, DEEPEST)
        body = canonical_json(self.model_dump(mode="json"))
        if len(body) > LARGEST_BODY_BYTES:
            raise UsageError(
                f"an entry of {len(body):,} bytes; at most {LARGEST_BODY_BYTES:,}",
                hint="Keep the document as an artifact and write its digest.",
            )
        return body.decode("utf-8")


class Sealed(Value):
    """An entry as it stands in a ledger: with its text, its hash and its signature (base64)."""

    entry: Entry
    body: str
    hash: Digest
    signature: str


def pae(payload_type: str, body: bytes) -> bytes:
    """Pre-authentication encoding, `DSSEv1 <length> <type> <length> <body>` (DSSE 1.0.2, protocol.md)."""
    kind = payload_type.encode("utf-8")
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(body), body)


def message(body: str) -> bytes:
    """What is hashed and signed for an entry.

    Raises:
        ValueError: the text is no UTF-8 (bytes in the database were damaged).
    """
    return pae(ENTRY_TYPE, body.encode("utf-8"))


def entry_hash(body: str) -> Digest:
    """SHA-256 over `message`: the name of the entry."""
    return digest_bytes(message(body))


def parse_entry(body: str) -> Entry:
    """The entry that `body` is the canonical text of; exact bytes or nothing.

    Raises:
        IntegrityError: no JSON, not canonical, or no entry of this version.
    """
    try:
        found = _DECODER.decode(body)
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"no JSON that a ledger holds: {error}") from error
    if plain_canonical(found) != body:
        raise IntegrityError("not the canonical bytes of its value (RFC 8785)")
    try:
        return Entry.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the entry"
        raise IntegrityError(f"no entry of version 1: {where}: {first['msg']}") from error


def plain_canonical(value: object) -> str:
    """RFC 8785 text of a JSON value without floats and with ASCII keys, four times as fast as `canonical_json`.

    Equal to it on such values (held by a property test); on others it differs, and then nothing is accepted.
    """
    return _ENCODER.encode(value)


def to_instant(moment: datetime) -> Instant:
    """A moment (with time zone) as the ledger writes it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def from_instant(text: Instant) -> datetime:
    """The moment, in UTC.

    Raises:
        IntegrityError: no such day or hour.
    """
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise IntegrityError(f"{text} is no moment") from error


def to_base64(data: bytes) -> str:
    """Standard base64 with padding."""
    return base64.b64encode(data).decode("ascii")


def from_base64(text: str) -> bytes:
    """The bytes of exactly that base64 which `to_base64` writes.

    Raises:
        IntegrityError: it is not.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise IntegrityError("no base64") from error
    if to_base64(data) != text:
        raise IntegrityError("no canonical base64")
    return data


def _require_plain(value: Any, depth: int) -> None:
    if depth == 0:
        raise UsageError(f"a payload nested deeper than {DEEPEST}")
    if isinstance(value, float):
        raise UsageError(f"a float in a payload: {value!r}", hint="Write it as a string; digits are then kept.")
    if isinstance(value, int) and abs(value) > LARGEST_INTEGER:
        raise UsageError(f"an integer beyond 2**53 in a payload: {value}", hint="Write it as a string.")
    if isinstance(value, str) and not _encodes(value):
        raise UsageError("a text in a payload is no Unicode (it holds a lone surrogate)")
    if isinstance(value, Mapping):
        for key, part in value.items():
            if not key.isascii():
                raise UsageError(f"a key of a payload is not ASCII: {key!r}")
            _require_plain(part, depth - 1)
    if isinstance(value, list):
        for part in value:
            _require_plain(part, depth - 1)


def _encodes(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _no_float(text: str) -> float:
    raise ValueError(f"a float: {text[:20]}")


def _integer(text: str) -> int:
    if len(text) > 17 or abs(int(text)) > LARGEST_INTEGER:
        raise ValueError(f"an integer beyond 2**53: {text[:20]}")
    return int(text)


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)
_DECODER = json.JSONDecoder(parse_float=_no_float, parse_int=_integer, parse_constant=_no_float)
