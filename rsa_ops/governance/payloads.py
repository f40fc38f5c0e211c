"""The payload of each kind of entry, typed: what verification reads, and what a promotion is made of."""

from __future__ import annotations

import json
from typing import Annotated, Literal, TypeVar

from pydantic import Field, JsonValue, StringConstraints, ValidationError

from rsa_ops.core.digest import Digest
from rsa_ops.core.record import Value
from rsa_ops.core.verdict import Outcome
from rsa_ops.errors import IntegrityError
from rsa_ops.governance.entry import LARGEST_INTEGER, Entry, Instant, Kind, Role

Custody = Literal["held", "beside ledger"]
"""`beside ledger`: made by rsa_ops next to the ledger, so that who can write the one can sign the other."""

V = TypeVar("V", bound=Value)
Name = Annotated[str, StringConstraints(min_length=1, max_length=100)]
Reason = Annotated[str, StringConstraints(min_length=1, max_length=2000)]
Counter = Annotated[int, Field(ge=1, le=LARGEST_INTEGER)]
Count = Annotated[int, Field(ge=0, le=LARGEST_INTEGER)]
Rule = Annotated[str, StringConstraints(min_length=1, max_length=255)]
Nonce = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]


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

    nonce: Nonce


class KeyRevoked(Value):
    """`key-revoked`: from here on `key` may write nothing. What it wrote before stays valid."""

    key: Digest
    reason: Reason


class ClockSet(Value):
    """`clock-set`: an administrator's word that earlier entries carry a time that lay ahead."""

    reason: Reason


class PolicyLock(Value):
    """`policy-lock`: policy, test set and design of a run (the entry's subject), fixed before it reads a score.

    `approvals`: how many the policy asks for; a plan on a verdict of this run may ask for more, never for fewer.
    `design_digest` names `design.json`; locks that were written before it was added have none.
    """

    pipeline: Name
    policy: str
    policy_digest: Digest
    test_digest: Digest
    approvals: Count = 0
    design_digest: Digest | None = None


class VerdictGiven(Value):
    """`verdict`: what the gate said about a run (the entry's subject).

    `lock` is the hash of the entry that locked its policy, `verdict_digest` the digest of verdict.json, `unmet` the
    rules that did not hold (None in entries that do not tell, which only a waiver of all rules covers).
    `design_digest`: of the design that was judged by; verdicts from before it was added have none.
    """

    pipeline: Name
    lock: Digest
    policy_digest: Digest
    test_digest: Digest
    verdict_digest: Digest
    outcome: Outcome
    candidate_digest: Digest
    champion_digest: Digest | None
    design_digest: Digest | None = None
    unmet: tuple[Rule, ...] | None = None


class Generation(Value):
    """Where an alias stands: after `generation` moves it names `version` with this digest; 0, None before any."""

    generation: Count
    version: Name | None
    digest: Digest | None


class Plan(Value):
    """`plan` (subject `MODEL@ALIAS`): move `alias` from `expected` to `version`, whose adapter has this digest.

    `verdict` is the hash of the verdict's entry, `papers` that of the version's papers, `approvals` how many keys
    beside the requester's must sign the same bytes. The nonce makes two plans of the same content differ.
    """

    model: Name
    alias: Name
    version: Name
    digest: Digest
    expected: Generation
    verdict: Digest
    papers: Digest | None
    approvals: Count
    expires: Instant
    requester: Digest
    reason: Reason
    nonce: Nonce


class Approval(Value):
    """`approval` (subject `MODEL@ALIAS`): the key of this entry also signed the plan with this digest (base64)."""

    plan: Digest
    signature: Annotated[str, StringConstraints(min_length=88, max_length=88)]


class Intent(Value):
    """`intent` (subject `MODEL@ALIAS`): `alias` is about to move from `before_version` to `version`.

    Written before anything moves; open until `applied`, `rollback` or `abandoned` names its hash. A promotion has a
    plan, a rollback none and a `reason` of its own, and so has a `restore`: it names the version that stands in the
    ledger anyway, because the registry's alias was moved from outside. `waiver` and `break_glass` are the hashes of
    the entries that the promotion leans on.
    """

    plan: Digest | None
    action: Literal["promote", "rollback", "restore"]
    model: Name
    alias: Name
    version: Name
    digest: Digest
    generation: Counter
    before_version: Name | None
    waiver: Digest | None = None
    break_glass: Digest | None = None
    reason: Reason | None = None


class Abandoned(Value):
    """`abandoned` (subject `MODEL@ALIAS`): the intent with this hash came to nothing; the alias is where it was."""

    intent: Digest
    reason: Reason


class Waiver(Value):
    """`waiver` (subject: the verdict's run): until `expires` a plan may stand on this verdict all the same.

    `rules` are the unmet rules that are waived. A verdict that is an error is never waived.
    """

    verdict: Digest
    rules: Literal["all"] | Annotated[tuple[Rule, ...], Field(min_length=1)]
    reason: Reason
    expires: Instant


class BreakGlass(Value):
    """`break-glass` (subject `MODEL@ALIAS`): this plan may be applied without approvals and on any verdict.

    Until `expires` it may be applied, and must then be ratified by another key; later, the alias takes no plan.
    """

    plan: Digest
    reason: Reason
    expires: Instant


class Ratified(Value):
    """`ratified` (subject `MODEL@ALIAS`): somebody else stands by the break-glass entry with this hash."""

    entry: Digest
    reason: Reason


class PointerMoved(Value):
    """`applied` and `rollback`: `alias` of `model` now names `version`, whose adapter has this digest.

    `generation` counts the moves of one alias: 1 for the first, then one more each time. `intent` is the hash of
    the entry that announced the move; None only where a ledger has no intents at all.
    """

    model: Name
    alias: Name
    version: Name
    digest: Digest
    generation: Counter
    intent: Digest | None = None


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
    probe: Digest | None = None


PAYLOADS: dict[Kind, type[Value]] = {
    Kind.GENESIS: Genesis,
    Kind.KEY_ADDED: KeyGrant,
    Kind.KEY_REVOKED: KeyRevoked,
    Kind.CLOCK_SET: ClockSet,
    Kind.POLICY_LOCK: PolicyLock,
    Kind.VERDICT: VerdictGiven,
    Kind.PAPERS: Papers,
    Kind.PLAN: Plan,
    Kind.APPROVAL: Approval,
    Kind.INTENT: Intent,
    Kind.APPLIED: PointerMoved,
    Kind.ROLLBACK: PointerMoved,
    Kind.ABANDONED: Abandoned,
    Kind.WAIVER: Waiver,
    Kind.BREAK_GLASS: BreakGlass,
    Kind.RATIFIED: Ratified,
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
