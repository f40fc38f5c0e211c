"""The portfolio sheet adds up what its headlines say, and nothing that has no price."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path

import pytest

from rsa_ops.core.headline import Headline
from rsa_ops.core.money import Currency, Money
from rsa_ops.core.verdict import Outcome
from rsa_ops.errors import UsageError
from rsa_ops.reporting.decision import LANGUAGES, words_of
from rsa_ops.reporting.portfolio import ListedRun, by_pipeline, render_portfolio, totals

from ...browser import require_a_sound_page

LIMIT_BYTES = 3_000_000
SHA = "sha256:" + "ab" * 32


def line(outcome: Outcome, saving: int | None, currency: Currency = "JPY") -> Headline:
    def money(amount: int) -> Money | None:
        return None if saving is None else Money(amount=Decimal(amount), currency=currency)

    return Headline(
        outcome=outcome,
        candidate="rsa",
        baseline="full",
        metric="accuracy",
        difference=-0.004,
        low=-0.019,
        high=0.011,
        margin=0.03,
        examples=600,
        candidate_cost=money(1000),
        baseline_cost=money(1000 + (saving or 0)),
        npv=money((saving or 0) - 100),
        scenario=None if saving is None else "pilot",
        horizon_months=None if saving is None else 36,
        measured_share=None if saving is None else 0.4,
    )


def run(pipeline: str, headline: Headline | None, number: int = 0) -> ListedRun:
    return ListedRun(
        run_id=f"{pipeline}-{number}",
        pipeline=pipeline,
        started_at="2026-11-26 09:00",
        policy_digest=SHA,
        headline=headline,
    )


RUNS = (
    run("triage", None, 3),  # the newest run came to no verdict; the one before counts
    run("triage", line(Outcome.PROMOTE, 2345), 2),
    run("triage", line(Outcome.PROMOTE, 9999), 1),
    run("report", line(Outcome.PROMOTE, 1200)),
    run("claims", line(Outcome.REJECT, 7000)),
    run("letters", line(Outcome.PROMOTE, 50, "USD")),
    run("unpriced", line(Outcome.PROMOTE, None)),
    run("never", None),
)


def test_only_the_newest_verdicts_that_promote_are_added_up_each_currency_by_itself() -> None:
    promoted = [entry for entry in by_pipeline(RUNS) if entry.promoted]
    assert [entry.name for entry in promoted] == ["triage", "report", "letters", "unpriced"]
    assert [str(amount) for amount in totals(promoted, "saving")] == ["¥3,545", "$50.00"]
    assert [str(amount) for amount in totals(promoted, "npv")] == ["¥3,345", "-$50.00"]


def test_what_saves_most_stands_first_and_what_has_no_price_last() -> None:
    found = by_pipeline(RUNS)
    assert [entry.name for entry in found] == ["claims", "triage", "report", "letters", "never", "unpriced"]
    assert [entry.runs for entry in found] == [1, 3, 1, 1, 1, 1]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_run_and_every_verdict_stands_on_the_sheet(language: str) -> None:
    page = render_portfolio(RUNS, "sqlite:///mlflow.db", "2026-11-26 09:00 UTC", language)
    for each in RUNS:
        assert each.run_id in page
    assert "¥3,545 + $50.00" in page
    assert "−0.4 [−1.9, +1.1]" in page
    assert words_of(language).outcomes[Outcome.REJECT] in page
    assert not re.search(r"""(src|href|action)\s*=|url\(|@import""", page)


def test_a_store_without_runs_has_a_sheet_that_says_so() -> None:
    page = render_portfolio((), "sqlite:///mlflow.db", "", "en")
    assert "0 of 0 pipelines" in page


def test_a_language_that_nobody_wrote_is_refused() -> None:
    with pytest.raises(UsageError, match="no language 'fr'"):
        render_portfolio(RUNS, "", "", "fr")


def test_what_a_run_is_called_cannot_become_markup() -> None:
    assert "<b>x" not in render_portfolio((run("<b>x</b>", None),), "", "", "en")


def test_a_thousand_runs_stay_under_three_megabytes() -> None:
    many = tuple(run(f"pipeline-{n % 20}", line(Outcome.PROMOTE, n), n) for n in range(1000))
    assert len(render_portfolio(many, "", "", "ja").encode()) < LIMIT_BYTES


@pytest.mark.parametrize("language", LANGUAGES)
def test_in_a_browser_nothing_complains_overflows_or_loads(chromium, language: str, tmp_path: Path) -> None:
    file = tmp_path / "sheet.html"
    file.write_text(render_portfolio(RUNS, "sqlite:///mlflow.db", "2026-11-26", language), encoding="utf-8")
    require_a_sound_page(chromium, file)
