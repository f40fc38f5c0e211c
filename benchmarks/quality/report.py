"""Tables, intervals and claims from finished trials. Claims are computed here, never written down by hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from quality.plan import DEPTH_RANK, PARTS, RANKS, SELECTIONS, STRUCTURES, Study, compared, formed, search
from quality.pool import score_of
from quality.records import Record, finished, unpack_array
from quality.selections import jaccard
from quality.tasks import TASKS
from rsa_ops.core.estimate import PairedResult
from rsa_ops.stats import ArmMetric, bootstrap_difference, mean_estimate, noninferiority

COMPARED_TASKS = ("e2e", "b10", "b77")
RIVALS = ("lora", "rslora", "shira", "super")
"""Of these the best is what RSA must not fall behind (issue 3, measure C)."""
MARGIN = {"accuracy": 0.01, "nll": 0.01}
"""The loss one is ready to accept when an answer is named: a point of accuracy, a hundredth of a nat a token."""
WORST_SHARE = 0.05
DRAWS = 1000
Scores = np.ndarray
"""[seeds, examples], higher is better."""
Labels = Mapping[str, np.ndarray]
"""Split of the banking data -> true classes [examples]."""


@dataclass(frozen=True)
class Row:
    """One line of a table: a study with its search and its final trials, in the order of its seeds."""

    study: Study
    rate: float
    inside: bool
    rates: Mapping[float, float]
    trials: tuple[Record, ...]

    @property
    def name(self) -> str:
        """The variant's."""
        return self.study.variant.name


def row_of(study: Study, done: Mapping[str, Record]) -> Row | None:
    """The line of a study, or None while a trial of it is missing."""
    found = search(study, {key: score_of(record) for key, record in done.items()})
    if found.best is None:
        return None
    keys = [study.trial(found.best, seed, study.split).key for seed in study.seeds]
    if any(key not in done for key in keys):
        return None
    return Row(study, found.best, found.inside, found.scores, tuple(done[key] for key in keys))


# --- Scores, one per seed and example ------------------------------------------------------------------------


def accuracy(row: Row, labels: np.ndarray, metric: str) -> Scores:
    """1 where a prediction is right."""
    return np.stack([(unpack_array(trial["arrays"][metric]) == labels) for trial in row.trials]).astype(np.float64)


def likelihood(row: Row, metric: str) -> Scores:
    """Log-likelihood of every record, in units in which the mean over records is that of a token.

    What is reported is a ratio, all log-likelihood over all tokens. A record's score is the ratio and the record's
    part in its error (linearised, as for any ratio estimate): with the same mean, and without the spread that comes
    from long records alone.
    """
    sums = np.stack([unpack_array(trial["arrays"][metric]) for trial in row.trials]).astype(np.float64)
    tokens = unpack_array(row.trials[0]["arrays"][f"{metric}_tokens"])
    ratios = sums.sum(axis=1, keepdims=True) / tokens.sum()
    scores: Scores = -(ratios + (sums - ratios * tokens) / tokens.mean())
    return scores


def worst_classes(scores: Scores, labels: np.ndarray) -> ArmMetric:
    """Mean accuracy of the worst 5 % of classes (rounded to whole ones, at least one), each seed's own worst."""
    classes = int(labels.max()) + 1
    count = max(1, round(WORST_SHARE * classes))

    def metric(seed: int, weights: np.ndarray) -> float:
        there = np.bincount(labels, weights, classes)
        right = np.bincount(labels, weights * scores[seed], classes)
        present = there > 0
        return float(np.sort(right[present] / there[present])[:count].mean())

    return ArmMetric(metric, *scores.shape)


def scores_of(row: Row, labels: Labels) -> dict[str, Scores]:
    """Metric name -> scores of the study's split and, beside it, under typos or of general text."""
    if TASKS[row.study.task].base == "causal":
        metrics = ("nll", "nll_general") if _reads_general_text(row) else ("nll",)
        return {name: likelihood(row, name) for name in metrics}
    truth = labels[row.study.split]
    return {name: accuracy(row, truth, name) for name in ("accuracy", "accuracy_typos")}


GENERAL_ROWS = 60
"""Sentences of `rsa_ops.evaluation`'s general text; the first trials read others, which are not comparable."""


def _reads_general_text(row: Row) -> bool:
    return all(trial["arrays"]["nll_general"]["shape"] == [GENERAL_ROWS] for trial in row.trials)


def labels_in(records: Iterable[Record]) -> Labels:
    """True classes of the banking splits, which every file of trials begins with."""
    return {
        split: unpack_array(packed).astype(np.int64)
        for record in records
        for split, packed in record.get("labels", {}).items()
    }


# --- Measure C -----------------------------------------------------------------------------------------------


def comparison(records: Iterable[Record]) -> dict[str, Any]:
    """Table C with its claims; a row whose trials are not all there is listed as missing, its claims are null."""
    records = list(records)
    done = finished(records)
    truth = labels_in(records)
    tables: list[dict[str, Any]] = []
    missing: list[str] = []
    rows: dict[tuple[str, int, str], Row] = {}
    for task in COMPARED_TASKS:
        for r, method in [
            (0, "full"),
            *((r, method) for r in RANKS for method in (*RIVALS, "dora", "miss", "rsa")),
        ]:
            row = row_of(compared(task, method, r), done)
            if row is None:
                missing.append(f"{task}/{compared(task, method, r).variant.name}")
            else:
                rows[task, r, method] = row
    for task in COMPARED_TASKS:
        for r in RANKS:
            group = {m: row for (t, rank, m), row in rows.items() if t == task and rank in (r, 0)}
            tables.append({"task": task, "r": r, "rows": _lines(group, truth)})
    depth = depth_table(done)
    return {
        "script": "benchmarks/tuner_quality.py report",
        "machines": machines(records),
        "margins": MARGIN,
        "worst_share_of_classes": WORST_SHARE,
        "tables": tables,
        "missing": missing,
        "depth": depth,
        "forms": tested_forms(done, truth),
        "claims": claims(rows, truth) + depth_claims(done),
    }


def machines(records: Iterable[Record]) -> list[Record]:
    """What the files of trials say of themselves, each once."""
    kept: list[Record] = []
    for record in records:
        facts = {name: value for name, value in record.items() if name != "labels"}
        if "key" not in record and facts not in kept:
            kept.append(facts)
    return kept


def _lines(group: Mapping[str, Row], labels: Labels) -> list[dict[str, Any]]:
    ours = group.get("rsa")
    lines = []
    for row in group.values():
        line = described(row, labels)
        if ours is not None and row is not ours:
            line["rsa_minus_this"] = differences(ours, row, labels)
        lines.append(line)
    return lines


def described(row: Row, labels: Labels) -> dict[str, Any]:
    """One line of a table: what was trained, and every metric with its interval and its value for each seed."""
    first = row.trials[0]
    line: dict[str, Any] = {
        "variant": row.name,
        "trainable_parameters": first["parameters"],
        "learning_rate": row.rate,
        "best_rate_inside": row.inside,
        "rates_tried": {f"{rate:g}": _finite(score) for rate, score in sorted(row.rates.items())},
        "seeds": list(row.study.seeds),
        "diverged_seeds": [trial["seed"] for trial in row.trials if trial["diverged"]],
        "options": first.get("config", {}),
    }
    if line["diverged_seeds"]:
        return line
    names = sorted({name for trial in row.trials for name in trial["metrics"]})
    if "nll" in names and not _reads_general_text(row):
        names = ["nll"]
    line["per_seed"] = {name: [round(trial["metrics"][name], 5) for trial in row.trials] for name in names}
    line["mean"] = {name: round(float(np.mean(values)), 5) for name, values in line["per_seed"].items()}
    if _has_scores(row, labels):
        found = scores_of(row, labels)
        line["interval"] = {name: _interval(name, scores) for name, scores in found.items()}
        if "accuracy" in found:
            worst = worst_classes(found["accuracy"], labels[row.study.split])
            flat = np.ones(found["accuracy"].shape[1])
            values = [worst.metric(seed, flat) for seed in range(worst.seeds)]
            line["per_seed"]["accuracy_worst_classes"] = [round(value, 5) for value in values]
            line["mean"]["accuracy_worst_classes"] = round(float(np.mean(values)), 5)
    return line


def _has_scores(row: Row, labels: Labels) -> bool:
    return TASKS[row.study.task].base == "causal" or row.study.split in labels


def _interval(name: str, scores: Scores) -> list[float]:
    estimate = mean_estimate(scores)
    low, high = (-estimate.high, -estimate.low) if name.startswith("nll") else (estimate.low, estimate.high)
    return [round(low, 5), round(high, 5)]


def differences(ours: Row, other: Row, labels: Labels) -> dict[str, Any]:
    """Ours minus the other, better is positive in every metric; {} where a seed diverged or labels are lacking."""
    if any(trial["diverged"] for trial in (*ours.trials, *other.trials)) or not _has_scores(ours, labels):
        return {}
    mine, theirs = scores_of(ours, labels), scores_of(other, labels)
    paired = ours.study.seeds == other.study.seeds
    found = {}
    for name in (name for name in mine if name in theirs):
        kind = "nll" if name.startswith("nll") else "accuracy"
        judged = noninferiority(mine[name], theirs[name], margin=MARGIN[kind], paired_seeds=paired)
        found[name] = _difference(judged)
    if "accuracy" in mine:
        truth = labels[ours.study.split]
        judged = bootstrap_difference(
            worst_classes(mine["accuracy"], truth),
            worst_classes(theirs["accuracy"], truth),
            margin=MARGIN["accuracy"],
            rng=np.random.default_rng(0),
            draws=DRAWS,
            paired_seeds=paired,
        )
        found["accuracy_worst_classes"] = _difference(judged)
    return found


def _difference(judged: PairedResult) -> dict[str, Any]:
    estimate = judged.difference
    if estimate is None:
        return {"answer": str(judged.answer), "reason": judged.reason}
    return {
        "difference": round(estimate.value, 5),
        "low": round(estimate.low, 5),
        "high": round(estimate.high, 5),
        "confidence": estimate.confidence,
        "answer": str(judged.answer),
        "method": estimate.method,
    }


def claims(rows: Mapping[tuple[str, int, str], Row], labels: Labels) -> list[dict[str, Any]]:
    """The claims of measure C: true, false, or null where a number is missing."""
    made = []
    for task in COMPARED_TASKS:
        metric = "accuracy" if TASKS[task].higher_is_better else "nll"
        for r in RANKS:
            rivals = {m: rows[task, r, m] for m in RIVALS if (task, r, m) in rows}
            ours = rows.get((task, r, "rsa"))
            text = (
                f"{task} r={r}: RSA default is not worse than the best of {', '.join(RIVALS)} beyond its interval"
            )
            if ours is None or len(rivals) < len(RIVALS):
                made.append({"claim": text, "holds": None})
                continue
            best = max(rivals, key=lambda m: _mean_score(rivals[m]))
            made.append(_judged(text, ours, rivals[best], labels, metric, "high"))
    lora = (rows.get(("e2e", 2, "rsa")), rows.get(("e2e", 2, "lora")))
    made.append(_judged("e2e r=2: RSA default is better than LoRA", *lora, labels, "nll", "low"))
    for r in RANKS:
        pair = (rows.get(("b10", r, "rsa")), rows.get(("b10", 0, "full")))
        text = f"b10 r={r}: RSA default is not worse than full fine-tuning beyond its interval"
        made.append(_judged(text, *pair, labels, "accuracy", "high"))
    return made


def _mean_score(row: Row) -> float:
    return float(np.mean([score_of(trial) for trial in row.trials]))


def _judged(
    text: str,
    ours: Row | None,
    other: Row | None,
    labels: Labels,
    metric: str,
    end: str,
) -> dict[str, Any]:
    """A claim that holds when this end of the difference's interval lies above zero."""
    if ours is None or other is None:
        return {"claim": text, "holds": None}
    found = differences(ours, other, labels).get(metric)
    if found is None or "difference" not in found:
        return {"claim": text, "against": other.name, "holds": None}
    return {"claim": text, "against": other.name, "metric": metric, **found, "holds": found[end] > 0}


# --- Another form --------------------------------------------------------------------------------------------


def tested_forms(done: Mapping[str, Record], labels: Labels) -> list[dict[str, Any]]:
    """Forms of RSA that won on validation, on the test split: each minus RSA as it is and minus every rival."""
    lines = []
    for study in (study for name in PARTS if name.startswith("c-forms-") for study in PARTS[name]):
        row = row_of(study, done)
        if row is None:
            continue
        r = study.variant.r
        beside = [compared(study.task, method, r) for method in ("rsa", *RIVALS, "miss")]
        others = [row_of(other, done) for other in (*beside, compared(study.task, "full", 0))]
        minus = {other.name: differences(row, other, labels) for other in others if other is not None}
        lines.append({"task": study.task, **described(row, labels), "this_minus": minus})
    return lines


# --- Depth ---------------------------------------------------------------------------------------------------


def depth_table(done: Mapping[str, Record]) -> list[dict[str, Any]]:
    """The frontier depth against quality, every line against LoRA on all layers."""
    rows = [row for row in (row_of(study, done) for study in PARTS["d-depth"]) if row is not None]
    whole = row_of(compared("e2e", "lora", DEPTH_RANK), done)
    ours = row_of(compared("e2e", "rsa", DEPTH_RANK), done)
    lines = []
    for row in (*(row for row in (ours, whole) if row is not None), *rows):
        depth = row.study.variant.depth
        about = {"depth": 1.0 if depth is None else depth, "planned": row.study.variant.planned}
        line = {**about, **described(row, {})}
        if whole is not None and row is not whole:
            line["this_minus_lora_on_all_layers"] = differences(row, whole, {})
        lines.append(line)
    return lines


def depth_claims(done: Mapping[str, Record]) -> list[dict[str, Any]]:
    """Of every depth below one: is RSA's quality within LoRA's interval, LoRA having all layers?"""
    made = []
    for line in depth_table(done):
        against = line.get("this_minus_lora_on_all_layers", {}).get("nll", {})
        if "difference" not in against or line["variant"].startswith("lora") or line["depth"] == 1:
            continue
        text = f"{line['variant']}: not worse than LoRA on all layers beyond the interval (e2e)"
        made.append({"claim": text, "metric": "nll", **against, "holds": against["high"] > 0})
    return made


# --- Measure D -----------------------------------------------------------------------------------------------


def ablations(records: Iterable[Record]) -> dict[str, Any]:
    """Every other study, on the validation split; lower is better for nll, higher for accuracy."""
    records = list(records)
    done, truth = finished(records), labels_in(records)
    lines, missing = {}, []
    for part in (name for name in PARTS if name.startswith("d-") and name != "d-depth"):
        lines[part] = []
        for study in PARTS[part]:
            row = row_of(study, done)
            if row is None:
                missing.append(f"{study.task}/{study.variant.name}")
                continue
            lines[part].append({"task": study.task, **described(row, truth), "selection": _selection(row)})
    return {
        "script": "benchmarks/tuner_quality.py report",
        "machines": machines(records),
        "parts": lines,
        "missing": missing,
        "grids": [grid for grid in (_grid(done, "e2e", 2), _grid(done, "b10", 4)) if grid["rows"]],
        "agreement": agreement(done),
    }


def _grid(done: Mapping[str, Record], task: str, r: int) -> dict[str, Any]:
    """Selections x structures: the mean score of the final seeds on the validation split."""
    rows = {}
    for structure in STRUCTURES:
        cells = {way: row_of(Study(task, formed(structure, way, r)), done) for way in SELECTIONS}
        found = {way: round(abs(_mean_score(row)), 5) for way, row in cells.items() if row is not None}
        if found:
            rows[structure] = found
    return {"task": task, "r": r, "metric": "accuracy" if TASKS[task].higher_is_better else "nll", "rows": rows}


def _selection(row: Row) -> dict[str, Any]:
    found = [trial["selection"] for trial in row.trials if "selection" in trial]
    stable = [one["stability"] for one in found if one["stability"] is not None]
    if not found:
        return {}
    return {
        "stability_of_halves": round(float(np.mean(stable)), 4) if stable else None,
        "chance": round(float(np.mean([one["chance"] for one in found])), 4),
        "seconds": round(float(np.mean([one["seconds"] for one in found])), 3),
        "rounds": found[0]["rounds"],
    }


def agreement(done: Mapping[str, Record]) -> list[dict[str, Any]]:
    """Overlap of the columns that different seeds chose (each its own data order), against chance."""
    lines = []
    for study in (*PARTS["d-agree"], *(compared("e2e", "rsa", r) for r in RANKS)):
        row = row_of(study, done)
        if row is None:
            continue
        kept = [unpack_array(trial["arrays_selection"]) for trial in row.trials]
        overlaps = [jaccard(one, other) for one, other in combinations(kept, 2)]
        lines.append(
            {
                "variant": row.name,
                "seeds": list(study.seeds),
                "overlap": round(float(np.mean(overlaps)), 4),
                "overlaps": [round(one, 4) for one in overlaps],
                "chance": round(float(row.trials[0]["selection"]["chance"]), 4),
            }
        )
    return lines


def _finite(value: float) -> float | None:
    return round(value, 5) if np.isfinite(value) else None
