"""The forest plot says the same in letters and in SVG, and no drawing contradicts its verdict."""

import math
import re
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from rsa_ops.core.comparison import Comparison
from rsa_ops.core.estimate import Answer
from rsa_ops.errors import UsageError
from rsa_ops.reporting import ASCII, UNICODE, Forest, ForestRow, forest_svg, forest_text, forests, slice_forests

SVG = "{http://www.w3.org/2000/svg}"
ENDS = st.lists(st.floats(-50, 50), min_size=3, max_size=3).map(sorted)


def row(label: str = "Accuracy, against full", ends=(-1.5, -0.4, 0.7), margin: float = -2.0, **more) -> ForestRow:
    low, value, high = ends
    return ForestRow(label, value, low, high, margin, **({"verdict": "non-inferior"} | more))


def plot_of(entry: ForestRow, width: int = 80, letters=UNICODE) -> str:
    made = forest_text(Forest("a minus b", "points", (entry,)), width=width, letters=letters)
    return made.splitlines()[2]


@given(ENDS, st.floats(-20, 20).filter(lambda m: abs(m) > 0.5), st.integers(60, 120))
def test_an_end_stands_on_its_own_side_of_the_margin(ends, margin: float, width: int) -> None:
    line = plot_of(row("x", ends, margin), width)
    assert cell_len(line) <= width
    at = line.find("┊")
    if at >= 0 and not ends[0] < margin < ends[2]:
        marks = [place for place, letter in enumerate(line) if letter in "├┤●─"]
        assert all(place > at for place in marks) if ends[0] > margin else all(place <= at for place in marks)


def test_the_text_form_is_this() -> None:
    rows = (
        row(shown="−0.4 [−1.5, +0.7]"),
        row("Accuracy, against lora", (-2.3, 0.4, 3.1), verdict="inconclusive", shown="+0.4 [−2.3, +3.1]"),
        row("Accuracy on a long-named slice", (-3.0, -2.6, -2.01), verdict="inferior", shown="−2.6 [−3.0, −2.0]"),
        ForestRow("Accuracy, against shira", None, None, None, -2.0, "invalid", "–"),
    )
    assert forest_text(Forest("rsa minus baseline", "points of 100", rows)).splitlines() == [
        "rsa minus baseline, points of 100",
        "                                −2    0",
        "Accuracy, against full          ┊ ├──●┼─┤         −0.4 [−1.5, +0.7] non-inferior",
        "Accuracy, against lora         ├┼─────┼─○───────┤ +0.4 [−2.3, +3.1] inconclusive",
        "Accuracy on a long-named     ├─◆┊     │           −2.6 [−3.0, −2.0] inferior",
        "slice",
        "Accuracy, against shira         ┊     │           –                 invalid",
        "",
        "┊ margin  │ no difference  ● not worse  ◆ worse by more than the margin  ○ open",
    ]


def test_every_line_ends_with_the_verdict_and_the_drawing_has_the_margin(comparison: Comparison) -> None:
    (forest,) = forests(comparison)
    drawn = forest_text(forest).splitlines()[2 : 2 + len(forest.rows)]
    assert [line.split()[-1] for line in drawn] == [entry.verdict for entry in forest.rows]
    assert {line.count("┊") + line.count("┼") for line in drawn} <= {1, 2}


def test_in_plain_letters_it_is_ascii(comparison: Comparison) -> None:
    (forest,) = forests(comparison)
    made = forest_text(forest, letters=ASCII)
    assert made.isascii()
    assert len(made.splitlines()) == len(forest_text(forest).splitlines())


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize(
    "label", ["x", "認証回避" * 9, "a-word-that-is-longer-than-any-column-could-be-here", "two\nlines"]
)
def test_labels_are_broken_and_never_cut(label: str, width: int) -> None:
    made = forest_text(Forest("t", "u", (row(label, shown="−0.4 [−1.5, +0.7]"),)), width=width)
    assert max(cell_len(line) for line in made.splitlines()) <= width
    body = "".join(re.split(r"[^\w\s-]", line)[0] for line in made.splitlines()[2:-2])
    assert re.sub(r"\s", "", label) in re.sub(r"\s", "", body)


def test_the_report_and_the_text_show_the_same_rows(comparison: Comparison) -> None:
    (forest,) = forests(comparison)
    (slices,) = slice_forests(comparison)
    assert [entry.margin for entry in forest.rows] == [-2.0] * 4
    assert [entry.label for entry in slices.rows] == ["vector=privilege escalation, against full"]
    for made in (forest, slices):
        for entry in made.rows:
            assert entry.shown in forest_text(made)
            assert entry.shown in forest_svg(made, "f")


def test_metrics_in_their_own_units_have_their_own_axis(comparison: Comparison) -> None:
    odd = comparison.contrasts[0].model_copy(update={"metric": "perplexity"})
    made = forests(comparison.model_copy(update={"contrasts": (*comparison.contrasts, odd)}))
    assert [(len(forest.rows), forest.unit) for forest in made] == [
        (4, "points of 100"),
        (1, "in units of the metric"),
    ]
    assert made[1].rows[0].margin == pytest.approx(-0.02)


def test_the_svg_is_well_formed_and_says_everything_in_words(comparison: Comparison) -> None:
    (forest,) = forests(comparison)
    root = ET.fromstring(forest_svg(forest, "f"))
    assert root.attrib["role"] == "img"
    assert root.attrib["aria-labelledby"] == "f-title f-desc"
    title, described = root.find(f"{SVG}title"), root.find(f"{SVG}desc")
    assert title is not None
    assert described is not None
    for entry in forest.rows:
        assert f"{entry.label}: {entry.shown}, margin −2, {entry.verdict}." in (described.text or "")


def test_the_svg_draws_margin_zero_and_interval_to_scale() -> None:
    root = ET.fromstring(forest_svg(Forest("t", "u", (row(ends=(-1.0, 0.5, 2.0), margin=-2.0),)), "f"))
    lines = [line.attrib for line in root.iter(f"{SVG}line")]

    def percent(found: dict[str, str], key: str = "x1") -> float:
        return float(found[key].rstrip("%"))

    margin = next(percent(line) for line in lines if "stroke-dasharray" in line)
    low, high = next((percent(x), percent(x, "x2")) for x in lines if 0 < percent(x) < percent(x, "x2") < 100)
    zero = next(percent(line) for line in lines if line["stroke-width"] == "1.5")
    # -2, -1, 0 and 2 on one linear axis
    assert (low - margin, zero - low, high - zero) == pytest.approx(
        ((high - margin) / 4, (high - margin) / 4, (high - margin) / 2), abs=0.01
    )


def test_verdicts_are_told_apart_without_colour() -> None:
    def shapes(verdict: str) -> tuple[int, int, int]:
        made = forest_svg(Forest("t", "u", (row(verdict=verdict),)), "f")
        return made.count("<circle"), made.count("<path"), made.count('fill="#ffffff"')

    assert shapes("non-inferior") == (1, 0, 0)
    assert shapes("inconclusive") == (1, 0, 1)
    assert shapes("inferior") == shapes("rollback") == (0, 1, 0)
    assert shapes("continue") == shapes("inconclusive")


def test_user_text_is_text() -> None:
    evil = "</svg><script>alert(1)</script>\x1b[31m\n```"
    made = Forest(evil, "u", (row(evil, note=evil, shown=evil, verdict=evil),))
    drawn = forest_svg(made, "f")
    assert "<script" not in drawn
    assert "\x1b" not in drawn + forest_text(made)
    ET.fromstring(drawn)


def test_nothing_to_draw_is_no_plot(comparison: Comparison) -> None:
    empty = comparison.model_copy(update={"contrasts": ()})
    assert forests(empty) == slice_forests(empty) == ()


def test_an_invalid_answer_has_a_line_without_an_interval(comparison: Comparison) -> None:
    broken = comparison.contrasts[0].result.model_copy(update={"answer": Answer.INVALID, "difference": None})
    contrast = comparison.contrasts[0].model_copy(update={"result": broken})
    (forest,) = forests(comparison.model_copy(update={"contrasts": (contrast,)}))
    assert forest_text(forest).splitlines()[2].split()[-1] == "invalid"
    assert "├" not in forest_text(forest)


def test_more_slices_than_a_picture_holds_are_said_to_be_left_out(comparison: Comparison) -> None:
    one = comparison.contrasts[-1]
    many = tuple(one.model_copy(update={"population": f"vector={i}"}) for i in range(30))
    (forest,) = slice_forests(comparison.model_copy(update={"contrasts": many}))
    assert (len(forest.rows), forest.omitted) == (24, 6)
    assert "and 6 more, in the table" in forest_text(forest)
    assert "6 more in the table" in forest_svg(forest, "f")


@pytest.mark.parametrize(
    ("ends", "margin"),
    [((math.nan, 0, 1), -1), ((0, 1, 2), math.inf), ((1, 0, 2), -1), ((None, 0.0, 1.0), -1)],
)
def test_a_row_that_cannot_be_drawn_is_refused(ends, margin) -> None:
    with pytest.raises(UsageError, match="x: expected"):
        row("x", ends, margin)
