"""Does a plan keep its promise? The planned design is simulated, and how often it says "not worse" is counted.

Run: python benchmarks/stats_plan.py [PART ...]  ->  benchmarks/results/stats_plan.json
Parts (default all, others are kept from the file; about ten minutes on one core): method, floors, error_rates,
artifact, pilots, sparse, grouped.

Law: where `plan_comparison` promises 80 %, `noninferiority` and Tango's interval say "not worse" in 78 to 84 % of
trials. Beside it, on the same ground: what designs by the textbook's formulas deliver.
"""

import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import stats as scipy_stats

from rsa_ops.core.estimate import Answer
from rsa_ops.core.plan import PlanGoal, Variation
from rsa_ops.execution.key import library_versions
from rsa_ops.stats import (
    artifact_noninferiority,
    examples_needed_for_margin,
    measure_variation,
    noninferiority,
    plan_comparison,
    tango_interval,
)
from rsa_ops.stats.inputs import Sampling
from rsa_ops.stats.moments import difference_moments
from rsa_ops.stats.plan import MethodQuestion
from rsa_ops.stats.power import Seeded, method_power

OUT = Path(__file__).parent / "results" / "stats_plan.json"
SEED = 20261126
TRIALS = 4000
PROMISE = (0.78, 0.84)
SEEDS = (3, 5, 10)
SEED_SDS = (0.0, 0.004, 0.008)
DISCORDANCES = (0.02, 0.04, 0.08)
MARGINS = (0.01, 0.02, 0.03)
LARGEST = 9000
"""Examples; a cell that needs more at one margin is simulated at the next."""
PILOTS = 1000
ALPHA = 0.05
CHECKED = 200
NOT_WORSE = (Answer.NON_INFERIOR, Answer.SUPERIOR)
Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    """One design of the grid; `kind` is binary or continuous."""

    kind: str
    seeds: int
    examples: int
    margin: float
    spread: float
    """Discordance, or the SD over examples."""
    repeatable: float
    seed_sd: float

    def draw(self, rng: np.random.Generator) -> tuple[Scores, Scores]:
        """Scores of two arms [seeds, examples] without a true difference."""
        return self._binary(rng) if self.kind == "binary" else self._continuous(rng)

    def _binary(self, rng: np.random.Generator) -> tuple[Scores, Scores]:
        """A share of the examples is always lost or always gained; in a pool every model tosses a coin.

        Two coins differ with probability 1/2, so the pool is twice the residual discordance. A seed shifts the
        coins of its model, so that the mean moves by a normal amount. All other examples are always right.
        """
        pool, always = 2 * self.spread * (1 - self.repeatable), self.spread * self.repeatable
        tossed, gained, lost, _ = rng.multinomial(self.examples, [pool, always / 2, always / 2, 1 - pool - always])
        arms = []
        for _ in range(2):
            scores = np.ones((self.seeds, self.examples))
            if tossed:
                coin = 0.5 + rng.normal(0.0, self.seed_sd, (self.seeds, 1)) / pool
                scores[:, :tossed] = rng.random((self.seeds, tossed)) < coin
            arms.append(scores)
        arms[0][:, tossed + gained : tossed + gained + lost] = 0
        arms[1][:, tossed : tossed + gained] = 0
        return arms[0], arms[1]

    def _continuous(self, rng: np.random.Generator) -> tuple[Scores, Scores]:
        """Normal example effects (their difference between the arms is what repeats), seeds and residuals."""
        effect = rng.normal(0, self.spread * math.sqrt(self.repeatable / 2), (2, 1, self.examples))
        seed = rng.normal(0, self.seed_sd, (2, self.seeds, 1))
        residual = self.spread * math.sqrt((1 - self.repeatable) / 2)
        arms = effect + seed + rng.normal(0, residual, (2, self.seeds, self.examples))
        return arms[0], arms[1]

    def delivered(self, rng: np.random.Generator, trials: int) -> float:
        """Share of trials that say "not worse".

        The first `CHECKED` trials ask `noninferiority`; all are judged by the rule that its answer follows from,
        without the search for both ends of the interval and for what would decide.
        """
        said = 0
        for trial in range(trials):
            ours, theirs = self.draw(rng)
            how, binary = Sampling(self.examples), self.kind == "binary"
            found = difference_moments(ours, theirs, how, reach=1.0, paired=False, binary=binary)
            precision = found.spread.precision(ALPHA)
            not_worse = found.value + self.margin > precision.quantile * precision.error_at(-self.margin)
            if trial < CHECKED:
                answer = noninferiority(ours, theirs, margin=self.margin, alpha=ALPHA).answer
                if (answer in NOT_WORSE) != not_worse:
                    raise ValueError(f"the rule says {not_worse}, noninferiority {answer} in {self}")
            said += not_worse
        return said / trials


def variation(kind: str, spread: float, repeatable: float, seed_sd: float) -> Variation:
    """The world of a case, as the planner is told it."""
    return Variation(
        discordance=spread if kind == "binary" else None,
        example_sd=spread if kind == "continuous" else None,
        repeatable=repeatable,
        seed_sd=seed_sd,
    )


def planned(kind: str, seeds: int, spread: float, repeatable: float, seed_sd: float) -> Case | None:
    """The planned design at the first margin that at most `LARGEST` examples show."""
    world = variation(kind, spread, repeatable, seed_sd)
    for margin in MARGINS:
        examples = MethodQuestion.of(PlanGoal(margin=margin), world, seed_sd).examples(seeds)
        if examples is not None and examples <= LARGEST:
            return Case(kind, seeds, examples, margin, spread, repeatable, seed_sd)
    return None


def grid() -> Iterator[Case]:
    """Every cell that right-or-wrong scores can have: coins must leave a seed 2.5 SD of room; and normal scores."""
    for seeds in SEEDS:
        for seed_sd in SEED_SDS:
            for spread in DISCORDANCES:
                for repeatable in (1.0, 0.5, 0.0):
                    if seed_sd == 0 or spread * (1 - repeatable) >= 2.5 * seed_sd * (1 - 1e-9):
                        case = planned("binary", seeds, spread, repeatable, seed_sd)
                        yield from () if case is None else (case,)
            case = planned("continuous", seeds, 0.15, 0.5, seed_sd)
            yield from () if case is None else (case,)


def method_rows(rng: np.random.Generator) -> list[dict[str, object]]:
    """Promise against delivery over the grid. `least`: fewer examples are never planned, so the power is higher."""
    rows = []
    for case in grid():
        power = case.delivered(rng, TRIALS)
        least = case.kind == "binary" and case.examples == examples_needed_for_margin(case.margin, ALPHA)
        kept = PROMISE[0] <= power and (least or power <= PROMISE[1])
        rows.append({**asdict(case), "least": least, "delivered": round(power, 4), "kept": kept})
        print(rows[-1], flush=True)
    return rows


def floor_rows(rng: np.random.Generator) -> list[dict[str, object]]:
    """Endless examples: the smallest margin that the plan tells, the textbook's, and the power at both."""
    rows = []
    for seeds in SEEDS:
        for seed_sd in (0.003, 0.004, 0.008):
            question = MethodQuestion.of(PlanGoal(margin=0.01), variation("binary", 0.04, 1.0, seed_sd), seed_sd)
            freedom = 2 * seeds - 2
            quantiles = scipy_stats.t.ppf(0.95, freedom) + scipy_stats.t.ppf(0.8, freedom)
            margins = {
                "ours": question.margin(seeds, None) or 0.0,
                "textbook": float(quantiles * math.sqrt(2 / seeds) * seed_sd),
            }
            delivered = {
                name: round(Case("continuous", seeds, 50, margin, 1e-5, 1.0, seed_sd).delivered(rng, TRIALS), 4)
                for name, margin in margins.items()
            }
            shown = {name: round(margin, 5) for name, margin in margins.items()}
            rows.append({"seeds": seeds, "seed_sd": seed_sd, "smallest_margin": shown, "delivered": delivered})
            print(rows[-1], flush=True)
    return rows


def artifact_rows(rng: np.random.Generator) -> list[dict[str, object]]:
    """Tango's test at the planned and at the textbook's number of examples."""
    rows = []
    for spread in DISCORDANCES:
        for margin in (0.005, 0.01, 0.02):
            plan = plan_comparison(PlanGoal(margin=margin), Variation(discordance=spread)).artifact
            sizes = {"ours": plan.examples, "textbook": plan.textbook_examples}
            delivered = {}
            for name, size in sizes.items():
                counts = rng.multinomial(size, [spread / 2, spread / 2, 1 - spread], TRIALS)
                lows = [tango_interval(int(up), int(down), size, confidence=0.9).low for up, down, _ in counts]
                delivered[name] = round(float(np.mean(np.array(lows) > -margin)), 4)
            kept = PROMISE[0] <= delivered["ours"] <= PROMISE[1]
            rows.append(
                {"discordance": spread, "margin": margin, "examples": sizes, "delivered": delivered, "kept": kept}
            )
            print(rows[-1], flush=True)
    return rows


def sparse_rows(rng: np.random.Generator) -> list[dict[str, object]]:
    """Designs in which one or two discordant examples are expected: here the promise is coarse, and said to be."""
    rows: list[dict[str, object]] = []
    for margin in (0.05, 0.1):
        for repeatable in (1.0, 0.0):
            question = MethodQuestion.of(PlanGoal(margin=margin), variation("binary", 0.02, repeatable, 0.0), 0.0)
            examples = question.examples(3)
            if examples is not None:
                case = Case("binary", 3, examples, margin, 0.02, repeatable, 0.0)
                rows.append({**asdict(case), "delivered": round(case.delivered(rng, TRIALS), 4)})
                print(rows[-1], flush=True)
    return rows


@dataclass(frozen=True)
class Grouped:
    """A design for examples in groups of `size` or, by halves, of 1/2 and 3/2 `size` (cv 0.5); no seed moves."""

    kind: str
    seeds: int
    margin: float
    spread: float
    size: int
    cv: float
    icc: float

    def world(self) -> Variation:
        """As the planner is told it."""
        told = variation(self.kind, self.spread, 1.0, 0.0)
        return told.model_copy(update={"group_size": float(self.size), "group_size_cv": self.cv, "icc": self.icc})

    def examples(self) -> int | None:
        """What the planner asks for."""
        goal, world = PlanGoal(margin=self.margin), self.world()
        if self.seeds == 1:
            return plan_comparison(goal, world).artifact.examples
        return MethodQuestion.of(goal, world, 0.0).examples(self.seeds)

    def delivered(self, examples: int, rng: np.random.Generator) -> float:
        """Share of trials that say "not worse"."""
        said = 0
        for _ in range(TRIALS):
            sizes = np.full(round(examples / self.size), self.size)
            if self.cv:
                sizes = np.where(rng.random(len(sizes)) < 0.5, self.size // 2, 3 * self.size // 2)
            codes = np.repeat(np.arange(len(sizes)), sizes)
            ours = self._differences(codes, len(sizes), rng)
            theirs = np.zeros_like(ours)
            if self.kind == "binary":
                ours, theirs = (ours >= 0).astype(float), (ours <= 0).astype(float)
            ours, theirs = (np.broadcast_to(side, (self.seeds, len(codes))) for side in (ours, theirs))
            if self.seeds == 1:
                answer = artifact_noninferiority(ours[0], theirs[0], margin=self.margin, groups=codes).answer
            else:
                answer = noninferiority(ours, theirs, margin=self.margin, groups=codes).answer
            said += answer in NOT_WORSE
        return said / TRIALS

    def _differences(self, codes: NDArray[np.intp], groups: int, rng: np.random.Generator) -> Scores:
        """Binary: an example has its group's outcome with probability sqrt(icc), else one of its own."""
        if self.kind == "continuous":
            shared, own = rng.normal(size=groups)[codes], rng.normal(size=len(codes))
            return self.spread * (math.sqrt(self.icc) * shared + math.sqrt(1 - self.icc) * own)
        chances = [self.spread / 2, 1 - self.spread, self.spread / 2]
        shared = rng.choice([-1.0, 0.0, 1.0], groups, p=chances)[codes]
        own = rng.choice([-1.0, 0.0, 1.0], len(codes), p=chances)
        return np.where(rng.random(len(codes)) < math.sqrt(self.icc), shared, own)


def grouped_rows(rng: np.random.Generator) -> list[dict[str, object]]:
    """Promise against delivery where examples come in groups."""
    rows: list[dict[str, object]] = []
    for kind, spread, margin in (("binary", 0.08, 0.02), ("continuous", 0.15, 0.02)):
        for seeds in (1, 3):
            for cv, icc in ((0.0, 0.05), (0.0, 0.3), (0.5, 0.3)):
                case = Grouped(kind, seeds, margin, spread, 10, cv, icc)
                examples = case.examples()
                if examples is None:
                    raise ValueError(f"out of reach: {case}")
                power = case.delivered(examples, rng)
                kept = PROMISE[0] <= power <= PROMISE[1]
                rows.append({**asdict(case), "examples": examples, "delivered": round(power, 4), "kept": kept})
                print(rows[-1], flush=True)
    return rows


def error_rows() -> list[dict[str, object]]:
    """No simulation: the planner's integral at a true loss of the margin is the error rate of the analysis.

    Normal scores, seeds from none to a hundred times what the examples contribute to the variance.
    """
    rows: list[dict[str, object]] = []
    variance, examples, margin = 0.04, 2000, 0.01
    for seeds in (2, *SEEDS):
        for repeatable in (1.0, 0.5, 0.0):
            residual = variance * (1 - repeatable) / 2
            items = (variance * repeatable + 2 * residual / seeds) / examples
            rates = [
                method_power(
                    Seeded(variance * repeatable, residual, share * items * seeds / 2, turning=False),
                    seeds=seeds,
                    examples=examples,
                    margin=margin,
                    alpha=0.05,
                    truth=-margin,
                )
                for share in (0, 0.1, 0.3, 1, 2, 3, 5, 10, 100)
            ]
            rows.append(
                {
                    "seeds": seeds,
                    "repeatable": repeatable,
                    "lowest": round(min(rates), 4),
                    "highest": round(max(rates), 4),
                }
            )
            print(rows[-1], flush=True)
    return rows


def pilot_rows(rng: np.random.Generator) -> list[dict[str, object]]:
    """How often the plan of a pilot with 3 seeds really has 80 %, with the seed SD's estimate and its upper bound.

    The plan is for 8 seeds per arm. "more seeds": it says that no number of examples does with 8, which is not so.
    """
    truth = Case("binary", 3, 1000, 0.02, 0.06, 0.5, 0.006)
    goal = PlanGoal(margin=truth.margin)
    real = MethodQuestion.of(
        goal, variation("binary", truth.spread, truth.repeatable, truth.seed_sd), truth.seed_sd
    )
    found: dict[str, list[float]] = {"estimate": [], "upper bound": []}
    for _ in range(PILOTS):
        pilot = measure_variation(*truth.draw(rng))
        if pilot is None or pilot.seed_sd is None or pilot.seed_sd_high is None:
            raise ValueError("a pilot without any difference")
        for name, seed_sd in (("estimate", pilot.seed_sd), ("upper bound", pilot.seed_sd_high)):
            examples = MethodQuestion.of(goal, pilot, seed_sd).examples(8)
            found[name].append(real.power(8, examples) if examples is not None else math.nan)
    rows: list[dict[str, object]] = []
    for name, powers in found.items():
        known = np.array([power for power in powers if not math.isnan(power)])
        rows.append(
            {
                "planned_with": name,
                "pilots": PILOTS,
                "enough": round(float((known >= 0.8).sum() / PILOTS), 3),
                "more_seeds": round(1 - len(known) / PILOTS, 3),
                "median_power": round(float(np.median(known)), 3),
                "tenth_percentile_power": round(float(np.quantile(known, 0.1)), 3),
            }
        )
        print(rows[-1], flush=True)
    return rows


PARTS: dict[str, tuple[Callable[[np.random.Generator], list[dict[str, object]]], Sequence[int]]] = {
    "method": (method_rows, (SEED,)),
    "floors": (floor_rows, (SEED, 1)),
    "error_rates": (lambda _: error_rows(), ()),
    "artifact": (artifact_rows, (SEED, 2)),
    "pilots": (pilot_rows, (SEED, 3)),
    "sparse": (sparse_rows, (SEED, 4)),
    "grouped": (grouped_rows, (SEED + 1,)),
}


def main() -> None:
    """Simulate the parts that were named and write the record."""
    record = json.loads(OUT.read_text(encoding="utf-8")) if OUT.exists() else {}
    record |= {"script": "benchmarks/stats_plan.py", "versions": library_versions(), "trials": TRIALS}
    record["promise"] = list(PROMISE)
    for name in sys.argv[1:] or PARTS:
        start = time.monotonic()
        part, seed = PARTS[name]
        record[name] = part(np.random.default_rng(list(seed)))
        record.setdefault("seconds", {})[name] = round(time.monotonic() - start, 1)
        OUT.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
