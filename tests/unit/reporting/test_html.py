"""One file, no network, every number readable without scripts; then opened in a real browser."""

import json
import re
from pathlib import Path

import pytest

from rsa_ops.core.estimate import Answer
from rsa_ops.reporting import ReportInputs, render_report

from ...browser import barriers

LIMIT_BYTES = 3_000_000


def without_scripts(page: str) -> str:
    return re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)


def test_it_is_one_file_that_loads_nothing(inputs: ReportInputs) -> None:
    page = render_report(inputs)
    assert len(page.encode()) < LIMIT_BYTES
    assert not re.search(r"""(src|href|action)\s*=|url\(|@import""", without_scripts(page))
    assert "default-src 'none'" in page
    assert page.count('id="plotly-source"') == 1


def test_every_number_stands_in_the_tables(inputs: ReportInputs) -> None:
    assert inputs.tco is not None
    words = without_scripts(render_report(inputs))
    for shown in (
        "87.3 %",
        "86.0 to 88.6",
        "−0.4 points [−1.5, +0.7]",
        "−2.0",
        "0.63 %",
        f"{inputs.tco.measured_share:.1%}".replace("%", " %"),  # of the book of the day, whatever its prices
        "410 more examples",
    ):
        assert shown in words
    for answer in (Answer.NON_INFERIOR, Answer.INCONCLUSIVE, Answer.INFERIOR):
        assert f">{answer.value}</span>" in words
    for digest in (inputs.verdict.policy_digest, inputs.validation.fingerprint):
        assert digest in words


def test_the_design_and_the_look_are_told_also_where_there_are_none(inputs: ReportInputs) -> None:
    assert inputs.comparison is not None
    bare = without_scripts(render_report(inputs))
    assert "none was fixed beforehand" in bare
    assert "not counted" in bare
    designed = inputs.comparison.model_copy(update={"design_digest": "sha256:" + "7" * 64, "look": 3})
    told = without_scripts(render_report(inputs.model_copy(update={"comparison": designed})))
    assert "7" * 12 in told
    assert "sha256:" + "7" * 64 in told
    assert "<dt>Look</dt>" in told
    assert "none was fixed beforehand" not in told


def test_what_could_not_be_held_against_the_base_is_said_once_with_its_reason(inputs: ReportInputs) -> None:
    words = without_scripts(render_report(inputs))
    said = "Worst slice of rsa, lora, full against base model: not assessable. The base model has no head"
    assert words.count(said) == 1
    assert words.count("Worst slice against full</div>") == 1


def test_user_text_is_text(inputs: ReportInputs) -> None:
    evil = "</script><script>alert(1)</script>"
    arm = inputs.comparison.arms[0].model_copy(update={"arm": evil})
    comparison = inputs.comparison.model_copy(
        update={"arms": (arm, *inputs.comparison.arms[1:]), "candidate": evil}
    )
    page = render_report(inputs.model_copy(update={"comparison": comparison, "pipeline": evil}))
    assert "<script>alert(1)" not in page
    assert "&lt;script&gt;alert(1)" in page
    chunk = re.search(r'id="figures">(.*?)</script>', page, flags=re.DOTALL)
    assert chunk is not None
    assert set(json.loads(chunk.group(1))) == {"seeds", "slices", "robustness", "costs"}


def test_the_outcome_is_said_once_and_a_loss_on_a_slice_stands_in_the_header(inputs: ReportInputs) -> None:
    page = render_report(inputs)
    header = page[page.index("<header") : page.index("</header>")]
    assert "Do not promote" in header
    assert "REJECT" not in header
    assert "on vector=privilege escalation: Accuracy −5.1" in header


def test_the_same_records_give_the_same_bytes(inputs: ReportInputs) -> None:
    assert render_report(inputs) == render_report(inputs)


def test_missing_records_are_said_to_be_missing() -> None:
    page = render_report(ReportInputs(pipeline="p", task="generation", generated_at="2026-11-24", version="0.1.0"))
    assert "No gate has judged this run" in page
    for what in ("data checks", "comparison", "costs", "verdict"):
        assert f"There is no record of the {what}" in page
    assert len(page) < 50_000


def test_generation_metrics_are_shown(inputs: ReportInputs, generation) -> None:
    words = without_scripts(render_report(inputs.model_copy(update={"comparison": generation, "scores": ()})))
    for metric in ("chrF", "BLEU", "ROUGE-L", "Fields stated"):
        assert metric in words


def test_the_differences_are_drawn_without_scripts(inputs: ReportInputs) -> None:
    words = without_scripts(render_report(inputs))
    assert words.count('<figure class="forest">') == 2  # all examples, and the slices
    assert words.count('stroke-dasharray="4 3"') == len(inputs.comparison.contrasts)


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_in_a_browser_nothing_complains_overflows_or_loads(chromium, inputs, tmp_path: Path, width: int) -> None:
    file = tmp_path / "report.html"
    file.write_text(render_report(inputs), encoding="utf-8")
    page = chromium.new_page(viewport={"width": width, "height": 800})
    complaints: list[str] = []
    loads: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: loads.append(request.url))
    page.goto(file.as_uri())
    page.wait_for_selector("html[data-charts=drawn]", timeout=60_000)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.locator("svg.main-svg").count() >= 4
    assert complaints == []
    assert barriers(page) == []
    assert loads == [file.as_uri()]
    page.close()


def test_on_paper_it_has_pages_and_without_scripts_it_has_tables(chromium, inputs, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text(render_report(inputs), encoding="utf-8")
    context = chromium.new_context(java_script_enabled=False, viewport={"width": 360, "height": 800})
    page = context.new_page()
    page.goto(file.as_uri())
    assert page.locator("table").count() >= 9
    assert page.locator("figure.chart:visible").count() == 0
    assert page.locator("figure.forest:visible").count() == 2
    assert page.pdf(format="A4", prefer_css_page_size=True).startswith(b"%PDF")
    context.close()
