"""Tables of scores become full arrays, seeds by examples, or are refused with the row that is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rsa_ops.errors import DataRefused, IntegrityError, MissingError, UsageError
from rsa_ops.evaluation.matrix import clean_rows, read_scores, require_same_examples, score_matrix


def table(seeds: int = 2, examples: int = 3) -> pd.DataFrame:
    rows = [(f"e{e}", s, s * 10.0 + e) for s in range(seeds) for e in range(examples)]
    return pd.DataFrame(rows, columns=["example_id", "seed", "score"])


def test_rows_in_any_order_give_the_same_array() -> None:
    expected = score_matrix(table(), "score", "rsa")
    shuffled = score_matrix(table().sample(frac=1, random_state=3), "score", "rsa")
    assert expected.seeds == shuffled.seeds == (0, 1)
    assert expected.examples == shuffled.examples == ("e0", "e1", "e2")
    assert expected.values.tolist() == shuffled.values.tolist() == [[0, 1, 2], [10, 11, 12]]
    assert expected.values.dtype == np.float64


def test_a_hole_is_refused() -> None:
    with pytest.raises(IntegrityError, match="rsa: 1 scores are missing; every seed must have scored the same 3"):
        score_matrix(table().drop(index=4), "score", "rsa")


def test_a_row_that_stands_twice_is_refused() -> None:
    with pytest.raises(IntegrityError, match="example 'e1' stands twice for seed 1"):
        score_matrix(pd.concat([table(), table().iloc[[4]]]), "score", "rsa")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, None])
def test_a_score_that_is_no_number_is_refused(value: float | None) -> None:
    rows = table()
    rows.loc[4, "score"] = value
    with pytest.raises(IntegrityError, match="score of example 'e1', seed 1, is no number"):
        score_matrix(rows, "score", "rsa")


def test_a_table_without_rows_is_refused() -> None:
    with pytest.raises(IntegrityError, match="rsa has no rows"):
        score_matrix(table().iloc[:0], "score", "rsa")


def test_arms_on_other_examples_are_not_compared() -> None:
    rsa, full = score_matrix(table(), "score", "rsa"), score_matrix(table(examples=4), "score", "full")
    require_same_examples([("rsa", rsa), ("again", rsa)])
    with pytest.raises(IntegrityError, match=r"rsa and full were scored on different examples \(1 are only on one"):
        require_same_examples([("rsa", rsa), ("full", full)])


def test_arms_may_have_other_seeds() -> None:
    rsa, full = score_matrix(table(), "score", "rsa"), score_matrix(table(seeds=4), "score", "full")
    require_same_examples([("rsa", rsa), ("full", full)])  # raises nothing
    assert rsa.seeds != full.seeds


def test_only_the_rows_of_one_condition_are_taken() -> None:
    rows = pd.concat([table().assign(condition="clean"), table().assign(condition="typos")])
    assert len(clean_rows(rows)) == 6
    assert set(clean_rows(rows, "typos")["condition"]) == {"typos"}
    assert len(clean_rows(table())) == 6


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_table_is_read_from_csv_and_parquet_alike(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"scores{suffix}"
    rows = table().assign(example_id=["007", "008", "009"] * 2, extra="x")
    rows.to_csv(path, index=False) if suffix == ".csv" else rows.to_parquet(path)
    found = score_matrix(read_scores(path), "score", "x")
    assert found.examples == ("007", "008", "009")
    assert found.values.tolist() == [[0, 1, 2], [10, 11, 12]]


@pytest.mark.parametrize(
    ("name", "data", "kind", "words"),
    [
        ("a.csv", b"example_id,seed\na,1\n", DataRefused, "lacks score; its columns are example_id, seed"),
        ("a.csv", b"", DataRefused, "cannot be read"),
        ("a.csv", b"\xff\xfe\x00", DataRefused, "cannot be read"),
        ("a.csv", b"a,b\n1,2,3\n1,2\n1,2,3,4\n", DataRefused, "cannot be read"),
        ("a.parquet", b"not parquet", DataRefused, "cannot be read"),
        ("a.xlsx", b"", UsageError, "cannot read .xlsx"),
        ("a", b"", UsageError, "a file without suffix"),
        ("a.csv", b"example_id,seed,score\n,1,0.5\n", DataRefused, "example_id"),
        ("a.csv", b"example_id,seed,score\na,,0.5\n", DataRefused, "seed"),
        ("a.csv", b"example_id,seed,score\na,1.5,0.5\n", DataRefused, "seed"),
        ("a.csv", b"example_id,seed,score\na,one,0.5\n", DataRefused, "seed"),
        ("a.csv", b"example_id,seed,score\na,1,good\n", DataRefused, "score"),
    ],
)
def test_what_is_no_such_table_is_refused(
    tmp_path: Path, name: str, data: bytes, kind: type[Exception], words: str
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(kind, match=words):
        read_scores(tmp_path / name)


def test_a_table_that_is_not_there_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"none\.csv is not there"):
        read_scores(tmp_path / "none.csv")


def grouped_table(*groups: object) -> pd.DataFrame:
    return table().assign(group=[*groups, *groups])


def test_without_a_group_column_or_without_two_of_one_group_each_example_is_its_own_draw() -> None:
    assert score_matrix(table(), "score", "rsa").groups is None
    assert score_matrix(grouped_table("a", "b", ""), "score", "rsa").groups is None
    assert score_matrix(grouped_table("", "", ""), "score", "rsa").group_count is None


def test_an_example_without_a_group_is_its_own_draw_beside_those_that_have_one() -> None:
    found = score_matrix(grouped_table("e2", "e2", ""), "score", "rsa")  # a group with the name of an example
    assert found.group_count == 2
    assert found.groups is not None
    assert found.groups[0] == found.groups[1] != found.groups[2]


def test_an_example_in_two_groups_is_refused() -> None:
    rows = table().assign(group=["a", "a", "b", "a", "b", "b"])
    with pytest.raises(IntegrityError, match="rsa: example 'e1' is in two groups"):
        score_matrix(rows, "score", "rsa")


def test_arms_with_other_groups_are_not_compared() -> None:
    rsa = score_matrix(grouped_table("a", "a", "b"), "score", "rsa")
    for other in (
        score_matrix(table(), "score", "full"),
        score_matrix(grouped_table("a", "b", "b"), "score", "full"),
    ):
        with pytest.raises(IntegrityError, match="rsa has its examples in 2 groups"):
            require_same_examples([("rsa", rsa), ("full", other)])


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_groups_are_read_as_text_and_an_empty_one_as_none(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"scores{suffix}"
    rows = grouped_table(7, 7, None)
    rows.astype({"group": "Int64"}).to_csv(path, index=False) if suffix == ".csv" else rows.to_parquet(path)
    found = score_matrix(read_scores(path), "score", "x")
    assert found.groups == ("group 7", "group 7", "example e2")
