"""Tables fit 80 columns and lose nothing."""

import io
from collections.abc import Callable

import pytest
from rich.cells import cell_len
from rich.console import Console

from rsa_ops.core.comparison import Comparison
from rsa_ops.core.validation import Validation
from rsa_ops.core.verdict import Verdict
from rsa_ops.reporting import (
    arms_table,
    contrasts_plot,
    contrasts_table,
    costs_table,
    findings_table,
    rulings_table,
)


def shown(draw: Callable[[Console], None]) -> str:
    console = Console(width=80, file=io.StringIO(), force_terminal=False)
    draw(console)
    made = console.file.getvalue()  # type: ignore[attr-defined]
    assert max(cell_len(line) for line in made.splitlines()) <= 80
    assert "…" not in made
    return made


def test_arms_of_a_classifier(comparison: Comparison, measurements, tco) -> None:
    made = shown(lambda console: arms_table(console, comparison, measurements, tco))
    for words in (
        *("Accuracy", "Macro-F1", "Worst slice", "Trainable share", "Training time", "Peak memory"),
        *("Cost per training", "87.3 %", "86.0 to 88.6", "0.63 %", "914 MB", "63.0 to 65.0 s"),
    ):
        assert words in made


def test_arms_show_the_drop_of_the_worst_slice_and_what_was_forgotten(comparison: Comparison, measurements) -> None:
    made = " ".join(shown(lambda console: arms_table(console, comparison, measurements, None)).split())
    assert "Worst slice −5.1 −5.1 – against full vector xss vector xss" in made
    assert "Worst slice not assessable not assessable not assessable against base model" in made
    assert "Drift on general 0.020 0.020 0.020 text 0.010 to 0.030" in made


def test_a_generator_is_held_against_its_base_and_its_forgetting_has_a_sign(
    generation: Comparison, measurements
) -> None:
    made = " ".join(shown(lambda console: arms_table(console, generation, measurements, None)).split())
    assert "Worst slice +12.3 +12.3 +12.3 against base" in made
    assert "Forgetting, nats a +0.052 +0.052 +0.052 token 0.000 to +0.104" in made


def test_arms_of_a_generator(generation: Comparison, measurements) -> None:
    made = shown(lambda console: arms_table(console, generation, measurements, None))
    for words in ("chrF", "BLEU", "ROUGE-L", "Fields stated"):
        assert words in made
    assert "Macro-F1" not in made


def test_more_than_four_arms_go_into_a_second_table(comparison: Comparison, measurements, tco) -> None:
    extra = tuple(comparison.arms[0].model_copy(update={"arm": f"a-rather-long-arm-name-{i}"}) for i in range(3))
    many = comparison.model_copy(update={"arms": comparison.arms + extra})
    made = shown(lambda console: arms_table(console, many, measurements, tco))
    assert "continued" in made


def test_measurements_alone_make_a_table(measurements) -> None:
    made = shown(lambda console: arms_table(console, None, measurements, None))
    assert "Training time" in made


def test_every_ruling_and_the_reason_of_each_that_stops(verdict: Verdict) -> None:
    made = shown(lambda console: rulings_table(console, verdict))
    assert "lost <b>more</b>" in made
    assert "reject" in made
    assert "inconclusive" in made


def test_every_line_item_with_its_bases_and_the_measured_share(tco) -> None:
    made = shown(lambda console: costs_table(console, tco))
    share = f"{100 * tco.measured_share:.1f} % of the total"  # of the book of the day, whatever its prices
    for words in ("measured", "derived", "quoted", "assumed", "retraining", share, "per training"):
        assert words in made


def test_contrasts_show_slices_only_when_asked(comparison: Comparison) -> None:
    assert "privilege" not in shown(lambda console: contrasts_table(console, comparison))
    assert "privilege" in shown(lambda console: contrasts_table(console, comparison, slices=True))


def test_differences_are_plotted_within_the_width_and_slices_only_where_asked_for(comparison: Comparison) -> None:
    assert "privilege" not in shown(lambda console: contrasts_plot(console, comparison))
    made = shown(lambda console: contrasts_plot(console, comparison, slices=True))
    assert "−5.1 [−7.1, −3.1] inferior" in made


def test_findings_with_what_to_do(validation: Validation) -> None:
    made = shown(lambda console: findings_table(console, validation))
    assert "13 of 14 held" in made
    assert "near duplicates" in made
    clean = validation.model_copy(update={"findings": ()})
    assert shown(lambda console: findings_table(console, clean)) == "Data checks: all 14 held, 5,312 rows.\n"


@pytest.mark.parametrize("name", ["[bold]arm[/bold]", "[/nothing]"])
def test_square_brackets_in_data_are_no_markup(comparison: Comparison, name: str) -> None:
    arm = comparison.arms[0].model_copy(update={"arm": name})
    bare = comparison.model_copy(update={"arms": (arm,)})
    assert name in shown(lambda console: arms_table(console, bare, (), None))
