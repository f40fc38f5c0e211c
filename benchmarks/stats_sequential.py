"""How often does looking again and again raise a false alarm, and how soon is real harm found?

Each repetition is the whole life of a rollout: up to 10,000 units an arm, looked at every 50. "Stopped" is the
share of lives in which a method ever says "harm beyond the margin". Without harm that is its false-alarm rate, and
5 % are promised; the z-test that everybody peeks at is the control which must fail. Scores, which cannot be drawn
as counts, get fewer lives: a tenth and a quarter.

Run: python benchmarks/stats_sequential.py  ->  benchmarks/results/stats_sequential.json (a minute on one core)
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from rsa_ops.stats import BettingEProcess, EProcess
from rsa_ops.stats.bernoulli import bets_towards, two_stream_log_e
from rsa_ops.stats.confidence_sequence import best_rho, guarded, half_width
from rsa_ops.stats.eprocess import UNIFORM, challenger_share, conditional_log_e, prior_towards
from rsa_ops.stats.sample_ratio import assignment_log_e

RESULT = Path(__file__).parent / "results" / "stats_sequential.json"
ALPHA, LOOKS, SEED = 0.05, 200, 20261126
REPETITIONS = 4000
Counts = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Lives:
    """Cumulated counts [lives, looks] of units and bad events of both arms; `rate` is the baseline's true one."""

    ours: Counts
    theirs: Counts
    bad_ours: Counts
    bad_theirs: Counts
    rate: float

    @property
    def share(self) -> float:
        """The challenger's agreed share of the units."""
        return round(float(self.ours[:, -1].mean() / (self.ours[:, -1] + self.theirs[:, -1]).mean()), 3)


def blocks(rng: np.random.Generator, rates: tuple[float, float], steps: tuple[int, int], lives: int) -> Lives:
    """Fixed numbers of units between two looks; `rates` of challenger and baseline."""
    bad = [rng.binomial(step, rate, (lives, LOOKS)).cumsum(axis=1) for rate, step in zip(rates, steps, strict=True)]
    looks = np.arange(1, LOOKS + 1)
    ours, theirs = (np.broadcast_to(looks * step, (lives, LOOKS)) for step in steps)
    return Lives(ours, theirs, bad[0], bad[1], rates[1])


def chance(rng: np.random.Generator, rates: tuple[float, float], units: int, lives: int) -> Lives:
    """Each of `units` units between two looks is assigned by a fair coin."""
    ours = rng.binomial(units, 0.5, (lives, LOOKS))
    bad_ours, bad_theirs = rng.binomial(ours, rates[0]), rng.binomial(units - ours, rates[1])
    return Lives(
        ours.cumsum(axis=1),
        (units - ours).cumsum(axis=1),
        bad_ours.cumsum(axis=1),
        bad_theirs.cumsum(axis=1),
        rates[1],
    )


def peeked_z(seen: Lives) -> Flags:
    """The one-sided z-test of two rates at 5 %, believed at every look. No margin."""
    p, q = seen.bad_ours / seen.ours, seen.bad_theirs / seen.theirs
    pooled = (seen.bad_ours + seen.bad_theirs) / (seen.ours + seen.theirs)
    error = np.sqrt(pooled * (1 - pooled) * (1 / seen.ours + 1 / seen.theirs))
    return p - q > stats.norm.isf(ALPHA) * np.where(error > 0, error, np.inf)


def e_process(seen: Lives, *, margin: float = 1.0, uniform: bool = False, alpha: float = ALPHA) -> Flags:
    """`EProcess.log_e_harm` of every life and look at once."""
    state = EProcess(ratio_margin=margin, allocation=seen.share)
    towards = challenger_share(margin * (2.0 / margin) ** 0.8, seen.share)
    prior = UNIFORM if uniform else prior_towards(state.theta0, towards)
    found = conditional_log_e(seen.bad_ours, seen.bad_ours + seen.bad_theirs, state.theta0, prior)
    return found >= math.log(1 / alpha)


def two_streams(seen: Lives, *, margin: float = 0.0) -> Flags:
    """`BernoulliEProcess.log_e_harm`, with a guess of the baseline that is a fifth too low."""
    guess = 0.8 * seen.rate
    design = margin + min(guess, 0.02)
    bets = bets_towards(guess + design, margin=margin, allocation=seen.share, baseline_rate=guess)
    found = two_stream_log_e(seen.bad_ours, seen.ours, seen.bad_theirs, seen.theirs, bets)
    return found >= math.log(1 / ALPHA)


def means(seen: Lives, *, margin: float = 0.0, better: bool = False, plain: bool = False) -> Flags:
    """`ConfidenceSequence`, one-sided, at 20 units an arm and more; `plain`: with the paper's variance.

    `better` asks the other question: is the challenger lower by more than the margin?
    """
    p, q, n = seen.bad_ours / seen.ours, seen.bad_theirs / seen.theirs, seen.ours + seen.theirs
    whole = (seen.bad_ours + seen.bad_theirs) / n
    pooled = whole * (1 - whole) * n / (n - 1)
    error = np.zeros(n.shape)
    for rate, units in ((p, seen.ours), (q, seen.theirs)):
        own = rate * (1 - rate) * units / (units - 1)
        error += (own if plain else guarded(own, pooled, units / n)) / units
    half = np.sqrt(error * n) * half_width(n, best_rho(10_000, ALPHA, "one"), ALPHA, "one")
    excess = (q - p if better else p - q) - margin
    enough = np.minimum(seen.ours, seen.theirs) >= 50
    return enough & (error > 0) & (excess > half)


def told(crossed: Flags, units: Counts) -> dict[str, Any]:
    """Lives, the share ever stopped with its Monte Carlo error, that by 3,000 units, and the median units."""
    ever = crossed.any(axis=1)
    at = np.where(ever, np.take_along_axis(units, crossed.argmax(axis=1)[:, None], axis=1)[:, 0], np.inf)
    share, median = float(ever.mean()), float(np.median(at))
    return {
        "lives": len(ever),
        "stopped": round(share, 4),
        "error": round(math.sqrt(share * (1 - share) / len(ever)), 4),
        "stopped_by_3000": round(float((at <= 3000).mean()), 4),
        "median_units": None if math.isinf(median) else int(median),
    }


def harmless(lives: int) -> list[dict[str, Any]]:
    """No harm, or harm at the margin: every method but the peeked z stays at 5 % or below."""
    rows = []
    for rate in (0.1, 0.01, 0.002):
        seen = blocks(np.random.default_rng(SEED), (rate, rate), (50, 50), lives)
        methods: dict[str, Callable[[Lives], Flags]] = {
            "peeked z": peeked_z,
            "e-process": e_process,
            "e-process, uniform prior": lambda s: e_process(s, uniform=True),
            "two-stream e-process": two_streams,
            "confidence sequence": means,
        }
        rows += [row("no harm, 50/50 blocks", m, rate, rate, seen, says(seen)) for m, says in methods.items()]
        drawn = chance(np.random.default_rng(SEED + 1), (rate, rate), 100, lives)
        for method, says in (
            ("e-process", e_process),
            ("two-stream e-process", two_streams),
            ("confidence sequence", means),
        ):
            rows.append(row("no harm, fair coin", method, rate, rate, drawn, says(drawn)))
    return rows


def at_the_margin(lives: int) -> list[dict[str, Any]]:
    """True harm equal to the margin: a ratio of 1.25, or one point (half a point at 1 %)."""
    rows = []
    for rate in (0.1, 0.01):
        seen = blocks(np.random.default_rng(SEED + 2), (1.25 * rate, rate), (50, 50), lives)
        rows.append(row("at ratio margin 1.25", "e-process", 1.25 * rate, rate, seen, e_process(seen, margin=1.25)))
        margin = 0.01 if rate == 0.1 else 0.005
        seen = blocks(np.random.default_rng(SEED + 3), (rate + margin, rate), (50, 50), lives)
        for method, says in (("two-stream e-process", two_streams), ("confidence sequence", means)):
            rows.append(row(f"at margin {margin}", method, rate + margin, rate, seen, says(seen, margin=margin)))
    return rows


def unequal_arms(lives: int) -> list[dict[str, Any]]:
    """10/90 of the traffic. "lower": a harmless challenger is called better, which would ship it."""
    rows = []
    for rate in (0.1, 0.01, 0.002):
        seen = blocks(np.random.default_rng(SEED + 4), (rate, rate), (10, 90), lives)
        found = {
            "e-process": e_process(seen),
            "two-stream e-process": two_streams(seen),
            "confidence sequence": means(seen),
            "confidence sequence, lower": means(seen, better=True),
            "confidence sequence without guard, lower": means(seen, better=True, plain=True),
        }
        rows += [
            row("no harm, 10/90 blocks", method, rate, rate, seen, crossed) for method, crossed in found.items()
        ]
    return rows


def harm(lives: int) -> list[dict[str, Any]]:
    """Real harm: how often and how soon it is found."""
    rows = []
    for ours, theirs in ((0.02, 0.01), (0.004, 0.002), (0.12, 0.10), (0.33, 0.30)):
        seen = blocks(np.random.default_rng(SEED + 5), (ours, theirs), (50, 50), lives)
        found = {
            "e-process": e_process(seen),
            "e-process, uniform prior": e_process(seen, uniform=True),
            "two-stream e-process": two_streams(seen),
            "confidence sequence": means(seen),
        }
        rows += [row("harm", method, ours, theirs, seen, crossed) for method, crossed in found.items()]
    return rows


def row(cell: str, method: str, ours: float, theirs: float, seen: Lives, crossed: Flags) -> dict[str, Any]:
    """One line of the result."""
    return {"cell": cell, "method": method, "challenger": ours, "baseline": theirs, **told(crossed, seen.ours)}


def family(lives: int) -> list[dict[str, Any]]:
    """Four guardrails on the same units, strongly dependent: rolled back if any reaches G / alpha, or 1 / alpha."""
    rng = np.random.default_rng(SEED + 6)
    common, rows = blocks(rng, (0.01, 0.01), (50, 50), lives), []
    lifes = []
    for _ in range(4):
        own = blocks(rng, (0.005, 0.005), (50, 50), lives)
        lifes.append(
            Lives(
                common.ours,
                common.theirs,
                common.bad_ours + own.bad_ours,
                common.bad_theirs + own.bad_theirs,
                0.015,
            )
        )
    for name, alpha in (("G / alpha", ALPHA / 4), ("1 / alpha, as the control", ALPHA)):
        crossed = np.logical_or.reduce([e_process(seen, alpha=alpha) for seen in lifes])
        rows.append(row("four guardrails, no harm", f"any e >= {name}", 0.015, 0.015, common, crossed))
    return rows


def scores(lives: int) -> list[dict[str, Any]]:
    """Scores in [0, 1] with mean 0.8, looked at every 50 units to 5,000 an arm: betting, with margin 0.02."""
    rng, rows = np.random.default_rng(SEED + 7), []
    for cell, loss in (("scores, loss of the margin", 0.02), ("scores, loss of 0.05", 0.05)):
        stopped = np.zeros((lives, 100), dtype=bool)
        for life in range(lives):
            state = BettingEProcess(lowest=0, highest=1, margin=0.02, allocation=0.5, centre=0.8)
            for look in range(100):
                ours = rng.beta(8 * (1 - loss / 0.8), 2 + 8 * loss / 0.8, 50)
                state = state.update(ours, rng.beta(8, 2, 50))
                stopped[life, look] = state.log_e_harm >= math.log(1 / ALPHA)
        units = np.broadcast_to(np.arange(1, 101) * 50, stopped.shape)
        rows.append(
            {"cell": cell, "method": "betting e-process", "challenger": 0.8 - loss, "baseline": 0.8}
            | told(stopped, units)
        )
    return rows


def skewed(lives: int) -> list[dict[str, Any]]:
    """Log-normal scores (sigma 1.5) without harm: does the confidence sequence leave zero out, on either side?"""
    rng, rows, rho = np.random.default_rng(SEED + 8), [], best_rho(10_000, ALPHA, "one")
    for steps in ((50, 50), (10, 90)):
        sums, squares = np.zeros((2, lives)), np.zeros((2, lives))
        over = np.zeros((2, lives, LOOKS), dtype=bool)
        for look in range(LOOKS):
            for arm, step in enumerate(steps):
                drawn = rng.lognormal(0.0, 1.5, (lives, step))
                sums[arm] += drawn.sum(axis=1)
                squares[arm] += (drawn**2).sum(axis=1)
            units = np.array(steps)[:, None] * (look + 1)
            n = int(units.sum())
            own = (squares - sums**2 / units) / (units - 1)
            pooled = (squares.sum(axis=0) - sums.sum(axis=0) ** 2 / n) / (n - 1)
            error = (guarded(own, pooled, units / n) / units).sum(axis=0)
            half = np.sqrt(error * n) * half_width(n, rho, ALPHA, "one")
            gap = sums[0] / units[0] - sums[1] / units[1]
            over[:, :, look] = (units.min() >= 50) & (np.stack([gap, -gap]) > half)
        units = np.broadcast_to(np.arange(1, LOOKS + 1) * steps[0], over.shape[1:])
        for side, crossed in zip(("higher", "lower"), over, strict=True):
            name = f"log-normal scores, {steps[0]}/{steps[1]} blocks"
            rows.append({"cell": name, "method": f"confidence sequence, {side}"} | told(crossed, units))
    return rows


def assignment(lives: int) -> list[dict[str, Any]]:
    """The sample-ratio check at 1 / 0.001 against a chi-square test at 0.001, 100 looks, 20,000 units in all."""
    rng, rows = np.random.default_rng(SEED + 9), []
    for cell, share in (("shares as agreed", 0.5), ("48/52 instead of 50/50", 0.48)):
        ours = rng.binomial(200, share, (lives, 100)).cumsum(axis=1)
        n = np.broadcast_to(np.arange(1, 101) * 200, ours.shape)
        found = {
            "e-value": assignment_log_e(np.stack([ours, n - ours], axis=-1), (0.5, 0.5), 200.0) >= math.log(1000),
            "peeked chi-square": (2 * ours - n) ** 2 / n > stats.chi2.isf(0.001, 1),
        }
        rows += [{"cell": cell, "method": method} | told(crossed, n) for method, crossed in found.items()]
    return rows


def laws(rows: list[dict[str, Any]], lives: int) -> dict[str, bool]:
    """The targets, read off the rows. False stops may exceed 5 % by three Monte Carlo errors at most."""

    def of(cell: str, method: str, key: str = "stopped") -> list[float]:
        found = [r[key] for r in rows if r["cell"].startswith(cell) and r["method"].startswith(method)]
        if not found:
            raise KeyError(f"no row for {cell}, {method}")
        return found

    slack = 3 * math.sqrt(ALPHA * (1 - ALPHA) / lives)
    exact = [v for cell in ("no harm", "at") for m in ("e-process", "two-stream") for v in of(cell, m)]
    (doubled,) = [r for r in rows if r["cell"] == "harm" and r["method"] == "e-process" and r["challenger"] == 0.02]
    guarded_rows = [r for r in rows if "without guard" not in r["method"]]
    sequences = [r["stopped"] for r in guarded_rows if r["method"].startswith("confidence") and r["cell"] != "harm"]
    return {
        "exact methods: false stop over a whole life at 5 % or below": max(exact) <= ALPHA + slack,
        "confidence sequence: false stop over a whole life at 5 % or below": max(sequences) <= ALPHA + slack,
        "control: peeked z above 20 %": min(of("no harm, 50/50", "peeked z")) > 0.2,
        "control: without guard a small arm is called lower in more than 20 % at 1 %": of(
            "no harm, 10/90", "confidence sequence without guard"
        )[1]
        > 0.2,
        "a doubled 1 % is stopped within 3,000 an arm with probability 0.8": doubled["stopped_by_3000"] >= 0.8,
        "family at G / alpha: false rollback at 5 % or below": of("four", "any e >= G")[0] <= ALPHA + slack,
        "betting: false stop at 5 % or below": of("scores, loss of the margin", "betting")[0] <= ALPHA + slack,
        "sample ratio: false alarm at 0.1 % or below": of("shares", "e-value")[0]
        <= 0.001 + 3 * math.sqrt(0.001 / lives),
        "sample ratio: 48/52 found by 20,000 units with probability 0.9": of("48/52", "e-value")[0] >= 0.9,
    }


def measure(lives: int) -> dict[str, Any]:
    """All cells and the laws."""
    rows = [
        *(harmless(lives) + at_the_margin(lives) + unequal_arms(lives) + harm(lives)),
        *(family(lives) + scores(max(lives // 10, 1)) + skewed(max(lives // 4, 1)) + assignment(lives)),
    ]
    return {
        "script": "benchmarks/stats_sequential.py",
        "versions": [f"{name}=={version(name)}" for name in ("numpy", "scipy")],
        "repetitions": lives,
        "seed": SEED,
        "alpha": ALPHA,
        "laws": laws(rows, lives),
        "rows": rows,
    }


def main() -> int:
    """Measure, write, print; the exit status is 1 where a law is broken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=REPETITIONS)
    parser.add_argument("--out", type=Path, default=RESULT)
    asked = parser.parse_args()
    start = time.perf_counter()
    found = measure(asked.repetitions)
    asked.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    for entry in found["rows"]:
        print(*(f"{key} {value}" for key, value in entry.items()), sep=" | ")
    for law, holds in found["laws"].items():
        print("holds " if holds else "BROKEN", law)
    print(f"{time.perf_counter() - start:.0f} s")
    return 0 if all(found["laws"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
