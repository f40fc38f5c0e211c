"""The rule that finds learning rates, what is wanted next, and the data of the quality benchmark."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from quality.methods import METHODS, Budget
from quality.pack import BLOCK, expand
from quality.plan import (
    MOST_RATES,
    PARTS,
    POINTS,
    Search,
    Study,
    Variant,
    fewest_trials,
    grid,
    halfway,
    next_trials,
    search,
    wanted,
)
from quality.prepare import Row, banking_splits, e2e_splits, normal
from quality.records import finished, mend, pack_array, read, to_line, unpack_array
from quality.selections import chance, jaccard
from quality.training import kept_layers, schedule

np = pytest.importorskip("numpy")


def run(study: Study, score: Any) -> tuple[Search, int]:
    """Answer every wanted trial by `score(rate)` until nothing is wanted."""
    done: dict[str, float] = {}
    while trials := wanted(study, done):
        assert not {trial.key for trial in trials} & set(done)
        done |= {trial.key: score(trial.rate) for trial in trials}
    return search(study, done), len(done)


STUDY = Study("e2e", Variant("one", "lora", 2), "validation", (1, 2), (1,))


def peaked(best: float) -> Any:
    return lambda rate: -abs(math.log(rate / best))


@pytest.mark.parametrize("best", [3e-5, 1e-3, 3e-3, 2e-2, 0.3])
def test_the_search_ends_with_the_best_rate_inside_the_grid(best: float) -> None:
    found, _ = run(STUDY, peaked(best))
    assert found.inside
    assert abs(math.log(found.best / best)) <= math.log(math.sqrt(10)) / 2 + 0.01


def test_a_search_that_begins_right_takes_the_same_number_of_rates_for_every_method() -> None:
    counts = set()
    for name, method in METHODS.items():
        study = replace(STUDY, variant=Variant(name, name, 2), refined=True)
        found, trials = run(study, peaked(method.causal_rate * 1.2))
        counts.add((len(found.scores), trials))
        assert trials == fewest_trials(study)
    assert counts == {(POINTS + 2, POINTS + 2 + 1)}  # of the two final seeds one is the sweep's own


def test_a_search_stops_at_the_most_rates_and_says_that_the_best_is_at_the_edge() -> None:
    found, _ = run(STUDY, lambda rate: rate)
    assert len(found.scores) == MOST_RATES
    assert not found.inside


def test_rates_that_diverge_are_worse_than_any_that_does_not() -> None:
    found, _ = run(STUDY, lambda rate: -math.inf if rate > 2e-3 else rate)
    assert found.best == min(found.scores, key=lambda rate: abs(math.log(rate / 9.49e-4)))


def test_halfway_rates_lie_between_the_best_and_its_neighbours() -> None:
    assert halfway({1.0: 0.1, 4.0: 0.9, 16.0: 0.2}) == (2.0, 8.0)
    assert halfway({1.0: 0.9, 4.0: 0.2}) == ()


def test_the_test_split_is_asked_for_only_after_the_search() -> None:
    study = Study("b10", Variant("one", "lora", 2), "test", (1, 2, 3), (101, 102), refined=True)
    done: dict[str, float] = {}
    seen = []
    while trials := wanted(study, done):
        seen.append({trial.split for trial in trials})
        assert len(seen[-1]) == 1
        assert {trial.seed for trial in trials} <= ({101, 102} if seen[-1] == {"validation"} else {1, 2, 3})
        done |= {trial.key: peaked(3e-3)(trial.rate) for trial in trials}
    assert seen[-1] == {"test"}
    assert seen[:-1] == [{"validation"}] * (len(seen) - 1)


def test_what_runs_is_not_given_out_twice_and_important_studies_come_first() -> None:
    other = replace(STUDY, variant=Variant("two", "shira", 2))
    first = [trial.key for trial in next_trials((STUDY, other), {}, frozenset())]
    assert [key.split("/")[1] for key in first] == ["one"] * POINTS + ["two"] * POINTS
    assert [t.key for t in next_trials((STUDY, other), {}, frozenset(first[:2]))] == first[2:]


def test_equal_names_mean_equal_variants_and_every_method_exists() -> None:
    known: dict[str, Variant] = {}
    for study in (study for studies in PARTS.values() for study in studies):
        assert known.setdefault(study.variant.name, study.variant) == study.variant
        assert study.variant.method in METHODS
        assert len(grid(study.centre)) == POINTS


def test_ablations_never_open_the_test_split_except_the_frontier_of_depth() -> None:
    for name, studies in PARTS.items():
        if name.startswith("d-") and name != "d-depth":
            assert {study.split for study in studies} == {"validation"}, name


def test_budgets_are_equal_in_parameters() -> None:
    budget = Budget(2, ((576, 576), (576, 1536), (1536, 576)))
    assert budget.parameters == 2 * (1152 + 2112 + 2112)
    assert budget.density == pytest.approx(budget.parameters / (576 * 576 + 2 * 576 * 1536))
    assert abs(budget.out_rank * (576 + 1536 + 576) / budget.parameters - 1) < 0.05


def inquiries(classes: int, rows: int, start: str = "") -> list[Row]:
    return [Row(f"{start} question {i} about {c}", f"class {c}") for c in range(classes) for i in range(rows)]


def test_no_inquiry_is_in_two_splits_and_repeats_of_test_texts_do_not_train() -> None:
    test = inquiries(3, 5, "test")
    train = [*inquiries(3, 60), Row("Test question 1 about 2!", "class 2"), Row("Question 3  about 1", "class 1")]
    splits = banking_splits(train, test)
    texts = {name: [normal(row.text) for row in rows] for name, rows in splits.items()}
    assert not set(texts["train"]) & set(texts["validation"])
    assert not set(texts["test"]) & (set(texts["train"]) | set(texts["validation"]))
    assert set(texts["train10"]) <= set(texts["train"])
    assert all(len(rows) == len(set(rows)) for rows in texts.values())
    assert [len(splits[name]) for name in ("validation", "train10", "train")] == [60, 30, 120]
    assert banking_splits(train[::-1], test)["train10"] == splits["train10"]  # whatever the order of the file


def test_no_record_is_in_two_splits_of_e2e() -> None:
    train = [Row(f"record {i}", f"sentence {j}") for i in range(600) for j in range(4)]
    test = [Row(f"record {i}", f"sentence {j}") for i in range(590, 640) for j in range(5)]
    splits = e2e_splits(train, test)
    records = {name: {row.text for row in rows} for name, rows in splits.items()}
    assert not records["train"] & records["validation"]
    assert not records["test"] & (records["train"] | records["validation"])
    assert records["train200"] <= records["train"]
    assert len(splits["train"]) == 1600
    assert len(splits["test"]) == 150  # three sentences a record


def test_jaccard_of_packed_choices() -> None:
    one = np.packbits([1, 1, 1, 0, 0, 0, 0, 0, 1, 0])
    other = np.packbits([0, 1, 1, 1, 0, 0, 0, 0, 0, 1])
    assert jaccard(one, other) == pytest.approx(2 / 6)
    assert jaccard(one, one) == 1.0
    assert jaccard(np.zeros(2, np.uint8), np.zeros(2, np.uint8)) == 1.0
    with pytest.raises(ValueError, match="different models"):
        jaccard(one, one[:1])


def test_chance_is_the_overlap_of_random_choices() -> None:
    rng = np.random.default_rng(0)
    drawn = [np.packbits(np.isin(np.arange(400), rng.choice(400, 40, replace=False))) for _ in range(80)]
    found = np.mean([jaccard(a, b) for a, b in zip(drawn[::2], drawn[1::2], strict=True)])
    assert found == pytest.approx(chance(40, 400), abs=0.012)


def test_arrays_survive_a_line_of_json_and_a_cut_line_is_cut_off(tmp_path: Any) -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    file = tmp_path / "trials.jsonl"
    file.write_text(
        to_line({"device": "x"})
        + to_line({"key": "a", "arrays": {"nll": array}, "diverged": False})
        + to_line({"key": "b", "error": "broke"})
        + '{"key": "cut'
    )
    mend(file)
    with file.open("a") as lines:
        lines.write(to_line({"key": "c"}))
    done = finished(read([tmp_path]))
    assert set(done) == {"a", "c"}
    assert np.array_equal(unpack_array(done["a"]["arrays"]["nll"]), array)
    assert np.array_equal(unpack_array(pack_array(array)), array)


def test_packed_blocks_expand_as_ggml_says() -> None:
    scale, offset = np.float16(0.5), np.float16(-2.0)
    nibbles = np.arange(16, dtype=np.uint8) | (np.arange(16, dtype=np.uint8)[::-1] << 4)
    block = np.concatenate([np.array([scale, offset]).view(np.uint8), nibbles])[None]
    expected = np.concatenate([np.arange(16), np.arange(16)[::-1]]) * 0.5 - 2.0
    assert np.array_equal(expand("Q4_1", block).numpy()[0], expected.astype(np.float32))
    signed = np.arange(-16, 16, dtype=np.int8)
    block = np.concatenate([np.array([scale]).view(np.uint8), signed.view(np.uint8)])[None]
    assert np.array_equal(expand("Q8_0", block).numpy()[0], signed.astype(np.float32) * 0.5)
    assert len(signed) == BLOCK


def test_the_schedule_is_transformers_linear_one() -> None:
    import torch
    from transformers import get_linear_schedule_with_warmup

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    wanted_ = get_linear_schedule_with_warmup(optimizer, math.ceil(0.06 * 50), 50)
    for step in range(50):
        assert schedule(step, 50) == pytest.approx(wanted_.get_last_lr()[0])
        optimizer.step()
        wanted_.step()


def test_depth_keeps_the_top_layers() -> None:
    assert list(kept_layers(30, 0.5)) == list(range(15, 30))
    assert list(kept_layers(30, 0.01)) == [29]
    assert list(kept_layers(6, 1.0)) == list(range(6))
