"""Stage: a ledger verified, from its database or from an exported file, and held against the live registry."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from rsa_ops.errors import IntegrityError, MissingError, UsageError
from rsa_ops.governance.audit import AuditReport, KeyLine, chain_notes, overdue
from rsa_ops.governance.checkpoint import Checkpoint, make_checkpoint, read_checkpoint
from rsa_ops.governance.entry import Sealed, from_base64, message, to_instant
from rsa_ops.governance.export import read_export
from rsa_ops.governance.finding import Finding
from rsa_ops.governance.keys import Signer, signed_by
from rsa_ops.governance.mirror import disagreements
from rsa_ops.governance.store import open_ledger, utc_now
from rsa_ops.governance.timestamp import stamped_at
from rsa_ops.governance.verify import Verified, verify_rows
from rsa_ops.governance.view import Row, View
from rsa_ops.stages.ledger import default_address, known_store
from rsa_ops.tracking.registry import read_registry
from rsa_ops.tracking.store import Store, read_store


@dataclass(frozen=True)
class Question:
    """What to verify: a ledger by its address, or an exported `file`; against which checkpoints and which store.

    `store` None means: the one beside the ledger or in MLFLOW_TRACKING_URI; `offline`: none at all. With
    `tsa_roots` (PEM certificates), each checkpoint must have a time stamp that leads to one of them.
    """

    address: str | None
    file: Path | None
    checkpoints: Sequence[Path] = ()
    store: str | None = None
    offline: bool = False
    tsa_roots: Path | None = None


def audit(question: Question) -> AuditReport:
    """Verify; the caller decides what a finding means.

    Raises:
        MissingError: no such ledger, file or store. IntegrityError: a checkpoint file is none, or is not signed.
    """
    checkpoints = [read_checkpoint(path) for path in question.checkpoints]
    stamps = _stamps(question)
    with _rows(question) as (source, rows):
        verified = verify_rows(rows, now=utc_now(), checkpoints=checkpoints)
    offline = question.offline or verified.first_bad is not None
    store = None if offline else known_store(question.address, question.store, question.file)
    registry = _disagreements(verified, store) if store is not None else ()
    walk = verified.walk
    return AuditReport(
        source=source,
        ledger=walk.ledger,
        entries=walk.entries,
        head=walk.head,
        latest=walk.latest,
        first_bad=verified.first_bad,
        registry=registry,
        overdue=overdue(verified) if verified.first_bad is None else (),
        keys=tuple(map(KeyLine.of, walk.keyring.holders.values())),
        notes=chain_notes(verified),
        checked=(*_checked(verified, checkpoints, store), *stamps),
        not_checked=_not_checked(verified, checkpoints, store),
    )


def checkpoint(address: str, signer: Signer) -> Checkpoint:
    """A signed checkpoint of a ledger that was verified from its first entry to its last.

    Raises:
        IntegrityError: something is wrong with the ledger. MissingError: the key is not one of it.
    """
    with closing(open_ledger(address, write=False)) as ledger:
        verified = verify_rows(ledger.rows(), now=utc_now())
    if verified.first_bad is not None:
        raise IntegrityError(f"no checkpoint of a broken ledger: {verified.first_bad}")
    walk = verified.walk
    holder = walk.keyring.holders.get(signer.public.key)
    if holder is None or holder.until is not None:
        raise MissingError(f"the key {signer.public.key} is no good key of this ledger")
    return make_checkpoint(walk.ledger, walk.entries - 1, walk.head, signer, utc_now())


def signature_words(view: View, sealed: Sealed) -> str:
    """Who signed an entry, by the keys that the ledger names, and whether the signature holds."""
    holder = view.keyring().holders.get(sealed.entry.key)
    if holder is None:
        return f"signed by  {sealed.entry.key}, which this ledger does not know"
    holds = signed_by(holder.public, from_base64(sealed.signature), message(sealed.body))
    return f"signed by  {holder.name} ({holder.role.value}, {holder.key}): {'holds' if holds else 'DOES NOT HOLD'}"


@contextmanager
def _rows(question: Question) -> Iterator[tuple[str, Iterable[Row]]]:
    if question.file is not None:
        if question.address is not None:
            raise UsageError("a ledger and a file", hint="Give --ledger or --file, one at a time.")
        yield str(question.file), read_export(question.file)
        return
    with closing(open_ledger(question.address or default_address(), write=False)) as ledger:
        yield ledger.address, ledger.rows()


def _stamps(question: Question) -> tuple[str, ...]:
    roots = question.tsa_roots
    if roots is None:
        return ()
    if not question.checkpoints:
        raise UsageError("--tsa-roots without a --checkpoint", hint="Time stamps are on checkpoints.")
    return tuple(f"time stamp of {to_instant(stamped_at(path, roots))} on {path}" for path in question.checkpoints)


def _disagreements(verified: Verified, uri: str) -> tuple[Finding, ...]:
    order = verified.walk.order
    if not order.named:
        return ()  # nothing to ask a store for, and asking costs seconds
    store = reading_store(uri)
    return disagreements(order, read_registry(store, {model for model, _ in order.named}, order.named))


def reading_store(uri: str) -> Store:
    """A store that is there already, to read from; nothing is created in it.

    Raises:
        MissingError: there is none.
    """
    return read_store(uri)


def _checked(verified: Verified, checkpoints: Sequence[Checkpoint], store: str | None) -> tuple[str, ...]:
    walk = verified.walk
    entries = "1 entry" if walk.entries == 1 else f"{walk.entries} entries"
    lines = [f"{entries}: bytes, hashes, order, keys, roles, signatures, times, policy locks, plans"]
    lines += [_about(entry) for entry in checkpoints if entry.sequence < walk.entries]
    if store is not None and walk.order.named:
        count = len(walk.order.named)
        lines.append(f"MLflow at {store}: {len(walk.order.pointers)} aliases and the bytes of {count} versions")
    return tuple(lines)


def _not_checked(verified: Verified, checkpoints: Sequence[Checkpoint], store: str | None) -> tuple[str, ...]:
    lines = []
    if verified.first_bad is not None:
        lines.append("what comes after the first bad entry, and MLflow")
    elif store is None:
        lines.append("MLflow: no store was asked")
    elif not verified.walk.order.named:
        lines.append("MLflow: the ledger names no alias and no version yet")
    lines += [_about(entry) for entry in checkpoints if entry.sequence >= verified.walk.entries]
    if not checkpoints:
        lines.append(
            "whether the end was cut off, or all was written anew: that takes a --checkpoint from elsewhere"
        )
    return tuple(lines)


def _about(checkpoint: Checkpoint) -> str:
    return f"checkpoint of {checkpoint.at} about entry {checkpoint.sequence}"
