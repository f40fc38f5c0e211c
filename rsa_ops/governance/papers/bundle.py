"""The evidence about a version as one zip file, from the ledger and the papers; equal evidence gives equal bytes.

Making a bundle verifies all that goes into it, and whatever can be derived from the rest is derived. So a bundle is
checked by making it once more from its own parts: one changed byte anywhere gives other bytes, or an error.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from rsa_ops.core.digest import digest_bytes, short
from rsa_ops.core.verdict import Verdict
from rsa_ops.errors import IntegrityError
from rsa_ops.gates.policy import Policy
from rsa_ops.governance.audit import KeyLine, KeyList, LedgerEntries
from rsa_ops.governance.checkpoint import Checkpoint
from rsa_ops.governance.entry import Kind
from rsa_ops.governance.export import export_lines
from rsa_ops.governance.keyring import Holder
from rsa_ops.governance.papers import folder as paper
from rsa_ops.governance.papers.attestation import read_attestation
from rsa_ops.governance.papers.dossier import hexadecimal
from rsa_ops.governance.papers.index import (
    NOTICE,
    NOTICE_JAPANESE,
    EvidenceIndex,
    answers,
    index_markdown,
    indexed,
)
from rsa_ops.governance.papers.model_key import public_pem
from rsa_ops.governance.papers.questions import DECISIONS, ENTRIES, LEDGER_KEYS, MODEL_KEY, PLANS
from rsa_ops.governance.papers.signature import files_digest, signed_files
from rsa_ops.governance.papers.story import Story, approved_plans, read_entries, require_files, tell
from rsa_ops.governance.payloads import PolicyLock, VerdictGiven, payload_as
from rsa_ops.governance.verify import Verified, verify_rows
from rsa_ops.governance.view import Row

INDEX, INDEX_TEXT, INDEX_JAPANESE = "index.json", "INDEX.md", "INDEX.ja.md"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can say


@dataclass(frozen=True)
class Parts:
    """What a bundle is made from: rows of the ledger, checkpoints and documents by their names in the bundle."""

    model: str
    version: str
    rows: Sequence[Row]
    checkpoints: Mapping[str, bytes]
    documents: Mapping[str, bytes]


@dataclass(frozen=True)
class Bundle:
    """A bundle that was verified: its bytes, its index and the walk over its ledger."""

    data: bytes
    index: EvidenceIndex
    verified: Verified
    checkpoints: tuple[Checkpoint, ...]


def make_bundle(parts: Parts, now: datetime) -> Bundle:
    """Verify all parts and put them together; the ledger ends with the last entry about the version.

    A checkpoint that knows a later entry takes the ledger up to there.

    Raises:
        MissingError: the ledger has no papers of the version. IntegrityError: anything does not hold.
    """
    found = tuple(Checkpoint.from_json(data, name) for name, data in sorted(parts.checkpoints.items()))
    entries = read_entries(parts.rows)
    story = tell(entries, parts.model, parts.version)
    last = max(story.entries[-1].entry.sequence, *(c.sequence for c in found), 0)
    rows = [Row(row.body, row.hash, row.signature) for row in parts.rows[: last + 1]]
    verified = verify_rows(rows, now=now, checkpoints=found)
    if verified.first_bad is not None:
        raise IntegrityError(f"no evidence from a broken ledger: {verified.first_bad}")
    require_files(story.papers, dict(parts.documents))
    _require_signatures(story, parts.documents, verified)
    _require_judged(story, parts.documents)
    members = {
        **parts.documents,
        **parts.checkpoints,
        ENTRIES: "".join(export_lines(rows)).encode("utf-8"),
        **{
            f"{PLANS}{short(name)}.json": (file.model_dump_json(indent=2) + "\n").encode("utf-8")
            for name, file in approved_plans(story).items()
        },
        DECISIONS: LedgerEntries(source=ENTRIES, entries=story.entries).to_json().encode("utf-8"),
        LEDGER_KEYS: _keys(verified),
        MODEL_KEY: public_pem(story.papers.signer_public_key),
    }
    index = _index(story, verified, members)
    members |= {
        INDEX: index.to_json().encode("utf-8"),
        INDEX_TEXT: index_markdown(index, japanese=False).encode("utf-8"),
        INDEX_JAPANESE: index_markdown(index, japanese=True).encode("utf-8"),
    }
    return Bundle(_zipped(members), index, verified, found)


def is_derived(member: str) -> bool:
    """Whether a member is made from the others."""
    made = (INDEX, INDEX_TEXT, INDEX_JAPANESE, DECISIONS, LEDGER_KEYS, MODEL_KEY)
    return member in made or member.startswith(PLANS)


def open_bundle(data: bytes) -> dict[str, bytes]:
    """The members of a bundle, by name; nothing about them is believed yet.

    Raises:
        IntegrityError: no zip file, or not one of ours.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = archive.infolist()
            if any(info.compress_type != zipfile.ZIP_STORED for info in infos):
                raise IntegrityError("its files are compressed, which a bundle's never are")
            if sum(info.file_size for info in infos) > len(data):
                raise IntegrityError("its files overlap")
            if len({info.filename for info in infos}) != len(infos):
                raise IntegrityError("it holds a name twice")
            return {info.filename: archive.read(info) for info in infos}
    except (zipfile.BadZipFile, ValueError, RuntimeError, EOFError, OSError) as error:
        raise IntegrityError(f"no bundle: {error}") from error


def _require_signatures(story: Story, documents: Mapping[str, bytes], verified: Verified) -> None:
    papers = story.papers
    bundle = documents.get(paper.SIGNATURE, b"")
    if digest_bytes(bundle) != papers.signature:
        raise IntegrityError(f"{paper.SIGNATURE} is not the signature that the papers entry names")
    signed = files_digest(signed_files(bundle, papers.signer_public_key))
    if signed != papers.digest:
        raise IntegrityError(f"{paper.SIGNATURE} signs {signed}, the papers are about {papers.digest}")
    holder: Holder = verified.walk.keyring.holders[story.sealed.entry.key]
    for name in paper.ATTESTATIONS:
        if name not in documents:
            raise IntegrityError(f"{name} is not among the papers")
        subjects = read_attestation(documents[name], holder).get("subject")
        digest = _first_digest(subjects)
        if digest != hexadecimal(papers.digest):
            raise IntegrityError(f"{name} is about {digest}, the papers are about {papers.digest}")


def _first_digest(subjects: object) -> str | None:
    match subjects:
        case [{"digest": {"sha256": str(found)}}, *_]:
            return found
    return None


def _require_judged(story: Story, documents: Mapping[str, bytes]) -> None:
    """The verdict and the policy are those of an entry on this adapter, and of the lock before it."""
    verdict = Verdict.from_json(documents[paper.VERDICT], paper.VERDICT)
    policy = Policy.from_json(documents.get(paper.POLICY, b""), paper.POLICY)
    locks = {e.hash: payload_as(e.entry, PolicyLock) for e in story.entries if e.entry.kind is Kind.POLICY_LOCK}
    for sealed in story.entries:
        if sealed.entry.kind is not Kind.VERDICT:
            continue
        given = payload_as(sealed.entry, VerdictGiven)
        if given.verdict_digest == verdict.digest() and locks[given.lock].policy_digest == policy.digest():
            return
    raise IntegrityError(
        f"no entry of the ledger gives the verdict {verdict.digest()} under the policy {policy.digest()}",
        hint="The verdict or the policy beside the papers is another one than was judged by.",
    )


def _keys(verified: Verified) -> bytes:
    lines = tuple(map(KeyLine.of, verified.walk.keyring.holders.values()))
    return KeyList(source=ENTRIES, keys=lines).to_json().encode("utf-8")


def _index(story: Story, verified: Verified, members: Mapping[str, bytes]) -> EvidenceIndex:
    papers, walk = story.papers, verified.walk
    return EvidenceIndex(
        notice=NOTICE,
        notice_ja=NOTICE_JAPANESE,
        model=papers.model,
        version=papers.version,
        adapter_digest=papers.digest,
        ledger=walk.ledger,
        entries=walk.entries,
        head=walk.head,
        papers=story.sealed.hash,
        files=indexed(members),
        answers=answers(members),
    )


def _zipped(members: Mapping[str, bytes]) -> bytes:
    """Stored, not compressed: what a compressor writes differs from machine to machine."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(members):
            info = zipfile.ZipInfo(name, _EPOCH)
            info.create_system = 3
            info.external_attr = 0o100644 << 16
            archive.writestr(info, members[name])
    return target.getvalue()
