"""Stage: the judged candidate becomes a version with papers; where the verdict promotes, it is tried and planned.

A candidate that was refused is registered too, so that a waiver has something to act on and an auditor sees what
was refused; nothing is planned for it. Adapters only: a full checkpoint is not registered. Where the policy asks
for no approvals the plan is applied at once; else it waits, as `plan.json` in the results, for those who must sign
it. Never cached.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from rsa_ops.core.verdict import Outcome, Verdict
from rsa_ops.errors import IntegrityError, UsageError
from rsa_ops.evaluation.benchmark import PROBE
from rsa_ops.files import digest_file
from rsa_ops.gates.policy import CHAMPION
from rsa_ops.governance.champions import Move, rolled_back
from rsa_ops.governance.desk import Desk, open_desk
from rsa_ops.governance.entry import Sealed
from rsa_ops.governance.plan import PlanFile, write_plan
from rsa_ops.governance.pointer import pointer_history, subject_of
from rsa_ops.governance.promotion import Promotion, promotion_of
from rsa_ops.governance.refusals import other_digest
from rsa_ops.stages.benchmark import Scored
from rsa_ops.stages.champion import model_name, released
from rsa_ops.stages.papers import write_papers
from rsa_ops.stages.promotion import Wish, apply, file_plan
from rsa_ops.stages.run import Run
from rsa_ops.stages.train import Trained, train_log
from rsa_ops.tracking.context import source_tags
from rsa_ops.tracking.registry import Version, register_adapter

PLAN = "plan.json"
RECORD = "promotion.json"


def promote(run: Run, verdict: Verdict, models: tuple[Trained, ...], scores: tuple[Scored, ...]) -> Version | None:
    """Register the candidate with its papers; where the verdict promotes, plan it, and apply what needs nobody.

    None where nothing is registered: an error says nothing about the candidate, and a full model never is. What
    became of a plan is in `promotion.json`.

    Raises:
        IntegrityError: the registered adapter, loaded in a fresh process, predicts something else; the ledger does
            not verify; the champion was moved from outside.
        ConflictError: another promotion was faster, or was interrupted.
        UsageError: the verdict promotes a full model.
    """
    run.progress.stage("promote", verdict.outcome.value)
    if verdict.outcome is Outcome.ERROR:
        run.progress.note("nothing is registered and the champion stays: an error says nothing about the candidate")
        return None
    if released(run, models).measurements.method == "full":
        if verdict.outcome is Outcome.PROMOTE:
            raise UsageError(
                "only adapters are registered, never a full model", hint="Name an adapter arm as candidate."
            )
        run.progress.note("nothing is registered and the champion stays: a full model never is")
        return None
    desk, version, papers, probe = _registered(run, verdict, models, scores)
    is_champion = desk.alias(subject_of(version.name, CHAMPION)).at.digest == version.digest
    if verdict.outcome is not Outcome.PROMOTE:
        _tell_refused(run, verdict, version, is_champion=is_champion)
        return version
    if is_champion:
        _tell_champion_already(run, desk, version)
        return version
    left = _rolled_back(run, version)
    if left is not None:
        run.progress.note(
            f"{version.name} version {version.version} was rolled back from (entry {left.sealed.entry.sequence}); "
            "it is not planned again by itself; `rsa-ops promote plan` does, for who knows that it is good now"
        )
        return version
    run.progress.note(f"loading {version.name} version {version.version} in a fresh process, to ask it again")
    _verify_in_fresh_process(run, version, probe)
    _plan_and_apply(run, desk, version, papers)
    return version


def _registered(
    run: Run, verdict: Verdict, models: tuple[Trained, ...], scores: tuple[Scored, ...]
) -> tuple[Desk, Version, Sealed, Path]:
    """The candidate as a version with papers: a verified ledger, it, their entry, the answers it was judged by."""
    model = released(run, models)
    version = register_adapter(
        run.store,
        model_name(run, models),
        train_log(run).run_id(model.key),
        model.artifact,
        model.measurements.artifact_digest,
        _tags(run, model, verdict),
    )
    desk = open_desk(run.notary)
    if (strange := other_digest(desk.book, version.name, version.version, version.digest)) is not None:
        raise strange  # before papers would name it in a ledger that then no longer verified
    probe = _probe(run, scores)
    papers = write_papers(run, version, model, verdict, digest_file(probe))
    return desk, version, papers, probe


def _tell_refused(run: Run, verdict: Verdict, version: Version, *, is_champion: bool) -> None:
    name = f"{version.name} version {version.version}"
    run.progress.note(f"no plan is made for {name}: the verdict is {verdict.outcome.value}")
    if is_champion:
        run.progress.note(f"{name} is the champion: `rsa-ops rollback {version.name}` goes back from it")
        return
    run.progress.note(
        f"where it must go through all the same, an approver waives rules (`rsa-ops promote waive {run.run_id}`), "
        f"and `rsa-ops promote plan {version.name} {version.version}` asks for it"
    )


def _rolled_back(run: Run, version: Version) -> Move | None:
    """The rollback that left these bytes, where none of a later date has promoted them again."""
    with run.notary.ledger.view() as view:
        moves = [Move.of(sealed) for sealed in pointer_history(view, version.name, CHAMPION)]
    return rolled_back(moves).get(version.digest)


def _plan_and_apply(run: Run, desk: Desk, version: Version, papers: Sealed) -> None:
    wish = Wish(
        model=version.name,
        version=version.version,
        digest=version.digest,
        reason=f"the verdict of the run {run.run_id}; in a fresh process it predicted the same",
        run=run.run_id,
        papers=papers.hash,
    )
    file = file_plan(desk, wish)
    write_plan(run.results / PLAN, file)
    run.keep_file(run.results / PLAN)
    needed = run.policy.approvals
    if needed:
        _keep(run, desk, file)
        who = "one key" if needed == 1 else f"{needed} keys"
        run.progress.note(
            f"the plan waits for {who} beside the one that asked: `rsa-ops promote approve {run.results / PLAN} "
            f"--ledger {run.notary.ledger.address} --key FILE` by each, then `rsa-ops promote apply` with the same"
        )
        return
    apply(desk, run.store, file)
    made = _keep(run, desk, file)
    run.progress.note(
        f"{version.name} version {version.version} is now the champion (generation {made.generation})"
    )


def _keep(run: Run, desk: Desk, file: PlanFile) -> Promotion:
    made = promotion_of(desk, file.plan())
    run.keep(made, RECORD)
    return made


def _tell_champion_already(run: Run, desk: Desk, version: Version) -> None:
    run.progress.note(f"{version.name} version {version.version} is the champion already")
    filed = desk.alias(subject_of(version.name, CHAMPION)).plans.values()
    applied = [entry for entry in filed if entry.applied is not None and entry.plan.digest == version.digest]
    if applied:
        run.keep(promotion_of(desk, applied[-1].plan), RECORD)


def _tags(run: Run, model: Trained, verdict: Verdict) -> dict[str, str]:
    measured = model.measurements
    return {
        "base": measured.base_model,
        "base.sha256": measured.base_digest,
        "adapter.kind": measured.method,
        "adapter.density": f"{measured.trainable_share:.6f}",
        "policy.sha256": verdict.policy_digest,
        "eval.dataset.sha256": verdict.test_digest,
        "registered.verdict": verdict.outcome.value,  # a later verdict on the same bytes changes no tag
        "seed": str(model.cell.seed),
        "run": run.run_id,
        **source_tags(run.folder),
    }


_FRESH = """
import json, sys, mlflow
uri, model, texts = json.load(sys.stdin)
mlflow.set_tracking_uri(uri); mlflow.set_registry_uri(uri)
loaded = mlflow.pyfunc.load_model(model)
json.dump([loaded.predict([text])[0] for text in texts], open(sys.argv[1], "w"))
"""


def _probe(run: Run, scores: tuple[Scored, ...]) -> Path:
    """Texts and answers of the released cell, each text predicted alone."""
    wanted = (run.policy.candidate, run.config.released_seed)
    entry = next(entry for entry in scores if (entry.cell.arm, entry.cell.seed) == wanted)
    return entry.folder / PROBE


def _verify_in_fresh_process(run: Run, version: Version, judged: Path) -> None:
    probe = json.loads(judged.read_text(encoding="utf-8"))
    answer = run.work / "logs" / "fresh-process.json"
    question = [run.store.uri, f"models:/{version.name}/{version.version}", probe["texts"]]
    done = subprocess.run(  # noqa: S603  our own interpreter and code
        [sys.executable, "-c", _FRESH, str(answer)],
        input=json.dumps(question),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise IntegrityError(
            f"{version.name} version {version.version} does not load in a fresh process: {_last(done.stderr)}",
            hint="It is registered, but not the champion.",
        )
    found = json.loads(answer.read_text(encoding="utf-8"))
    differing = sum(ours != theirs for ours, theirs in zip(found, probe["outputs"], strict=True))
    if differing:
        raise IntegrityError(
            f"{version.name} version {version.version}: in a fresh process {differing} of {len(found)} answers "
            "differ from those that were judged",
            hint="It is registered, but not the champion. Look for a library version that changed.",
        )


def _last(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "no output"
