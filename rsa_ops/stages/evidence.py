"""Stage: the evidence about a version, from ledger and store into one zip file, and such a file checked."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from rsa_ops.errors import MissingError
from rsa_ops.files import write_bytes
from rsa_ops.governance.checkpoint import read_checkpoint
from rsa_ops.governance.papers.bundle import Bundle, Parts, make_bundle
from rsa_ops.governance.papers.check import EvidenceReport, check_bundle
from rsa_ops.governance.papers.questions import CHECKPOINT
from rsa_ops.governance.papers.story import read_entries, tell
from rsa_ops.governance.payloads import Papers
from rsa_ops.governance.store import open_ledger, utc_now
from rsa_ops.stages.audit import reading_store
from rsa_ops.stages.ledger import default_address, known_store
from rsa_ops.stages.papers import CHECKPOINT as KEPT_CHECKPOINT
from rsa_ops.tracking.runs import fetch_files
from rsa_ops.tracking.store import Store


@dataclass(frozen=True)
class Wanted:
    """Which evidence: of which version, from which ledger and store, with which checkpoints kept elsewhere."""

    model: str
    version: str
    address: str | None = None
    store: str | None = None
    checkpoints: Sequence[Path] = ()


def gather(wanted: Wanted, target: Path) -> Bundle:
    """Write the bundle to `target`, once all that goes into it was verified.

    Raises:
        MissingError: no such ledger, store or papers. IntegrityError: anything was changed since.
    """
    address = wanted.address or default_address()
    with closing(open_ledger(address, write=False)) as ledger:
        rows = tuple(ledger.rows())
    papers = tell(read_entries(rows), wanted.model, wanted.version).papers
    uri = known_store(address, wanted.store)
    if uri is None:
        raise MissingError("no MLflow store is known that keeps the papers", hint="Give --store URI.")
    store = reading_store(uri)
    documents = _documents(store, papers)
    bundle = make_bundle(
        Parts(
            model=wanted.model,
            version=wanted.version,
            rows=rows,
            checkpoints=_checkpoints(store, papers, wanted.checkpoints),
            documents=documents,
        ),
        utc_now(),
    )
    write_bytes(target, bundle.data)
    return bundle


def check(file: Path, checkpoints: Sequence[Path] = ()) -> EvidenceReport:
    """Check a bundle offline.

    Raises:
        MissingError: no such file. IntegrityError: anything in it was changed, or does not hold.
    """
    try:
        data = file.read_bytes()
    except FileNotFoundError as error:
        raise MissingError(
            f"{file} is not there", hint="`rsa-ops evidence MODEL VERSION -o FILE` writes one."
        ) from error
    return check_bundle(data, str(file), utc_now(), [read_checkpoint(path) for path in checkpoints])


def _documents(store: Store, papers: Papers) -> dict[str, bytes]:
    """The files that the papers name, from the artifacts of their run; whether they are right, others ask."""
    with tempfile.TemporaryDirectory() as scratch:
        return {
            path: fetch_files(store, papers.run, path, Path(scratch) / str(number)).read_bytes()
            for number, path in enumerate(papers.files)
        }


def _checkpoints(store: Store, papers: Papers, elsewhere: Sequence[Path]) -> dict[str, bytes]:
    """The checkpoint that was signed behind the papers, and those from elsewhere, by their names in the bundle."""
    found = {f"ledger/checkpoint-{number}.json": path.read_bytes() for number, path in enumerate(elsewhere, 1)}
    with tempfile.TemporaryDirectory() as scratch:
        try:
            own = fetch_files(store, papers.run, KEPT_CHECKPOINT, Path(scratch)).read_bytes()
        except MissingError:
            return found  # without it the end of the ledger is not vouched for, and the check says so
    return {CHECKPOINT: own, **found}
