import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rsa_ops.data.config import SampleConfig, SplitConfig
from rsa_ops.data.normal import same_text
from rsa_ops.data.split import sample_splits, split_table

SPLIT = SplitConfig(validation=0.1, test=0.2, seed=1)


def places(splits):
    return {example: name for name, part in splits.items() for example in part["example_id"]}


def frame(rows):
    return pd.DataFrame(
        {
            "example_id": [str(number) for number in range(len(rows))],
            "text": [text for text, _, _ in rows],
            "label": [label for _, label, _ in rows],
            "group": [group for _, _, group in rows],
        }
    )


ROWS = st.lists(
    st.tuples(
        st.text("abAB ", min_size=1, max_size=3).filter(str.strip), st.sampled_from("xyz"), st.sampled_from("123 ")
    ),
    min_size=1,
    max_size=40,
).map(lambda rows: [(text, label, group.strip()) for text, label, group in rows])


@settings(max_examples=80, deadline=None)
@given(ROWS, st.integers(0, 3))
def test_every_row_lands_in_one_split_and_no_text_or_group_in_two(rows, seed):
    table = frame(rows)
    splits = split_table(table, SplitConfig(seed=seed), "classification")
    where = places(splits)
    assert sorted(where) == sorted(table["example_id"])
    assert sum(map(len, splits.values())) == len(table)
    for keys in (table["text"].map(same_text), table["group"]):
        for key in set(keys) - {""}:
            assert len({where[example] for example in table["example_id"][keys == key]}) == 1


@settings(max_examples=40, deadline=None)
@given(ROWS, st.randoms())
def test_the_order_of_rows_decides_nothing(rows, random):
    table = frame(rows)
    order = random.sample(range(len(rows)), len(rows))
    one, two = (split_table(rows, SPLIT, "classification") for rows in (table, table.iloc[order]))
    assert {name: part["example_id"].tolist() for name, part in one.items()} == {
        name: part["example_id"].tolist() for name, part in two.items()
    }


def test_every_label_keeps_its_shares(table):
    splits = split_table(table, SPLIT, "classification")
    counts = {name: part["label"].value_counts().to_dict() for name, part in splits.items()}
    assert counts["test"] == {"alpha": 24, "beta": 12, "gamma": 4}
    assert counts["validation"] == {"alpha": 12, "beta": 6, "gamma": 2}
    assert counts["train"] == {"alpha": 84, "beta": 42, "gamma": 14}


def test_a_label_with_one_row_goes_to_training(table):
    table.loc[0, "label"] = "rare"
    splits = split_table(table, SplitConfig(validation=0.4, test=0.5), "classification")
    assert places(splits)["e000"] == "train"


def test_another_seed_gives_another_split_and_the_same_seed_the_same(table):
    one, again, two = (places(split_table(table, SplitConfig(seed=seed), "classification")) for seed in (1, 1, 2))
    assert one == again
    assert one != two


def test_new_rows_move_only_rows_at_the_borders(table, sentence):
    more = pd.DataFrame({"example_id": "n1", "text": [sentence(999)], "label": ["alpha"]})
    before = places(split_table(table, SPLIT, "classification"))
    after = places(split_table(pd.concat([table, more]), SPLIT, "classification"))
    assert sum(before[example] != after[example] for example in before) <= 2


def test_only_the_wanted_splits_are_made(table):
    splits = split_table(table, SPLIT, "classification", wanted=("train", "validation"))
    assert {name: len(part) for name, part in splits.items()} == {"train": 180, "validation": 20}


def test_labels_are_no_strata_for_generation(table):
    table["label"] = [f"a sentence of its own {number}" for number in range(200)]
    sizes = {name: len(part) for name, part in split_table(table, SPLIT, "generation").items()}
    assert sizes == {"train": 140, "validation": 20, "test": 40}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=6), st.integers(1, 120), st.integers(1, 8), st.integers(0, 2)
)
def test_a_sample_has_its_size_and_keeps_the_floor_where_it_can(counts, size, floor, seed):
    labels = [f"l{number}" for number, count in enumerate(counts) for _ in range(count)]
    table = frame([(f"text {row}", label, "") for row, label in enumerate(labels)])
    drawn = sample_splits({"train": table}, SampleConfig(train=size), seed, "classification", floor=floor)["train"]
    assert len(drawn) == min(size, len(table))
    kept = drawn["label"].value_counts().to_dict()
    least = min(floor, size // len(counts))
    assert all(kept.get(f"l{number}", 0) >= min(count, least) for number, count in enumerate(counts))


def test_a_sample_keeps_the_proportions_of_labels(table):
    drawn = sample_splits({"test": table}, SampleConfig(test=100), 1, "classification", floor=5)["test"]
    assert drawn["label"].value_counts().to_dict() == {"alpha": 60, "beta": 30, "gamma": 10}


@pytest.mark.parametrize("task", ["classification", "generation"])
def test_a_sample_is_repeatable_and_grows_by_adding(table, task):
    def draw(size):
        parts = sample_splits({"train": table}, SampleConfig(train=size), 1, task, floor=1)
        return set(parts["train"]["example_id"])

    assert draw(50) == draw(50)
    assert len(draw(50) - draw(80)) <= 3  # the quota of a label may shrink by a row
