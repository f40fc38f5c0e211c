"""Payloads that verification reads. Other kinds carry any JSON object; whoever builds on them types them here."""

from __future__ import annotations

import json
from typing import Annotated, Literal, TypeVar

from pydantic import Field, JsonValue, StringConstraints, ValidationError

from rsa_ops.core.digest import Digest
from rsa_ops.core.record import Value
from rsa_ops.core.verdict import Outcome
from rsa_ops.errors import IntegrityError
from rsa_ops.governance.entry import LARGEST_INTEGER, Entry, Kind, Role

Custody = Literal["held", "beside ledger"]
"""`beside ledger`: made by rsa_ops next to the ledger, so that who can write the one can sign the other."""

V = TypeVar("V", bound=Value)
Name = Annotated[str, StringConstraints(min_length=1, max_length=100)]
Reason = Annotated[str, StringConstraints(min_length=1, max_length=2000)]
Counter = Annotated[int, Field(ge=1, le=LARGEST_INTEGER)]


class KeyGrant(Value):
    """`key-added`: from here on `key` may write in `role`.

    `key` is the SHA-256 of the public key (`public_key`: base64 of its DER SubjectPublicKeyInfo). `name` is what
    people call it; a pseudonym will do, and nothing can ever be taken out of a ledger.
    """

    key: Digest
    public_key: str
    role: Role
    name: Name
    custody: Custody


class Genesis(KeyGrant):
    """`genesis`: the first entry grants the key that signs it. `nonce` makes two ledgers of one key differ."""

    nonce: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]


class KeyRevoked(Value):
    """`key-revoked`: from here on `key` may write nothing. What it wrote before stays valid."""

    key: Digest
    reason: Reason


class ClockSet(Value):
    """`clock-set`: an administrator's word that earlier entries carry a time that lay ahead."""

    reason: Reason


class PolicyLock(Value):
    """`policy-lock`: the policy and the test set of a run (the entry's subject), fixed before it reads a score."""

    pipeline: Name
    policy: str
    policy_digest: Digest
    test_digest: Digest


class VerdictGiven(Value):
    """`verdict`: what the gate said about a run (the entry's subject).

    `lock` is the hash of the entry that locked its policy, `verdict_digest` the digest of verdict.json.
    """

    pipeline: Name
    lock: Digest
    policy_digest: Digest
    test_digest: Digest
    verdict_digest: Digest
    outcome: Outcome
    candidate_digest: Digest
    champion_digest: Digest | None


class PointerMoved(Value):
    """`applied` and `rollback`: `alias` of `model` now names `version`, whose adapter has this digest.

    `generation` counts the moves of one alias: 1 for the first, then one more each time.
    """

    model: Name
    alias: Name
    version: Name
    digest: Digest
    generation: Counter


class Papers(Value):
    """`papers` (subject `MODEL/VERSION`): the papers of a version, each by its SHA-256, and who signed its files.

    `digest` is the adapter's, `base_digest` its base model's. `run` is the MLflow run that keeps them.
    `signature` is the digest of the OMS bundle (`papers/model.sig` there), `signer_public_key` the key that checks
    it (base64 of DER SubjectPublicKeyInfo, P-256). `files` maps artifact paths of that run to digests: the papers,
    and the records that the judgement stands on. Papers that are written again, for another verdict on the
    same adapter, stand beside the older ones; the newest count.
    """

    model: Name
    version: Name
    digest: Digest
    base_digest: Digest
    run: Name
    signature: Digest
    signer_public_key: str
    files: dict[str, Digest]


PAYLOADS: dict[Kind, type[Value]] = {
    Kind.GENESIS: Genesis,
    Kind.KEY_ADDED: KeyGrant,
    Kind.KEY_REVOKED: KeyRevoked,
    Kind.CLOCK_SET: ClockSet,
    Kind.POLICY_LOCK: PolicyLock,
    Kind.VERDICT: VerdictGiven,
    Kind.PAPERS: Papers,
    Kind.APPLIED: PointerMoved,
    Kind.ROLLBACK: PointerMoved,
}


def read_payload(entry: Entry) -> Value | dict[str, JsonValue]:
    """The typed payload of an entry, or the JSON object where its kind has no type.

    Raises:
        IntegrityError: the payload is not what its kind says.
    """
    kind = PAYLOADS.get(entry.kind)
    return entry.payload if kind is None else payload_as(entry, kind)


def payload_as(entry: Entry, kind: type[V]) -> V:
    """The payload of an entry as a `kind`.

    Raises:
        IntegrityError: it is none.
    """
    try:
        return kind.model_validate_json(json.dumps(entry.payload))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "it"
        raise IntegrityError(f"the payload of a {entry.kind.value} entry: {where}: {first['msg']}") from error
