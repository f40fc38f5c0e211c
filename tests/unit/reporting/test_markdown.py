"""The pull-request comment holds every ruling and lets no data break out of its cell."""

from rsa_ops.core.comparison import Comparison
from rsa_ops.core.costs import Tco
from rsa_ops.core.verdict import Verdict
from rsa_ops.reporting import COMMENT_MARKER, verdict_markdown

from ...worlds import a_case


def test_marker_comes_first_so_that_ci_can_replace_the_comment(verdict: Verdict) -> None:
    assert verdict_markdown(verdict, None, None).splitlines()[0] == COMMENT_MARKER


def test_every_ruling_is_there(verdict: Verdict, comparison: Comparison, tco: Tco) -> None:
    made = verdict_markdown(verdict, comparison, tco)
    for ruling in verdict.rulings:
        assert ruling.outcome.value in made
    assert "quality against full" in made
    assert "worst slice against full \\| all" in made
    assert made.count("REJECT") == 1


def test_the_last_line_names_the_design_and_the_look(verdict: Verdict, comparison: Comparison) -> None:
    bare = verdict_markdown(verdict, comparison, None).splitlines()[-1]
    assert bare.endswith("no design was fixed beforehand · looks not counted</sub>")
    designed = comparison.model_copy(update={"design_digest": "sha256:" + "7" * 64, "look": 3})
    told = verdict_markdown(verdict, designed, None).splitlines()[-1]
    assert told.endswith("design 777777777777 · look 3 at this test set</sub>")


def test_tables_are_rectangular(verdict: Verdict, comparison: Comparison, tco: Tco) -> None:
    made = verdict_markdown(verdict, comparison, tco)
    for block in made.split("\n\n"):
        rows = [line.replace("\\|", "") for line in block.splitlines() if line.startswith("|")]
        assert len({row.count("|") for row in rows}) <= 1


def test_the_differences_are_drawn_and_each_line_ends_with_its_answer(
    verdict: Verdict, comparison: Comparison
) -> None:
    block = verdict_markdown(verdict, comparison, None).split("```text\n")[1].split("\n```")[0]
    drawn = [line for line in block.splitlines() if "against" in line]
    assert [line.split()[-1] for line in drawn] == ["non-inferior", "inconclusive"] * 2
    assert max(map(len, block.splitlines())) <= 80


def test_the_worst_slice_and_forgetting_have_a_row(verdict: Verdict, comparison: Comparison) -> None:
    made = verdict_markdown(verdict, comparison, None)
    assert "| Worst slice against full | −5.1 (vector xss) | −5.1 (vector xss) | – |" in made
    assert "| Worst slice against base model | not assessable | not assessable | not assessable |" in made
    assert made.count("| Drift on general text | 0.020 (0.010 to 0.030) |") == 1


def test_data_can_neither_inject_markup_nor_mention_people(verdict: Verdict) -> None:
    made = verdict_markdown(verdict, None, None)
    assert "<b>" not in made
    assert "@owner" not in made
    assert "&#64;owner" in made
    evil = verdict.model_copy(update={"sentence": "x\n\n# [click](http://a) | <img src=x>"})
    assert "\\# \\[click\\](http://a) \\| &lt;img src=x&gt;" in verdict_markdown(evil, None, None)


def test_the_cost_difference_has_one_line_a_baseline(verdict: Verdict, comparison: Comparison, tco: Tco) -> None:
    lines = [line for line in verdict_markdown(verdict, comparison, tco).splitlines() if "**Cost**" in line]
    assert [line.split(":")[0] for line in lines] == ["- **Cost** against full", "- **Cost** against lora"]
    assert "per training" in lines[0]
    assert "over 12 months" in lines[0]


def test_costs_alone_still_make_a_table(verdict: Verdict, tco: Tco) -> None:
    assert "| Cost per training |" in verdict_markdown(verdict, None, tco)


def test_the_business_case_is_a_difference_whose_lines_add_up_to_its_total(verdict: Verdict) -> None:
    found = a_case()
    made = verdict_markdown(verdict, None, None, found)
    block = next(part for part in made.split("\n\n") if part.startswith("| cost | full | rsa | change |"))
    rows = [[cell.strip(" *") for cell in line.split("|")[1:-1]] for line in block.splitlines()[2:]]
    *lines, total = [(row[0], *(int(cell.replace("¥", "").replace(",", "")) for cell in row[1:3])) for row in rows]
    assert [sum(line[side] for line in lines) for side in (1, 2)] == [total[1], total[2]]
    assert total[2] - total[1] == -found.saving.amount
    assert rows[-1][3].startswith(f"−{found.saving}" if found.saving.amount > 0 else "+¥")
    changes = {row[0]: row[3] for row in rows}
    assert changes["people"] == "0"  # the same on both sides
    assert changes["adoption"].startswith("+¥")  # only the candidate has it, so there is no percentage
    assert "%" not in changes["adoption"]
