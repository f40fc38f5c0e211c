"""Do the offline tests keep their level? Every law of the comparison is counted in worlds whose truth is known.

Run: python benchmarks/stats_offline.py [PART ...]  ->  benchmarks/results/stats_offline.json
Parts (default all; others are kept from the file): grid, normal, tango, multi-bootstrap, groups, slices, speed.
One process, one thread, about a quarter of an hour. Rates are per cent of trials.

What is simulated is what users call (`stats_ways.crossed_says`), in the worlds of `stats_worlds`.
"""

from __future__ import annotations

import json
import math
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats as scipy_stats
from scipy.special import stdtrit
from stats_ways import ALPHA, MARGIN, WAYS, Way
from stats_worlds import Cell, Scores, draw, grouped_scores, normal

from rsa_ops.core.estimate import Answer
from rsa_ops.execution.key import library_versions
from rsa_ops.stats import (
    artifact_noninferiority,
    compare_slices,
    multi_bootstrap,
    noninferiority,
    weighted_mean,
    worst_slice_test,
)
from rsa_ops.stats.proportions import tango_score
from rsa_ops.stats.spread import SeedSpread, Spread

RESULT = Path(__file__).parent / "results" / "stats_offline.json"
SEED = 20261124
LIMIT = 6.5
COVERAGE = (93.5, 96.5)
TRIALS = 4000

GRID = tuple(
    Cell(examples, discordance, seeds, seed_sd)
    for discordance in (0.02, 0.04, 0.08)
    for seeds in (3, 5, 10)
    for seed_sd in (0.0, 0.004, 0.008)
    for examples in (500, 1000, 3000)
)
COINS = tuple(
    Cell(examples, 0.08, seeds, seed_sd, world="coins")
    for seeds in (3, 5, 10)
    for seed_sd in (0.0, 0.004, 0.008)
    for examples in (500, 1000, 3000)
)


def cell_row(cell: Cell, trials: int, rng: np.random.Generator, ways: Mapping[str, Way] = WAYS) -> dict[str, Any]:
    """One row of the grid: false "not worse" of each way, and the coverage of its 95 % interval, in per cent."""
    said = {name: np.zeros(2) for name in ways}
    for _ in range(trials):
        ours, theirs = draw(cell, rng)
        for name, way in ways.items():
            said[name] += way(ours, theirs)
    rates = {name: [round(float(rate), 3) for rate in 100 * counts / trials] for name, counts in said.items()}
    return {
        "world": cell.world,
        "examples": cell.examples,
        "discordance": cell.discordance,
        "seeds": cell.seeds,
        "seed_sd": cell.seed_sd,
        "false_not_worse": {name: rate[0] for name, rate in rates.items()},
        "coverage": {name: rate[1] for name, rate in rates.items()},
    }


def grid(trials: int = TRIALS, cells: tuple[Cell, ...] = GRID + COINS) -> dict[str, Any]:
    """Every cell, and what of the laws holds."""
    rows = []
    for place, cell in enumerate(cells):
        rows.append(cell_row(cell, trials, np.random.default_rng([SEED, place])))
        print(rows[-1], flush=True)
    return {"trials": trials, "margin": MARGIN, "alpha": ALPHA, "rows": rows, "summary": summary(rows)}


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Worst cells of each way, over the grid of the issue (`ranked`) and over both worlds."""
    found: dict[str, Any] = {}
    for name in WAYS:
        false = [row["false_not_worse"][name] for row in rows]
        cover = [row["coverage"][name] for row in rows]
        found[name] = {
            "worst_false_not_worse": max(false),
            "cells_above_limit": sum(rate > LIMIT for rate in false),
            "lowest_coverage": min(cover),
            "highest_coverage": max(cover),
            "cells_below_coverage": sum(rate < COVERAGE[0] for rate in cover),
            "cells_above_coverage": sum(rate > COVERAGE[1] for rate in cover),
            "cells": len(rows),
        }
    return found


def in_normal_world(trials: int = 10_000) -> dict[str, Any]:
    """The two ways of treating the seeds' variance where the model holds to the letter: where the level is lost."""
    rows = []
    for seeds in (2, 3, 5, 10):
        for persistent in (0.0, 1.0, 4.0):
            for seed_variance in (0.0, 0.3, 1.0, 3.0, 10.0):
                rng = np.random.default_rng([SEED, seeds, int(persistent), int(10 * seed_variance)])
                drawn = normal(seeds, persistent, seed_variance, trials, rng)
                steady = normal(seeds, persistent, seed_variance, trials, rng, steady=True)
                alone = _normal_rates(steady.values, steady.squares, seeds, persistent)
                rows.append(
                    {"seeds": seeds, "persistent": persistent, "seed_variance": seed_variance}
                    | _normal_rates(drawn.values, drawn.squares, seeds, persistent)
                    | {"kept_one_arm_steady": alone["kept"]}
                )
    worst = {
        str(seeds): {
            key: max(row[key] for row in rows if row["seeds"] == seeds)
            for key in ("kept", "kept_one_arm_steady", "cut")
        }
        for seeds in (2, 3, 5, 10)
    }
    return {"trials": trials, "rows": rows, "worst_false_by_seeds": worst}


def _normal_rates(values: Scores, squares: Scores, seeds: int, persistent: float) -> dict[str, float]:
    """False claims "above zero" at a truth of zero: as `Spread` judges, and with the cut."""
    examples = 10_000
    kept = 0
    for value, first, second in zip(values, *squares, strict=True):
        arms = tuple(SeedSpread(seeds, float(square), float(examples)) for square in (first, second))
        spread = Spread(examples, examples * (persistent + 2 / seeds), arms)
        kept += spread.precision(ALPHA).low(float(value)) > 0
    terms = np.maximum(0.0, squares - 1) / seeds
    items = persistent + 2 / seeds
    variance = items + terms.sum(axis=0)
    spent = items**2 / (examples - 1) + (terms**2).sum(axis=0) / (seeds - 1)
    cut = (values > -stdtrit(variance**2 / spent, ALPHA) * np.sqrt(variance)).mean()
    return {"kept": round(100 * kept / len(values), 2), "cut": round(100 * float(cut), 2)}


def tango() -> dict[str, Any]:
    """Exact, no trials: Tango's test at a true loss of the margin, summed over every table that can occur."""
    quantiles = {"one": -float(scipy_stats.norm.ppf(ALPHA)), "two": -float(scipy_stats.norm.ppf(0.025))}
    rows = []
    for discordance in (0.02, 0.04, 0.08):
        for examples in (500, 1000, 3000):
            false = covered = 0.0
            for gained, lost, chance in _tables(examples, (discordance - MARGIN) / 2, (discordance + MARGIN) / 2):
                score = tango_score(gained, lost, examples, -MARGIN)
                false += chance * (score > quantiles["one"])
                covered += chance * (abs(score) <= quantiles["two"])
            rows.append(
                {
                    "examples": examples,
                    "discordance": discordance,
                    "false_not_worse": round(100 * false, 2),
                    "coverage": round(100 * covered, 2),
                }
            )
    return {"rows": rows}


def _tables(examples: int, gain: float, loss: float) -> Iterator[tuple[int, int, float]]:
    """(gained, lost, its probability) of all tables but for the outermost 1e-9."""
    for lost in _likely(examples, loss):
        rest, rate = examples - int(lost), gain / (1 - loss)
        chance = float(scipy_stats.binom.pmf(lost, examples, loss))
        likely = _likely(rest, rate)
        for gained, then in zip(likely, scipy_stats.binom.pmf(likely, rest, rate), strict=True):
            yield int(gained), int(lost), chance * float(then)


def _likely(number: int, rate: float) -> NDArray[np.int64]:
    return np.arange(scipy_stats.binom.ppf(1e-10, number, rate), scipy_stats.binom.isf(1e-10, number, rate) + 1)


def bootstrap_check(trials: int = 400, draws: int = 1000) -> dict[str, Any]:
    """The published Multi-Bootstrap on a part of the grid, beside `noninferiority` on the same data."""
    rows = []
    for seeds in (3, 5, 10):
        for seed_sd in (0.0, 0.004, 0.008):
            cell = Cell(500, 0.04, seeds, seed_sd)
            rng = np.random.default_rng([SEED, 7, seeds, int(1000 * seed_sd)])
            false, covered, ratio = 0, 0, []
            for _ in range(trials):
                ours, theirs = draw(cell, rng)
                arms = weighted_mean(ours), weighted_mean(theirs)
                wide = multi_bootstrap(*arms, rng=rng, draws=draws, confidence=0.95)
                narrow = multi_bootstrap(*arms, rng=rng, draws=draws, confidence=1 - 2 * ALPHA)
                judged = noninferiority(ours, theirs, margin=MARGIN).difference
                false += narrow.low > -MARGIN
                covered += wide.low <= -MARGIN <= wide.high
                ratio.append((narrow.high - narrow.low) / (judged.high - judged.low) if judged else math.nan)
            rows.append(
                {
                    "seeds": seeds,
                    "seed_sd": seed_sd,
                    "false_not_worse": round(100 * false / trials, 2),
                    "coverage": round(100 * covered / trials, 2),
                    "width_over_crossed": round(float(np.median(ratio)), 3),
                }
            )
    return {"examples": 500, "discordance": 0.04, "trials": trials, "draws": draws, "rows": rows}


def in_groups(trials: int = 2000, size: int = 10) -> dict[str, Any]:
    """Coverage of the 95 % interval where examples come in groups of ten, with and without saying so."""
    rows = []
    for seeds, hard in ((1, 0.1), (1, 0.4), (3, 0.1), (3, 0.4)):
        for groups in (10, 30, 100):
            rng = np.random.default_rng([SEED, 11, seeds, groups, int(10 * hard)])
            known = unknown = 0
            for _ in range(trials):
                ours, theirs, codes = grouped_scores(groups, size, seeds, hard, rng)
                known += _holds_zero(ours, theirs, codes)
                unknown += _holds_zero(ours, theirs, None)
            rows.append(
                {
                    "seeds": seeds,
                    "hard_share": hard,
                    "groups": groups,
                    "coverage": round(100 * known / trials, 2),
                    "coverage_groups_ignored": round(100 * unknown / trials, 2),
                }
            )
    return {"trials": trials, "group_size": size, "rows": rows}


def _holds_zero(ours: Scores, theirs: Scores, codes: Any) -> bool:
    if len(ours) == 1:
        found = artifact_noninferiority(ours[0], theirs[0], margin=0.5, alpha=0.025, groups=codes).difference
    else:
        found = noninferiority(ours, theirs, margin=0.5, alpha=0.025, groups=codes).difference
    return found is not None and found.low <= 0 <= found.high


def in_slices(trials: int = 2000, slices: int = 8, size: int = 150) -> dict[str, Any]:
    """Eight slices: false alarms for "any harmed", with and without Holm; the worst one against its own law."""
    margin, rng = 0.05, np.random.default_rng([SEED, 13])
    masks = {f"slice={k}": np.repeat(np.arange(slices) == k, size) for k in range(slices)}
    found = dict.fromkeys(("method", "artifact, gains and losses", "artifact, losses only"), np.zeros(3))
    worst = np.zeros(2)
    for _ in range(trials):
        right = np.ones((1, slices * size))
        worlds = {
            "method": draw(Cell(slices * size, 0.12, 3, 0.0, loss=margin), rng),
            "artifact, gains and losses": draw(Cell(slices * size, 0.12, 1, 0.0, loss=margin), rng),
            "artifact, losses only": ((rng.random(right.shape) >= margin) * right, right),
        }
        for name, arms in worlds.items():
            found[name] = found[name] + _alarms(arms, masks, margin)
        same = draw(Cell(slices * size, 0.08, 1, 0.0, loss=0.0), rng)
        alone = [
            artifact_noninferiority(same[0][0][mask], same[1][0][mask], margin=1e-9) for mask in masks.values()
        ]
        worst += (
            worst_slice_test(*same, masks, rng=rng, draws=400).p_value <= ALPHA,
            any(entry.answer is Answer.INFERIOR for entry in alone),
        )
    names = ("any_harmed_after_holm", "any_harmed_uncorrected", "all_lower_bounds_hold")
    return {
        "trials": trials,
        "slices": slices,
        "slice_examples": size,
        "margin": margin,
        "rows": [
            {"world": world}
            | dict(zip(names, (round(float(rate), 2) for rate in 100 * counts / trials), strict=True))
            for world, counts in found.items()
        ],
        "worst_slice_by_permutation": round(100 * float(worst[0]) / trials, 2),
        "worst_slice_by_its_own_test": round(100 * float(worst[1]) / trials, 2),
    }


def _alarms(arms: tuple[Scores, Scores], masks: dict[str, NDArray[np.bool_]], margin: float) -> NDArray[np.float64]:
    found = compare_slices(*arms, masks, margin=margin)
    alone = any(entry.result.answer is Answer.INFERIOR for entry in found.judged if entry.result)
    hold = all((entry.low or 0.0) <= -margin for entry in found.judged)
    return np.array([bool(found.harmed), alone, hold], dtype=float)


def speed() -> dict[str, Any]:
    """Seconds and additional memory of 10 seeds at growing size, each in a process of its own."""
    rows = []
    for task in ("crossed", "multi-bootstrap"):
        for examples in (125_000, 250_000, 500_000, 1_000_000):
            command = [sys.executable, __file__, "--one", task, str(examples)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            rows.append({"task": task, "examples": examples} | json.loads(done.stdout))
            print(rows[-1], flush=True)
    return {"seeds": 10, "draws": 1000, "rows": rows}


def one(task: str, examples: int) -> dict[str, float]:
    """Time and memory above what the scores themselves take."""
    rng = np.random.default_rng([SEED, examples])
    hard = rng.beta(0.6, 5.4, examples)
    ours, theirs = (np.stack([rng.random(examples) >= hard for _ in range(10)]).astype(float) for _ in range(2))
    small = ours[:, :1000].copy(), theirs[:, :1000].copy()
    noninferiority(*small, margin=MARGIN)  # the first call imports scipy; its time is no work on examples
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    if task == "crossed":
        noninferiority(ours, theirs, margin=MARGIN)
    else:
        multi_bootstrap(weighted_mean(ours), weighted_mean(theirs), rng=rng, draws=1000)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": round(seconds, 3), "additional_mib": round((peak - before) / 1024, 1)}


PARTS: dict[str, Callable[[], dict[str, Any]]] = {
    "grid": grid,
    "normal": in_normal_world,
    "tango": tango,
    "multi-bootstrap": bootstrap_check,
    "groups": in_groups,
    "slices": in_slices,
    "speed": speed,
}


def main() -> None:
    """Run the parts that were named and write the record."""
    if "--one" in sys.argv:
        print(json.dumps(one(sys.argv[2], int(sys.argv[3]))))
        return
    record = json.loads(RESULT.read_text("utf-8")) if RESULT.exists() else {}
    record |= {"script": "benchmarks/stats_offline.py", "seed": SEED, "versions": library_versions()}
    for name in sys.argv[1:] or list(PARTS):
        start = time.perf_counter()
        record[name] = PARTS[name]()
        record[name]["wall_seconds"] = round(time.perf_counter() - start, 1)
        RESULT.write_text(json.dumps(record, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
