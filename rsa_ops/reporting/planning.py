"""A comparison plan for a terminal of 80 columns: what was asked, what answers it, and what lies around it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rsa_ops.core.plan import ArtifactPlan, ComparisonPlan, MethodPlan, PlanGoal, Variation
from rsa_ops.reporting import text

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

NONE = "none decides"
_OPTIONS_AROUND = 3


def plan_tables(console: Console, plan: ComparisonPlan) -> None:
    """Assumptions, the method question (also with the seed SD at its upper bound), the artifact question."""
    _say(console, _goal(plan.goal, plan.power_each), _variation(plan.variation))
    if plan.method is None:
        _say(
            console,
            "",
            "Without a seed SD only the artifact question is planned: one checkpoint against another. Give "
            "--seed-sd or --pilot to plan a claim about the ways of training.",
        )
    for method in (plan.method, plan.cautious):
        if method is not None:
            cautious = method is plan.cautious
            _method(console, plan.goal, method, cautious=cautious, tables=cautious or plan.cautious is None)
    _artifact(console, plan.goal, plan.artifact)


def _goal(goal: PlanGoal, power_each: float) -> str:
    words = f"To show: not worse by {goal.margin:.4g} or more, one-sided alpha {goal.alpha:g}"
    words += f" over {goal.looks} looks, {goal.level:.3g} each" if goal.looks > 1 else ""
    words += f"; true difference {goal.true_difference:+g}" if goal.true_difference else "; arms truly equal"
    words += f"; power {goal.power:g}"
    if goal.guardrails:
        rules = goal.guardrails + 1
        words += f" for all {rules} rules, so {power_each:.3f} for each"
    return f"{words}."


def _variation(variation: Variation) -> str:
    spread = (
        f"discordance {variation.discordance:.4g}"
        if variation.discordance is not None
        else f"example SD {variation.example_sd:.4g}"
    )
    words = f"Variation ({variation.source}): {spread}, {text.share(variation.repeatable)} of it repeatable"
    if variation.seed_sd is not None:
        words += f"; seed SD {variation.seed_sd:.3g}"
    if variation.seed_sd_high is not None:
        words += f", at 80 % confidence up to {variation.seed_sd_high:.3g}"
    if variation.group_size is not None and variation.icc is not None:
        unequal = f" (CV {variation.group_size_cv:.2g})" if variation.group_size_cv else ""
        words += f"; groups of {variation.group_size:.3g}{unequal}, ICC {variation.icc:.2g}: "
        words += f"{variation.design_effect:.3g} times the examples"
    return f"{words}."


def _method(console: Console, goal: PlanGoal, plan: MethodPlan, *, cautious: bool, tables: bool) -> None:
    title = f"Method question (seeds and examples random), seed SD {plan.seed_sd:.3g}"
    _say(console, "", title + (", its upper bound:" if cautious else ":"), text.sentence(plan.reason))
    if plan.power_at_hand is not None:
        _say(console, f"Power of what is at hand, {_hand(goal)}: {plan.power_at_hand:.2f}.")
    if plan.smallest_margin is not None and (goal.seeds is None) != (goal.examples is None):
        _say(console, f"Smallest margin that {_hand(goal)} can show: {plan.smallest_margin:.3g}.")
    elif plan.smallest_margin is not None:
        _say(console, f"Smallest margin that they can show with the power wanted: {plan.smallest_margin:.3g}.")
    if tables:
        console.print(_options(plan))
        console.print(_powers(plan))


def _hand(goal: PlanGoal) -> str:
    seeds = f"{goal.seeds} seeds" if goal.seeds else "any number of seeds"
    return f"{seeds} and {goal.examples:,} examples" if goal.examples else f"{seeds} and any number of examples"


def _options(plan: MethodPlan) -> Table:
    table = _table("Examples needed, by seeds")
    for header in ("seeds per arm", "examples needed", "least margin, endless examples"):
        table.add_column(header, justify="right")
    counts = [option.seeds for option in plan.options]
    middle = sum(count < plan.seeds for count in counts) if plan.seeds is not None else len(counts) - 1
    for option in plan.options[max(0, middle - _OPTIONS_AROUND) : middle + _OPTIONS_AROUND + 1]:
        table.add_row(
            str(option.seeds),
            f"{option.examples:,}" if option.examples is not None else NONE,
            f"{option.smallest_margin:.3g}" if option.smallest_margin is not None else text.MISSING,
        )
    return table


def _powers(plan: MethodPlan) -> Table:
    table = _table("Power, by seeds per arm and examples")
    sizes = sorted({cell.examples for cell in plan.table})
    table.add_column("seeds per arm", justify="right")
    for size in sizes:
        table.add_column(f"{size:,}", justify="right")
    for seeds in sorted({cell.seeds for cell in plan.table}):
        found = {cell.examples: cell.power for cell in plan.table if cell.seeds == seeds}
        table.add_row(str(seeds), *(f"{found[size]:.2f}" for size in sizes))
    return table


def _artifact(console: Console, goal: PlanGoal, plan: ArtifactPlan) -> None:
    _say(
        console,
        "",
        "Artifact question (one checkpoint against another, only examples random):",
        f"{plan.examples:,} test examples show it with power {plan.power:.2f} (normal approximation: "
        f"{plan.textbook_examples:,}).",
    )
    if goal.examples is not None and plan.power_at_hand is not None:
        least = f", least margin {plan.smallest_margin:.3g}" if plan.smallest_margin is not None else ""
        _say(console, f"With the {goal.examples:,} at hand: power {plan.power_at_hand:.2f}{least}.")


def _say(console: Console, *lines: str) -> None:
    for line in lines:
        console.print(line, markup=False, highlight=False)


def _table(title: str) -> Table:
    from rich import box
    from rich.table import Table

    return Table(title=f"\n{title}", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
