"""The tables of docs/statistics.md, from the committed JSON; nothing here is counted or written by hand.

Run: python benchmarks/stats_doc.py          writes them
     python benchmarks/stats_doc.py --check  fails where docs/statistics.md is not what the JSON says
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from doc_tables import Table, with_tables

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "statistics.md"
WORDS = {
    "crossed": "`noninferiority`",
    "cut at zero": "the usual crossed t (seed variance cut at zero)",
    "example means": "scores averaged over seeds, t over examples",
    "pooled rows": "all rows pooled",
}


def load(part: str, record: str = "stats_offline") -> Any:
    """One part of a committed record."""
    return json.loads((HERE / "results" / f"{record}.json").read_text(encoding="utf-8"))[part]


def percent(value: float) -> str:
    """`5.9 %`."""
    return f"{value:.1f} %"


def ways() -> Table:
    """Every way of judging over the whole grid: its worst cell."""
    found = load("grid")["summary"]
    rows = [
        [
            words,
            percent(found[name]["worst_false_not_worse"]),
            f"{found[name]['cells_above_limit']} of {found[name]['cells']}",
            f"{percent(found[name]['lowest_coverage'])} to {percent(found[name]['highest_coverage'])}",
        ]
        for name, words in WORDS.items()
    ]
    return ["way", "wrong acceptance, worst cell", "cells above 6.5 %", "coverage of 95 % intervals"], rows


def crossed() -> Table:
    """`noninferiority`, by seeds and their SD: the range over sizes, discordance and worlds."""
    grid = load("grid")["rows"]
    rows = []
    for seeds in (3, 5, 10):
        for seed_sd in (0.0, 0.004, 0.008):
            cells = [row for row in grid if (row["seeds"], row["seed_sd"]) == (seeds, seed_sd)]
            false, cover = ([row[key]["crossed"] for row in cells] for key in ("false_not_worse", "coverage"))
            rows.append(
                [
                    f"{seeds} seeds, SD {100 * seed_sd:.1f} points",
                    f"{percent(min(false))} to {percent(max(false))}",
                    f"{percent(min(cover))} to {percent(max(cover))}",
                ]
            )
    return ["cells", "wrong acceptance (nominal 5 %)", "coverage (nominal 95 %)"], rows


def normal() -> Table:
    """The ideal world: what cutting the seeds' variance at zero costs."""
    found = load("normal")["worst_false_by_seeds"]
    keys = ("kept", "kept_one_arm_steady", "cut")
    rows = [[seeds, *(percent(rates[key]) for key in keys)] for seeds, rates in found.items()]
    head = ["kept whole (ours), worst", "the same, the seeds of one arm all alike", "cut at zero, worst"]
    return ["seeds per arm", *head], rows


def tango() -> Table:
    """Exact sizes of Tango's test."""
    rows = [
        [
            f"{row['examples']:,} examples, {100 * row['discordance']:.0f} % differ",
            percent(row["false_not_worse"]),
            percent(row["coverage"]),
        ]
        for row in load("tango")["rows"]
    ]
    return ["two checkpoints", "wrong acceptance, exact", "coverage, exact"], rows


def bootstrap() -> Table:
    """The Multi-Bootstrap beside `noninferiority`."""
    rows = [
        [
            f"{row['seeds']} seeds, SD {100 * row['seed_sd']:.1f} points",
            percent(row["false_not_worse"]),
            percent(row["coverage"]),
            f"{row['width_over_crossed']:.2f}",
        ]
        for row in load("multi-bootstrap")["rows"]
    ]
    return ["cell", "wrong acceptance", "coverage", "width over `noninferiority`"], rows


def groups() -> Table:
    """Coverage with and without groups."""
    rows = [
        [
            f"{row['groups']} groups of 10, {100 * row['hard_share']:.0f} % hard, "
            + (f"{row['seeds']} seeds" if row["seeds"] > 1 else "1 checkpoint each"),
            percent(row["coverage"]),
            percent(row["coverage_groups_ignored"]),
        ]
        for row in load("groups")["rows"]
    ]
    return ["data", "with `groups`", "groups ignored"], rows


def slices() -> Table:
    """False alarms over eight slices."""
    found = load("slices")
    rows = [
        [row["world"], percent(row["any_harmed_after_holm"]), percent(row["any_harmed_uncorrected"])]
        for row in found["rows"]
    ]
    rows.append(
        [
            "worst of equal slices, by permutation",
            percent(found["worst_slice_by_permutation"]),
            percent(found["worst_slice_by_its_own_test"]),
        ]
    )
    return ["eight slices, none worse than the margin", "a false alarm, corrected", "uncorrected"], rows


def speed() -> Table:
    """Time and memory of one million examples."""
    limits = {"crossed": ("crossed interval", 2), "multi-bootstrap": ("Multi-Bootstrap, 1,000 draws", 60)}
    rows = []
    for row in load("speed")["rows"]:
        words, limit = limits[row["task"]]
        bound = f" (limit {limit})" if row["examples"] == 1_000_000 else ""
        rows.append(
            [f"{words}, {row['examples']:,} x 10", f"{row['seconds']:.2f}{bound}", f"{row['additional_mib']:.0f}"]
        )
    return ["task", "seconds, one core", "additional MiB"], rows


def power() -> Table:
    """What designs of 80 % deliver, by the planner and by the textbook."""

    def span(values: list[float]) -> str:
        return f"{percent(100 * min(values))} to {percent(100 * max(values))}"

    rows = []
    for seeds in (3, 5, 10):
        designs = [row for row in load("method", "stats_plan") if row["seeds"] == seeds and not row["least"]]
        cells = [row["delivered"] for row in designs]
        rows.append([f"{seeds} seeds, {len(cells)} designs", span(cells), ""])
    least = [row["delivered"] for row in load("method", "stats_plan") if row["least"]]
    if least:
        rows.append(["the smallest test set that is ever planned", span(least), ""])
    for seeds in (3, 5, 10):
        found = [row["delivered"] for row in load("floors", "stats_plan") if row["seeds"] == seeds]
        ours, book = ([row[name] for row in found] for name in ("ours", "textbook"))
        rows.append([f"{seeds} seeds, endless examples", span(ours), span(book)])
    found = [row["delivered"] for row in load("grouped", "stats_plan")]
    rows.append([f"examples in groups, {len(found)} designs", span(found), ""])
    found = [row["delivered"] for row in load("sparse", "stats_plan")]
    rows.append(["one or two discordant examples expected", span(found), ""])
    found = [row["delivered"] for row in load("artifact", "stats_plan")]
    ours, book = ([row[name] for row in found] for name in ("ours", "textbook"))
    rows.append([f"two checkpoints, {len(found)} designs", span(ours), span(book)])
    return ["designs for a power of 80 %", "planned here", "by the textbook's formula"], rows


def pilots() -> Table:
    """What plans from pilots of 3 seeds are worth."""
    rows = [
        [
            f"the seed SD's {row['planned_with']}",
            percent(100 * (row["enough"] + row["more_seeds"])),
            percent(100 * row["median_power"]),
            percent(100 * row["tenth_percentile_power"]),
        ]
        for row in load("pilots", "stats_plan")
    ]
    return ["planned with", "80 % or more, or told to add seeds", "median power", "worst tenth below"], rows


def sequential() -> Table:
    """False stops of harmless rollouts, and how soon a doubled rate is found."""
    rows = load("rows", "stats_sequential")
    harmless = [row for row in rows if row["cell"] == "no harm, 50/50 blocks" and row["challenger"] is not None]
    found = {row["method"]: row for row in rows if row["cell"] == "harm" and row["challenger"] == 0.02}
    lines = []
    for method in dict.fromkeys(row["method"] for row in harmless):
        stops = [percent(100 * row["stopped"]) for row in harmless if row["method"] == method]
        doubled = found.get(method)
        soon = (
            ["", ""]
            if doubled is None
            else [percent(100 * doubled["stopped_by_3000"]), f"{doubled['median_units']:,}"]
        )
        lines.append([method, *stops, *soon])
    head = ["way of looking", *(f"false stop, {rate} bad" for rate in ("10 %", "1 %", "0.2 %"))]
    return [*head, "1 % doubled, found by 3,000 a side", "median, units a side"], lines


TABLES: dict[str, Callable[[], Table]] = {
    "sequential": sequential,
    "ways": ways,
    "crossed": crossed,
    "normal": normal,
    "tango": tango,
    "multi-bootstrap": bootstrap,
    "groups": groups,
    "slices": slices,
    "speed": speed,
    "power": power,
    "pilots": pilots,
}


def written(page: str) -> str:
    """The page with every marked table written anew."""
    return with_tables(page, TABLES, PAGE.name)


def main() -> None:
    """Write, or check."""
    page = PAGE.read_text(encoding="utf-8")
    new = written(page)
    if "--check" in sys.argv:
        if new != page:
            raise SystemExit("docs/statistics.md is not what the JSON says; run python benchmarks/stats_doc.py")
        return
    PAGE.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
