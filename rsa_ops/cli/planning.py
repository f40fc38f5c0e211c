"""`rsa-ops plan`: how many seeds and examples a comparison needs, before anything is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rsa_ops.cli.output import AsJson, print_lines, print_record, table_console
from rsa_ops.errors import ExitCode

Number = float | None
Margin = Annotated[float, typer.Option(help="The loss that is still acceptable, in units of the score.")]
Reference = Annotated[Number, typer.Option(help="A fixed reference score; the margin is then a share of it.")]
Discordance = Annotated[
    Number, typer.Option(help="Share of examples that exactly one of two models, one of each arm, has right.")
]
ExampleSd = Annotated[
    Number, typer.Option(help="For other scores: SD over examples of the difference of two such models.")
]
Repeatable = Annotated[
    Number,
    typer.Option(help="1 - (how often two seeds of one arm disagree) / discordance. Default 1, the dearest."),
]
SeedSd = Annotated[
    Number, typer.Option(help="SD over seeds of an arm's mean score. Without it: one checkpoint each.")
]
GroupSize = Annotated[
    Number, typer.Option(help="Where examples come in groups drawn together: examples in a group, mean.")
]
GroupSizeCv = Annotated[Number, typer.Option(help="SD of the examples in a group, over their mean. Default 0.")]
Icc = Annotated[Number, typer.Option(help="Correlation of the differences of two examples of one group.")]
PilotFile = Annotated[Path | None, typer.Option(help="A comparison.json to take these numbers from.")]
Metric = Annotated[str | None, typer.Option(help="Metric of the pilot. Default: its primary metric.")]
Against = Annotated[str | None, typer.Option(help="Baseline of the pilot. Default: its first.")]
Power = Annotated[float, typer.Option(help="Chance that all rules hold where the truth is as believed.")]
Alpha = Annotated[float, typer.Option(help="One-sided error rate.")]
Truth = Annotated[float, typer.Option(help="Candidate minus baseline, as believed.")]
Guardrails = Annotated[int, typer.Option(help="How many other rules must hold as well.")]
Looks = Annotated[int, typer.Option(help="How often this test set will be compared on.")]
Seeds = Annotated[int | None, typer.Option(help="Seeds per arm at hand.")]
Examples = Annotated[int | None, typer.Option(help="Test examples at hand.")]
Write = Annotated[Path | None, typer.Option(help="Write the design for `rsa-ops compare --design` here.")]


def add_to(app: typer.Typer) -> None:
    """Register the commands of this module."""
    app.command("plan")(plan)


def plan(
    margin: Margin,
    relative_to: Reference = None,
    discordance: Discordance = None,
    example_sd: ExampleSd = None,
    repeatable: Repeatable = None,
    seed_sd: SeedSd = None,
    group_size: GroupSize = None,
    group_size_cv: GroupSizeCv = None,
    icc: Icc = None,
    pilot: PilotFile = None,
    metric: Metric = None,
    against: Against = None,
    power: Power = 0.8,
    alpha: Alpha = 0.05,
    true_difference: Truth = 0.0,
    guardrails: Guardrails = 0,
    looks: Looks = 1,
    seeds: Seeds = None,
    examples: Examples = None,
    write: Write = None,
    as_json: AsJson = False,
) -> int:
    """Say how many seeds and examples show "not worse by the margin", and which of them to add.

    Exit 0 also where nothing in reach would: the answer says so.
    """
    from rsa_ops.stages.plan import Pilot, plan_alone, write_skeleton

    goal = {
        "margin": margin if relative_to is None else margin * relative_to,
        "power": power,
        "alpha": alpha,
        "true_difference": true_difference,
        "guardrails": guardrails,
        "looks": looks,
        "seeds": seeds,
        "examples": examples,
    }
    varies = {
        "discordance": discordance,
        "example_sd": example_sd,
        "repeatable": repeatable,
        "seed_sd": seed_sd,
        "group_size": group_size,
        "group_size_cv": group_size_cv,
        "icc": icc,
    }
    found = plan_alone(goal, varies, Pilot(pilot, metric, against) if pilot is not None else None)
    design = write_skeleton(found, write) if write is not None else None
    if as_json:
        print_record(found)
        return int(ExitCode.DONE)
    from rsa_ops.reporting.planning import plan_tables

    plan_tables(table_console(), found)
    if design is not None:
        print_lines(f"wrote {write}, digest {design.digest()}")
    return int(ExitCode.DONE)
