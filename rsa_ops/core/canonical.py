"""Canonical JSON (RFC 8785): equal values give equal bytes, on every machine."""

from __future__ import annotations

import rfc8785

from rsa_ops.errors import IntegrityError


def canonical_json(value: object) -> bytes:
    """The one byte string that stands for a JSON value.

    Raises:
        IntegrityError: the value holds NaN, an infinity, an integer beyond 2**53 or no JSON type.
    """
    try:
        return rfc8785.dumps(value)  # type: ignore[arg-type]
    except rfc8785.CanonicalizationError as error:
        raise IntegrityError(f"no canonical JSON for this value: {error}") from error
