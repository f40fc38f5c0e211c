"""Papers are written once for a verdict, kept with the run, named in the ledger, and go into a bundle."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rsa_ops.cli import main as edge
from rsa_ops.core.digest import Digest
from rsa_ops.core.verdict import Outcome, Verdict
from rsa_ops.errors import ExitCode, IntegrityError, MissingError
from rsa_ops.execution.progress import Silent
from rsa_ops.files import digest_file, digest_folder, write_record, write_text
from rsa_ops.governance.entry import Kind
from rsa_ops.governance.notary import open_notary
from rsa_ops.governance.papers.bundle import open_bundle
from rsa_ops.governance.papers.dossier import Dossier
from rsa_ops.governance.papers.folder import PAPERS, SIGNATURE
from rsa_ops.governance.papers.model_key import model_key_path
from rsa_ops.governance.papers.signature import verify_signature
from rsa_ops.governance.payloads import Papers, payload_as
from rsa_ops.governance.store import utc_now
from rsa_ops.governance.verify import verify_rows
from rsa_ops.stages.config import read_pipeline
from rsa_ops.stages.evidence import Wanted, check, gather
from rsa_ops.stages.ledger import lock_policy, seal_verdict
from rsa_ops.stages.papers import write_papers
from rsa_ops.stages.run import Run
from rsa_ops.stages.train import Trained
from rsa_ops.tracking.registry import Version
from rsa_ops.tracking.runs import fetch_files, start_run
from rsa_ops.tracking.store import Store

from ..governance.papers.conftest import MODEL, POLICY, a_dossier, a_verdict, an_adapter, sha

PIPELINES = Path(__file__).parents[3] / "pipelines"


@pytest.fixture(autouse=True)
def no_store_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "RSA_OPS_LEDGER", "RSA_OPS_KEY"):
        monkeypatch.delenv(name, raising=False)


class Walk:
    """A run that stands before its papers: data, scores and verdict are there, the adapter is a version."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.folder = folder
        self.artifact = an_adapter(folder / "cell" / "artifact")
        self.digest: Digest = digest_folder(self.artifact)
        config, _, home = read_pipeline(PIPELINES / "incident-triage")
        self.run = Run(
            config=config,
            policy=POLICY,
            folder=home,
            work=folder,
            store=store,
            run_id=start_run(store, "triage", {}),
            executor=None,  # type: ignore[arg-type]  nothing is executed
            threads=1,
            progress=Silent(),
            notary=open_notary(str(folder / "ledger.db"), None, lambda _: None),
        )
        self.dossier: Dossier = a_dossier(self.artifact)
        self.model = Trained(self.artifact.parent, sha("9"), self.dossier.measurements)
        self.version = Version(MODEL, "3", self.digest, self.run.run_id, {})

    def judge(self, verdict: Verdict, *, seal: bool = True) -> Verdict:
        records: dict[str, Any] = {
            "verdict.json": verdict,
            "comparison.json": self.dossier.comparison,
            "tco.json": self.dossier.tco,
            "validation.json": self.dossier.validation,
            "run.json": self.dossier.run.model_copy(update={"run_id": self.run.run_id}),
            f"measurements/{self.model.cell.name}.json": self.dossier.measurements,
        }
        for name, record in records.items():
            write_record(self.run.results / name, record)
            self.run.keep_file(self.run.results / name)
        for name in ("verdict.md", "design.json"):
            write_text(self.run.results / name, "{}")
            self.run.keep_file(self.run.results / name)
        lock = lock_policy(self.run.notary, "incident-triage", self.run.run_id, POLICY, sha("d"), sha("e"))
        if seal:
            seal_verdict(self.run.notary, "incident-triage", self.run.run_id, lock, verdict, sha("e"))
        return verdict

    def write(self, verdict: Verdict) -> Papers:
        return payload_as(write_papers(self.run, self.version, self.model, verdict).entry, Papers)

    def kinds(self) -> list[Kind]:
        with self.run.notary.ledger.view() as view:
            return [sealed.entry.kind for sealed in view.find()]


@pytest.fixture
def walk(store: Store, tmp_path: Path) -> Walk:
    return Walk(store, tmp_path)


def test_every_paper_lies_with_the_run_as_the_ledger_names_it(walk: Walk, tmp_path: Path) -> None:
    found = walk.write(walk.judge(a_verdict(walk.digest)))
    assert set(PAPERS) <= set(found.files)
    assert (found.model, found.version, found.digest, found.run) == (MODEL, "3", walk.digest, walk.run.run_id)
    for number, (name, digest) in enumerate(found.files.items()):
        kept = fetch_files(walk.run.store, found.run, name, tmp_path / f"fetched{number}")
        assert digest_file(kept) == digest, name
    signature = (walk.run.results / SIGNATURE).read_bytes()
    verify_signature(walk.artifact, signature, found.signer_public_key)
    verified = verify_rows(walk.run.notary.ledger.rows(), now=utc_now())
    assert verified.first_bad is None
    assert walk.kinds()[-1] is Kind.PAPERS


def test_the_same_verdict_has_its_papers_once(walk: Walk) -> None:
    verdict = walk.judge(a_verdict(walk.digest))
    first = write_papers(walk.run, walk.version, walk.model, verdict)
    before = walk.kinds()
    assert write_papers(walk.run, walk.version, walk.model, verdict) == first
    assert walk.kinds() == before


def test_another_verdict_on_the_same_adapter_has_papers_of_its_own(walk: Walk) -> None:
    walk.write(walk.judge(a_verdict(walk.digest)))
    again = a_verdict(walk.digest).model_copy(update={"sentence": "judged again, with more seeds"})
    second = walk.write(walk.judge(again))
    assert walk.kinds().count(Kind.PAPERS) == 2
    assert second.files["verdict.json"] == digest_file(walk.run.results / "verdict.json")


def test_a_verdict_that_is_not_in_the_ledger_gets_no_papers(walk: Walk) -> None:
    verdict = walk.judge(a_verdict(walk.digest), seal=False)
    with pytest.raises(IntegrityError, match="the ledger has no verdict"):
        walk.write(verdict)
    assert Kind.PAPERS not in walk.kinds()


def test_an_adapter_changed_after_its_registration_is_not_signed(walk: Walk) -> None:
    verdict = walk.judge(a_verdict(walk.digest))
    (walk.artifact / "model.json").write_text("{ }")
    with pytest.raises(IntegrityError, match="is not the adapter"):
        walk.write(verdict)
    assert Kind.PAPERS not in walk.kinds()


def test_a_key_that_lies_in_no_file_signs_no_models(walk: Walk) -> None:
    verdict = walk.judge(a_verdict(walk.digest))
    walk.run = replace(walk.run, notary=replace(walk.run.notary, key_file=None))
    with pytest.raises(MissingError, match="in no file"):
        walk.write(verdict)


def test_neither_private_key_is_in_the_store_the_results_or_a_bundle(walk: Walk, tmp_path: Path) -> None:
    walk.write(walk.judge(a_verdict(walk.digest)))
    gather(Wanted(MODEL, "3", str(tmp_path / "ledger.db")), tmp_path / "evidence.zip")
    keys = [tmp_path / "ledger.key", model_key_path(tmp_path / "ledger.key")]
    for key in keys:
        assert key.stat().st_mode & 0o777 == 0o600
    secrets = [line for key in keys for line in key.read_bytes().splitlines()[1:-1]]
    walk.run.notary.ledger.close()
    holding = {
        path
        for path in tmp_path.rglob("*")
        if path.is_file() and any(secret in path.read_bytes() for secret in secrets)
    }
    assert holding == set(keys)


def test_a_bundle_from_ledger_and_store_holds_and_is_checked_without_them(walk: Walk, tmp_path: Path) -> None:
    found = walk.write(walk.judge(a_verdict(walk.digest, Outcome.REJECT)))
    bundle = gather(Wanted(MODEL, "3", str(tmp_path / "ledger.db")), tmp_path / "evidence.zip")
    again = gather(Wanted(MODEL, "3", str(tmp_path / "ledger.db")), tmp_path / "again.zip")
    assert again.data == bundle.data == (tmp_path / "evidence.zip").read_bytes()
    assert set(found.files) < set(open_bundle(bundle.data))
    assert all(answer.files or answer.note for answer in bundle.index.answers)
    (tmp_path / "ledger.db").rename(tmp_path / "gone.db")
    (tmp_path / "mlflow.db").unlink()
    report = check(tmp_path / "evidence.zip")
    assert report.entries == bundle.index.entries == 4  # genesis, lock, verdict, papers
    assert [line for line in report.checked if line.startswith("checkpoint of")]


def test_what_was_changed_or_lost_in_the_store_makes_no_bundle(walk: Walk, tmp_path: Path) -> None:
    walk.write(walk.judge(a_verdict(walk.digest)))
    (card,) = (tmp_path / "artifacts").rglob("MODEL_CARD.md")
    before = card.read_text()
    wanted = Wanted(MODEL, "3", str(tmp_path / "ledger.db"))
    card.write_text(before + "It is perfect.\n")
    with pytest.raises(IntegrityError, match="MODEL_CARD"):
        gather(wanted, tmp_path / "evidence.zip")
    card.unlink()
    with pytest.raises(MissingError):
        gather(wanted, tmp_path / "evidence.zip")
    assert not (tmp_path / "evidence.zip").exists()
    card.write_text(before)
    gather(wanted, tmp_path / "evidence.zip")


def test_the_command_writes_checks_and_exits_as_its_table_says(
    walk: Walk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    walk.write(walk.judge(a_verdict(walk.digest)))
    monkeypatch.chdir(tmp_path)

    def shell(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["rsa-ops", "evidence", *words])
        capsys.readouterr()
        code = edge._run()
        return (code, *capsys.readouterr())

    code, out, _ = shell(MODEL, "3", "-o", "evidence.zip", "--ledger", "ledger.db")
    assert (code, "wrote evidence.zip" in out) == (ExitCode.DONE, True)
    code, out, _ = shell("--check", "evidence.zip")
    assert (code, out.splitlines()[-1]) == (ExitCode.DONE, "verified")
    assert "compare their ids" in out
    code, out, _ = shell("--check", "evidence.zip", "--json")
    assert '"rsa_ops/evidence-report/v1"' in out
    data = bytearray((tmp_path / "evidence.zip").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "changed.zip").write_bytes(data)
    assert shell("--check", "changed.zip")[0] == ExitCode.INTEGRITY
    assert shell("--check", "none.zip")[0] == ExitCode.MISSING
    assert shell(MODEL, "9", "-o", "x.zip", "--ledger", "ledger.db")[0] == ExitCode.MISSING
    assert shell(MODEL, "3", "-o", "x.zip", "--ledger", "none.db")[0] == ExitCode.MISSING
    assert shell(MODEL, "3", "-o", "x.zip", "--ledger", "ledger.db", "--store", "sqlite:///none.db")[0] == (
        ExitCode.MISSING
    )
    assert shell(MODEL, "3")[0] == ExitCode.USAGE
    assert shell("--check", "evidence.zip", "-o", "x.zip")[0] == ExitCode.USAGE
    assert not (tmp_path / "x.zip").exists()
