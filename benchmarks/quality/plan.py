"""What is tried, in which order, and the one rule by which every method finds its learning rate.

A `Study` asks how well one variant does on one task. Its rates are a geometric grid around the variant's start;
where the best is the lowest or the highest tried, the next one beyond it is tried too, until the best lies inside
(the rule of benchmarks/learning_rates.py). Studies that are refined then try the two rates halfway to the best
one's neighbours. So every method of a table gets the same number of rates, and more only where its grid began in
the wrong place. The rate is chosen on the validation split; only then do the final seeds run, on the split the
study names. Nothing here trains: from the trials that are done follow those that are wanted, which is also how a
run resumes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from quality.methods import METHODS, STRUCTURE_RATES
from quality.tasks import TASKS

STEP = math.sqrt(10)
POINTS = 3
MOST_RATES = 8
Split = Literal["validation", "test"]


@dataclass(frozen=True)
class Variant:
    """A method with everything but its learning rate and seed. Equal names mean equal variants.

    Attributes:
        r: the budget, as LoRA's rank; 0 for full fine-tuning.
        options: further options of the PEFT configuration; None takes one away.
        robustness: options of RSA's `Robustness`.
        depth: share of the transformer layers that are adapted, the top ones; None and 1 adapt all of them.
        planned: RSA's `plan_budget` chooses the layers and shares the budget out, in place of equal shares.
        warm: scores of a finished run on other sentences are given as RSA's warm start.
        rate: where the search begins; by default where the method or the structure begins.
        keeps_selection: whether the chosen columns are kept with the result, to see how far seeds agree.
    """

    name: str
    method: str = "rsa"
    r: int = 2
    options: tuple[tuple[str, Any], ...] = ()
    robustness: tuple[tuple[str, Any], ...] = ()
    depth: float | None = None
    planned: bool = False
    warm: bool = False
    rate: float | None = None
    keeps_selection: bool = False


@dataclass(frozen=True)
class Trial:
    """One training: a variant at one rate with one seed, scored on one split."""

    task: str
    variant: Variant
    rate: float
    seed: int
    split: Split

    @property
    def key(self) -> str:
        """What tells this trial from every other."""
        return f"{self.task}/{self.variant.name}/{self.rate:g}/{self.seed}/{self.split}"


@dataclass(frozen=True)
class Study:
    """One variant on one task: a search for its rate, then `seeds` at the rate found, scored on `split`."""

    task: str
    variant: Variant
    split: Split = "validation"
    seeds: tuple[int, ...] = (1, 2)
    sweep_seeds: tuple[int, ...] = (1,)
    refined: bool = False

    @property
    def centre(self) -> float:
        """Where the search for a rate begins."""
        if self.variant.rate is not None:
            return self.variant.rate
        base = TASKS[self.task].base
        structure = dict(self.variant.options).get("structure")
        if structure is not None:
            return STRUCTURE_RATES[structure][0 if base == "encoder" else 1]
        return METHODS[self.variant.method].rate(base)

    def trial(self, rate: float, seed: int, split: Split) -> Trial:
        """One of its trials."""
        return Trial(self.task, self.variant, rate, seed, split)


@dataclass(frozen=True)
class Search:
    """How far the search for a rate has come.

    `scores`: rate -> mean score over the sweep's seeds, higher is better, -inf where a training diverged. `best` is
    None until the search has ended; `inside` says whether rates on both sides of it were tried.
    """

    scores: Mapping[float, float]
    missing: tuple[Trial, ...]
    best: float | None
    inside: bool


Scores = Mapping[str, float]
"""Key of a finished trial -> its score, higher is better; -inf where it diverged or failed for good."""


def rounded(rate: float) -> float:
    """Three figures, so that a rate reads the same in every file."""
    return float(f"{rate:.3g}")


def grid(centre: float) -> tuple[float, ...]:
    """The first rates of a search."""
    return tuple(rounded(centre * STEP**place) for place in range(-(POINTS // 2), POINTS // 2 + 1))


def best_rate(scores: Mapping[float, float]) -> float:
    """The rate with the best score; of equals the lowest."""
    return min(scores, key=lambda rate: (-scores[rate], rate))


def beyond(scores: Mapping[float, float]) -> float | None:
    """The next rate to try when the best lies at an edge, None when it lies inside or enough were tried."""
    best, ordered = best_rate(scores), sorted(scores)
    if len(scores) >= MOST_RATES or best not in (ordered[0], ordered[-1]):
        return None
    return rounded(best / STEP if best == ordered[0] else best * STEP)


def halfway(scores: Mapping[float, float]) -> tuple[float, ...]:
    """The rates halfway (in ratio) between the best and its neighbours; () where it has none on one side."""
    best, ordered = best_rate(scores), sorted(scores)
    place = ordered.index(best)
    if place in (0, len(ordered) - 1):
        return ()
    return tuple(rounded(math.sqrt(best * other)) for other in (ordered[place - 1], ordered[place + 1]))


def search(study: Study, done: Scores) -> Search:
    """The search for `study`'s rate, from the trials that are done."""

    def missing(rates: Iterable[float]) -> list[Trial]:
        trials = [study.trial(rate, seed, "validation") for rate in rates for seed in study.sweep_seeds]
        return [trial for trial in trials if trial.key not in done]

    def mean(rate: float) -> float:
        keys = [study.trial(rate, seed, "validation").key for seed in study.sweep_seeds]
        return sum(done[key] for key in keys) / len(keys)

    rates = list(grid(study.centre))
    refined = not study.refined
    while True:
        if open_ := missing(rates):
            return Search({}, tuple(open_), None, inside=False)
        scores = {rate: mean(rate) for rate in rates}
        # Halfway points are asked for once, so that a search ends: the best of them has neighbours on both sides.
        following = beyond(scores)
        if following is not None:
            rates.append(following)
        elif not refined:
            refined = True
            rates += halfway(scores)
        else:
            best = best_rate(scores)
            return Search(scores, (), best, inside=min(rates) < best < max(rates))


def wanted(study: Study, done: Scores) -> list[Trial]:
    """The trials that can run now; [] when the study is finished or waits for trials that run already."""
    found = search(study, done)
    if found.best is None:
        return list(found.missing)
    finals = [study.trial(found.best, seed, study.split) for seed in study.seeds]
    return [trial for trial in finals if trial.key not in done]


def next_trials(studies: Iterable[Study], done: Scores, running: frozenset[str]) -> Iterator[Trial]:
    """What could start now, the most important study first."""
    given = set(running)
    for study in studies:
        for trial in wanted(study, done):
            if trial.key not in given:
                given.add(trial.key)
                yield trial


def fewest_trials(study: Study) -> int:
    """Trials of a study whose best rate lies inside its first grid."""
    rates = POINTS + (2 if study.refined else 0)
    shared = len(set(study.seeds) & set(study.sweep_seeds)) if study.split == "validation" else 0
    return rates * len(study.sweep_seeds) + len(study.seeds) - shared


# --- Measure C: the methods at equal budget ------------------------------------------------------------------

RANKS = (2, 8)
DEPTH_RANK = 8
"""Budget of the frontier depth against quality; its lines of all layers are those of table C."""
PLANNED = (0.55, 0.5, 0.75)
"""Depths at which `plan_budget` is tried beside equal shares; 0.55 keeps the promised cost."""
BASELINES = ("lora", "shira", "super", "rslora", "miss")


def compared(task: str, method: str, r: int) -> Study:
    """A row of table C."""
    seeds = TASKS[task].final_seeds
    if task == "e2e":
        # One claim is that RSA is better than LoRA at r=2, and SHiRA is the rival to beat: these get more seeds.
        seeds = (
            tuple(range(1, 11)) if r == 2 and method in {"rsa", "lora", "shira"} else seeds if r == 2 else seeds[:3]
        )
    variant = Variant(f"{method}-r{r}" if r else method, method, r, keeps_selection=method == "rsa")
    return Study(task, variant, "test", seeds, TASKS[task].sweep_seeds, refined=True)


def baselines(task: str) -> tuple[Study, ...]:
    """Table C without RSA, whose default the ablations decide first."""
    lines = [compared(task, method, r) for r in RANKS for method in BASELINES]
    return (*lines[:2], compared(task, "full", 0), *lines[2:])


# --- Measure D: what of RSA helps; scored on the validation split, the test split stays closed ---------------

PLAIN: tuple[tuple[str, Any], ...] = (("scoring", "fisher"), ("choice", "top"), ("activation_scaling", False))
"""The best blocks by Fisher information, unscaled: what the ablations start from, whatever RSA's defaults are."""
ALONE: dict[str, Any] = {"row_groups": 8, "share_siblings": False}
"""How "spread" was formed when the ablations began: eight row groups, every layer by itself."""
SELECTIONS: dict[str, tuple[tuple[str, Any], ...]] = {
    "random": (*PLAIN, ("scoring", "random")),
    "static": (*PLAIN, ("selection", "static")),
    "rounds": (*PLAIN, ("selection", "rounds"), ("confidence", 0.0)),
    "bounded": (*PLAIN, ("selection", "rounds"), ("confidence", 1.64)),
}
STRUCTURES = ("columns", "spread", "elements", "subnet", "tiles")


def formed(structure: str, selection: str, r: int, **further: Any) -> Variant:
    """RSA of one structure and selection; `further` options go into its name."""
    words = [f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}" for key, value in further.items()]
    name = "-".join((structure, selection, *words, f"r{r}"))
    alone = ALONE if structure == "spread" else {}
    options = {"structure": structure, **alone, **dict(SELECTIONS[selection]), **further}
    return Variant(name, r=r, options=tuple(options.items()), keeps_selection=structure in ("columns", "spread"))


def robust(task: str, r: int, lines: Iterable[tuple[tuple[str, float], ...]]) -> tuple[Study, ...]:
    """One line of defence at a time, on RSA as it is; the first line has none."""
    plain = Variant(f"rsa-plain-r{r}", r=r)
    return tuple(
        Study(
            task, replace(plain, name="-".join((plain.name, *(f"{k}={v:g}" for k, v in flags))), robustness=flags)
        )
        for flags in ((), *lines)
    )


def warmed(task: str, r: int) -> tuple[Study, ...]:
    """Few sentences, with and without the scores of a run on others; chosen from few batches, and from more."""
    cold = [Variant(f"rsa-batches={count}-r{r}", r=r, options=(("scoring_batches", count),)) for count in (2, 8)]
    pairs = [v for variant in cold for v in (variant, replace(variant, name=f"{variant.name}-warm", warm=True))]
    return tuple(Study(task, variant, seeds=(1, 2, 3)) for variant in pairs)


def scaled(task: str, r: int) -> tuple[Study, ...]:
    """Scoring, choice and scaling, apart from each other; one seed, since it searches for the default."""
    lines: list[tuple[str, float, dict[str, Any]]] = [
        ("random", 0.0316, {"scoring": "random"}),
        ("relsample", 0.0316, {"scoring": "relative", "choice": "sample"}),
        ("relative", 0.0316, {"scoring": "relative"}),
        ("sample", 0.0158, {"scoring": "fisher", "choice": "sample"}),
        ("fisher", 0.0158, {"scoring": "fisher"}),
        ("grad", 0.0158, {"scoring": "grad"}),
    ]
    made = [
        Variant(
            f"{form}-{name}-scaled",
            r=r,
            options=(
                ("structure", form),
                *(ALONE if form == "spread" else {}).items(),
                ("choice", "top"),
                ("activation_scaling", True),
                ("typical", "rms"),
                *further.items(),
            ),
            rate=rate,
        )
        for form in ("columns", "spread")
        for name, rate, further in lines
    ]
    unscaled: list[tuple[str, dict[str, Any]]] = [
        ("spread-random-g32", {"structure": "spread", "scoring": "random", **ALONE, "row_groups": 32}),
        ("spread-relative", {"structure": "spread", "scoring": "relative", **ALONE}),
        ("columns-relative", {"structure": "columns", "scoring": "relative"}),
    ]
    made += [
        Variant(name, r=r, options=(("choice", "top"), ("activation_scaling", False), *options.items()), rate=0.05)
        for name, options in unscaled
    ]
    return tuple(Study(task, variant, seeds=(1,)) for variant in made)


def defaults(task: str) -> tuple[Study, ...]:
    """What decides the defaults, three seeds a line: how far to spread, and what a typical activation is.

    "auto" is RSA as it is; a name says what is changed. `typical` is no option of RSA's but of this benchmark.
    """
    changes: tuple[tuple[str, int, float, dict[str, Any]], ...] = (
        ("auto-columns-r2", 2, 0.05, {"structure": "columns"}),
        ("auto-columns-r8", 8, 0.02, {"structure": "columns"}),
        ("auto-g32-r2", 2, 0.05, {"row_groups": 32}),
        ("auto-g32-alone-r2", 2, 0.05, {"row_groups": 32, "share_siblings": False}),
        ("auto-elements-random-r2", 2, 0.05, {"structure": "elements", "scoring": "random"}),
        ("auto-rms-r2", 2, 0.03, {"typical": "rms"}),
        ("auto-rms-r8", 8, 0.01, {"typical": "rms"}),
        ("auto-random-r2", 2, 0.05, {"scoring": "random"}),
        ("auto-random-r8", 8, 0.02, {"scoring": "random"}),
    )
    made = [Variant(name, r=r, options=tuple(more.items()), rate=rate) for name, r, rate, more in changes]
    rivals = [Variant(f"{method}-r{r}", method, r) for method in ("shira", "lora") for r in RANKS]
    return tuple(
        Study(task, variant, seeds=(1, 2, 3), sweep_seeds=(101,), refined=True) for variant in (*made, *rivals)
    )


FORMS: dict[str, dict[str, Any]] = {
    "columns": {"structure": "columns"},
    "g8": {"row_groups": 8},
    "g16": {"row_groups": 16},
    "g64": {"row_groups": 64},
    "g16-alone": {"row_groups": 16, "share_siblings": False},
    "random": {"scoring": "random"},
    "unscaled": {"activation_scaling": False},
    "elements-random": {"structure": "elements", "scoring": "random"},
}
"""RSA as it is, with one thing changed: what another form would win where RSA fell behind SHiRA."""
FORM_RATE = 3e-3


def form(r: int, name: str) -> Variant:
    """RSA in one of `FORMS`."""
    return Variant(f"rsa-r{r}-{name}", r=r, options=tuple(FORMS[name].items()), rate=FORM_RATE)


def forms(task: str, r: int, names: Iterable[str], seeds: tuple[int, ...]) -> tuple[Study, ...]:
    """Forms on the validation split, with RSA as it is, SHiRA and LoRA beside them."""
    beside = [compared(task, method, r).variant for method in ("rsa", "shira", "lora")]
    variants = (*beside, *(form(r, name) for name in names))
    sweep = TASKS[task].sweep_seeds
    return tuple(Study(task, variant, seeds=seeds, sweep_seeds=sweep, refined=True) for variant in variants)


def tested_form(task: str, r: int, name: str) -> Study:
    """A form on the test split, with the seeds that RSA as it is has there."""
    return replace(compared(task, "rsa", r), variant=form(r, name))


def core(task: str, r: int, structures: tuple[str, ...]) -> tuple[Study, ...]:
    """Every selection of these structures."""
    return tuple(Study(task, formed(form, way, r)) for form in structures for way in SELECTIONS)


def named(task: str, r: int, rows: Iterable[tuple[str, str, dict[str, Any]]]) -> tuple[Study, ...]:
    """Single variants: (structure, selection, further options)."""
    return tuple(Study(task, formed(form, way, r, **further)) for form, way, further in rows)


def budgets(task: str) -> tuple[Study, ...]:
    """RSA from 0.25 to 5 % of the weights."""
    return tuple(
        Study(task, Variant(f"rsa-density={share:g}", r=1, options=(("r", None), ("density", share)), rate=rate))
        for share, rate in ((0.0025, 0.1), (0.005, 0.06), (0.01, 0.04), (0.02, 0.03), (0.05, 0.015))
    )


def depths(task: str, r: int) -> tuple[Study, ...]:
    """The frontier depth against quality: RSA, and LoRA on the same layers. A claim, hence on the test split."""
    planned = [Variant(f"rsa-planned={depth:g}-r{r}", "rsa", r, depth=depth, planned=True) for depth in PLANNED]
    lines = [
        Variant(f"{method}-depth={depth:g}-r{r}", method, r, depth=depth)
        for depth in (*PLANNED, 0.25)
        for method in ("rsa", "lora")
    ]
    return tuple(Study(task, variant, "test", (1, 2, 3), (101,), refined=True) for variant in (*planned, *lines))


PARTS: dict[str, tuple[Study, ...]] = {
    "d-core": core("e2e", 2, ("columns", "spread")) + core("e2e", 2, ("elements", "subnet", "tiles")),
    "c-e2e": baselines("e2e"),
    "c-b10": baselines("b10"),
    "c-b77": baselines("b77"),
    **{f"c-{task}-rsa": tuple(compared(task, "rsa", r) for r in RANKS) for task in ("e2e", "b10", "b77")},
    "d-scaled": scaled("e2e", 2),
    "d-default": defaults("e2e"),
    "d-b10": core("b10", 4, ("columns", "spread", "elements")) + core("b10", 4, ("subnet", "tiles")),
    "d-forms-b10": forms("b10", 8, FORMS, (1, 2, 3, 4, 5)),
    **{f"d-forms-{task}": forms(task, 8, ("g8", "g16"), (1, 2, 3)) for task in ("b77", "e2e")},
    **{f"c-forms-{task}": (tested_form(task, 8, "g16"),) for task in ("b10", "b77", "e2e")},
    "d-depth": depths("e2e", DEPTH_RANK),
    "d-scoring": named(
        "e2e", 2, [("columns", "static", {"scoring": scoring}) for scoring in ("grad", "snip", "magnitude")]
    ),
    "d-rows": named("e2e", 2, [("spread", "static", {"row_groups": groups}) for groups in (4, 16)]),
    "d-batches": named("e2e", 2, [("columns", "static", {"scoring_batches": count}) for count in (2, 32)]),
    "d-layers": (
        *named("e2e", 2, [("columns", "static", {"share_siblings": False})]),
        Study("e2e", replace(formed("columns", "static", 2), name="columns-static-planned-r2", planned=True)),
    ),
    "d-density": budgets("e2e"),
    "d-robust": robust(
        "b10",
        4,
        [
            (("delta_decay", 1.0),),
            (("trust_ratio", 0.5),),
            (("neftune_alpha", 5.0),),
            (("worst_slice", 0.01),),
            (("rdrop", 1.0),),
            (("r3f", 1.0), ("r3f_noise", 0.01)),
        ],
    )
    + robust(
        "e2e",
        2,
        [
            (("delta_decay", 1.0),),
            (("trust_ratio", 0.5),),
            (("neftune_alpha", 5.0),),
            (("r3f", 1.0), ("r3f_noise", 0.01)),
        ],
    ),
    "d-warm": warmed("e2e200", 2),
    "d-agree": tuple(
        Study("e2e", formed(form, way, 2))
        for form in ("columns", "spread")
        for way in ("static", "rounds", "bounded")
    ),
    "c-dora": tuple(compared(task, "dora", r) for task in ("e2e", "b10", "b77") for r in RANKS),
}
"""Part name -> its studies, the most decisive first. A line more is a method or a variant more."""


def studies_of(names: str) -> tuple[Study, ...]:
    """The studies of comma-separated part names, in this order.

    Raises:
        SystemExit: an unknown part.
    """
    wanted_parts = names.split(",")
    if unknown := [name for name in wanted_parts if name not in PARTS]:
        raise SystemExit(f"unknown part {unknown[0]!r}; there are: {', '.join(PARTS)}")
    return tuple(study for name in wanted_parts for study in PARTS[name])
