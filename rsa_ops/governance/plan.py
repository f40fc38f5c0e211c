"""A plan of a promotion: immutable bytes, a digest that names them, and the file that carries their signatures.

The file is a DSSE envelope (DSSE 1.0.2, envelope.md): payload type, base64 of the plan's canonical JSON (RFC 8785),
and one Ed25519 signature for each key, the requester's first. Any DSSE tool verifies it; securesystemslib does in
the tests. Byte format and a worked check: docs/governance.md.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, ValidationError

from rsa_ops.core.canonical import canonical_json
from rsa_ops.core.digest import Digest, digest_bytes, short
from rsa_ops.core.record import Value
from rsa_ops.errors import IntegrityError, MissingError, UsageError
from rsa_ops.files import disk_errors, write_text
from rsa_ops.governance.entry import from_base64, pae, to_base64
from rsa_ops.governance.keyring import Keyring
from rsa_ops.governance.keys import Signer, signed_by
from rsa_ops.governance.payloads import Plan

PlanType = Literal["application/vnd.rsa-ops.promotion-plan.v1+json"]
PLAN_TYPE: PlanType = "application/vnd.rsa-ops.promotion-plan.v1+json"
LARGEST_FILE_BYTES = 262_144


class PlanSignature(Value):
    """One signature of the envelope; `keyid` is the id of our key."""

    keyid: Digest
    sig: Annotated[str, StringConstraints(min_length=88, max_length=88)]


class PlanFile(Value):
    """`plan.json`: a DSSE envelope."""

    payload_type: PlanType = Field(alias="payloadType")
    payload: str
    signatures: Annotated[tuple[PlanSignature, ...], Field(min_length=1)]

    def plan(self) -> Plan:
        """The plan inside; exact bytes or nothing.

        Raises:
            IntegrityError: no plan of this version, or not its canonical bytes.
        """
        data = from_base64(self.payload)
        try:
            found = Plan.model_validate_json(data)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "it"
            raise IntegrityError(f"the plan file holds no plan of version 1: {where}: {first['msg']}") from error
        if plan_bytes(found) != data:
            raise IntegrityError("the plan file does not hold the canonical bytes of its plan (RFC 8785)")
        return found


def new_nonce() -> str:
    """What makes a plan unlike every other one."""
    return secrets.token_hex(16)


def plan_bytes(plan: Plan) -> bytes:
    """The canonical JSON of a plan: what the envelope carries."""
    return canonical_json(plan.model_dump(mode="json"))


def plan_message(plan: Plan) -> bytes:
    """What is hashed and signed for a plan."""
    return pae(PLAN_TYPE, plan_bytes(plan))


def plan_digest(plan: Plan) -> Digest:
    """SHA-256 over `plan_message`: the name of the plan."""
    return digest_bytes(plan_message(plan))


def sign_plan(plan: Plan, signer: Signer) -> PlanSignature:
    """The signature of a key over a plan."""
    return PlanSignature(keyid=signer.public.key, sig=to_base64(signer.sign(plan_message(plan))))


def plan_file(plan: Plan, signatures: tuple[PlanSignature, ...]) -> PlanFile:
    """The envelope of a plan with these signatures."""
    return PlanFile(payloadType=PLAN_TYPE, payload=to_base64(plan_bytes(plan)), signatures=signatures)


def write_plan(path: Path, file: PlanFile) -> None:
    """Write `plan.json`."""
    write_text(path, file.model_dump_json(indent=2) + "\n")


def read_plan(path: Path) -> PlanFile:
    """Read `plan.json`; its signatures are for `require_signatures`.

    Raises:
        MissingError: no such file. IntegrityError: no envelope of a plan.
    """
    try:
        with disk_errors(path), path.open("rb") as file:
            data = file.read(LARGEST_FILE_BYTES + 1)
    except FileNotFoundError as error:
        raise MissingError(f"{path} is not there", hint="`rsa-ops promote plan` writes a plan.") from error
    except IsADirectoryError as error:
        raise UsageError(f"{path} is a folder", hint="Give the plan.json in it.") from error
    if len(data) > LARGEST_FILE_BYTES:
        raise IntegrityError(f"{path} is too large for a plan")
    try:
        found = PlanFile.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise IntegrityError(f"{path} is no plan: {where}: {first['msg']}") from error
    found.plan()
    return found


def require_signatures(file: PlanFile, keyring: Keyring) -> Plan:
    """The plan, when every signature on it holds, no key signs twice, and the requester's is among them.

    Raises:
        IntegrityError: the bytes or a signature were edited. MissingError: a key that the ledger does not know.
    """
    plan = file.plan()
    message = plan_message(plan)
    for signature in file.signatures:
        holder = keyring.holders.get(signature.keyid)
        if holder is None:
            raise MissingError(
                f"the plan is signed by {short(signature.keyid)}, which this ledger does not know",
                hint="Was it made for another ledger?",
            )
        if not signed_by(holder.public, from_base64(signature.sig), message):
            raise IntegrityError(
                f"the plan was changed after {holder.name} ({short(holder.key)}) had signed it",
                hint="A plan is never edited; make another.",
            )
    keys = [signature.keyid for signature in file.signatures]
    if len(set(keys)) != len(keys):
        raise IntegrityError("one key has signed the plan twice", hint="Each key counts once.")
    if plan.requester not in keys:
        raise IntegrityError(f"the plan is not signed by {short(plan.requester)}, who asked for it")
    return plan
