"""Digests: `sha256:<64 hex digits>`, the only name of bytes that rsa_ops trusts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Annotated

from pydantic import StringConstraints

from rsa_ops.core.canonical import canonical_json

Digest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]


def digest_bytes(data: bytes) -> Digest:
    """SHA-256 of `data`."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def digest_value(value: object) -> Digest:
    """SHA-256 of the canonical JSON of `value`."""
    return digest_bytes(canonical_json(value))


def digest_parts(parts: Iterable[bytes]) -> Digest:
    """SHA-256 over length-prefixed parts, so that ("ab", "c") and ("a", "bc") differ."""
    hasher = hashlib.sha256()
    for part in parts:
        hasher.update(len(part).to_bytes(8, "big"))
        hasher.update(part)
    return "sha256:" + hasher.hexdigest()


def short(digest: Digest) -> str:
    """The first 12 hex digits, for people."""
    return digest.removeprefix("sha256:")[:12]
