"""`rsa-ops cost` on bad input: the line or the cell is named, and there is never a total with a hole in it."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import pytest

from rsa_ops.errors import ExitCode

from ...worlds import write_results
from .conftest import Shell

BOOK = """id: ours
date: 2026-10-01
lines:
  - {key: cpu-core-hour, unit: core-hour, price: "4.2", currency: JPY, basis: quoted, source: contract 7,
     as_of: 2026-10-01}
"""


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return write_results(tmp_path / "results", "triage", "sqlite:///mlflow.db", "r1")


def scenario(folder: Path, *changes: tuple[str, str]) -> Path:
    """The scenario `pilot` with beginnings of lines replaced, each by a whole line."""
    lines = resources.files("rsa_ops.costs.scenarios").joinpath("pilot.yaml").read_text("utf-8").splitlines()
    for begins, line in changes:
        (at,) = (n for n, old in enumerate(lines) if old.strip().startswith(begins))
        indent = len(lines[at]) - len(lines[at].lstrip())
        lines[at] = " " * indent + line
    path = folder / "mine.yaml"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def line_of(path: Path, word: str) -> str:
    lines = path.read_text("utf-8").splitlines()
    return f"line {next(n for n, text in enumerate(lines, 1) if text.strip().startswith(word))}"


def change(file: Path, **values: object) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text("utf-8")), **values}), encoding="utf-8")


def one_input(name: str, value: str) -> tuple[str, str]:
    return name, f'{name}: {{value: "{value}", low: "{value}", high: "{value}", basis: assumed, source: x}}'


def test_a_missing_price_is_named_with_what_needs_it(shell: Shell, results: Path) -> None:
    file = scenario(shell.folder, ("serving_line", "serving_line: gpu-mine-hour"))
    code, out, err = shell("cost", results, "--scenario", file)
    assert (code, out) == (ExitCode.MISSING, "")
    assert "`gpu-mine-hour`, which serving needs" in err
    assert "key: gpu-mine-hour" in err  # what to add


def test_a_device_without_a_price_is_named_with_its_cell(shell: Shell, results: Path) -> None:
    change(results / "measurements" / "rsa-s1.json", device="NVIDIA L40S")
    code, out, err = shell("cost", results / "measurements" / "rsa-s1.json")
    assert (code, out) == (ExitCode.MISSING, "")
    assert "NVIDIA L40S" in err
    assert "rsa-s1" in err


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ("currency: JPY", "currency: EUR", "lines.0.currency"),
        ("currency: JPY, ", "", "lines.0.currency"),  # a bare number is nobody's money
        ('price: "4.2"', 'price: "-4.2"', "lines.0.price"),
        ("lines:", 'fx: {jpy_per_usd: "0", date: 2026-10-01, source: x}\nlines:', "fx.jpy_per_usd"),
    ],
    ids=["another currency", "no currency", "negative price", "rate of zero"],
)
def test_a_wrong_line_of_a_price_book_is_named(old: str, new: str, place: str, shell: Shell, results: Path) -> None:
    book = shell.folder / "book.yaml"
    book.write_text(BOOK.replace(old, new), encoding="utf-8")
    code, out, err = shell("cost", results, "--scenario", "pilot", "--book", book)
    assert (code, out) == (ExitCode.USAGE, "")
    assert place in err
    assert "line " in err


def test_currencies_that_nobody_has_are_refused(shell: Shell, results: Path) -> None:
    code, _, err = shell("cost", results / "measurements" / "rsa-s1.json", "--currency", "EUR")
    assert code == ExitCode.USAGE
    assert "JPY or USD" in err


@pytest.mark.parametrize("case", [True, False])
def test_negative_hours_are_refused_with_their_cell(case: bool, shell: Shell, results: Path) -> None:
    file = results / "measurements" / "rsa-s2.json"
    change(file, wall_seconds=-5.0)
    code, out, err = shell("cost", *((results, "--scenario", "pilot") if case else (file,)))
    assert (code, out) == (ExitCode.USAGE, "")
    assert "rsa-s2: -5.0 s" in err


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        (one_input("engineer_hours", "-1"), "greater than or equal to 0"),
        (one_input("discount_rate", "0"), "greater than 0"),
        (one_input("exchange_rate_factor", "0"), "greater than 0"),
        (("horizon_months", "horizon_months: 0"), "greater than or equal to 1"),
        (("currency", "currency: EUR"), "'JPY' or 'USD'"),
    ],
    ids=["negative hours", "discount rate of zero", "exchange rate of zero", "horizon of zero", "currency"],
)
def test_a_scenario_that_cannot_be_is_refused_with_its_line(
    changed: tuple[str, str], problem: str, shell: Shell, results: Path
) -> None:
    file = scenario(shell.folder, changed)
    code, out, err = shell("cost", results, "--scenario", file)
    assert (code, out) == (ExitCode.USAGE, "")
    assert problem in " ".join(err.split())
    assert line_of(file, changed[0]) in err


def test_cash_flows_without_a_change_of_sign_have_no_rate_and_say_so(shell: Shell, results: Path) -> None:
    # nothing to introduce, so that nothing is invested, and the candidate saves in every month
    file = scenario(shell.folder, one_input("adoption_hours", "0"), one_input("cost_per_wrong_answer", "0"))
    code, out, _ = shell("cost", results, "--scenario", file)
    assert code == ExitCode.DONE
    assert "IRR               none: the flows never change sign, so no single rate answers" in out
    assert "return            none: nothing is invested" in out


def test_a_run_without_measurements_has_no_case(shell: Shell, results: Path) -> None:
    for file in (results / "measurements").iterdir():
        file.unlink()
    code, out, err = shell("cost", results, "--scenario", "pilot")
    assert (code, out) == (ExitCode.MISSING, "")
    assert "measurements" in err


def test_a_run_without_the_measurements_of_one_arm_has_no_case(shell: Shell, results: Path) -> None:
    for file in (results / "measurements").glob("full-*"):
        file.unlink()
    code, out, err = shell("cost", results, "--scenario", "pilot")
    assert (code, out) == (ExitCode.MISSING, "")
    assert "no measurements of the arm full" in err


def test_an_unknown_language_is_answered_with_those_there_are(shell: Shell, results: Path) -> None:
    code, out, err = shell("report", results, "--lang", "fr", "-o", "sheet.html")
    assert (code, out) == (ExitCode.USAGE, "")
    assert "'fr'" in err
    assert "en" in err
    assert "ja" in err
    assert not (shell.folder / "sheet.html").exists()


def test_no_file_is_written_where_the_case_is_refused(shell: Shell, results: Path) -> None:
    file = scenario(shell.folder, ("serving_line", "serving_line: gpu-mine-hour"))
    code, _, _ = shell("cost", results, "--scenario", file, "--focus", "focus.csv")
    assert code == ExitCode.MISSING
    assert not (shell.folder / "focus.csv").exists()
