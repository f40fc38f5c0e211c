"""A candidate as a run leaves it: an adapter folder, its records, a ledger with lock and verdict, its papers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from rsa_ops.core.digest import digest_bytes
from rsa_ops.core.record import Record, Value
from rsa_ops.core.run_record import RunRecord
from rsa_ops.core.validation import SplitInfo, Validation
from rsa_ops.core.verdict import Outcome, Ruling, Verdict
from rsa_ops.costs import CostConfig, default_book, total_cost
from rsa_ops.files import digest_file, digest_folder
from rsa_ops.gates.policy import NonInferiorityRule, Policy
from rsa_ops.governance.checkpoint import make_checkpoint
from rsa_ops.governance.entry import Kind, Role, Sealed
from rsa_ops.governance.papers.bundle import Bundle, Parts, make_bundle
from rsa_ops.governance.papers.dossier import Dossier, Source
from rsa_ops.governance.papers.folder import SIGNATURE, make_papers
from rsa_ops.governance.papers.model_key import ModelKey, model_key
from rsa_ops.governance.papers.questions import CHECKPOINT
from rsa_ops.governance.papers.signature import sign_folder
from rsa_ops.governance.payloads import Generation, Papers, Plan, PolicyLock, VerdictGiven

from ...reporting.conftest import comparison_of, measured, sha
from ..conftest import Kit, begun

MODEL = "incident-triage.eeeeeeeeeeee"
RUN = "0123456789abcdef"
ENVIRONMENT = "peft==0.21.2\ntorch==2.13.0\n"
POLICY = Policy(
    schema="rsa_ops/policy/v1",
    name="triage-v1",
    candidate="rsa",
    rules=(NonInferiorityRule(kind="noninferiority", metric="accuracy", against="full", margin=0.02),),
)


def an_adapter(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "adapter_model.safetensors").write_bytes(b"weights" * 1000)
    (folder / "adapter_config.json").write_text('{"peft_type": "ROBUST_SPARSE"}')
    (folder / "model.json").write_text("{}")
    return folder


def a_verdict(candidate: str, outcome: Outcome = Outcome.PROMOTE) -> Verdict:
    ruling = Ruling(
        rule="accuracy not worse than full",
        required="difference above -2.0 points",
        observed="-0.4 points",
        outcome=outcome,
        reason="The lower end | of the interval <b>lies</b> above minus the margin.",
    )
    return Verdict(
        outcome=outcome,
        sentence="rsa is not worse than full",
        candidate="rsa",
        baselines=("full",),
        rulings=(ruling,),
        policy=POLICY.name,
        policy_digest=POLICY.digest(),
        test_digest=sha("d"),
        candidate_digest=candidate,
        champion_digest=None,
    )


def a_dossier(adapter: Path, verdict: Verdict | None = None) -> Dossier:
    digest = digest_folder(adapter)
    measurements = measured("rsa", 1).model_copy(update={"artifact_digest": digest})
    every = tuple(measured(arm, 1) for arm in ("rsa", "lora", "full"))
    config = CostConfig(trainings_per_year=Decimal(12))
    return Dossier(
        model=MODEL,
        version="3",
        digest=digest,
        files={file.name: digest_file(file) for file in adapter.iterdir()},
        description="Name the attack vector of an incident.",
        base_licence="Apache-2.0",
        run=RunRecord(
            pipeline="incident-triage",
            task="classification",
            run_id=RUN,
            store="sqlite:///mlflow.db",
            started_at="2026-03-01T11:59:58+00:00",
            release_seed=1,
            policy_digest=POLICY.digest(),
            design_digest=sha("4"),
            test_digest=sha("d"),
            data_digest=sha("2"),
            settings_note="1 epoch, batches of 8.",
            mlflow_hint="mlflow ui",
        ),
        validation=Validation(
            task="classification",
            source="asset:incident-triage",
            rows_read=5904,
            rows_used=5312,
            sampling="stratified by label, seed 7",
            fingerprint=sha("2"),
            splits=tuple(
                SplitInfo(name=name, rows=rows, digest=sha(letter))
                for name, rows, letter in (("train", 4132, "0"), ("validation", 590, "5"), ("test", 590, "d"))
            ),
            labels=("local", "network", "認証回避"),
            slices=("vector",),
            findings=(),
            checks_run=14,
            attribution="genai-incidents 2.13.0, CC BY 4.0",
        ),
        measurements=measurements,
        comparison=comparison_of(("accuracy", "macro_f1")),
        tco=total_cost(
            every, dict.fromkeys(("rsa", "lora", "full"), 34.5), default_book(), config, date(2026, 11, 24)
        ),
        verdict=verdict or a_verdict(digest),
        verdict_entry=sha("6"),
        judged_at="2026-03-01T12:00:00.000001Z",
        source=Source(
            version="0.1.0",
            package=sha("7"),
            libraries=("python 3.11", "peft==0.21.2", "torch==2.13.0+cpu"),
            environment=digest_bytes(ENVIRONMENT.encode()),
            commit="a" * 40,
            clean=True,
        ),
    )


@dataclass
class Candidate:
    """`kit` is the ledger, `papers` what its newest papers entry says, `documents` what that names."""

    kit: Kit
    adapter: Path
    key: ModelKey
    dossier: Dossier
    documents: dict[str, bytes]
    papers: Papers
    sealed: Sealed

    def parts(self, **changes: Any) -> Parts:
        checkpoint = make_checkpoint(
            self.sealed.entry.ledger,
            self.sealed.entry.sequence,
            self.sealed.hash,
            self.kit.key("operator"),
            self.kit.clock.now,
        )
        made = Parts(
            model=MODEL,
            version="3",
            rows=tuple(self.kit.ledger.rows()),
            checkpoints={CHECKPOINT: checkpoint.to_json().encode()},
            documents=self.documents,
        )
        return replace(made, **changes)

    def bundle(self, **changes: Any) -> Bundle:
        return make_bundle(self.parts(**changes), self.kit.clock.now)

    def write(self, kind: Kind, payload: Value, by: str = "operator") -> Sealed:
        return self.kit.write(kind, f"{MODEL}@champion", payload, by)

    def plan(self, verdict: Sealed) -> Plan:
        return Plan(
            model=MODEL,
            alias="champion",
            version="3",
            digest=self.papers.digest,
            expected=Generation(generation=0, version=None, digest=None),
            verdict=verdict.hash,
            papers=self.sealed.hash,
            approvals=1,
            expires="2026-04-01T00:00:00.000000Z",
            requester=self.kit.key("operator").public.key,
            reason="the verdict says so",
            nonce="0" * 32,
        )


def records_of(dossier: Dossier) -> dict[str, bytes]:
    found: dict[str, Record] = {
        "verdict.json": dossier.verdict,
        "comparison.json": dossier.comparison,
        "tco.json": dossier.tco,
        "run.json": dossier.run,
        "validation.json": dossier.validation,
        "measurements/rsa-s1.json": dossier.measurements,
    }
    return {name: record.to_json().encode() for name, record in found.items()}


def judged(kit: Kit, verdict: Verdict, run: str = RUN) -> Sealed:
    lock = PolicyLock(
        pipeline="incident-triage", policy=POLICY.name, policy_digest=POLICY.digest(), test_digest=sha("d")
    )
    sealed = kit.write(Kind.POLICY_LOCK, run, lock)
    given = VerdictGiven(
        pipeline="incident-triage",
        lock=sealed.hash,
        policy_digest=POLICY.digest(),
        test_digest=sha("d"),
        verdict_digest=verdict.digest(),
        outcome=verdict.outcome,
        candidate_digest=verdict.candidate_digest,
        champion_digest=None,
    )
    return kit.write(Kind.VERDICT, run, given)


def a_candidate(folder: Path) -> Candidate:
    kit = begun(folder)
    kit.grant("operator", Role.OPERATOR)
    kit.grant("approver", Role.APPROVER)
    adapter = an_adapter(folder / "artifact")
    dossier = a_dossier(adapter)
    sealed = judged(kit, dossier.verdict)
    dossier = replace(dossier, verdict_entry=sealed.hash, judged_at=sealed.entry.at)
    key = model_key(folder / "operator.pem")
    made = make_papers(dossier, POLICY, ENVIRONMENT, sign_folder(adapter, key), kit.key("operator"))
    documents = {**records_of(dossier), **made}
    papers = Papers(
        model=MODEL,
        version="3",
        digest=dossier.digest,
        base_digest=dossier.measurements.base_digest,
        run=RUN,
        signature=digest_bytes(made[SIGNATURE]),
        signer_public_key=key.public_key,
        files={name: digest_bytes(data) for name, data in documents.items()},
    )
    entry = kit.write(Kind.PAPERS, f"{MODEL}/3", papers)
    return Candidate(kit, adapter, key, dossier, documents, papers, entry)


@pytest.fixture
def candidate(tmp_path: Path) -> Candidate:
    return a_candidate(tmp_path)
