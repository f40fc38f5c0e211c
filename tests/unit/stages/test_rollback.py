"""A rollback moves to what is known to work, or moves nothing."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from rsa_ops.core.digest import digest_bytes
from rsa_ops.errors import ExitCode, IntegrityError, RsaOpsError
from rsa_ops.evaluation.benchmark import PROBE
from rsa_ops.governance.apply import Step
from rsa_ops.governance.desk import open_desk as verified_desk
from rsa_ops.governance.entry import Kind
from rsa_ops.governance.notary import Notary
from rsa_ops.governance.payloads import Intent, PolicyLock, payload_as
from rsa_ops.governance.pointer import open_intent
from rsa_ops.governance.reconcile import reconcile
from rsa_ops.governance.store import utc_now
from rsa_ops.governance.verify import verify_rows
from rsa_ops.serving.rehearsal import Rehearsal
from rsa_ops.serving.trial import Answer, FreshProcess, fresh_process
from rsa_ops.stages.rollback import Wish, drill, roll_back
from rsa_ops.tracking.registry import AliasPointer, move_alias

from ...postgres import Postgres
from .shelf import MODEL, Desk, Shelf, open_desk

KILLED = Path(__file__).with_name("killed.py")


@dataclass
class Stand:
    """Stands for the fresh process, and answers as the judged probe of the shelf does; `asked` counts."""

    answers: tuple[str, ...] | None = None
    asked: list[Path] = field(default_factory=list)

    def ask(self, folder: Path, resolved: Any, texts: tuple[str, ...], base: str | None = None) -> Answer:
        from rsa_ops.serving.load import load_checked

        self.asked.append(folder)
        if self.answers is not None:
            return Answer(outputs=self.answers)
        served = load_checked(folder, resolved, base=base, device="cpu", sample=texts)
        return Answer(outputs=tuple(served.predict([text])[0] for text in texts), checks=served.checks)


def quiet(_: str) -> None:
    pass


def go(desk: Desk, stand: Stand | FreshProcess | None = None, **how: Any) -> Rehearsal:
    wish = Wish(**{"model": MODEL, "alias": "champion", "reason": "it answers badly", **how})
    fresh = cast("FreshProcess", stand or Stand())
    return roll_back(desk.notary, desk.store, wish, fresh, quiet, time.perf_counter())


def refused(desk: Desk, code: ExitCode, stand: Stand | None = None, **how: Any) -> RsaOpsError:
    """What the rollback raises; and nothing was moved, nothing was written."""
    before = (desk.live(), desk.entries())
    with pytest.raises(RsaOpsError) as caught:
        go(desk, stand, **how)
    assert caught.value.exit_code is code, caught.value
    assert caught.value.hint
    assert (desk.live(), desk.entries()) == before
    return caught.value


def verifies(desk: Desk) -> bool:
    return verify_rows(desk.notary.ledger.rows(), now=utc_now()).first_bad is None


@contextmanager
def without(file: Path, data: bytes | None = None) -> Iterator[None]:
    before = file.read_bytes()
    file.unlink() if data is None else file.write_bytes(data)
    try:
        yield
    finally:
        file.write_bytes(before)


def kept(shelf: Shelf, version: str, name: str) -> Path:
    """A file of a version as the store keeps it."""
    source = next(file for file in shelf.folder.glob(f"*{version}/{name}") if file.parent.name.endswith(version))
    content = source.read_bytes()
    return next(file for file in (shelf.folder / "artifacts").rglob(name) if file.read_bytes() == content)


@pytest.fixture
def desk(shelf: Shelf, tmp_path: Path) -> Desk:
    return open_desk(shelf, tmp_path)


def test_a_rollback_after_a_trial_in_a_real_fresh_process_moves_alias_and_ledger_and_verifies(desk: Desk) -> None:
    with fresh_process() as fresh:
        found = go(desk, fresh)
    assert (found.before_version, found.target.version, found.target.generation) == ("3", "2", 2)
    assert desk.live() == "2"
    assert desk.entries()[-2:] == ["intent", "rollback"]
    standing = desk.standing()
    assert (standing.generation, standing.version, standing.digest) == (4, "2", desk.digest("2"))
    assert verifies(desk)
    with desk.notary.ledger.view() as view:
        intent = payload_as(next(view.find((Kind.INTENT,), newest_first=True)).entry, Intent)
    assert (intent.action, intent.reason, intent.before_version) == ("rollback", "it answers badly", "3")
    names = [check.name for check in found.checks]
    assert names == [
        *("ledger", "plain files", "adapter bytes", "signature", "declared base", "fresh process"),
        *("base model", "loads", "is no no-op", "sample prediction"),
    ]
    again = go(desk)  # version 3 is bad now, so it goes on to version 1, and not back to 3
    assert again.target.version == "1"
    assert "rolled back from" in refused(desk, ExitCode.MISSING).message


def test_a_drill_does_everything_but_the_move_and_needs_no_key(desk: Desk) -> None:
    before, stand = (desk.live(), desk.entries()), Stand()
    wish = Wish(MODEL, "champion")
    fresh = cast("FreshProcess", stand)
    found = drill(desk.notary.ledger, desk.store, wish, fresh, quiet, time.perf_counter() - 5)
    assert found.drill
    assert found.moved is None
    assert found.wall_seconds > 5
    assert len(stand.asked) == 1
    assert not stand.asked[0].exists()  # the copy that was tried is gone
    assert (desk.live(), desk.entries()) == before
    assert [check.name for check in found.checks] == [check.name for check in go(desk).checks]


def test_a_version_that_is_asked_for_is_gone_back_to(desk: Desk) -> None:
    assert go(desk, version="1").target.version == "1"
    assert desk.live() == "1"


def test_without_a_reason_nothing_moves(desk: Desk) -> None:
    assert "--reason" in refused(desk, ExitCode.USAGE, reason=" ").hint


def test_what_was_never_champion_or_is_champion_or_was_rolled_back_from_is_refused(
    shelf: Shelf, tmp_path: Path
) -> None:
    desk = open_desk(shelf, tmp_path, "1 2 <1")
    refused(desk, ExitCode.MISSING, version="3")
    refused(desk, ExitCode.CONFLICT, version="1")
    refused(desk, ExitCode.CONFLICT, version="2")
    refused(desk, ExitCode.MISSING, model="triage.none")


@pytest.mark.parametrize("data", [None, b"other"])
def test_tampered_or_lost_bytes_of_the_target_stop_it_and_others_are_named(desk: Desk, data: bytes | None) -> None:
    with without(kept(desk.shelf, "2", "adapter_model.safetensors"), data):
        error = refused(desk, ExitCode.INTEGRITY)
        assert "check `adapter bytes`" in error.message
        assert "Other good versions, newest first: 1 (--to)" in error.hint
        assert go(desk, version="1").target.version == "1"


def test_a_lost_signature_or_lost_answers_stop_it(desk: Desk) -> None:
    with without(kept(desk.shelf, "2", "model.sig")):
        refused(desk, ExitCode.MISSING)
    with without(kept(desk.shelf, "2", "model.sig"), b"{}"):
        assert "check `signature`" in refused(desk, ExitCode.INTEGRITY).message
    connection_tags = desk.store.client.search_runs(["1"], "tags.`rsa.stage` = 'benchmark'")
    for run in connection_tags:
        desk.store.client.delete_run(run.info.run_id)
    assert "answers that were judged" in refused(desk, ExitCode.MISSING).message


def test_other_answers_than_the_judged_ones_stop_it(desk: Desk) -> None:
    error = refused(desk, ExitCode.INTEGRITY, Stand(answers=("x", "x", "x")))
    assert "check `sample prediction`" in error.message


def test_judged_answers_that_the_papers_name_must_be_those_bytes(desk: Desk) -> None:
    papers = desk.shelf.papers["2"]
    probe = kept(desk.shelf, "2", PROBE)
    named = papers.model_copy(update={"probe": digest_bytes(probe.read_bytes())})
    desk.notary.write(Kind.PAPERS, f"{MODEL}/2", named)
    with without(probe, b'{"texts": ["a"], "outputs": ["b"]}'):
        assert "not those that its papers name" in refused(desk, ExitCode.INTEGRITY).message
    with without(probe, b"[]"):
        refused(desk, ExitCode.INTEGRITY)
    assert "named by its papers" in str(go(desk).checks[-1])


def test_a_base_that_is_gone_stops_it(desk: Desk, tmp_path: Path) -> None:
    assert "check `base model`" in refused(desk, ExitCode.MISSING, base=str(tmp_path / "none")).message


def test_an_alias_moved_outside_stops_it(desk: Desk) -> None:
    move_alias(desk.store, MODEL, "champion", "1")
    assert "in the registry" in refused(desk, ExitCode.INTEGRITY).message


def test_from_a_champion_that_somebody_deleted_it_goes_back(desk: Desk) -> None:
    desk.store.client.delete_model_version(MODEL, "3")  # and its alias with it, without a word
    assert desk.live() is None
    assert go(desk).target.version == "2"
    assert desk.live() == "2"


def test_from_a_champion_that_was_deleted_it_goes_back_though_the_alias_was_put_elsewhere(desk: Desk) -> None:
    desk.store.client.delete_model_version(MODEL, "3")
    move_alias(desk.store, MODEL, "champion", "4")
    assert go(desk).target.version == "2"
    assert desk.live() == "2"


def test_an_alias_that_was_deleted_while_its_version_is_there_stops_it(desk: Desk) -> None:
    desk.store.client.delete_registered_model_alias(MODEL, "champion")
    assert "names no version" in refused(desk, ExitCode.INTEGRITY).message


def test_an_open_intent_stops_it(desk: Desk) -> None:
    desk.intend("1")
    assert "rsa-ops reconcile" in refused(desk, ExitCode.CONFLICT).hint


def test_a_broken_ledger_stops_it(desk: Desk, shelf: Shelf) -> None:
    connection = sqlite3.connect(desk.ledger)
    for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        connection.execute(f"DROP TRIGGER {name}")
    connection.execute("UPDATE rsa_ops_ledger SET at = '2020-01-01T00:00:00.000000Z' WHERE sequence = 2")
    connection.commit()
    connection.close()
    with pytest.raises(IntegrityError, match="check `ledger`"):
        go(desk)
    assert desk.live() == "3"


@pytest.mark.parametrize("minutes", [-10, 10])
def test_a_clock_that_is_wrong_moves_nothing(desk: Desk, minutes: int) -> None:
    def wrong() -> datetime:
        return utc_now() + timedelta(minutes=minutes)

    if minutes > 0:  # somebody else's clock was ahead, and ours is right
        ahead = replace(desk.notary.ledger, clock=wrong)
        lock = PolicyLock(
            pipeline="x", policy="x", policy_digest=digest_bytes(b"x"), test_digest=digest_bytes(b"x")
        )
        Notary(ahead, desk.notary.signer).write(Kind.POLICY_LOCK, "run", lock)
        refused(desk, ExitCode.INTEGRITY)
    else:
        slow = replace(desk, notary=Notary(replace(desk.notary.ledger, clock=wrong), desk.notary.signer))
        refused(slow, ExitCode.INTEGRITY)


def test_a_rollback_on_a_postgresql_ledger_goes_the_same_way(
    shelf: Shelf, tmp_path: Path, postgres: Postgres
) -> None:
    desk = open_desk(shelf, tmp_path, address=postgres.new_database())
    assert go(desk).target.version == "2"
    assert (desk.live(), desk.standing().generation) == ("2", 4)
    assert verifies(desk)


def test_a_promotion_that_was_faster_wins_and_the_rollback_moves_nothing(desk: Desk) -> None:
    class Racing(Stand):
        def ask(self, *how: Any) -> Answer:
            desk.promote("1")
            return super().ask(*how)

    with pytest.raises(RsaOpsError) as caught:
        go(desk, Racing())
    assert caught.value.exit_code is ExitCode.CONFLICT
    assert desk.live() == "1"
    assert desk.standing().generation == 4
    assert verifies(desk)


def test_a_rollback_killed_at_any_step_is_reconciled_to_one_consistent_champion(
    shelf: Shelf, tmp_path: Path
) -> None:
    desks = {}
    for number, step in enumerate(Step):
        (tmp_path / str(number)).mkdir()
        desks[step] = open_desk(shelf, tmp_path / str(number))
    answers = json.loads(kept(shelf, "2", PROBE).read_text())["outputs"]
    tasks = [f"{desk.folder}={step.value}" for step, desk in desks.items()]
    done = subprocess.run(
        [sys.executable, KILLED, MODEL, json.dumps(answers), *tasks], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [f"{step.value}: -{int(signal.SIGKILL)}" for step in Step]
    for step, desk in desks.items():
        with desk.notary.ledger.view() as view:
            opened = open_intent(view, MODEL, "champion")
        assert (opened is None) == (step in (Step.BEGUN, Step.CLOSED))
        assert desk.live() == ("3" if step in (Step.BEGUN, Step.INTENT) else "2")
        if opened is not None:
            reconcile(verified_desk(desk.notary), AliasPointer(desk.store), opened)
        moved = step in (Step.MOVED, Step.READ_BACK, Step.CLOSED)
        assert desk.live() == desk.standing().version == ("2" if moved else "3")
        assert verifies(desk)
        assert go(desk).target.version == ("1" if moved else "2")  # the next one goes on from there
