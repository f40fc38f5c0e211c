"""The sheets of `rsa-ops report` from a store: one run by its id, and all runs at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from rsa_ops.errors import ExitCode
from rsa_ops.stages.portfolio import read_portfolio

from ..unit.cli.conftest import Shell, shell

__all__ = ["shell"]


def a_run(filled: Path) -> str:
    runs = read_portfolio(f"sqlite:///{filled / 'mlflow.db'}")
    return next(run.line.run_id for run in runs if run.line.pipeline == "report")


@pytest.mark.parametrize(("language", "title"), [("en", "Decision sheet"), ("ja", "稟議書")])
def test_a_run_is_found_by_its_id(shell: Shell, filled: Path, language: str, title: str) -> None:
    about = ("--store", filled, "--lang", language, "--scenario", "pilot", "-o", "sheet.html")
    assert shell("report", a_run(filled), *about)[:2] == (0, "wrote sheet.html\n")
    assert title in (shell.folder / "sheet.html").read_text(encoding="utf-8")


def test_the_portfolio_has_every_run_of_the_store(shell: Shell, filled: Path) -> None:
    said = shell("report", "--portfolio", "--store", filled, "--lang", "ja", "-o", "all.html")
    assert said[:2] == (0, "wrote all.html: 4 runs\n")
    page = (shell.folder / "all.html").read_text(encoding="utf-8")
    for run in read_portfolio(f"sqlite:///{filled / 'mlflow.db'}"):
        assert run.line.run_id in page
    assert "¥3,545" in page


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        ((), ExitCode.USAGE, "one run or --portfolio"),
        (("x", "--portfolio"), ExitCode.USAGE, "one run or --portfolio"),
        (("no/such/folder",), ExitCode.MISSING, "no folder no/such/folder"),
        (("0" * 32,), ExitCode.MISSING, "0" * 32),
        (("--portfolio", "--lang", "fr"), ExitCode.USAGE, "no language 'fr'"),
        (("--portfolio", "-o", "all.doc"), ExitCode.USAGE, "all.doc"),
    ],
)
def test_what_cannot_be_written_is_refused(
    shell: Shell, filled: Path, words: tuple[str, ...], code: ExitCode, why: str
) -> None:
    found, _, err = shell("report", *words, "--store", filled)
    assert (found, why in err) == (code, True), err
    assert list(shell.folder.iterdir()) == []
