import hashlib

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from rsa_ops.data.fingerprint import fingerprint

CELLS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
TABLES = st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=6)


def frame(rows):
    return pd.DataFrame(rows, columns=["example_id", "text", "label"], dtype="str")


def test_it_is_the_sha256_of_the_length_prefixed_canonical_rows():
    rows = [b'{"example_id":"1","label":"a","text":"x"}', b'{"example_id":"2","label":null,"text":"y"}']
    expected = hashlib.sha256(b"".join(len(row).to_bytes(8, "big") + row for row in rows)).hexdigest()
    assert fingerprint(frame([("2", "y", None), ("1", "x", "a")])) == f"sha256:{expected}"


@settings(max_examples=60, deadline=None)
@given(TABLES, st.randoms())
def test_the_order_of_rows_and_of_columns_does_not_matter(rows, random):
    shuffled = random.sample(rows, len(rows))
    assert fingerprint(frame(shuffled)[["label", "text", "example_id"]]) == fingerprint(frame(rows))


@settings(max_examples=60, deadline=None)
@given(TABLES, st.data())
def test_any_other_cell_gives_another_digest(rows, data):
    row, column = data.draw(st.integers(0, len(rows) - 1)), data.draw(st.integers(0, 2))
    value = data.draw(CELLS.filter(lambda cell: cell != rows[row][column]))
    changed = [list(cells) for cells in rows]
    changed[row][column] = value
    same = sorted(map(tuple, changed)) == sorted(rows)
    assert (fingerprint(frame(changed)) == fingerprint(frame(rows))) is same


def test_a_repeated_row_a_missing_cell_and_a_renamed_column_count():
    base = frame([("1", "x", "a")])
    others = [
        frame([("1", "x", "a"), ("1", "x", "a")]),
        frame([("1", "x", None)]),
        frame([("1", "x", "")]),
        base.rename(columns={"label": "labels"}),
        frame([("1", "xa", "")]),
    ]
    assert len({fingerprint(table) for table in [base, *others]}) == 6


def test_it_survives_parquet(tmp_path, table):
    table.loc[3, "label"] = None
    table.to_parquet(tmp_path / "t.parquet", index=False)
    assert fingerprint(pd.read_parquet(tmp_path / "t.parquet")) == fingerprint(table)
