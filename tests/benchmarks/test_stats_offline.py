"""The laws of the offline comparison: at a small size here, at full size in the committed record."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import stats_offline
from stats_offline import ALPHA, COVERAGE, LIMIT, MARGIN, RESULT, cell_row
from stats_ways import WAYS, crossed_says
from stats_worlds import Cell, draw

from rsa_ops.core.estimate import Answer
from rsa_ops.stats import noninferiority

TRIALS = 500
ACCEPT = (Answer.NON_INFERIOR, Answer.SUPERIOR)

# Each corner that was hard once: seeds without noise, the 10 seeds at 0.8 points, few discordant examples.
CORNERS = (
    Cell(500, 0.02, 3, 0.0),
    Cell(500, 0.02, 10, 0.008),
    Cell(1000, 0.02, 10, 0.004),
    Cell(500, 0.04, 5, 0.004),
    Cell(500, 0.08, 3, 0.008),
    Cell(1000, 0.08, 3, 0.008),
    Cell(500, 0.08, 3, 0.0, world="coins"),
    Cell(500, 0.08, 10, 0.008, world="coins"),
)


@pytest.fixture(scope="module")
def record() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(RESULT.read_text("utf-8"))
    return found


@pytest.mark.parametrize("cell", CORNERS)
def test_what_is_simulated_is_what_users_call(cell: Cell) -> None:
    rng = np.random.default_rng(17)
    said = []
    for _ in range(12):
        ours, theirs = draw(cell, rng)
        wide = noninferiority(ours, theirs, margin=MARGIN, alpha=0.025).difference
        said.append(crossed_says(ours, theirs))
        assert wide is not None
        assert said[-1].not_worse == (noninferiority(ours, theirs, margin=MARGIN).answer in ACCEPT)
        assert said[-1].covers == (wide.low <= -MARGIN <= wide.high)


@pytest.mark.parametrize("cell", [CORNERS[1], CORNERS[5], CORNERS[7]])
def test_the_worlds_have_the_loss_and_the_discordance_that_they_say(cell: Cell) -> None:
    rng, differences, discordant = np.random.default_rng(1), [], []
    for _ in range(400):
        ours, theirs = draw(cell, rng)
        differences.append(float(ours.mean() - theirs.mean()))
        discordant.append(float((ours[0] != theirs[0]).mean()))
    assert abs(np.mean(differences) + MARGIN) < 4 * np.std(differences) / 400**0.5
    assert abs(np.mean(discordant) - cell.discordance) < 4 * np.std(discordant) / 400**0.5


@pytest.mark.parametrize("cell", CORNERS)
def test_a_loss_of_the_margin_is_rarely_called_not_worse(cell: Cell) -> None:
    row = cell_row(cell, TRIALS, np.random.default_rng(cell.seeds), {"crossed": WAYS["crossed"]})
    slack = 3 * (0.05 * 0.95 / TRIALS) ** 0.5
    assert row["false_not_worse"]["crossed"] <= 100 * (LIMIT / 100 + slack)
    assert row["coverage"]["crossed"] >= 100 * (COVERAGE[0] / 100 - slack)


@pytest.mark.parametrize("way", ["pooled rows", "example means"])
def test_the_naive_ways_fail_on_the_same_grid(way: str) -> None:
    row = cell_row(CORNERS[5], TRIALS, np.random.default_rng(3), {way: WAYS[way]})
    assert row["false_not_worse"][way] > 12


@pytest.mark.parametrize(
    "part",
    [
        stats_offline.tango,
        lambda: stats_offline.in_normal_world(5),
        lambda: stats_offline.in_groups(3),
        lambda: stats_offline.in_slices(2, size=60),
        lambda: stats_offline.bootstrap_check(2, 100),
    ],
)
def test_every_part_of_the_benchmark_runs(part: Callable[[], dict[str, Any]]) -> None:
    assert json.dumps(part(), allow_nan=False)


def test_recorded_false_not_worse_is_within_the_limit_in_every_cell(record: dict[str, Any]) -> None:
    rows = record["grid"]["rows"]
    assert record["grid"]["trials"] >= 4000
    assert len(rows) == 108
    assert {(row["examples"], row["seeds"], row["seed_sd"]) for row in rows} == {
        (n, s, sd) for n in (500, 1000, 3000) for s in (3, 5, 10) for sd in (0.0, 0.004, 0.008)
    }
    assert [row for row in rows if row["false_not_worse"]["crossed"] > LIMIT] == []


def test_recorded_coverage_is_within_the_law_in_every_cell(record: dict[str, Any]) -> None:
    rows = record["grid"]["rows"]
    assert [row for row in rows if not COVERAGE[0] <= row["coverage"]["crossed"] <= COVERAGE[1]] == []


def test_recorded_false_alarms_over_eight_slices_are_five_percent_or_less_but_for_chance(
    record: dict[str, Any],
) -> None:
    found = record["slices"]
    chance = 100 * 2 * (ALPHA * (1 - ALPHA) / found["trials"]) ** 0.5
    assert [row for row in found["rows"] if row["any_harmed_after_holm"] > 100 * ALPHA + chance] == []
    assert min(row["any_harmed_uncorrected"] for row in found["rows"]) > 20


def test_recorded_normal_world_keeps_the_limit_from_three_seeds_on_also_with_one_steady_arm(
    record: dict[str, Any],
) -> None:
    worst = record["normal"]["worst_false_by_seeds"]
    for seeds in ("3", "5", "10"):
        assert worst[seeds]["kept"] <= LIMIT
        assert worst[seeds]["kept_one_arm_steady"] <= LIMIT


def test_recorded_naive_ways_fail_so_that_the_grid_can_tell(record: dict[str, Any]) -> None:
    for way in ("pooled rows", "example means"):
        assert record["grid"]["summary"][way]["worst_false_not_worse"] > 20
        assert record["grid"]["summary"][way]["cells_above_limit"] > 50


def test_recorded_tango_holds_its_level_exactly(record: dict[str, Any]) -> None:
    assert all(row["false_not_worse"] <= 100 * ALPHA + 0.5 for row in record["tango"]["rows"])
    assert all(COVERAGE[0] <= row["coverage"] <= COVERAGE[1] for row in record["tango"]["rows"])


def test_recorded_million_examples_are_within_time_and_memory(record: dict[str, Any]) -> None:
    limits = {"crossed": 2.0, "multi-bootstrap": 60.0}
    for task, seconds in limits.items():
        rows = {row["examples"]: row for row in record["speed"]["rows"] if row["task"] == task}
        assert rows[1_000_000]["seconds"] <= seconds
        assert rows[1_000_000]["additional_mib"] < 1024
        # Linear: eight times the examples in at most twelve times the time (and a tenth of a second to start).
        assert rows[1_000_000]["seconds"] <= 12 * rows[125_000]["seconds"] + 0.1
