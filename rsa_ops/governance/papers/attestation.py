"""in-toto statements (v1) in DSSE envelopes, signed by the ledger's key; any DSSE tool can check them.

The bytes are canonical JSON (RFC 8785) throughout, and Ed25519 draws no number, so equal statements by one key are
equal files. The key id is the ledger's: `sha256:` of the DER SubjectPublicKeyInfo.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic import Field, ValidationError

from rsa_ops.core.canonical import canonical_json
from rsa_ops.core.digest import Digest
from rsa_ops.core.record import Value
from rsa_ops.errors import IntegrityError
from rsa_ops.governance.entry import from_base64, pae, to_base64
from rsa_ops.governance.keyring import Holder
from rsa_ops.governance.keys import Signer, signed_by
from rsa_ops.governance.papers.dossier import Dossier, hexadecimal
from rsa_ops.governance.papers.signature import STATEMENT_TYPE

_STATEMENT = "https://in-toto.io/Statement/v1"


class DsseSignature(Value):
    """One signature of an envelope."""

    keyid: Digest
    sig: str


class DsseEnvelope(Value):
    """A DSSE 1.0 envelope as its JSON has it (`envelope.md` of the protocol)."""

    payload: str
    payload_type: str = Field(alias="payloadType")
    signatures: tuple[DsseSignature, ...]


def statement(dossier: Dossier, predicate_type: str, predicate: dict[str, Any]) -> dict[str, Any]:
    """A statement about a version: the folder by its own digest first, then each file by its SHA-256.

    The digest of the folder is SHA-256 over names and file digests (docs/formats.md), so a tool that knows nothing
    of it still finds the files.
    """
    folder = {
        "name": dossier.name,
        "digest": {"sha256": hexadecimal(dossier.digest)},
        "annotations": {"digestOf": "folder: sorted relative names and SHA-256 of its files, length-prefixed"},
    }
    files = [
        {"name": f"{dossier.name}/{name}", "digest": {"sha256": hexadecimal(digest)}}
        for name, digest in sorted(dossier.files.items())
    ]
    return {
        "_type": _STATEMENT,
        "subject": [folder, *files],
        "predicateType": predicate_type,
        "predicate": predicate,
    }


def attest(made: dict[str, Any], signer: Signer) -> bytes:
    """The statement in an envelope, signed."""
    body = canonical_json(made)
    signature = {"keyid": signer.public.key, "sig": to_base64(signer.sign(pae(STATEMENT_TYPE, body)))}
    envelope = {"payload": to_base64(body), "payloadType": STATEMENT_TYPE, "signatures": [signature]}
    return canonical_json(envelope) + b"\n"


def read_attestation(data: bytes, holder: Holder) -> dict[str, Any]:
    """The statement of an envelope that this key has signed.

    Raises:
        IntegrityError: no such envelope, another key, or other bytes than were signed.
    """
    try:
        envelope = DsseEnvelope.model_validate_json(data)
    except ValidationError as error:
        raise IntegrityError(f"no DSSE envelope: {error.errors(include_url=False)[0]['msg']}") from error
    body = from_base64(envelope.payload)
    signatures = [entry for entry in envelope.signatures if entry.keyid == holder.key]
    if envelope.payload_type != STATEMENT_TYPE or len(envelope.signatures) != 1 or not signatures:
        raise IntegrityError(f"no in-toto statement that is signed by {holder.key} alone")
    if not signed_by(holder.public, from_base64(signatures[0].sig), pae(STATEMENT_TYPE, body)):
        raise IntegrityError(f"the statement is not signed by {holder.key}")
    found: dict[str, Any] = json.loads(body)
    return found
