"""An evidence bundle holds what it says, whoever looks; one changed byte anywhere is found, offline."""

from __future__ import annotations

import io
import json
import random
import re
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from securesystemslib.dsse import Envelope
from securesystemslib.signer import SSlibKey

from rsa_ops.core.digest import digest_bytes
from rsa_ops.core.verdict import Outcome
from rsa_ops.errors import IntegrityError, MissingError
from rsa_ops.governance.checkpoint import Checkpoint, make_checkpoint
from rsa_ops.governance.entry import Kind, Sealed
from rsa_ops.governance.papers import folder as paper
from rsa_ops.governance.papers.bundle import Bundle, make_bundle, open_bundle
from rsa_ops.governance.papers.check import check_bundle
from rsa_ops.governance.papers.index import EvidenceIndex
from rsa_ops.governance.papers.questions import (
    AI_ACT,
    DECISIONS,
    ENTRIES,
    ISO_42001,
    JAPAN,
    LEDGER_KEYS,
    MODEL_KEY,
    QUESTIONS,
    WHAT,
)
from rsa_ops.governance.papers.signature import sign_folder
from rsa_ops.governance.papers.story import read_entries, tell
from rsa_ops.governance.payloads import Approval, BreakGlass, Intent, PointerMoved, Ratified, Waiver
from rsa_ops.governance.plan import plan_digest, sign_plan

from .conftest import MODEL, Candidate, a_candidate, a_verdict, judged

Members = dict[str, bytes]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Candidate, Bundle]:
    """A version that was planned, approved and applied; not to be changed."""
    made = a_candidate(tmp_path_factory.mktemp("whole"))
    promoted(made)
    return made, made.bundle()


def promoted(made: Candidate) -> None:
    plan = made.plan(given(made))
    made.write(Kind.PLAN, plan)
    approval = Approval(plan=plan_digest(plan), signature=sign_plan(plan, made.kit.key("approver")).sig)
    made.write(Kind.APPROVAL, approval, by="approver")
    intent = made.write(
        Kind.INTENT,
        Intent(
            plan=plan_digest(plan),
            action="promote",
            model=MODEL,
            alias="champion",
            version="3",
            digest=made.papers.digest,
            generation=1,
            before_version=None,
        ),
    )
    made.write(Kind.APPLIED, move(made, "3", 1, intent=intent.hash))


def given(made: Candidate) -> Sealed:
    return next(e for e in tell(entries_of(made), MODEL, "3").entries if e.entry.kind is Kind.VERDICT)


def move(made: Candidate, version: str, generation: int, **changes: str) -> PointerMoved:
    digest = made.papers.digest if version == "3" else digest_bytes(version.encode())
    return PointerMoved(
        model=MODEL,
        alias=changes.pop("alias", "champion"),
        version=version,
        digest=digest,
        generation=generation,
        **changes,
    )


def rezipped(members: Members) -> bytes:
    """What somebody makes who knows the format and has no key."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(members):
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.create_system = 3
            info.external_attr = 0o100644 << 16
            archive.writestr(info, members[name])
    return target.getvalue()


def checked(made: Candidate, data: bytes, *checkpoints: Checkpoint):
    return check_bundle(data, "bundle.zip", made.kit.clock.now, checkpoints)


def test_a_bundle_holds_papers_records_ledger_keys_and_index(whole: tuple[Candidate, Bundle]) -> None:
    made, bundle = whole
    members = open_bundle(bundle.data)
    assert {n: members[n] for n in made.documents} == made.documents
    rest = sorted(set(members) - set(made.documents))
    assert rest == [
        *("INDEX.ja.md", "INDEX.md", "index.json", "keys/ledger.json", "keys/model.pub"),
        *("ledger/checkpoint.json", "ledger/decisions.json", "ledger/entries.jsonl"),
        *(name for name in rest if name.startswith("ledger/plan-")),
    ]
    report = checked(made, bundle.data)
    assert (report.model, report.version, report.adapter_digest) == (MODEL, "3", made.papers.digest)
    assert report.ledger == made.kit.verify().walk.ledger
    assert [key.name for key in report.keys] == ["admin", "operator", "approver"]


def test_equal_evidence_gives_equal_bytes_also_later_and_elsewhere(
    whole: tuple[Candidate, Bundle], tmp_path
) -> None:
    made, bundle = whole
    parts = made.parts(checkpoints={n: d for n, d in open_bundle(bundle.data).items() if "checkpoint" in n})
    later = made.kit.clock.now.replace(year=2027)
    assert make_bundle(parts, later).data == bundle.data
    shuffled = dict(sorted(parts.documents.items(), reverse=True))
    assert make_bundle(replace(parts, documents=shuffled), later).data == bundle.data


def test_entries_about_other_things_do_not_change_a_bundle(tmp_path: Path) -> None:
    made = a_candidate(tmp_path)
    parts = made.parts()
    before = make_bundle(parts, made.kit.clock.now)
    judged(made.kit, a_verdict(digest_bytes(b"another adapter")), run="other")
    made.kit.grant("later", made.kit.verify().walk.keyring.holders[made.kit.key("operator").public.key].role)
    after = make_bundle(replace(parts, rows=tuple(made.kit.ledger.rows())), made.kit.clock.now)
    assert after.data == before.data


def test_the_story_has_lock_verdict_papers_plan_approval_intent_and_move(whole: tuple[Candidate, Bundle]) -> None:
    _, bundle = whole
    told = [entry["entry"]["kind"] for entry in json.loads(open_bundle(bundle.data)[DECISIONS])["entries"]]
    assert told == ["policy-lock", "verdict", "papers", "plan", "approval", "intent", "applied"]


def test_the_story_goes_on_when_the_alias_moves_away_and_back(tmp_path: Path) -> None:
    made = a_candidate(tmp_path)
    made.write(Kind.APPLIED, move(made, "3", 1))
    made.write(Kind.APPLIED, move(made, "4", 2))
    made.write(Kind.ROLLBACK, move(made, "3", 3))
    made.kit.write(Kind.APPLIED, f"{MODEL}@shadow", move(made, "9", 1, alias="shadow"))
    bundle = made.bundle()
    told = json.loads(open_bundle(bundle.data)[DECISIONS])["entries"]
    assert [entry["entry"]["payload"].get("generation") for entry in told[-3:]] == [1, 2, 3]
    assert bundle.index.entries == told[-1]["entry"]["sequence"] + 1  # the move of the other alias is not in it


def test_what_answers_to_a_told_entry_is_told(tmp_path: Path) -> None:
    made = a_candidate(tmp_path)
    plan = made.plan(given(made))
    until = {"reason": "urgent", "expires": "2026-04-01T00:00:00.000000Z"}
    made.write(Kind.WAIVER, Waiver(verdict=given(made).hash, rules="all", **until), by="approver")
    made.write(Kind.WAIVER, Waiver(verdict=digest_bytes(b"another"), rules="all", **until), by="approver")
    made.write(Kind.PLAN, plan)
    glass = made.write(Kind.BREAK_GLASS, BreakGlass(plan=plan_digest(plan), **until))
    made.write(Kind.BREAK_GLASS, BreakGlass(plan=digest_bytes(b"another"), **until))
    made.write(Kind.RATIFIED, Ratified(entry=glass.hash, reason="seen"), by="approver")
    told = [sealed.entry.kind for sealed in tell(entries_of(made), MODEL, "3").entries]
    assert told[-4:] == [Kind.WAIVER, Kind.PLAN, Kind.BREAK_GLASS, Kind.RATIFIED]
    assert (told.count(Kind.WAIVER), told.count(Kind.BREAK_GLASS)) == (1, 1)


def entries_of(made: Candidate) -> tuple[Sealed, ...]:
    return read_entries(made.kit.ledger.rows())


def test_a_version_without_papers_is_missing(whole: tuple[Candidate, Bundle]) -> None:
    made, _ = whole
    with pytest.raises(MissingError, match="no papers"):
        made.bundle(version="4")


def test_every_byte_of_a_bundle_counts(whole: tuple[Candidate, Bundle]) -> None:
    """One bit turned at every header of the zip file, and at sixty places that are drawn."""
    made, bundle = whole
    draw = random.Random(5)
    with zipfile.ZipFile(io.BytesIO(bundle.data)) as archive:
        edges = {info.header_offset + shift for info in archive.infolist() for shift in (0, 8, 10, 14, 28, 31)}
    places = sorted(edges | {len(bundle.data) - 1} | set(draw.sample(range(len(bundle.data)), 60)))
    for place in places:
        data = bytearray(bundle.data)
        data[place] ^= 1 << draw.randrange(8)
        with pytest.raises(IntegrityError):
            checked(made, bytes(data))
    for data in (bundle.data + b"\0", bundle.data[:-1], b"PK" + bundle.data, b"", b"no zip"):
        with pytest.raises(IntegrityError):
            checked(made, data)


def test_no_edit_of_any_member_passes_or_crashes_though_the_index_was_made_to_fit(
    whole: tuple[Candidate, Bundle],
) -> None:
    """300 edits: a span cut, doubled or written over, somewhere in some member, as somebody without keys could."""
    made, bundle = whole
    draw = random.Random(11)
    members = open_bundle(bundle.data)
    for _ in range(300):
        name = draw.choice(sorted(set(members) - {"index.json"}))
        data, size = members[name], draw.choice((1, 7, 64))
        start = draw.randrange(len(data))
        span = data[start : start + size]
        new = draw.choice((b"", span * 2, draw.randbytes(len(span)), b"\xed\xa0\x80", b"null", b'"'))
        edited = {**members, name: data[:start] + new + data[start + size :]}
        if edited == members:
            continue
        with pytest.raises(IntegrityError):
            checked(made, rezipped(edited if name.startswith("INDEX") else fitted(edited)))


@pytest.mark.parametrize(
    ("field", "value"), [("version", "9"), ("model", "other"), ("entries", 3), ("notice", "good")]
)
def test_an_index_that_says_something_else_is_found(
    whole: tuple[Candidate, Bundle], field: str, value: object
) -> None:
    made, bundle = whole
    members = open_bundle(bundle.data)
    index = {**json.loads(members["index.json"]), field: value}
    with pytest.raises(IntegrityError):
        checked(made, rezipped({**members, "index.json": json.dumps(index, indent=2).encode() + b"\n"}))


def test_every_member_is_needed_and_no_other_may_be_added(whole: tuple[Candidate, Bundle]) -> None:
    made, bundle = whole
    members = open_bundle(bundle.data)
    assert checked(made, rezipped(members)).entries == bundle.index.entries  # so that the rest is no fault of ours
    for name in members:
        if name == "ledger/checkpoint.json":
            continue  # below
        with pytest.raises(IntegrityError):
            checked(made, rezipped({n: d for n, d in members.items() if n != name}))
    for name in ("papers/more.txt", "keys/other.pub", "../evil", "/etc/evil", "INDEX.fr.md"):
        with pytest.raises(IntegrityError):
            checked(made, rezipped({**members, name: b"x"}))
    without = {n: d for n, d in members.items() if n != "ledger/checkpoint.json"}
    with pytest.raises(IntegrityError, match=r"INDEX"):  # the index lists it
        checked(made, rezipped(without))


@pytest.mark.parametrize("name", [*paper.PAPERS, "verdict.json", "comparison.json", "tco.json"])
def test_a_changed_paper_is_found_though_the_index_was_made_to_fit(
    whole: tuple[Candidate, Bundle], name: str
) -> None:
    made, bundle = whole
    members = open_bundle(bundle.data)
    members[name] += b" "
    with pytest.raises(IntegrityError, match=re.escape(name)):
        checked(made, rezipped(fitted(members)))


def fitted(members: Members) -> Members:
    """The index made anew over changed members."""
    from rsa_ops.governance.papers.index import index_markdown, indexed

    index = EvidenceIndex.from_json(members["index.json"], "index.json")
    rest = {n: d for n, d in members.items() if not n.lower().startswith("index")}
    index = index.model_copy(update={"files": indexed(rest)})
    texts = {f"INDEX{j}.md": index_markdown(index, japanese=bool(j)).encode() for j in ("", ".ja")}
    return {**rest, **texts, "index.json": index.to_json().encode()}


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: lines.pop(3),
        lambda lines: lines.insert(4, lines.pop(5)),
        lambda lines: lines.__setitem__(4, lines[4].replace("promote", "promotf")),
        lambda lines: lines.__setitem__(4, lines[4][:-6] + 'AAA"}\n'),
        lambda lines: lines.append(lines[-1]),
    ],
    ids=["deleted", "moved", "edited", "signature", "forked"],
)
def test_a_changed_ledger_is_found(whole: tuple[Candidate, Bundle], change: Callable[[list[str]], object]) -> None:
    made, bundle = whole
    members = open_bundle(bundle.data)
    lines = members[ENTRIES].decode().splitlines(keepends=True)
    change(lines)
    members[ENTRIES] = "".join(lines).encode()
    with pytest.raises(IntegrityError):
        checked(made, rezipped(fitted(members)))


def test_a_ledger_cut_before_its_checkpoint_is_found(whole: tuple[Candidate, Bundle]) -> None:
    made, bundle = whole
    walk = made.kit.verify().walk
    head = make_checkpoint(walk.ledger, walk.entries - 1, walk.head, made.kit.key("admin"), made.kit.clock.now)
    members = open_bundle(bundle.data)
    cut = b"".join(members[ENTRIES].splitlines(keepends=True)[:-3])
    parts = made.parts(rows=tuple(made.kit.ledger.rows())[:-3])
    shorter = make_bundle(parts, made.kit.clock.now)  # a whole bundle of an earlier day
    assert open_bundle(shorter.data)[ENTRIES] == cut
    assert "behind the bundle's last" in checked(made, shorter.data, head).not_checked[-1]
    with pytest.raises(IntegrityError, match="truncated"):
        make_bundle(
            replace(parts, checkpoints={"ledger/checkpoint-1.json": head.to_json().encode()}), made.kit.clock.now
        )


def test_a_bundle_written_anew_with_other_keys_is_told_by_a_checkpoint_from_elsewhere(
    whole: tuple[Candidate, Bundle], tmp_path: Path
) -> None:
    made, _ = whole
    walk = made.kit.verify().walk
    kept = make_checkpoint(walk.ledger, 1, entries_of(made)[1].hash, made.kit.key("admin"), made.kit.clock.now)
    forged = a_candidate(tmp_path)  # the same story, by somebody with keys of their own
    data = forged.bundle().data
    assert checked(forged, data).ledger != walk.ledger
    with pytest.raises(IntegrityError, match="wrong ledger"):
        checked(forged, data, kept)
    assert checked(made, made.bundle().data, kept).ledger == walk.ledger


def test_a_signature_over_another_folder_makes_no_bundle(tmp_path: Path) -> None:
    made = a_candidate(tmp_path)
    (made.adapter / "model.json").write_text("{ }")
    other = sign_folder(made.adapter, made.key)
    files = {**made.papers.files, paper.SIGNATURE: digest_bytes(other)}
    papers = made.papers.model_copy(update={"signature": digest_bytes(other), "files": files})
    made.kit.write(Kind.PAPERS, f"{MODEL}/3", papers)
    with pytest.raises(IntegrityError, match="signs sha256"):
        made.bundle(documents={**made.documents, paper.SIGNATURE: other})


def test_a_verdict_that_the_ledger_did_not_give_makes_no_bundle(tmp_path: Path) -> None:
    made = a_candidate(tmp_path)
    better = a_verdict(made.papers.digest).model_copy(update={"sentence": "better than all"}).to_json().encode()
    files = {**made.papers.files, "verdict.json": digest_bytes(better)}
    made.kit.write(Kind.PAPERS, f"{MODEL}/3", made.papers.model_copy(update={"files": files}))
    with pytest.raises(IntegrityError, match="no entry of the ledger gives the verdict"):
        made.bundle(documents={**made.documents, "verdict.json": better})


def test_the_newest_papers_of_a_version_count(tmp_path: Path) -> None:
    made = a_candidate(tmp_path)
    changed = made.papers.model_copy(update={"run": "another"})
    newest = made.kit.write(Kind.PAPERS, f"{MODEL}/3", changed)
    assert tell(entries_of(made), MODEL, "3").sealed.hash == newest.hash


def test_a_compressed_or_doubled_member_is_refused_before_it_is_read(whole: tuple[Candidate, Bundle]) -> None:
    made, bundle = whole
    members = open_bundle(bundle.data)
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    with pytest.raises(IntegrityError, match="compressed"):
        checked(made, target.getvalue())
    doubled = io.BytesIO(bundle.data)
    with zipfile.ZipFile(doubled, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("verdict.json", b"{}")
    with pytest.raises(IntegrityError, match="twice"):
        checked(made, doubled.getvalue())


def test_every_question_is_answered_by_files_or_says_who_answers(whole: tuple[Candidate, Bundle]) -> None:
    _, bundle = whole
    optional = {"verdict.md", "design.json"}  # a run writes them; the candidate of these tests has none
    for question, answer in zip(QUESTIONS, bundle.index.answers, strict=True):
        assert {name for name in question.files if name[-1] not in "/-"} - set(answer.files) <= optional
        assert answer.files or (answer.note and answer.note_ja)
        assert answer.question
        assert answer.question_ja
        assert bool(answer.note) is bool(answer.note_ja)
    assert {question.framework for question in QUESTIONS} == {AI_ACT, ISO_42001, JAPAN}


def test_the_index_names_every_file_in_both_languages_and_claims_no_conformity(
    whole: tuple[Candidate, Bundle],
) -> None:
    _, bundle = whole
    members = open_bundle(bundle.data)
    english, japanese = members["INDEX.md"].decode(), members["INDEX.ja.md"].decode()
    listed = {file.path for file in bundle.index.files}
    assert listed == set(members) - {"index.json", "INDEX.md", "INDEX.ja.md"}
    for name in listed:
        assert f"`{name}`" in english
        assert f"`{name}`" in japanese
    assert "not legal advice" in english
    assert "法的助言ではない" in japanese
    named = {name for question in QUESTIONS for name in question.files if name[-1] not in "/-"}
    assert named <= set(WHAT)


def test_the_keys_in_a_bundle_are_those_of_its_ledger(whole: tuple[Candidate, Bundle]) -> None:
    made, bundle = whole
    members = open_bundle(bundle.data)
    assert members[MODEL_KEY] == made.key.path.with_name(f"{made.key.path.name}.pub").read_bytes()
    keys = json.loads(members[LEDGER_KEYS])["keys"]
    assert [key["key"] for key in keys] == [made.kit.key(n).public.key for n in ("admin", "operator", "approver")]


def test_no_private_key_is_in_a_bundle(whole: tuple[Candidate, Bundle]) -> None:
    made, bundle = whole
    held = [made.key.path, *(made.kit.folder / f"{name}.pem" for name in made.kit.keys)]
    for path in held:
        for line in path.read_bytes().splitlines()[1:-1]:
            assert line not in bundle.data
    assert b"PRIVATE" not in bundle.data


def test_a_promoting_outcome_is_no_condition_for_papers(tmp_path: Path) -> None:
    """A version that was promoted by a waiver has the papers of the verdict that was waived."""
    made = a_candidate(tmp_path)
    assert made.dossier.verdict.outcome is Outcome.PROMOTE
    rejected = a_verdict(made.papers.digest, Outcome.REJECT)
    judged(made.kit, rejected, run="second")
    told = tell(entries_of(made), MODEL, "3").entries
    assert [e.entry.payload["outcome"] for e in told if e.entry.kind is Kind.VERDICT] == ["promote", "reject"]


def test_an_approved_plan_is_an_envelope_that_securesystemslib_verifies(whole: tuple[Candidate, Bundle]) -> None:
    made, bundle = whole
    members = open_bundle(bundle.data)
    (name,) = [name for name in members if name.startswith("ledger/plan-")]
    approver = made.kit.key("approver").public
    raw = approver.verifier().public_bytes(Encoding.Raw, PublicFormat.Raw)
    key = SSlibKey(approver.key, "ed25519", "ed25519", {"public": raw.hex()})
    envelope = Envelope.from_dict(json.loads(members[name]))
    assert list(envelope.verify([key], 1)) == [approver.key]
    assert json.loads(envelope.payload)["digest"] == made.papers.digest
    with pytest.raises(IntegrityError, match="ledger/plan-"):
        checked(made, rezipped(fitted({**members, name: members[name] + b" "})))
