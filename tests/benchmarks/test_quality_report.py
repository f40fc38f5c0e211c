"""Tables and claims of the quality benchmark from made-up trials, whose truth is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from quality.plan import Study, compared, grid, search
from quality.records import Record, pack_array
from quality.report import ablations, comparison, row_of, worst_classes

LABELS = np.repeat(np.arange(20), 10)


def trial(study: Study, rate: float, seed: int, split: str, level: float) -> Record:
    rng = np.random.default_rng(seed)  # equal seeds draw equal noise, as paired trainings do
    record = {"key": study.trial(rate, seed, split).key, "task": study.task, "rate": rate, "seed": seed}
    record |= {"split": split, "diverged": False, "parameters": 10, "config": {}}
    if study.task == "e2e":
        sums = 20 * (level + 0.3 * rng.random(200))
        arrays = {
            "nll": sums,
            "nll_tokens": np.full(200, 20),
            "nll_general": sums,
            "nll_general_tokens": np.full(200, 20),
        }
        record["metrics"] = {"nll": float(sums.sum() / 4000), "nll_general": float(sums.sum() / 4000)}
    else:
        right = rng.random(len(LABELS)) < level
        found = np.where(right, LABELS, (LABELS + 1) % 20).astype(np.uint8)
        arrays = {"accuracy": found, "accuracy_typos": found}
        record["metrics"] = {"accuracy": float(right.mean()), "accuracy_typos": float(right.mean())}
    return record | {
        "arrays": {
            name: pack_array(array.astype(np.float32) if array.dtype == float else array)
            for name, array in arrays.items()
        }
    }


def trials(study: Study, level: float) -> list[Record]:
    """All trials of a study whose best rate is the middle one of its grid."""
    worse = 0.2 if study.task == "e2e" else -0.2
    found: list[Record] = []
    while True:
        done = {r["key"]: r["metrics"].get("accuracy", -r["metrics"].get("nll", 0.0)) for r in found}
        state = search(study, done)
        if state.best is not None:
            return found + [trial(study, state.best, seed, study.split, level) for seed in study.seeds]
        middle = grid(study.centre)[1]
        for one in state.missing:
            found.append(
                trial(study, one.rate, one.seed, one.split, level + worse * abs(np.log(one.rate / middle)))
            )


def all_trials(levels: dict[str, float], task: str, r: int) -> list[Record]:
    return [
        record
        for method, level in levels.items()
        for record in trials(compared(task, method, 0 if method == "full" else r), level)
    ]


def claim(found: dict[str, Any], start: str) -> dict[str, Any]:
    return next(one for one in found["claims"] if one["claim"].startswith(start))


HEAD = {"device": "made up", "labels": {"test": pack_array(LABELS.astype(np.uint8))}}


def test_claims_follow_the_numbers() -> None:
    levels = {"rsa": 1.20, "lora": 1.25, "rslora": 1.22, "shira": 1.19, "super": 1.24, "full": 1.3}
    found = comparison([HEAD, *all_trials(levels, "e2e", 2)])
    best = claim(found, "e2e r=2: RSA default is not worse")
    assert best["against"] == "shira-r2"
    assert best["difference"] == pytest.approx(-0.01, abs=1e-4)
    assert best["holds"] is False
    better = claim(found, "e2e r=2: RSA default is better than LoRA")
    assert better["difference"] == pytest.approx(0.05, abs=1e-4)
    assert better["holds"] is True
    assert claim(found, "e2e r=8")["holds"] is None  # nothing was run: missing is never a number
    lines = {line["variant"]: line for line in found["tables"][0]["rows"]}
    assert lines["lora-r2"]["rsa_minus_this"]["nll"]["answer"] == "superior"
    assert lines["rsa-r2"]["best_rate_inside"]


def test_classification_reports_worst_classes_and_typos() -> None:
    levels = {"rsa": 0.9, "lora": 0.9, "rslora": 0.88, "shira": 0.87, "super": 0.86, "full": 0.7}
    found = comparison([HEAD, *all_trials(levels, "b10", 2)])
    assert claim(found, "b10 r=2: RSA default is not worse than full")["holds"] is True
    assert claim(found, "b10 r=2: RSA default is not worse than the best")["holds"] in {True, False}
    rows = next(table for table in found["tables"] if table["task"] == "b10" and table["r"] == 2)["rows"]
    line = next(line for line in rows if line["variant"] == "full")
    assert set(line["rsa_minus_this"]) == {"accuracy", "accuracy_typos", "accuracy_worst_classes"}
    assert line["mean"]["accuracy_worst_classes"] < line["mean"]["accuracy"]


def test_the_worst_class_is_the_worst_of_each_seed() -> None:
    scores = np.ones((2, len(LABELS)))
    scores[0, LABELS == 3] = 0
    scores[1, (LABELS == 5) & (np.arange(len(LABELS)) % 2 == 0)] = 0
    worst = worst_classes(scores, LABELS)
    flat = np.ones(len(LABELS))
    assert [worst.metric(seed, flat) for seed in (0, 1)] == [0.0, 0.5]  # 5 % of 20 classes is one


def test_a_study_with_a_missing_trial_has_no_row() -> None:
    study = compared("e2e", "lora", 2)
    found = trials(study, 1.2)
    done = {record["key"]: record for record in found}
    assert row_of(study, done) is not None
    done.pop(found[-1]["key"])
    assert row_of(study, done) is None


def test_ablations_without_trials_are_missing_and_not_zero() -> None:
    found = ablations([HEAD])
    assert found["grids"] == []
    assert not any(found["parts"].values())
    assert "e2e/columns-static-r2" in found["missing"]
