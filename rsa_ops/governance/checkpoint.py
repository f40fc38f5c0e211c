"""A checkpoint: a signed word about how far the ledger had come, to be kept where the ledger is not.

A hash chain cannot show that its end was cut off, nor that somebody with the keys wrote all of it anew. A
checkpoint that lies elsewhere (a git tag, a CI artifact, another disk, a mail) shows both.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from rsa_ops.core.canonical import canonical_json
from rsa_ops.core.digest import Digest, short
from rsa_ops.core.record import Record
from rsa_ops.errors import IntegrityError
from rsa_ops.files import read_record, write_record
from rsa_ops.governance.entry import LARGEST_INTEGER, Instant, from_base64, pae, to_base64, to_instant
from rsa_ops.governance.keys import PublicKey, Signer, load_public, signed_by

CHECKPOINT_TYPE = "application/vnd.rsa-ops.ledger-checkpoint.v1+json"


class Checkpoint(Record):
    """Entry `sequence` of `ledger` had the hash `head`, says the key that signed this at `at`."""

    schema_: Literal["rsa_ops/ledger-checkpoint/v1"] = Field(default="rsa_ops/ledger-checkpoint/v1", alias="schema")

    ledger: Digest
    sequence: Annotated[int, Field(ge=0, le=LARGEST_INTEGER)]
    head: Digest
    at: Instant
    key: Digest
    public_key: str
    signature: str = ""

    def message(self) -> bytes:
        """What is signed: the DSSE encoding of the record's canonical JSON without its signature."""
        return pae(CHECKPOINT_TYPE, canonical_json(self.model_dump(mode="json", exclude={"signature"})))

    def require_signature(self) -> None:
        """Check the checkpoint against its own key; whether the ledger knows that key, verification asks.

        Raises:
            IntegrityError: the signature does not fit.
        """
        public = load_public(self.key, self.public_key)
        if not signed_by(public, from_base64(self.signature), self.message()):
            raise IntegrityError(f"the checkpoint about entry {self.sequence} is not signed by {short(self.key)}")


def make_checkpoint(ledger: Digest, sequence: int, head: Digest, signer: Signer, now: datetime) -> Checkpoint:
    """A signed checkpoint; only of a ledger that was verified up to `head`."""
    public: PublicKey = signer.public
    unsigned = Checkpoint(
        ledger=ledger,
        sequence=sequence,
        head=head,
        at=to_instant(now),
        key=public.key,
        public_key=public.public_key,
    )
    return unsigned.model_copy(update={"signature": to_base64(signer.sign(unsigned.message()))})


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint file."""
    write_record(path, checkpoint)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint file and check its signature.

    Raises:
        MissingError: no such file. IntegrityError: no checkpoint, or not signed by its key.
    """
    found = read_record(Checkpoint, path)
    found.require_signature()
    return found
