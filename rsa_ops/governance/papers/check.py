"""An evidence bundle checked offline, by nothing but its own bytes and, where given, checkpoints from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from pydantic import Field

from rsa_ops.core.digest import Digest
from rsa_ops.core.record import Record
from rsa_ops.errors import IntegrityError, MissingError
from rsa_ops.governance.audit import KeyLine
from rsa_ops.governance.checkpoint import Checkpoint
from rsa_ops.governance.export import read_lines
from rsa_ops.governance.finding import Finding
from rsa_ops.governance.papers.bundle import INDEX, Bundle, Parts, is_derived, make_bundle, open_bundle
from rsa_ops.governance.papers.index import EvidenceIndex
from rsa_ops.governance.papers.questions import ENTRIES
from rsa_ops.governance.verify import verify_rows


class EvidenceReport(Record):
    """What a bundle that holds is about, which `keys` signed in its ledger, and what was and was not checked."""

    schema_: Literal["rsa_ops/evidence-report/v1"] = Field(default="rsa_ops/evidence-report/v1", alias="schema")

    source: str
    model: str
    version: str
    adapter_digest: Digest
    ledger: Digest
    entries: int
    keys: tuple[KeyLine, ...]
    checked: tuple[str, ...]
    not_checked: tuple[str, ...]


def check_bundle(data: bytes, source: str, now: datetime, checkpoints: Sequence[Checkpoint] = ()) -> EvidenceReport:
    """Check every byte of a bundle.

    Raises:
        IntegrityError: anything in it was changed, taken out or put in, or does not hold.
    """
    members = open_bundle(data)
    for needed in (INDEX, ENTRIES):
        if needed not in members:
            raise IntegrityError(f"{source} has no {needed}, so it is no evidence bundle")
    index = EvidenceIndex.from_json(members[INDEX], INDEX)
    rows = tuple(read_lines(members[ENTRIES]))
    kept = [name for name in members if name.startswith("ledger/checkpoint")]
    parts = Parts(
        model=index.model,
        version=index.version,
        rows=rows,
        checkpoints={name: members[name] for name in kept},
        documents={n: members[n] for n in members if not is_derived(n) and n != ENTRIES and n not in kept},
    )
    try:
        again = make_bundle(parts, now)
    except MissingError as error:  # what is missing in a bundle was there when it was made
        raise IntegrityError(error.message) from error
    if again.data != data:
        raise IntegrityError(
            f"{source} differs from what its own parts make: {_differing(members, again)}",
            hint="It was changed after it was made. `rsa-ops evidence` makes it anew from ledger and store.",
        )
    return _report(source, again, _later(again, checkpoints, rows, now))


def _later(again: Bundle, checkpoints: Sequence[Checkpoint], rows: Sequence[object], now: datetime) -> list[str]:
    """Hold checkpoints from elsewhere against the bundle's ledger; those about later entries cannot be."""
    fitting = [entry for entry in checkpoints if entry.sequence < len(rows)]
    bad: Finding | None = None
    if fitting:
        members = open_bundle(again.data)
        bad = verify_rows(read_lines(members[ENTRIES]), now=now, checkpoints=fitting).first_bad
    if bad is not None:
        raise IntegrityError(f"the ledger of the bundle is not the one of the checkpoint: {bad}")
    foreign = [entry for entry in checkpoints if entry.ledger != again.index.ledger]
    if foreign:
        raise IntegrityError(f"the checkpoint is about the ledger {foreign[0].ledger}")
    return [
        f"the checkpoint about entry {entry.sequence}, which lies behind the bundle's last"
        for entry in checkpoints
        if entry not in fitting
    ]


def _differing(members: dict[str, bytes], again: Bundle) -> str:
    expected = open_bundle(again.data)
    names = sorted(name for name in members.keys() | expected.keys() if members.get(name) != expected.get(name))
    return ", ".join(names) or "the zip file around them"


def _report(source: str, bundle: Bundle, later: list[str]) -> EvidenceReport:
    index, walk = bundle.index, bundle.verified.walk
    own = [entry for entry in bundle.checkpoints if entry.sequence < walk.entries]
    lines = [
        f"{len(index.files) + 3} files: every byte",
        f"{walk.entries} entries of the ledger: hashes, order, keys, roles, signatures, times",
        "the OMS signature over the adapter's files, and three attestations",
        "verdict and policy: those of the ledger, the policy locked first",
        *(f"checkpoint of {entry.at} about entry {entry.sequence}" for entry in own),
    ]
    return EvidenceReport(
        source=source,
        model=index.model,
        version=index.version,
        adapter_digest=index.adapter_digest,
        ledger=index.ledger,
        entries=walk.entries,
        keys=tuple(map(KeyLine.of, walk.keyring.holders.values())),
        checked=tuple(lines),
        not_checked=(
            "whether these are the keys of those you trust: compare their ids",
            "the adapter's own files, which are not in the bundle: `rsa-ops audit verify` does that",
            "what was written after the last entry here",
            *later,
        ),
    )
