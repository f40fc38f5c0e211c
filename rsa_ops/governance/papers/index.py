"""The index of an evidence bundle: every file by its digest, and every question by the files that answer it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from pydantic import Field

from rsa_ops.core.digest import Digest, digest_bytes, short
from rsa_ops.core.record import Record, Value
from rsa_ops.governance.papers.questions import (
    APPROVED_PLAN,
    MEASURED,
    MEASUREMENTS,
    NAMED_BY_PAPERS,
    OTHER_CHECKPOINT,
    OTHERS,
    PLANS,
    QUESTIONS,
    WHAT,
    Question,
)

_BEGINNINGS = {PLANS: APPROVED_PLAN, MEASURED: MEASUREMENTS, OTHERS: OTHER_CHECKPOINT}
NOTICE = "Evidence, not legal advice: what these files show, and not that a law or a standard is met."
NOTICE_JAPANESE = "本資料は証拠であり、法的助言ではない。法令・規格への適合を保証するものではない。"


class IndexedFile(Value):
    """One file of the bundle."""

    path: str
    digest: Digest
    size_bytes: int
    what: str
    what_ja: str


class Answer(Value):
    """One question of an auditor, and the files that answer it; none where somebody else must."""

    framework: str
    reference: str
    question: str
    question_ja: str
    files: tuple[str, ...]
    note: str
    note_ja: str


class EvidenceIndex(Record):
    """`index.json`: what a bundle is about, what lies in it, and what each file answers.

    `ledger` is the name of the ledger, `entries` how many of its entries are here, `head` the hash of the last.
    `papers` is the hash of the entry that names the papers.
    """

    schema_: Literal["rsa_ops/evidence/v1"] = Field(default="rsa_ops/evidence/v1", alias="schema")

    notice: str
    notice_ja: str
    model: str
    version: str
    adapter_digest: Digest
    ledger: Digest
    entries: int
    head: Digest
    papers: Digest
    files: tuple[IndexedFile, ...]
    answers: tuple[Answer, ...]


def indexed(members: Mapping[str, bytes]) -> tuple[IndexedFile, ...]:
    """The files of a bundle, by path."""
    return tuple(_indexed(path, members[path]) for path in sorted(members))


def answers(members: Mapping[str, bytes]) -> tuple[Answer, ...]:
    """Every question, with the files that this bundle has for it."""
    return tuple(_answer(question, members) for question in QUESTIONS)


def index_markdown(index: EvidenceIndex, *, japanese: bool) -> str:
    """The index for reading."""
    return "\n".join(_japanese(index) if japanese else _english(index)) + "\n"


def _indexed(path: str, data: bytes) -> IndexedFile:
    told = (what for start, what in _BEGINNINGS.items() if path.startswith(start))
    english, japanese = WHAT.get(path) or next(told, NAMED_BY_PAPERS)
    return IndexedFile(path=path, digest=digest_bytes(data), size_bytes=len(data), what=english, what_ja=japanese)


def _answer(question: Question, members: Mapping[str, bytes]) -> Answer:
    return Answer(
        framework=question.framework,
        reference=question.reference,
        question=question.english,
        question_ja=question.japanese,
        files=tuple(found for name in question.files for found in _matching(name, members)),
        note=question.note,
        note_ja=question.note_japanese,
    )


def _matching(name: str, members: Mapping[str, bytes]) -> Iterator[str]:
    """The member of this name, or all that begin so where it is a beginning."""
    for member in sorted(members):
        if member == name or (name in _BEGINNINGS and member.startswith(name)):
            yield member


def _english(index: EvidenceIndex) -> Iterator[str]:
    yield f"# Evidence about {index.model}, version {index.version}"
    yield ""
    yield NOTICE
    yield ""
    yield f"Adapter `{index.adapter_digest}`."
    yield f"Ledger `{index.ledger}`, {index.entries} entries to `{short(index.head)}`."
    yield "`rsa-ops evidence --check BUNDLE` checks every file, signature and entry, offline."
    yield ""
    yield "| asked by | question | files |"
    yield "| --- | --- | --- |"
    for answer in index.answers:
        found = _cell(answer.files, answer.note)
        yield f"| {answer.framework}, {answer.reference} | {answer.question} | {found} |"
    yield ""
    yield "| file | what it is | SHA-256, its beginning |"
    yield "| --- | --- | --- |"
    for file in index.files:
        yield f"| `{file.path}` | {file.what} | `{short(file.digest)}` |"


def _japanese(index: EvidenceIndex) -> Iterator[str]:
    yield f"# {index.model} 第 {index.version} 版に関する証拠資料"
    yield ""
    yield NOTICE_JAPANESE
    yield ""
    yield f"アダプタ `{index.adapter_digest}`。"
    yield f"台帳 `{index.ledger}`、記録 {index.entries} 件（`{short(index.head)}` まで）。"
    yield "`rsa-ops evidence --check BUNDLE` により、全ファイル・署名・台帳記録をオフラインで検証できる。"
    yield ""
    yield "| 出典 | 問い | ファイル |"
    yield "| --- | --- | --- |"
    for answer in index.answers:
        found = _cell(answer.files, answer.note_ja)
        yield f"| {answer.framework} {answer.reference} | {answer.question_ja} | {found} |"
    yield ""
    yield "| ファイル | 内容 | SHA-256（先頭） |"
    yield "| --- | --- | --- |"
    for file in index.files:
        yield f"| `{file.path}` | {file.what_ja} | `{short(file.digest)}` |"


def _cell(files: tuple[str, ...], note: str) -> str:
    return "; ".join(filter(None, (", ".join(f"`{name}`" for name in files), note)))
