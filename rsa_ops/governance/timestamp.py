"""A time stamp by somebody else on a checkpoint file (RFC 3161): it was there then, whoever holds our keys now.

The stamp covers the file's bytes and lies beside it (`FILE.tsr`), so that `openssl ts -verify -data FILE` checks it
too. Needs `rfc3161-client`, which is an extra.
"""

from __future__ import annotations

import urllib.error
import urllib.request
from datetime import datetime
from pathlib import Path
from typing import Any

from rsa_ops.errors import IntegrityError, MissingError, UsageError
from rsa_ops.files import write_bytes

_TIMEOUT_SECONDS = 30
_LARGEST_ANSWER = 1 << 20


def stamp_path(file: Path) -> Path:
    """Where the time stamp of a file lies."""
    return file.with_name(f"{file.name}.tsr")


def stamp_file(file: Path, authority: str) -> Path:
    """Have `file` stamped by the time-stamping authority at the URL `authority`; returns the file with the stamp.

    Raises:
        MissingError: no rfc3161-client, or no answer that is a stamp. UsageError: no http address.
    """
    client = _client()
    if not authority.startswith(("http://", "https://")):
        raise UsageError(f"{authority} is no http address of a time-stamping authority")
    builder = client.TimestampRequestBuilder().data(file.read_bytes())
    asked = builder.hash_algorithm(client.HashAlgorithm.SHA256).build().as_bytes()
    answer = _post(authority, asked)
    try:
        granted = client.decode_timestamp_response(answer).status == client.PKIStatus.GRANTED
    except ValueError as error:
        raise MissingError(f"the answer of {authority} is no time stamp") from error
    if not granted:
        raise MissingError(f"{authority} did not grant a time stamp")
    write_bytes(stamp_path(file), answer)
    return stamp_path(file)


def stamped_at(file: Path, roots: Path) -> datetime:
    """When `file` was stamped, as a certificate that leads to one in `roots` (PEM) says.

    Raises:
        MissingError: no stamp beside the file, no roots, no rfc3161-client.
        IntegrityError: the stamp is of other bytes, or of nobody whom the roots vouch for.
    """
    from cryptography.x509 import load_pem_x509_certificates

    client = _client()
    for needed in (stamp_path(file), roots):
        if not needed.is_file():
            raise MissingError(f"{needed} is not there")
    builder = client.VerifierBuilder()
    try:
        for certificate in load_pem_x509_certificates(roots.read_bytes()):
            builder = builder.add_root_certificate(certificate)
    except ValueError as error:
        raise UsageError(f"{roots} holds no PEM certificates") from error
    try:
        response = client.decode_timestamp_response(stamp_path(file).read_bytes())
        builder.build().verify_message(response, file.read_bytes())
    except (client.VerificationError, ValueError) as error:
        raise IntegrityError(f"{stamp_path(file)} is no good time stamp of {file}: {error}") from error
    moment: datetime = response.tst_info.gen_time
    return moment


def _client() -> Any:
    try:
        import rfc3161_client
    except ModuleNotFoundError as error:
        raise MissingError(
            "rfc3161-client is not installed", hint="`pip install 'rsa-ops[timestamp]'`, or go without time stamps."
        ) from error
    return rfc3161_client


def _post(address: str, body: bytes) -> bytes:
    request = urllib.request.Request(  # noqa: S310  the scheme was checked
        address, data=body, headers={"Content-Type": "application/timestamp-query"}
    )
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310
            found: bytes = answer.read(_LARGEST_ANSWER)
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        raise MissingError(f"the time-stamping authority at {address} does not answer: {error}") from error
    return found
