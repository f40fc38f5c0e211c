"""`rsa-ops audit` and `rsa-ops keys`, as people and CI jobs call them: what they print and how they exit."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from rsa_ops.errors import ExitCode
from rsa_ops.governance.entry import NOTHING, Draft, Kind
from rsa_ops.governance.keys import load_key
from rsa_ops.governance.payloads import PolicyLock
from rsa_ops.governance.store import open_ledger

from .conftest import Shell, edge

ROOT = Path(__file__).parents[3]


@pytest.fixture
def team(shell: Shell) -> Shell:
    """A ledger in `ledger.db` with an admin, an operator, an approver and two locks."""
    for name in ("admin", "operator", "approver"):
        assert shell("keys", "new", "-o", f"{name}.pem")[0] == ExitCode.DONE
    assert shell("audit", "init", "--ledger", "ledger.db", "--key", "admin.pem", "--name", "A")[0] == ExitCode.DONE
    for name in ("operator", "approver"):
        words = ("keys", "add", f"{name}.pem.pub", "--role", name, "--name", name.title())
        assert shell(*words, "--ledger", "ledger.db", "--key", "admin.pem")[0] == ExitCode.DONE
    ledger = open_ledger("ledger.db", write=True)
    for number in (1, 2):
        lock = PolicyLock(pipeline="p", policy=str(number), policy_digest=NOTHING, test_digest=NOTHING)
        ledger.append(Draft.of(Kind.POLICY_LOCK, "a run", lock), load_key(Path("operator.pem")))
    ledger.close()
    return shell


def tamper(statement: str) -> None:
    connection = sqlite3.connect("ledger.db", isolation_level=None)
    connection.execute("DROP TRIGGER rsa_ops_ledger_update")
    connection.execute("DROP TRIGGER rsa_ops_ledger_delete")
    connection.execute(statement)
    connection.close()


def test_a_good_ledger_exits_0_and_says_what_was_checked_and_what_was_not(team: Shell) -> None:
    code, out, _ = team("audit", "verify", "--ledger", "ledger.db")
    assert code == ExitCode.DONE
    assert out.splitlines()[-1] == "verified"
    assert "5 entries: bytes, hashes, order, keys, roles, signatures" in out
    assert "not      MLflow: no store was asked" in out
    assert "cut off" in out


def test_a_bad_ledger_exits_6_and_names_the_first_bad_entry(team: Shell) -> None:
    tamper('UPDATE rsa_ops_ledger SET body = replace(body, \'"policy":"1"\', \'"policy":"7"\') WHERE sequence = 3')
    code, out, _ = team("audit", "verify", "--ledger", "ledger.db")
    assert code == ExitCode.INTEGRITY
    assert "BAD      entry 3: edited" in out
    assert out.splitlines()[-1] == "INTEGRITY BROKEN"
    code, out, _ = team("audit", "verify", "--ledger", "ledger.db", "--json")
    assert code == ExitCode.INTEGRITY
    report = json.loads(out)
    assert report["schema"] == "rsa_ops/audit/v1"
    assert (report["first_bad"]["sequence"], report["first_bad"]["flaw"]) == (3, "edited")
    assert report["entries"] == 3


def test_a_cut_end_is_found_against_a_checkpoint(team: Shell) -> None:
    made = team("audit", "checkpoint", "-o", "point.json", "--ledger", "ledger.db", "--key", "approver.pem")
    assert made[0] == ExitCode.DONE
    assert "entry 4" in made[1]
    words = ("audit", "verify", "--ledger", "ledger.db", "--checkpoint", "point.json")
    assert team(*words)[0] == ExitCode.DONE
    tamper("DELETE FROM rsa_ops_ledger WHERE sequence = 4")
    assert team("audit", "verify", "--ledger", "ledger.db")[0] == ExitCode.DONE
    code, out, _ = team(*words)
    assert code == ExitCode.INTEGRITY
    assert "BAD      entry 4: truncated" in out
    assert [line.split()[0] for line in out.splitlines() if "about entry 4" in line] == ["not"]


def test_an_exported_ledger_is_verified_without_its_database(team: Shell) -> None:
    code, out, _ = team("audit", "export", "--ledger", "ledger.db")
    assert code == ExitCode.DONE
    Path("ledger.jsonl").write_text(out)
    Path("ledger.db").unlink()
    assert team("audit", "verify", "--file", "ledger.jsonl")[0] == ExitCode.DONE
    Path("ledger.jsonl").write_text("".join(out.splitlines(keepends=True)[:2] + out.splitlines(keepends=True)[3:]))
    code, out, _ = team("audit", "verify", "--file", "ledger.jsonl")
    assert code == ExitCode.INTEGRITY
    assert "entry 2: deleted" in out


def test_entries_are_listed_and_shown_with_who_signed_them(team: Shell) -> None:
    code, out, _ = team("audit", "log", "--ledger", "ledger.db")
    assert code == ExitCode.DONE
    assert [line.split()[0] for line in out.splitlines()] == ["0", "1", "2", "3", "4"]
    assert max(map(len, out.splitlines())) <= 120
    code, out, _ = team("audit", "log", "--ledger", "ledger.db", "--kind", "policy-lock", "--last", 1, "--json")
    (sealed,) = json.loads(out)["entries"]
    assert sealed["entry"]["payload"]["policy"] == "2"
    for name in (4, sealed["hash"]):
        code, out, _ = team("audit", "show", name, "--ledger", "ledger.db")
        assert code == ExitCode.DONE
        assert "signed by  Operator (operator" in out
        assert out.rstrip().endswith("holds")
    tamper(
        "UPDATE rsa_ops_ledger SET signature = "
        "(SELECT signature FROM rsa_ops_ledger WHERE sequence = 0) WHERE sequence = 4"
    )
    assert "DOES NOT HOLD" in team("audit", "show", 4, "--ledger", "ledger.db")[1]


def test_keys_are_listed_revoked_by_their_first_digits_and_then_refused(team: Shell) -> None:
    code, out, _ = team("keys", "list", "--ledger", "ledger.db")
    assert code == ExitCode.DONE
    assert [line.split()[1] for line in out.splitlines()] == ["admin", "operator", "approver"]
    operator = out.splitlines()[1].split()[0]
    words = ("keys", "revoke", operator.removeprefix("sha256:")[:10], "--reason", "left", "--ledger", "ledger.db")
    assert team(*words, "--key", "approver.pem")[0] == ExitCode.USAGE
    assert team(*words, "--key", "admin.pem")[0] == ExitCode.DONE
    assert "revoked by entry 5" in team("keys", "list", "--ledger", "ledger.db")[1]
    assert team(*words, "--key", "operator.pem")[0] == ExitCode.INTEGRITY
    code, *_ = team("audit", "checkpoint", "-o", "p.json", "--ledger", "ledger.db", "--key", "operator.pem")
    assert code == ExitCode.MISSING
    assert not Path("p.json").exists()


def test_a_key_is_shown_by_its_public_half_only(team: Shell) -> None:
    shown = [team("keys", "show", name, "--json")[1] for name in ("admin.pem", "admin.pem.pub")]
    assert shown[0] == shown[1]
    secret = Path("admin.pem").read_text().splitlines()[1]
    assert secret not in shown[0]
    Path("admin.pem").chmod(0o644)
    code, out, err = team("keys", "show", "admin.pem")
    assert code == ExitCode.USAGE
    assert "0644" in err
    assert secret not in out + err


def test_the_clock_is_set_by_an_administrator_only(team: Shell) -> None:
    words = ("audit", "clock", "--reason", "battery", "--ledger", "ledger.db", "--key")
    assert team(*words, "operator.pem")[0] == ExitCode.USAGE
    assert team(*words, "admin.pem")[0] == ExitCode.DONE
    assert team("audit", "verify", "--ledger", "ledger.db")[0] == ExitCode.DONE


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("audit", "verify"), ExitCode.MISSING, "no ledger"),
        (("audit", "verify", "--ledger", "none.db"), ExitCode.MISSING, "none.db"),
        (("audit", "verify", "--file", "none.jsonl"), ExitCode.MISSING, "none.jsonl"),
        (("audit", "verify", "--ledger", "a", "--file", "b"), ExitCode.USAGE, "--ledger or --file"),
        (("audit", "verify", "--ledger", "mysql://h/d"), ExitCode.USAGE, "PostgreSQL"),
        (("audit", "verify", "--ledger", "none.db", "--checkpoint", "none.json"), ExitCode.MISSING, "none.json"),
        (("audit", "verify", "--ledger", "none.db", "--tsa-roots", "r.pem"), ExitCode.USAGE, "--checkpoint"),
        (("audit", "log", "--ledger", "none.db"), ExitCode.MISSING, "none.db"),
        (("audit", "log", "--ledger", "none.db", "--kind", "gift"), ExitCode.USAGE, "policy-lock"),
        (("audit", "export", "--ledger", "none.db"), ExitCode.MISSING, "none.db"),
        (("audit", "checkpoint", "-o", "x", "--ledger", "none.db"), ExitCode.MISSING, "no key"),
        (("audit", "init", "--name", "A"), ExitCode.USAGE, "--key"),
        (("audit", "init", "--name", "A", "--ledger", "l.db", "--key", "none"), ExitCode.MISSING, "keys new"),
        (("audit", "frobnicate"), ExitCode.USAGE, "frobnicate"),
        (("keys", "add", "x.pub", "--role", "king", "--name", "K"), ExitCode.USAGE, "approver"),
        (("keys", "show", "none"), ExitCode.MISSING, "none"),
        (("keys", "new"), ExitCode.USAGE, "out"),
    ],
)
def test_what_cannot_be_done_says_why_and_exits_by_the_table(
    shell: Shell, words: tuple[str, ...], code: ExitCode, said: str
) -> None:
    found, _, err = shell(*words)
    assert found == code, err
    assert said in err
    assert [path.name for path in shell.folder.iterdir()] == []


def test_an_entry_that_is_not_there_is_missing(team: Shell) -> None:
    assert team("audit", "show", 5, "--ledger", "ledger.db")[0] == ExitCode.MISSING
    assert team("audit", "show", "sha256:12", "--ledger", "ledger.db")[0] == ExitCode.MISSING


def test_a_changed_checkpoint_is_integrity_broken(team: Shell) -> None:
    team("audit", "checkpoint", "-o", "point.json", "--ledger", "ledger.db", "--key", "admin.pem")
    text = Path("point.json").read_text()
    Path("point.json").write_text(text.replace('"sequence": 4', '"sequence": 3'))
    code, _, err = team("audit", "verify", "--ledger", "ledger.db", "--checkpoint", "point.json")
    assert code == ExitCode.INTEGRITY
    assert "not signed" in err


def test_no_checkpoint_is_signed_of_a_broken_ledger(team: Shell) -> None:
    tamper("UPDATE rsa_ops_ledger SET subject = 'x' WHERE sequence = 1")
    code, _, err = team("audit", "checkpoint", "-o", "p.json", "--ledger", "ledger.db", "--key", "admin.pem")
    assert code == ExitCode.INTEGRITY
    assert "entry 1" in err
    assert not Path("p.json").exists()


def test_the_usual_places_are_looked_at(team: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    assert team("audit", "verify")[0] == ExitCode.DONE  # ./ledger.db
    home = team.folder / "store"
    home.mkdir()
    Path("ledger.db").rename(home / "ledger.db")
    assert team("audit", "verify")[0] == ExitCode.MISSING
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{home / 'mlflow.db'}")
    assert team("audit", "verify", "--offline")[0] == ExitCode.DONE
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    monkeypatch.setenv("RSA_OPS_LEDGER", str(home / "ledger.db"))
    assert team("audit", "verify")[0] == ExitCode.DONE


def test_verifying_changes_nothing(team: Shell) -> None:
    before = {path.name: path.read_bytes() for path in team.folder.iterdir() if path.name != "ledger.db-shm"}
    for words in (("verify",), ("log",), ("show", "1"), ("export",)):
        assert team("audit", *words, "--ledger", "ledger.db")[0] == ExitCode.DONE
    after = {path.name: path.read_bytes() for path in team.folder.iterdir() if path.name != "ledger.db-shm"}
    assert {name: data for name, data in after.items() if data} == {n: data for n, data in before.items() if data}


def test_every_command_of_the_two_groups_explains_itself() -> None:
    group: Callable[..., Any] = typer.main.get_command(edge.app)
    for name in ("audit", "keys"):
        for command in group.commands[name].commands.values():  # type: ignore[attr-defined]
            assert command.help
            assert command.get_short_help_str(200)


@pytest.mark.parametrize("words", [["audit"], ["audit", "verify"], ["keys"], ["keys", "add"]])
def test_help_imports_no_database_and_no_cryptography(words: list[str]) -> None:
    code = (
        "import sys\nfrom rsa_ops.cli.main import main\n"
        f"sys.argv = ['rsa-ops', *{words}, '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'mlflow', 'torch', 'sqlalchemy', 'cryptography', 'pandas'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Usage" in done.stdout
    assert done.stderr.strip().splitlines()[-1] == "[]"
