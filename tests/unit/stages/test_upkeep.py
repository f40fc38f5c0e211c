"""`rsa-ops rollback` and `rsa-ops gc`, as people and CI jobs call them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from rsa_ops.core.garbage import Garbage
from rsa_ops.errors import ExitCode
from rsa_ops.serving.rehearsal import Rehearsal
from rsa_ops.stages.promote import _rolled_back
from rsa_ops.stages.run import Run
from rsa_ops.tracking.registry import by_number

from ..cli.conftest import Shell
from .shelf import MODEL, Desk, Shelf, open_desk
from .test_rollback import Stand


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.chdir(tmp_path)

    @contextmanager
    def here() -> Iterator[Any]:
        yield Stand()

    monkeypatch.setattr("rsa_ops.serving.trial.fresh_process", here)
    return Shell(tmp_path, capsys, monkeypatch)


@pytest.fixture
def desk(shelf: Shelf, tmp_path: Path) -> Desk:
    return open_desk(shelf, tmp_path)


def test_a_drill_tells_that_it_would_work_and_a_rollback_what_it_did(desk: Desk, shell: Shell) -> None:
    code, out, err = shell("rollback", MODEL, "--drill")
    assert code == ExitCode.DONE
    assert "tried in a fresh process" in err
    assert f"from  {MODEL} version 3, generation 3" in out
    assert "drill: would work" in out.splitlines()[-1]
    assert desk.live() == "3"
    code, out, _ = shell("rollback", MODEL, "--reason", "it answers badly")
    assert code == ExitCode.DONE
    assert "rolled back: champion is version 2, generation 4" in out
    assert desk.live() == "2"
    code, out, _ = shell("audit", "verify", "--ledger", "ledger.db")
    assert code == ExitCode.DONE, out


def test_with_json_stdout_is_the_record(desk: Desk, shell: Shell) -> None:
    code, out, _ = shell("rollback", MODEL, "--drill", "--json", "--to", "1")
    assert code == ExitCode.DONE
    assert Rehearsal.from_json(out, "stdout").target.version == "1"
    code, out, _ = shell("gc", "--json", "--older-than", "0")
    assert code == ExitCode.DONE
    assert not Garbage.from_json(out, "stdout").removed
    assert json.loads(out)["schema"] == "rsa_ops/garbage/v1"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("rollback", MODEL), ExitCode.USAGE),
        (("rollback", "none", "--drill"), ExitCode.MISSING),
        (("rollback", MODEL, "--drill", "--to", "3"), ExitCode.CONFLICT),
        (("rollback", MODEL, "--drill", "--store", "sqlite:///none.db"), ExitCode.MISSING),
        (("rollback", MODEL, "--drill", "--ledger", "none.db"), ExitCode.MISSING),
        (("rollback", MODEL, "--reason", "x", "--key", "none.pem"), ExitCode.MISSING),
        (("gc", "--only", "everything"), ExitCode.USAGE),
        (("gc", "--work", "none"), ExitCode.USAGE),
        (("gc", "--store", "sqlite:///none.db"), ExitCode.MISSING),
    ],
)
def test_each_refusal_has_its_exit_code_and_a_next_step_and_moves_nothing(
    desk: Desk, shell: Shell, words: tuple[str, ...], code: ExitCode
) -> None:
    before = (desk.live(), desk.entries())
    found, out, err = shell(*words)
    assert (found, out) == (code, "")
    assert len(err.strip().splitlines()) >= 2
    assert (desk.live(), desk.entries()) == before
    assert not (desk.folder / "none.db").exists()


def test_gc_shows_what_may_go_and_removes_it_when_told(shelf: Shelf, tmp_path: Path, shell: Shell) -> None:
    open_desk(shelf, tmp_path, "1 2")
    code, out, _ = shell("gc", "--older-than", "0")
    assert code == ExitCode.DONE
    assert out.count("version      ") == 2
    assert "4 named by nothing; nothing was removed: --yes does" in out
    assert "removed 4" in shell("gc", "--older-than", "0", "--yes")[1]
    assert "nothing to remove" in shell("gc", "--older-than", "0")[1]


def test_a_run_does_not_promote_again_what_was_rolled_back_from(desk: Desk, shell: Shell) -> None:
    run = cast("Run", SimpleNamespace(notary=desk.notary))
    version = by_number(desk.store, MODEL, "3")
    assert version is not None
    assert _rolled_back(run, version) is None
    assert shell("rollback", MODEL, "--reason", "it answers badly")[0] == ExitCode.DONE
    left = _rolled_back(run, version)
    assert left is not None
    assert left.moved.generation == 4
    desk.promote("3")
    assert _rolled_back(run, version) is None
