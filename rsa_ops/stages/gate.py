"""Stage: policy and evidence to a verdict, as JSON, JUnit XML and Markdown. Never cached."""

from __future__ import annotations

from rsa_ops.core.business_case import BusinessCase
from rsa_ops.core.comparison import Comparison
from rsa_ops.core.costs import Tco
from rsa_ops.core.design import ComparisonDesign
from rsa_ops.core.digest import Digest, short
from rsa_ops.core.headline import Headline
from rsa_ops.core.verdict import Evidence, Verdict
from rsa_ops.errors import IntegrityError
from rsa_ops.files import read_record, write_text
from rsa_ops.gates.decide import decide
from rsa_ops.governance.checkpoint import make_checkpoint
from rsa_ops.governance.entry import Sealed
from rsa_ops.governance.payloads import PolicyLock, payload_as
from rsa_ops.reporting.junit import verdict_junit
from rsa_ops.reporting.markdown import verdict_markdown
from rsa_ops.stages.benchmark import Scored
from rsa_ops.stages.champion import Champion, champion_contrasts, find_champion, released
from rsa_ops.stages.compare import RECORD as COMPARISON
from rsa_ops.stages.cost import CASE
from rsa_ops.stages.design import DESIGN
from rsa_ops.stages.design import RECORD as DESIGN_RECORD
from rsa_ops.stages.ledger import require_lock, seal_verdict
from rsa_ops.stages.report import optional_record
from rsa_ops.stages.run import Run
from rsa_ops.stages.train import Trained
from rsa_ops.stages.validate import Data
from rsa_ops.tracking.runs import run_tag

RECORD = "verdict.json"
CHECKPOINT = "ledger-checkpoint.json"


def gate(
    run: Run,
    data: Data,
    models: tuple[Trained, ...],
    scores: tuple[Scored, ...],
    comparison: Comparison,
    tco: Tco,
) -> Verdict:
    """The verdict of this run's policy, with the champion's contrast where there is a champion.

    Raises:
        MissingError, IntegrityError: the champion cannot be evaluated, or the policy was not locked in the ledger.
    """
    run.progress.stage("gate", run.policy.name)
    lock = require_lock(run.notary, run.run_id)
    champion = find_champion(run, data, models)
    if champion is not None:
        comparison = _with_champion(run, scores, comparison, champion)
    design = read_record(ComparisonDesign, run.results / DESIGN_RECORD)
    evidence = Evidence(
        comparison=comparison,
        measurements=tuple(model.measurements for model in models),
        tco=tco,
        candidate_digest=released(run, models).measurements.artifact_digest,
        champion_digest=champion.version.digest if champion is not None else None,
        test_digest=data.validation.split("test").digest,
        locked_policy_digest=_locked_digest(run, lock),
        design=design,
        locked_design_digest=_locked_design(run, lock),
    )
    verdict = decide(run.policy, evidence)
    keep_verdict(run, verdict, comparison, tco)
    _record(run, lock, verdict, design.digest())
    return verdict


def keep_verdict(run: Run, verdict: Verdict, comparison: Comparison, tco: Tco) -> None:
    """Write the verdict in its three forms and tag the run with it."""
    case = optional_record(BusinessCase, run.results / CASE)
    run.keep(verdict, RECORD)
    write_text(run.results / "verdict.xml", verdict_junit(verdict))
    write_text(run.results / "verdict.md", verdict_markdown(verdict, comparison, tco, case))
    run.keep_file(run.results / "verdict.xml")
    run.keep_file(run.results / "verdict.md")
    headline = Headline.of(verdict, comparison, case)
    run.tag({"verdict": verdict.outcome.value, "headline": headline.model_dump_json()})


def _record(run: Run, lock: Sealed, verdict: Verdict, design: Digest) -> None:
    """The verdict to the ledger, and with the run's results a checkpoint of the ledger behind it."""
    sealed = seal_verdict(run.notary, run.config.name, run.run_id, lock, verdict, design)
    made = make_checkpoint(
        sealed.entry.ledger, sealed.entry.sequence, sealed.hash, run.notary.signer, run.notary.ledger.clock()
    )
    run.keep(made, CHECKPOINT)
    run.tag({"ledger.verdict": sealed.hash})
    run.progress.note(
        f"the verdict is entry {sealed.entry.sequence} of the ledger; "
        f"`rsa-ops audit verify --ledger {run.notary.ledger.address}` checks it"
    )


def _locked_digest(run: Run, lock: Sealed) -> Digest:
    """The policy digest that the ledger holds; the run's own tag, which anybody can set, must repeat it."""
    locked = payload_as(lock.entry, PolicyLock).policy_digest
    _require_tag(run, "policy.sha256", locked, "policy")
    return locked


def _locked_design(run: Run, lock: Sealed) -> Digest | None:
    """The design digest that the ledger holds, which the tag must repeat; of a lock without one, the tag's."""
    locked = payload_as(lock.entry, PolicyLock).design_digest
    if locked is None:
        return run_tag(run.store, run.run_id, DESIGN)
    _require_tag(run, DESIGN, locked, "design")
    return locked


def _require_tag(run: Run, tag: str, locked: Digest, what: str) -> None:
    tagged = run_tag(run.store, run.run_id, tag)
    if tagged != locked:
        raise IntegrityError(
            f"the ledger has the {what} locked as {short(locked)}, the run in MLflow is tagged {tagged}",
            hint="Somebody changed the tag; the ledger is the record. Run again.",
        )


def _with_champion(run: Run, scores: tuple[Scored, ...], comparison: Comparison, champion: Champion) -> Comparison:
    contrasts = champion_contrasts(run, scores, champion, comparison.groups)
    full = comparison.model_copy(update={"contrasts": (*comparison.contrasts, *contrasts)})
    run.keep(full, COMPARISON)
    return full
