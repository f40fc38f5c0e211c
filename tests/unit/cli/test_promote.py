"""`rsa-ops promote` and `rsa-ops reconcile` on a real MLflow store, as people call them: words, codes, effects."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rsa_ops.core.digest import Digest, digest_bytes
from rsa_ops.core.verdict import Outcome
from rsa_ops.errors import ExitCode, MissingError
from rsa_ops.files import digest_folder, write_text
from rsa_ops.governance.entry import Kind
from rsa_ops.governance.keys import load_key
from rsa_ops.governance.notary import Notary
from rsa_ops.governance.payloads import PolicyLock, VerdictGiven
from rsa_ops.governance.pointer import standing_at
from rsa_ops.governance.store import open_ledger
from rsa_ops.tracking import registry
from rsa_ops.tracking.registry import AliasPointer, move_alias, register_adapter
from rsa_ops.tracking.runs import start_run
from rsa_ops.tracking.store import Store

from .conftest import Shell

MODEL = "triage.1a2b3c4d5e6f"
WHY = ("--reason", "it is better")


@dataclass
class Team:
    """A shell, a store with one version beside a ledger with four keys; more versions and verdicts on demand."""

    shell: Shell
    store: Store
    folder: Path
    digests: dict[str, Digest]

    def __call__(self, *words: object, key: str = "ci") -> tuple[int, str, str]:
        return self.shell(*words, "--ledger", "ledger.db", "--key", f"{key}.pem")

    def register(self, version: str) -> None:
        """A new adapter becomes the next version; MLflow takes its second for it."""
        adapter = self.folder / f"adapter{version}"
        write_text(adapter / "model.json", "{}")
        write_text(adapter / "weights", version)
        self.digests[version] = digest_folder(adapter)
        run = start_run(self.store, f"cell{version}", {})
        made = register_adapter(self.store, MODEL, run, adapter, self.digests[version], {})
        assert made.version == version

    def judge(self, version: str, outcome: Outcome = Outcome.PROMOTE, approvals: int = 0) -> str:
        ledger = open_ledger("ledger.db", write=True)
        notary, run = Notary(ledger, load_key(Path("ci.pem"))), f"run-{version}-{outcome.value}"
        about: dict[str, Any] = {
            "pipeline": "triage",
            "policy_digest": digest_bytes(b"p"),
            "test_digest": digest_bytes(b"t"),
        }
        lock = notary.write(Kind.POLICY_LOCK, run, PolicyLock(**about, policy="p", approvals=approvals))
        with ledger.view() as view:
            champion = standing_at(view, MODEL, "champion").digest
        given = VerdictGiven(
            **about,
            lock=lock.hash,
            verdict_digest=digest_bytes(b"v"),
            outcome=outcome,
            candidate_digest=self.digests[version],
            champion_digest=champion,
            unmet=() if outcome is Outcome.PROMOTE else ("accuracy",),
        )
        notary.write(Kind.VERDICT, run, given)
        ledger.close()
        return run

    def plan(self, version: str, *words: object) -> None:
        code, _, err = self("promote", "plan", MODEL, version, *WHY, *words)
        assert code == ExitCode.DONE, err

    def promote(self, version: str) -> None:
        self.judge(version)
        self.plan(version)
        assert self("promote", "apply", "plan.json", key="ops")[0] == ExitCode.DONE

    @property
    def champion(self) -> str | None:
        return AliasPointer(self.store).read(MODEL, "champion")

    def refused(self, code: ExitCode, *words: object, key: str = "ops", says: str = "") -> str:
        """The command exits so, and the champion stays."""
        before = self.champion
        found, _, err = self(*words, key=key)
        assert (ExitCode(found), self.champion) == (code, before), err
        assert says in err
        return err


@pytest.fixture
def team(store: Store, tmp_path: Path, shell: Shell) -> Team:
    for name in ("admin", "ci", "ops", "bob"):
        assert shell("keys", "new", "-o", f"{name}.pem")[0] == ExitCode.DONE
    assert shell("audit", "init", "--ledger", "ledger.db", "--key", "admin.pem", "--name", "A")[0] == ExitCode.DONE
    for name, role in (("ci", "operator"), ("ops", "operator"), ("bob", "approver")):
        words = ("keys", "add", f"{name}.pem.pub", "--role", role, "--name", name)
        assert shell(*words, "--ledger", "ledger.db", "--key", "admin.pem")[0] == ExitCode.DONE
    made = Team(shell, store, tmp_path, {})
    made.register("1")
    return made


def test_a_promotion_goes_from_plan_to_approval_to_champion_and_verifies(team: Team) -> None:
    team.judge("1", approvals=1)
    code, out, _ = team("promote", "plan", MODEL, "1", *WHY, "-o", "first.json")
    assert code == ExitCode.DONE
    assert out.startswith("wrote first.json\n")
    assert "approved  0 of 1" in out
    team.refused(ExitCode.CONFLICT, "promote", "apply", "first.json", says="needs 1 approval and has 0")
    team.refused(ExitCode.USAGE, "promote", "approve", "first.json", key="ci", says="may not write approval")
    code, out, _ = team("promote", "approve", "first.json", "--json", key="bob")
    assert code == ExitCode.DONE
    assert json.loads(out)["state"] == "ready"
    team.refused(ExitCode.CONFLICT, "promote", "approve", "first.json", key="bob", says="approved the plan already")
    code, out, _ = team("promote", "apply", "first.json", key="ops")
    assert code == ExitCode.DONE
    assert out.startswith(f"champion: {MODEL} version 1, generation 1, plan ")
    assert "entries verified" in out
    assert team.champion == "1"
    code, out, _ = team.shell("promote", "show", "first.json", "--ledger", "ledger.db", "--json")
    shown = json.loads(out)
    assert (shown["schema"], shown["state"], shown["exit_code"]) == ("rsa_ops/promotion/v1", "applied", 0)
    code, out, _ = team.shell("audit", "verify", "--ledger", "ledger.db")
    assert code == ExitCode.DONE, out
    assert "1 aliases and the bytes of 1 versions" in out
    assert team("reconcile", key="ops")[1] == "nothing was open\n"


def test_an_edited_plan_exits_6_and_a_missing_or_unknown_one_8(team: Team) -> None:
    team.judge("1")
    team.plan("1")
    whole = json.loads(Path("plan.json").read_text())
    Path("edited.json").write_text(json.dumps({**whole, "payload": whole["payload"].replace("A", "B", 1)}))
    team.refused(ExitCode.INTEGRITY, "promote", "apply", "edited.json")
    team.refused(ExitCode.MISSING, "promote", "apply", "none.json", says="is not there")
    team.shell("audit", "init", "--ledger", "other.db", "--key", "ci.pem", "--name", "ci")
    found, _, err = team.shell("promote", "apply", "plan.json", "--ledger", "other.db", "--key", "ci.pem")
    assert (found, team.champion) == (ExitCode.MISSING, None)
    assert "is not in the ledger" in err


def test_a_plan_without_time_or_of_a_version_that_is_not_there_is_not_made(team: Team) -> None:
    team.refused(ExitCode.MISSING, "promote", "plan", MODEL, "1", *WHY, says="no verdict")
    team.judge("1")
    team.refused(ExitCode.USAGE, "promote", "plan", MODEL, "1", *WHY, "--expires", "soon", says="no time to last")
    team.refused(ExitCode.MISSING, "promote", "plan", MODEL, "9", *WHY, says="has no version 9")
    assert not Path("plan.json").exists()


def test_bytes_changed_after_the_plan_exit_6(team: Team) -> None:
    team.judge("1")
    team.plan("1")
    (weights,) = (path for path in (team.folder / "artifacts").rglob("weights") if path.read_text() == "1")
    weights.write_text("other")
    team.refused(ExitCode.INTEGRITY, "promote", "apply", "plan.json", says="its files are")


def test_a_version_deleted_after_the_plan_exits_8(team: Team) -> None:
    team.judge("1")
    team.plan("1")
    team.store.client.delete_model_version(MODEL, "1")
    team.refused(ExitCode.MISSING, "promote", "apply", "plan.json", says="has no version 1")


def test_a_champion_moved_from_outside_stops_the_next_promotion_with_6(team: Team) -> None:
    team.promote("1")
    team.register("2")
    team.judge("2")
    team.plan("2")
    team.store.client.delete_registered_model_alias(MODEL, "champion")
    err = team.refused(ExitCode.INTEGRITY, "promote", "apply", "plan.json", says="names no version in the registry")
    assert "rsa-ops reconcile --restore" in err
    assert team.shell("audit", "verify", "--ledger", "ledger.db")[0] == ExitCode.INTEGRITY
    move_alias(team.store, MODEL, "champion", "1")
    assert team("promote", "apply", "plan.json")[0] == ExitCode.DONE
    assert team.champion == "2"


def test_a_champion_moved_in_the_database_is_told_by_reconcile_and_put_back_when_that_is_said(team: Team) -> None:
    team.promote("1")
    team.register("2")
    with closing(sqlite3.connect(team.folder / "mlflow.db")) as database:
        database.execute("UPDATE registered_model_aliases SET version = 2 WHERE alias = 'champion'")
        database.commit()
    assert team.champion == "2"
    err = team.refused(ExitCode.INTEGRITY, "reconcile", says="moved outside of rsa_ops")
    assert "reconcile --restore --reason" in err
    team.refused(ExitCode.USAGE, "reconcile", "--restore", says="needs a reason")
    assert team("reconcile", "other", "--restore", "--reason", "x")[1] == "nothing was open\n"
    code, out, _ = team("reconcile", "--restore", "--reason", "edited by hand", "--json", key="ops")
    (back,) = json.loads(out)["outside"]
    assert (code, team.champion) == (ExitCode.DONE, "1")
    assert (back["version"], back["generation"], back["live"]) == ("1", 2, "2")
    code, out, _ = team.shell("audit", "show", str(back["entry"] - 1), "--ledger", "ledger.db")
    assert '"action": "restore"' in out
    assert "edited by hand" in out
    assert team.shell("audit", "verify", "--ledger", "ledger.db")[0] == ExitCode.DONE
    assert team("reconcile")[1] == "nothing was open\n"


def test_an_alias_cannot_be_put_back_on_a_version_that_is_gone(team: Team) -> None:
    team.promote("1")
    team.register("2")
    team.store.client.delete_model_version(MODEL, "1")
    move_alias(team.store, MODEL, "champion", "2")
    words = ("reconcile", "--restore", "--reason", "x")
    assert "rsa-ops rollback" in team.refused(ExitCode.MISSING, *words, says="is not in the registry any more")


def test_a_champion_from_before_the_ledger_is_replaced_by_the_first_generation(team: Team) -> None:
    team.register("2")
    move_alias(team.store, MODEL, "champion", "2")
    team.promote("1")
    assert team.champion == "1"


def broken(*_: object) -> None:
    raise MissingError("the MLflow server does not answer")


@pytest.mark.parametrize("moved", [True, False], ids=["after the move", "before the move"])
def test_mlflow_down_in_the_middle_exits_8_says_what_is_open_and_is_reconciled(
    team: Team, moved: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    team.promote("1")
    team.register("2")
    team.judge("2")
    team.plan("2")

    def half(store: Store, name: str, alias: str, version: str) -> None:
        if moved:
            real(store, name, alias, version)
        broken()

    real: Callable[..., None] = registry.move_alias
    monkeypatch.setattr(registry, "move_alias", half)
    code, _, err = team("promote", "apply", "plan.json", key="ops")
    assert code == ExitCode.MISSING
    assert "does not answer; the intent, entry" in err
    assert "rsa-ops reconcile" in err
    monkeypatch.undo()
    os.chdir(team.folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", team.store.uri)
    code, out, _ = team("reconcile", "--json", key="ops")
    assert code == ExitCode.DONE
    (ended,) = json.loads(out)["ended"]
    assert ended["ending"] == ("completed" if moved else "abandoned")
    assert team.champion == ("2" if moved else "1")
    assert team.shell("audit", "verify", "--ledger", "ledger.db")[0] == ExitCode.DONE


def test_a_move_given_up_can_be_carried_on_instead(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    team.judge("1")
    team.plan("1")
    monkeypatch.setattr(registry, "move_alias", broken)
    assert team("promote", "apply", "plan.json")[0] == ExitCode.MISSING
    monkeypatch.undo()
    os.chdir(team.folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", team.store.uri)
    code, out, _ = team("reconcile", MODEL, "--onward")
    assert (code, team.champion) == (ExitCode.DONE, "1")
    assert "version 1, generation 1 finished" in out


def test_a_rejected_candidate_needs_a_waiver_and_a_waived_one_is_loud(team: Team) -> None:
    run = team.judge("1", Outcome.REJECT)
    team.plan("1")
    team.refused(ExitCode.REJECTED, "promote", "apply", "plan.json", says="Unmet: accuracy")
    team.refused(ExitCode.USAGE, "promote", "waive", run, "--reason", "x", key="bob", says="which rules?")
    code, _, err = team("promote", "waive", run, "--rule", "accuracy", "--reason", "a pilot", key="bob")
    assert (code, err) == (ExitCode.DONE, "WAIVED: a pilot\n")
    code, _, err = team("promote", "apply", "plan.json")
    assert code == ExitCode.DONE
    assert "WAIVED by entry" in err
    assert "note" in team.shell("audit", "verify", "--ledger", "ledger.db")[1]


def test_broken_glass_moves_at_once_and_is_ratified_by_another(team: Team) -> None:
    team.judge("1", Outcome.INCONCLUSIVE, approvals=3)
    team.plan("1")
    team.refused(ExitCode.INCONCLUSIVE, "promote", "apply", "plan.json")
    code, out, err = team("promote", "break-glass", "plan.json", "--reason", "the old one leaks")
    assert code == ExitCode.DONE
    assert "GLASS BROKEN: the old one leaks" in err
    number = out.split()[1].rstrip(":")
    code, _, err = team("promote", "apply", "plan.json")
    assert (code, team.champion) == (ExitCode.DONE, "1")
    assert "GLASS BROKEN by entry" in err
    assert "NOT RATIFIED YET" in team.shell("audit", "verify", "--ledger", "ledger.db")[1]
    team.refused(ExitCode.USAGE, "promote", "ratify", number, "--reason", "x", key="ci", says="ratified")
    assert team("promote", "ratify", number, "--reason", "seen", key="bob")[0] == ExitCode.DONE
    assert "ratified by entry" in team.shell("audit", "verify", "--ledger", "ledger.db")[1]


def test_without_a_store_or_a_key_the_command_says_what_to_give(team: Team, tmp_path: Path) -> None:
    team.judge("1")
    team.plan("1")
    found, _, err = team.shell("promote", "apply", "plan.json", "--ledger", "ledger.db")
    assert found == ExitCode.MISSING
    assert "--key" in err
    (tmp_path / "mlflow.db").rename(tmp_path / "elsewhere.db")
    found, _, err = team("promote", "apply", "plan.json")
    assert found == ExitCode.MISSING
    assert "--store" in err
