"""Four adapters in a real MLflow store, signed and judged, and short ways to write what a ledger says of them."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from rsa_ops.core.digest import Digest, digest_bytes
from rsa_ops.core.verdict import Outcome
from rsa_ops.evaluation.benchmark import PROBE
from rsa_ops.evaluation.predict import predict_texts
from rsa_ops.files import digest_folder, write_text
from rsa_ops.governance.apply import moved_by
from rsa_ops.governance.entry import Kind, Sealed, to_instant
from rsa_ops.governance.keys import make_key
from rsa_ops.governance.notary import Notary
from rsa_ops.governance.papers.model_key import model_key
from rsa_ops.governance.papers.signature import sign_folder
from rsa_ops.governance.payloads import Generation, Intent, Papers, Plan, PolicyLock, VerdictGiven, payload_as
from rsa_ops.governance.plan import new_nonce, plan_digest
from rsa_ops.governance.pointer import standing_at
from rsa_ops.governance.store import open_ledger, utc_now
from rsa_ops.models.base import resolve_base
from rsa_ops.models.trained import load_trained
from rsa_ops.tracking.registry import move_alias, register_adapter
from rsa_ops.tracking.runs import RunFacts, end_run, log_facts, log_files, start_run
from rsa_ops.tracking.store import Store, open_store

from ..adapters import TEXTS, train_tiny

MODEL = "triage.1a2b3c4d5e6f"
PLACE = f"{MODEL}@champion"
IDLE = "4"
"""The version whose adapter does nothing."""


@dataclass(frozen=True)
class Shelf:
    """The store in `folder`: versions 1 to 4, with papers that are in no ledger yet. Not to be changed."""

    folder: Path
    base: Path
    papers: dict[str, Papers]


def fill(folder: Path, database: Path, base: Path) -> Shelf:
    """Train, judge, sign and register four adapters."""
    shutil.copy(database, folder / "mlflow.db")
    store = open_store(f"sqlite:///{folder / 'mlflow.db'}", "triage", folder / "artifacts")
    make_key(folder / "ledger.key")
    papers = {}
    for number in ("1", "2", "3", IDLE):
        adapter = train_tiny(
            base, folder / f"adapter-{number}", move=0 if number == IDLE else 0.3, seed=int(number)
        )
        papers[number] = _register(store, folder, adapter, base, number)
    return Shelf(folder, base, papers)


def _register(store: Store, folder: Path, adapter: Path, base: Path, number: str) -> Papers:
    digest = digest_folder(adapter)
    run = start_run(store, f"run {number}", {"pipeline": "triage"})
    loaded, spec = load_trained(adapter, device="cpu")
    probe = {"texts": TEXTS, "outputs": [predict_texts(loaded, spec, [text]).outputs[0] for text in TEXTS]}
    write_text(folder / number / PROBE, json.dumps(probe))
    cell = start_run(store, f"benchmark {number}", {"stage": "benchmark"}, run)
    log_files(store, cell, folder / number / PROBE)
    log_facts(store, cell, RunFacts(tags={"digest.sha256": digest}))
    end_run(store, cell)
    key = model_key(folder / "ledger.key")
    bundle = sign_folder(adapter, key)
    (folder / number / "model.sig").write_bytes(bundle)
    log_files(store, run, folder / number / "model.sig", "papers")
    cell = start_run(store, f"train {number}", {"stage": "train"}, run)
    log_facts(store, cell, RunFacts(tags={"digest.sha256": digest}))
    version = register_adapter(store, MODEL, cell, adapter, digest, {"run": run})
    assert version.version == number
    return Papers(
        model=MODEL,
        version=number,
        digest=digest,
        base_digest=resolve_base(str(base)).digest,
        run=run,
        signature=digest_bytes(bundle),
        signer_public_key=key.public_key,
        files={"papers/model.sig": digest_bytes(bundle)},
    )


@dataclass(frozen=True)
class Desk:
    """A copy of the shelf's database with a ledger of its own; the adapters' files are the shelf's."""

    folder: Path
    shelf: Shelf
    store: Store
    notary: Notary

    @property
    def ledger(self) -> Path:
        return self.folder / "ledger.db"

    @property
    def uri(self) -> str:
        return self.store.uri

    def digest(self, version: str) -> Digest:
        return self.shelf.papers[version].digest

    def write_papers(self, *versions: str) -> None:
        """Papers, each behind a verdict about the adapter."""
        for version in versions:
            self.judge(self.digest(version))
            self.notary.write(Kind.PAPERS, f"{MODEL}/{version}", self.shelf.papers[version])

    def judge(self, candidate: Digest, outcome: Outcome = Outcome.PROMOTE) -> Sealed:
        """A lock and a verdict of a run of its own, against the champion of now."""
        run, policy, test = f"run-{len(self.entries())}", digest_bytes(b"policy"), digest_bytes(b"test")
        lock = PolicyLock(pipeline="triage", policy="policy", policy_digest=policy, test_digest=test)
        verdict = VerdictGiven(
            pipeline="triage",
            lock=self.notary.write(Kind.POLICY_LOCK, run, lock).hash,
            policy_digest=policy,
            test_digest=test,
            verdict_digest=digest_bytes(run.encode()),
            outcome=outcome,
            candidate_digest=candidate,
            champion_digest=self.standing().digest,
        )
        return self.notary.write(Kind.VERDICT, run, verdict)

    def standing(self) -> Generation:
        with self.notary.ledger.view() as view:
            return standing_at(view, MODEL, "champion")

    def promote(self, version: str) -> Sealed:
        """One more generation, with all that a promotion leaves in the ledger, and in the registry."""
        intent = self.intend(version)
        move_alias(self.store, MODEL, "champion", version)
        return self.close(intent, Kind.APPLIED)

    def close(self, intent: Sealed, kind: Kind) -> Sealed:
        return self.notary.write(kind, PLACE, moved_by(payload_as(intent.entry, Intent), intent.hash))

    def intend(self, version: str) -> Sealed:
        """A promotion up to its intent, after which its process died."""
        before = self.standing()
        plan = Plan(
            model=MODEL,
            alias="champion",
            version=version,
            digest=self.digest(version),
            expected=before,
            verdict=self.judge(self.digest(version)).hash,
            papers=None,
            approvals=0,
            expires=to_instant(utc_now() + timedelta(hours=1)),
            requester=self.notary.signer.public.key,
            reason="test",
            nonce=new_nonce(),
        )
        self.notary.write(Kind.PLAN, PLACE, plan)
        return self.notary.write(Kind.INTENT, PLACE, self._intent(version, plan_digest(plan)))

    def back(self, version: str) -> Sealed:
        """A rollback, as the ledger and the registry have it afterwards."""
        intent = self.notary.write(Kind.INTENT, PLACE, self._intent(version, None))
        move_alias(self.store, MODEL, "champion", version)
        return self.close(intent, Kind.ROLLBACK)

    def _intent(self, version: str, plan: Digest | None) -> Intent:
        before = self.standing()
        return Intent(
            plan=plan,
            action="rollback" if plan is None else "promote",
            model=MODEL,
            alias="champion",
            version=version,
            digest=self.digest(version),
            generation=before.generation + 1,
            before_version=before.version,
            reason="test" if plan is None else None,
        )

    def live(self) -> str | None:
        """The version that the registry's alias names, read from the database itself."""
        connection = sqlite3.connect(self.folder / "mlflow.db")
        found = connection.execute(
            "SELECT version FROM registered_model_aliases WHERE name = ? AND alias = 'champion'", (MODEL,)
        ).fetchone()
        connection.close()
        return None if found is None else str(found[0])

    def entries(self) -> list[str]:
        """The kinds of all entries, oldest first."""
        with self.notary.ledger.view() as view:
            return [sealed.entry.kind.value for sealed in view.find()]


def copy_database(source: Path, target: Path) -> None:
    """With what still lies in its write-ahead log."""
    with closing(sqlite3.connect(source)) as whole, closing(sqlite3.connect(target)) as copy:
        whole.backup(copy)


def open_desk(shelf: Shelf, folder: Path, history: str = "1 2 3", address: str | None = None) -> Desk:
    """A desk whose ledger has papers for all versions and tells `history`: versions, `<` before a rollback.

    The ledger is `ledger.db` in `folder`, or at `address`.
    """
    copy_database(shelf.folder / "mlflow.db", folder / "mlflow.db")
    store = open_store(f"sqlite:///{folder / 'mlflow.db'}", "triage", folder / "artifacts")
    key = make_key(folder / "ledger.key")
    ledger = open_ledger(address or str(folder / "ledger.db"), write=True)
    ledger.begin(key, "admin")
    desk = Desk(folder, shelf, store, Notary(ledger, key))
    words = history.split()
    desk.write_papers(*dict.fromkeys(word.strip("<") for word in words))
    for word in words:
        desk.back(word.strip("<")) if word.startswith("<") else desk.promote(word)
    return desk
