"""The pages show what the store and the ledger hold, in both languages, and change nothing."""

from __future__ import annotations

import importlib
import re
import sqlite3
import string
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from .conftest import PAGES

LANGUAGES = ("en", "ja")


def module(name: str) -> Any:
    """A module of the pages, as Streamlit imports it."""
    sys.path.insert(0, str(PAGES))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(PAGES))
        for made in ("words", "reading"):
            sys.modules.pop(made, None)


def words(language: str) -> Any:
    return module("words").LANGUAGES[language]


@pytest.mark.parametrize(
    ("value", "shown"), [(0.004, "+0.4"), (-0.03, "−3.0"), (-0.0004, "0.0"), (0.0004, "0.0"), (None, "?")]
)
def test_a_difference_that_rounds_to_nothing_has_no_sign(value: float | None, shown: str) -> None:
    assert module("reading").points(value, "?") == shown


@pytest.mark.parametrize(("value", "shown"), [(0.0, "0 %"), (0.0001, "< 1 %"), (0.4, "40 %"), (None, "?")])
def test_a_share_that_is_there_is_not_said_to_be_nothing(value: float | None, shown: str) -> None:
    assert module("reading").share(value, "?") == shown


def dump(database: Path) -> list[str]:
    with sqlite3.connect(database) as connection:
        return list(connection.iterdump())


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_portfolio_has_a_line_for_each_pipeline_and_adds_up_what_is_promoted(page, language: str) -> None:
    found = page("portfolio_page", language)
    assert not found.exception
    (shown,) = (part.proto.body for part in found.get("html"))
    assert texts(shown, "dd") == [
        "2",
        "4",
        "2 / 2",
        "¥3,545",
    ]  # ¥2,345 of triage's newest verdict, ¥1,200 of report's
    cells = texts(shown, "td")
    width = len(texts(shown, "th"))
    rows = {row[0]: row for row in (cells[at : at + width] for at in range(0, len(cells), width))}
    assert rows.keys() == {"triage", "report"}
    promote = words(language).outcomes["promote"]  # the newest run that came to a verdict
    assert rows["triage"][1:8] == [promote, "+0.4 (accuracy)", "−3.0", "¥2,345", "¥2,245", "40 %", "3"]


def texts(page: str, kind: str) -> list[str]:
    return re.findall(f"<{kind}[^>]*>([^<]*)</{kind}>", page)


def test_the_first_page_waits_for_neither_mlflow_nor_pandas(filled: Path) -> None:
    script = (
        "import sys; from streamlit.testing.v1 import AppTest; "
        "page = AppTest.from_file(sys.path.pop(0) + '/app.py', default_timeout=60).run(); "
        "print(len(page.exception), sys.modules.keys() & {'mlflow', 'pandas', 'sqlalchemy'} or 'none')"
    )
    script = f"import sys; sys.path.insert(0, {str(PAGES)!r}); sys.path.insert(0, {str(PAGES)!r}); {script}"
    command = [sys.executable, "-c", script, f"sqlite:///{filled / 'mlflow.db'}", "", "en"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() == ["0", "none"]


def test_a_name_stands_in_a_table_as_it_is_and_never_as_html(page) -> None:
    import reading

    made = reading.table('a"b', [{"<i>": "<script>", "n": "1 & 2"}], ("n",)) + reading.totals({"<b>": "<u>"})
    assert not re.search(r"<(script|i|b|u)>", made)
    assert texts(made, "td") == ["&lt;script&gt;", "1 &amp; 2"]
    assert 'aria-label="a&quot;b"' in made


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_verdicts_of_a_pipeline_stand_newest_first(page, language: str) -> None:
    found = page("verdict_page", language)
    assert not found.exception
    found = found.selectbox[0].set_value("triage").run()
    outcomes = found.dataframe[0].value[words(language).verdict].tolist()
    wanted = words(language)
    assert outcomes == [wanted.no_verdict, wanted.outcomes["promote"], wanted.outcomes["reject"]]


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_good_ledger_is_said_to_be_verified(page, language: str) -> None:
    found = page("audit_page", language)
    assert not found.exception
    assert [entry.value for entry in found.success] == [words(language).verified]
    assert found.dataframe[0].value.iloc[0].tolist()[2] == "genesis"


def test_a_ledger_that_was_edited_is_said_to_be_broken(page, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        connection.execute("UPDATE rsa_ops_ledger SET signature = replace(signature, substr(signature, 1, 1), 'x')")
    found = page("audit_page", "en")
    assert not found.success
    assert "Integrity broken" in found.error[0].value


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_if_prices_the_scenario_again_and_a_dearer_introduction_saves_less(page, language: str) -> None:
    found = page("what_if_page", language)
    assert not found.exception
    label = words(language).inputs["adoption_hours"]

    def npv(at: Any) -> int:
        return int(at.metric[1].value.replace("¥", "").replace(",", ""))

    slider = next(slider for slider in found.slider if slider.label == label)
    before, hours = npv(found), slider.value
    found = slider.set_value(hours + 10).run()
    assert not found.exception
    assert npv(found) == before - 10 * 6000  # ten hours at the book's 6,000 yen, all in month 0


@pytest.mark.parametrize("language", LANGUAGES)
def test_one_run_shows_its_records(page, language: str) -> None:
    found = page("run_page", language)
    assert not found.exception
    assert not found.error


@pytest.mark.parametrize("name", ["portfolio_page", "verdict_page", "audit_page", "what_if_page"])
def test_looking_changes_neither_store_nor_ledger(page, tmp_path: Path, name: str) -> None:
    databases = [tmp_path / "mlflow.db", tmp_path / "ledger.db"]
    before = [dump(database) for database in databases]
    assert not page(name, "en").exception
    assert [dump(database) for database in databases] == before


def test_every_word_stands_in_both_languages_with_the_same_gaps() -> None:
    english, japanese = (asdict(words(language)) for language in LANGUAGES)
    for name, text in english.items():
        if isinstance(text, str) and name != "sentence_note":
            assert text, name
            assert japanese[name], name
            assert gaps(text) == gaps(japanese[name]), name
        if isinstance(text, dict):
            assert text.keys() == japanese[name].keys()
    untranslated = {name for name, text in english.items() if japanese[name] == text}
    assert untranslated == {"title"}


def gaps(text: str) -> set[str | None]:
    return {field for _, field, _, _ in string.Formatter().parse(text) if field}
