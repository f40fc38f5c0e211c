"""The decision sheet says what the records say, in both languages, and asks for what follows from them."""

from __future__ import annotations

import dataclasses
import re
import string
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from rsa_ops.core.business_case import KeyFigure
from rsa_ops.core.verdict import Outcome, Ruling, Verdict
from rsa_ops.costs.scenario import Inputs
from rsa_ops.errors import MissingError, UsageError
from rsa_ops.reporting.decision import LANGUAGES, effects, proposal, quality, render_decision, words_of
from rsa_ops.reporting.inputs import ReportInputs

from ...browser import require_a_sound_page
from ...worlds import SHA, a_case, world

LETTERS = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]")


def records(outcome: Outcome = Outcome.PROMOTE, named: str = "department", **changes: Any) -> ReportInputs:
    seen = world()
    rule = Ruling(rule="noninferiority", required="", observed="", outcome=outcome, reason="")
    verdict = Verdict(
        outcome=outcome,
        sentence="",
        candidate="rsa",
        baselines=("full",),
        rulings=(rule,),
        policy="p",
        policy_digest=SHA,
        test_digest=SHA,
        candidate_digest=SHA,
        champion_digest=None,
    )
    made = ReportInputs(
        pipeline="triage",
        task="classification",
        generated_at="2026-11-26 09:00 UTC",
        version="0",
        comparison=seen.comparison,
        measurements=seen.cells,
        verdict=verdict,
        case=a_case(named),
        mlflow_hint="mlflow ui",
    )
    return made.model_copy(update=changes)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_key_figure_of_the_case_stands_on_the_sheet(language: str) -> None:
    found = records()
    page = render_decision(found, language)
    assert found.case is not None
    for amount in (
        found.case.saving,
        found.case.npv,
        found.case.investment,
        *(arm.total for arm in found.case.arms),
    ):
        assert str(amount) in page
    for line in found.case.lines:
        assert str(line.amount) in page
    for entry in found.case.inputs:
        assert words_of(language).inputs[entry.name] in page


@pytest.mark.parametrize(
    ("models", "requests", "shown"),
    [
        (3, None, "3 models"),
        (None, 60_000, "60,000 requests a month for each"),
        (3, 60_000, "3 models; 60,000 requests a month for each"),
        (None, None, "–"),
    ],
)
def test_of_the_two_ways_to_break_even_those_that_exist_are_told(
    models: int | None, requests: int | None, shown: str
) -> None:
    def found(value: int | None) -> KeyFigure:
        return KeyFigure(value=None if value is None else Decimal(value), unit="", reason="" if value else "none")

    words = words_of("en")
    case = a_case("pilot").model_copy(
        update={"breakeven_variants": found(models), "breakeven_requests": found(requests)}
    )
    assert {label: value for label, value, _ in effects(case, words)}[words.breakeven] == shown


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_difference_that_rounds_to_nothing_has_no_sign(language: str) -> None:
    found = records()
    assert found.comparison is not None
    assert found.case is not None
    contrast = found.comparison.contrast(found.comparison.primary_metric, found.case.baseline)
    assert contrast is not None
    assert contrast.result is not None
    assert contrast.result.difference is not None
    tiny = contrast.result.difference.model_copy(update={"value": -0.0004, "low": -0.019, "high": 0.018})
    result = contrast.result.model_copy(update={"difference": tiny})
    comparison = found.comparison.model_copy(
        update={"contrasts": (contrast.model_copy(update={"result": result}),)}
    )
    sentence = quality(comparison, found.case, words_of(language))
    assert "−1.9" in sentence
    assert "+1.8" in sentence
    assert " 0.0 " in sentence


def test_what_is_proposed_follows_from_the_verdict_and_the_present_value() -> None:
    words = words_of("en")
    paying, losing = a_case("department"), a_case("pilot")
    assert paying.npv.amount > 0 > losing.npv.amount
    adopt = words.proposals["adopt"].format(candidate="rsa", baseline="full")
    assert proposal(records(), paying, words) == adopt
    assert proposal(records(), losing, words) != adopt  # quality alone is no reason
    for outcome, kind in ((Outcome.INCONCLUSIVE, "wait"), (Outcome.REJECT, "refuse"), (Outcome.ERROR, "broken")):
        assert proposal(records(outcome), paying, words) == words.proposals[kind].format(candidate="rsa")
    assert proposal(records(verdict=None), paying, words) == words.proposals["no-verdict"]


def test_a_language_that_nobody_wrote_is_refused() -> None:
    with pytest.raises(UsageError, match="no language 'fr'"):
        render_decision(records(), "fr")


@pytest.mark.parametrize("hole", ["case", "comparison"])
def test_without_a_case_or_a_comparison_there_is_no_sheet(hole: str) -> None:
    with pytest.raises(MissingError, match="a decision sheet needs"):
        render_decision(records(**{hole: None}), "ja")


def test_both_languages_have_every_word_and_the_same_gaps() -> None:
    english, japanese = (dict(walk(dataclasses.asdict(words_of(language)))) for language in ("en", "ja"))
    assert english.keys() ^ japanese.keys() == set()
    for place, text in english.items():
        assert text, place
        assert gaps(text) == gaps(japanese[place]), place
        if place not in (("html_lang",),):
            assert LETTERS.search(japanese[place]), f"{place} is not Japanese: {japanese[place]}"
            assert not LETTERS.search(text), place


def test_every_input_and_category_has_a_word() -> None:
    for language in LANGUAGES:
        words = words_of(language)
        assert set(words.inputs) == set(Inputs.model_fields)
        assert {line.category for line in a_case().lines} <= set(words.categories)


def walk(value: Any, place: tuple[Any, ...] = ()) -> Any:
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, dict):
        for key, entry in value.items():
            yield from walk(entry, (*place, str(key)))
    else:
        for index, entry in enumerate(value):
            yield from walk(entry, (*place, index))


def gaps(text: str) -> set[str]:
    return {field for _, field, _, _ in string.Formatter().parse(text) if field}


def test_what_a_record_says_cannot_become_markup() -> None:
    found = records()
    assert found.case is not None
    page = render_decision(
        found.model_copy(update={"case": found.case.model_copy(update={"pipeline": "<b>x</b>"})}), "en"
    )
    assert "<b>x</b>" not in page
    assert "&lt;b&gt;x" in page


@pytest.mark.parametrize("language", LANGUAGES)
def test_in_a_browser_nothing_complains_overflows_or_loads(chromium, language: str, tmp_path: Path) -> None:
    file = tmp_path / "sheet.html"
    file.write_text(render_decision(records(), language), encoding="utf-8")
    require_a_sound_page(chromium, file)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_sheet_is_one_page_of_paper_and_the_detail_begins_on_the_next(
    chromium, language: str, tmp_path: Path
) -> None:
    file = tmp_path / "sheet.html"
    whole = render_decision(records(), language)
    alone = re.sub(r'<section class="detail">.*</section>', "", whole, flags=re.DOTALL)
    pages = []
    for words in (alone, whole):
        file.write_text(words.replace("break-after: page", "") if words is alone else words, encoding="utf-8")
        page = chromium.new_page()
        page.goto(file.as_uri())
        pages.append(len(re.findall(rb"/Type\s*/Page\b", page.pdf(prefer_css_page_size=True))))
        page.close()
    assert pages[0] == 1
    assert pages[1] > 1
