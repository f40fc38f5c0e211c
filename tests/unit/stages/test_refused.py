"""A candidate that was refused is a version with papers, for waivers and auditors, and nobody's champion."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rsa_ops.core.cell import Cell
from rsa_ops.core.verdict import Outcome
from rsa_ops.errors import ExitCode, IntegrityError, MissingError, RejectedError, UsageError
from rsa_ops.evaluation.benchmark import PROBE
from rsa_ops.files import write_text
from rsa_ops.governance.champions import Move, good_versions, last_good
from rsa_ops.governance.entry import Kind
from rsa_ops.governance.finding import Flaw
from rsa_ops.governance.payloads import Papers, payload_as
from rsa_ops.governance.pointer import pointer_history
from rsa_ops.governance.protected import protected
from rsa_ops.stages.audit import Question, audit
from rsa_ops.stages.collect import Sweep, collect
from rsa_ops.stages.load import load_champion
from rsa_ops.stages.models import read_standing
from rsa_ops.stages.promotion import Wish, apply, file_plan, opened_desk, waive
from rsa_ops.tracking.registry import Version, by_alias, move_alias
from rsa_ops.tracking.runs import RunFacts, end_run, log_facts, start_run
from rsa_ops.tracking.store import Store

from ..governance.papers.conftest import a_verdict
from .shelf import MODEL, Desk, Shelf, open_desk
from .test_papers import Walk

stage = import_module("rsa_ops.stages.promote")  # the package exports the function of this name
REFUSED = (Outcome.REJECT, Outcome.INCONCLUSIVE)


class Ending(Walk):
    """A walk that ends with the stage `promote` itself, on a verdict of its own."""

    def end(self, outcome: Outcome, method: str = "rsa") -> Version | None:
        verdict = self.judge(a_verdict(self.digest, outcome))
        measured = self.model.measurements.model_copy(update={"method": method})
        model = replace(self.model, measurements=measured)
        cell = Cell(arm="rsa", seed=self.run.config.released_seed)
        write_text(self.folder / "probe" / PROBE, json.dumps({"texts": ["a"], "outputs": ["b"]}))
        scored: Any = SimpleNamespace(cell=cell, folder=self.folder / "probe")
        trained = start_run(self.run.store, "train rsa-s1", {"stage": "train", "key": model.key})
        log_facts(self.run.store, trained, RunFacts(tags={"result.sha256": self.digest}))
        end_run(self.run.store, trained)
        made: Version | None = stage.promote(self.run, verdict, (model,), (scored,))
        return made


@pytest.fixture
def ending(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ending:
    monkeypatch.setattr(stage, "_verify_in_fresh_process", lambda *_: None)
    return Ending(store, tmp_path)


@pytest.mark.parametrize("outcome", REFUSED)
def test_a_refused_candidate_is_a_version_with_papers_and_without_a_plan(ending: Ending, outcome: Outcome) -> None:
    version = ending.end(outcome)
    assert version is not None
    assert (version.digest, version.tags["rsa.registered.verdict"]) == (ending.digest, outcome.value)
    kinds = ending.kinds()
    assert kinds == [Kind.GENESIS, Kind.POLICY_LOCK, Kind.VERDICT, Kind.PAPERS]
    with ending.run.notary.ledger.view() as view:
        papers = payload_as(next(view.find((Kind.PAPERS,))).entry, Papers)
    assert (papers.model, papers.version, papers.digest) == (version.name, version.version, ending.digest)
    assert by_alias(ending.run.store, version.name, "champion") is None
    assert not (ending.run.results / stage.PLAN).exists()
    assert not (ending.run.results / stage.RECORD).exists()
    assert audit(Question(str(ending.folder / "ledger.db"), None)).exit_code == ExitCode.DONE


@pytest.mark.parametrize("method", ["rsa", "full"])
def test_an_error_registers_nothing_and_a_full_model_never_is(ending: Ending, method: str) -> None:
    outcome = Outcome.ERROR if method == "rsa" else Outcome.REJECT
    assert ending.end(outcome, method) is None
    assert ending.kinds() == [Kind.GENESIS, Kind.POLICY_LOCK, Kind.VERDICT]
    assert ending.run.store.client.search_registered_models() == []
    with pytest.raises(UsageError, match="never a full model"):
        ending.end(Outcome.PROMOTE, "full")


def test_judged_again_and_better_the_same_version_is_promoted(ending: Ending) -> None:
    """The tag of the first day stays; what counts, the ledger says."""
    first = ending.end(Outcome.INCONCLUSIVE)
    ending.run = replace(ending.run, run_id=start_run(ending.run.store, "triage", {}))
    second = ending.end(Outcome.PROMOTE)
    assert first == second
    assert ending.kinds()[4:] == [
        *(Kind.POLICY_LOCK, Kind.VERDICT, Kind.PAPERS),
        *(Kind.PLAN, Kind.INTENT, Kind.APPLIED),
    ]
    assert second is not None
    found = by_alias(ending.run.store, second.name, "champion")
    assert found is not None
    assert found.version == second.version


def test_an_alias_put_on_a_refused_version_where_nothing_was_ever_promoted_is_found(ending: Ending) -> None:
    version = ending.end(Outcome.REJECT)
    assert version is not None
    move_alias(ending.run.store, version.name, "shadow", version.version)  # not the champion's: anybody's
    assert audit(Question(str(ending.folder / "ledger.db"), None)).exit_code == ExitCode.DONE
    move_alias(ending.run.store, version.name, "champion", version.version)
    report = audit(Question(str(ending.folder / "ledger.db"), None))
    assert [(found.flaw, found.sequence) for found in report.registry] == [(Flaw.ALIAS_MOVED, 3)]
    assert report.exit_code == ExitCode.INTEGRITY


@pytest.fixture
def desk(shelf: Shelf, tmp_path: Path) -> Desk:
    """Version 2 is the champion behind version 1; version 3 was rejected and has its papers."""
    made = open_desk(shelf, tmp_path, "1 2")
    made.judge(made.digest("3"), Outcome.REJECT)
    made.notary.write(Kind.PAPERS, f"{MODEL}/3", made.shelf.papers["3"])
    return made


def test_a_refused_version_is_listed_as_candidate_protected_and_no_garbage(desk: Desk) -> None:
    with desk.notary.ledger.view() as view:
        standing, guarded = read_standing(view), protected(view)
    assert standing.states[desk.digest("3")] == ("candidate", None)
    assert standing.verdicts[desk.digest("3")] is Outcome.REJECT
    assert (MODEL, "3") in guarded.versions
    swept = collect(desk.notary.ledger, desk.store, Sweep(older_than_days=0), remove=True)
    assert f"{MODEL}/3" not in {item.name for item in swept.unnamed}
    assert {str(found.version) for found in desk.store.client.search_model_versions()} == {"1", "2", "3"}


def test_an_alias_moved_to_a_refused_version_serves_nothing_and_is_found(desk: Desk) -> None:
    move_alias(desk.store, MODEL, "champion", "3")
    with pytest.raises(IntegrityError, match="names version 3"):
        load_champion(MODEL, ledger=str(desk.ledger), store=desk.uri, device="cpu")
    report = audit(Question(str(desk.ledger), None, store=desk.uri))
    assert [found.flaw for found in report.registry] == [Flaw.ALIAS_MOVED]


def test_a_plan_on_a_refused_version_is_applied_with_a_waiver_and_never_without(desk: Desk) -> None:
    with desk.notary.ledger.view() as view:
        run = next(view.find((Kind.VERDICT,), newest_first=True)).entry.subject
    with opened_desk(str(desk.ledger), None) as writer:
        file = file_plan(writer, Wish(MODEL, "3", desk.digest("3"), "the pilot needs it"))
        with pytest.raises(RejectedError, match="no waiver is about it"):
            apply(writer, desk.store, file)
        assert desk.live() == "2"
        waive(writer, run, (), "a pilot of one week", timedelta(days=7))
        apply(writer, desk.store, file)
    assert desk.live() == "3"
    report = audit(Question(str(desk.ledger), None, store=desk.uri))
    assert report.exit_code == ExitCode.DONE
    assert any("waive" in note.text.lower() for note in report.notes)


def test_no_rollback_leads_to_a_refused_version(desk: Desk) -> None:
    with desk.notary.ledger.view() as view:
        moves = [Move.of(sealed) for sealed in pointer_history(view, MODEL, "champion")]
    assert good_versions(moves) == ("1",)
    with pytest.raises(MissingError, match="was never its champion"):
        last_good(moves, "3")
