"""The slices as one family: two sentences a baseline, the same words in every renderer."""

import io

from rich.console import Console

from rsa_ops.core.comparison import Comparison
from rsa_ops.core.slices import SlicesResult
from rsa_ops.core.verdict import Verdict
from rsa_ops.reporting import ReportInputs, render_report, verdict_markdown
from rsa_ops.reporting.families import family_lines
from rsa_ops.reporting.markdown import escaped
from rsa_ops.reporting.terminal import contrasts_plot, slice_lines

WORDS = (
    "Slices against full, Accuracy: 1 surely worse than −2.0 points (Holm; 7 judged, 1 not assessable): "
    "vector=privilege escalation. Lowest: vector=privilege escalation, −9.0 [−13.0, −5.0] (bounds for all slices "
    "at once); were both arms the same, the lowest would be about −3.1, and this low with p = 0.013."
)


def changed(comparison: Comparison, **update: object) -> Comparison:
    (family,) = comparison.families
    result: SlicesResult = family.result.model_copy(update=update)
    return comparison.model_copy(update={"families": (family.model_copy(update={"result": result}),)})


def shown(comparison: Comparison, *, plot: bool) -> str:
    console = Console(width=80, file=io.StringIO(), force_terminal=False)
    if plot:
        contrasts_plot(console, comparison, slices=True)
    else:
        slice_lines(console, comparison)
    return " ".join(console.file.getvalue().split())  # type: ignore[attr-defined]


def test_a_family_says_who_is_harmed_and_what_chance_makes_of_the_worst(comparison: Comparison) -> None:
    assert family_lines(comparison) == (WORDS,)


def test_nobody_harmed_is_said_and_not_left_out(comparison: Comparison) -> None:
    unharmed = tuple(
        entry.model_copy(update={"p_harmed": 1.0 if entry.assessable else None})
        for entry in comparison.families[0].result.slices
    )
    (words,) = family_lines(changed(comparison, slices=unharmed))
    assert words.startswith(
        "Slices against full, Accuracy: none surely worse than −2.0 points (Holm; 7 judged, 1 not assessable). Low"
    )


def test_where_no_slice_is_large_enough_nothing_is_claimed(comparison: Comparison) -> None:
    small = tuple(entry for entry in comparison.families[0].result.slices if not entry.assessable)
    assert family_lines(changed(comparison, slices=small)) == (
        "Slices against full, Accuracy: none of 1 is large enough to be judged.",
    )


def test_every_renderer_says_the_same_words(comparison: Comparison, inputs: ReportInputs, verdict: Verdict) -> None:
    assert WORDS in shown(comparison, plot=False)
    assert WORDS in shown(comparison, plot=True)
    assert f"- {escaped(WORDS)}" in verdict_markdown(verdict, comparison, None)
    assert f"<p>{WORDS}</p>" in render_report(inputs)


def test_the_report_says_how_many_groups_the_examples_come_in(inputs: ReportInputs) -> None:
    assert inputs.comparison is not None
    grouped = inputs.comparison.model_copy(update={"groups": 120})
    page = render_report(inputs.model_copy(update={"comparison": grouped}))
    assert "590 test examples in 120 groups, by Accuracy" in page
    assert "590 examples in 120 groups</text>" in page
    assert "590 test examples, by Accuracy" in render_report(inputs)
