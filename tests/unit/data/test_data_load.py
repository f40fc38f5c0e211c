import json
import time
import tracemalloc

import pandas as pd
import pytest

from rsa_ops.data.config import Columns
from rsa_ops.data.load import NO_SLICE, load_table, load_tables
from rsa_ops.data.source import parse_source
from rsa_ops.errors import DataRefused, MissingError, UsageError

TICKETS = Columns(text="text", label="label")
ROWS = [{"text": "Größe falsch", "label": "a"}, {"text": "二番目, with a comma", "label": "b"}]


def load(path, columns=TICKETS, task="classification", **more):
    return load_table(str(path), columns, task, **more)


@pytest.fixture(params=["csv", "tsv", "jsonl", "parquet", "folder"])
def any_format(request, tmp_path):
    frame = pd.DataFrame(ROWS)
    path = tmp_path / f"data.{request.param}"
    match request.param:
        case "csv":
            frame.to_csv(path, index=False)
        case "tsv":
            frame.to_csv(path, index=False, sep="\t")
        case "jsonl":
            frame.to_json(path, orient="records", lines=True)
        case "parquet":
            frame.to_parquet(path)
        case "folder":
            import datasets

            path = tmp_path / "folder"
            datasets.Dataset.from_pandas(frame).save_to_disk(path)
    return path


def test_every_format_gives_the_same_table(any_format):
    found = load(any_format)
    assert found["text"].tolist() == [row["text"] for row in ROWS]
    assert found["label"].tolist() == ["a", "b"]
    # sha256 of the canonical JSON of [text, label], so the same in every format
    assert found["example_id"].tolist() == ["68b557dd873f9151", "0a98ba5d1555169b"]


def test_a_dataset_dict_with_class_labels_gives_its_splits_and_names(tmp_path):
    import datasets

    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])}
    )
    parts = {
        name: datasets.Dataset.from_dict({"text": [f"{name} text"], "label": [1]}, features=features)
        for name in ("train", "dev", "test")
    }
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "folder")
    found = load_tables(str(tmp_path / "folder"), TICKETS, "classification")
    assert list(found) == ["train", "validation", "test"]
    assert found["validation"]["label"].tolist() == ["yes"]
    assert found["validation"]["text"].tolist() == ["dev text"]


def test_relative_paths_start_at_the_base(csv_file):
    found = load_table(csv_file.name, TICKETS, "classification", base=csv_file.parent)
    assert len(found) == 200


def test_words_that_look_like_nulls_stay_words_and_blanks_are_null(tmp_path):
    path = tmp_path / "d.csv"
    path.write_text('text,label\nNA,None\nnull,  \n" ",nan\n')
    found = load(path)
    assert found["text"].tolist()[:2] == ["NA", "null"]
    assert found["text"].isna().tolist() == [False, False, True]
    assert found["label"].isna().tolist() == [False, True, False]


def test_numbers_keep_their_digits_and_gain_none(tmp_path):
    path = tmp_path / "d.jsonl"
    rows = [{"text": 12345678901234567890, "label": 1}, {"text": 1.5, "label": 2.0}, {"text": True, "label": None}]
    path.write_text("\n".join(json.dumps(row) for row in rows))
    found = load(path)
    assert found["text"].tolist() == ["12345678901234567890", "1.5", "true"]
    assert found["label"].tolist()[:2] == ["1", "2"]
    assert found["label"].isna().tolist()[2]


def test_a_json_record_as_source_reads_as_fields(tmp_path):
    path = tmp_path / "d.jsonl"
    path.write_text(json.dumps({"source": {"name": "pump", "bar": 3}, "target": "Pump at 3 bar."}))
    found = load(path, Columns(source="source", target="target"), "generation")
    assert found["text"].tolist() == ["name: pump | bar: 3"]


def test_ids_groups_and_slices_come_along(tmp_path):
    path = tmp_path / "d.csv"
    path.write_text("nr,text,label,customer,region\n7,x y,a,c1,east\n7,z,a,,\n8,z,b,c2,west\n")
    found = load(path, Columns(text="text", label="label", id="nr", group="customer", slices=("region",)))
    assert found["example_id"].tolist() == ["7", "7-2", "8"]
    assert found["group"].tolist() == ["c1", "", "c2"]
    assert found["slice_region"].tolist() == ["east", NO_SLICE, "west"]


def test_ids_do_not_depend_on_the_order_of_rows(tmp_path):
    frame = pd.DataFrame({"text": ["a b", "c d", "a b", "a b"], "label": ["x", "y", "x", "x"], "s": list("1231")})
    columns = Columns(text="text", label="label", slices=("s",))
    found = []
    for name, rows in (("one.csv", frame), ("two.csv", frame.iloc[::-1])):
        rows.to_csv(tmp_path / name, index=False)
        found.append(sorted(load(tmp_path / name, columns).itertuples(index=False, name=None)))
    assert found[0] == found[1]
    assert len({row[0] for row in found[0]}) == 4


# -- what bad input gets ---------------------------------------------------------------------------------------


def test_a_missing_file_is_named_with_its_nearest_neighbour(csv_file):
    with pytest.raises(MissingError, match=r"ticket\.csv is not there\n.*Did you mean .*tickets\.csv"):
        load(csv_file.with_name("ticket.csv"))


def test_a_missing_column_is_refused_with_the_nearest_name_and_all_columns(tmp_path):
    path = tmp_path / "d.csv"
    path.write_text("text,category,when\nx,a,1\n")
    with pytest.raises(
        DataRefused,
        match=r"no column 'categry', which `data.columns.label` names\n.*'category'.*text, category, when",
    ):
        load(path, Columns(text="text", label="categry"))


@pytest.mark.parametrize("name", ["d.csv", "d.jsonl"])
def test_an_empty_file_is_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(DataRefused, match="is empty"):
        load(tmp_path / name)


@pytest.mark.parametrize(("name", "text"), [("d.csv", "text,label\n"), ("d.jsonl", "\n\n")])
def test_a_file_without_rows_is_refused(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(DataRefused, match="no rows"):
        load(tmp_path / name)


def test_latin_1_bytes_are_refused_with_offset_line_and_the_setting_that_helps(tmp_path):
    path = tmp_path / "d.csv"
    head = b"text,label\n" + b"fine,a\n" * 300_000
    path.write_bytes(head + "Größe,b\n".encode("latin-1"))
    with pytest.raises(
        DataRefused, match=rf"byte 0xf6 at offset {len(head) + 2}, line 300002\n.*encoding: latin-1"
    ):
        load(path)
    assert load(path, encoding="latin-1")["text"].iloc[-1] == "Größe"


def test_a_character_cut_by_a_chunk_border_is_no_error(tmp_path):
    path = tmp_path / "d.csv"
    path.write_bytes(b"text,label\n" + ("あ" * 341 + ",a\n").encode() * 3)
    assert len(load(path, max_line_bytes=1027)) == 3


@pytest.mark.parametrize("name", ["d.csv", "d.jsonl"])
def test_a_line_of_two_gigabytes_is_refused_at_once_in_little_memory(tmp_path, name):
    path = tmp_path / name
    with path.open("wb") as file:
        file.truncate(2 * 1024**3)
    tracemalloc.start()
    started = time.monotonic()
    with pytest.raises(DataRefused, match=r"line 1 is longer than 16,777,216 bytes \(the file has 2,147,483,648\)"):
        load(path)
    seconds, (_, peak) = time.monotonic() - started, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds < 1
    assert peak < 16 * 1024**2


def test_nul_bytes_are_refused_as_no_text(tmp_path):
    path = tmp_path / "d.csv"
    path.write_bytes(b"text,label\nx\0y,a\n")
    with pytest.raises(DataRefused, match="NUL byte at offset 12"):
        load(path)


@pytest.mark.parametrize(
    ("line", "said"), [("{oops", "line 3, is no JSON"), ("[1]", "line 3, is a JSON list"), ("3", "is a JSON int")]
)
def test_a_malformed_json_line_is_named_by_its_number(tmp_path, line, said):
    path = tmp_path / "d.jsonl"
    path.write_text(f'{{"text": "x", "label": "a"}}\n\n{line}\n')
    with pytest.raises(DataRefused, match=said):
        load(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("text,label\nx,a\ny,b,c\n", "row 2 after the header: 3 fields, but the header has 2"),
        ('text,label\n"x,a\ny,b\n', "quotation mark that is not closed"),
    ],
)
def test_a_broken_csv_is_refused_where_it_breaks(tmp_path, text, said):
    path = tmp_path / "d.csv"
    path.write_text(text)
    with pytest.raises(DataRefused, match=said):
        load(path)


def test_bytes_that_are_no_parquet_are_refused(tmp_path):
    path = tmp_path / "d.parquet"
    path.write_bytes(b"PAR1 not really")
    with pytest.raises(DataRefused, match="is no Parquet file"):
        load(path)


def test_half_a_character_is_refused(tmp_path):
    path = tmp_path / "d.jsonl"
    path.write_text('{"text": "x\\ud800", "label": "a"}\n')
    with pytest.raises(DataRefused, match="half a character"):
        load(path)


def test_an_unknown_suffix_is_a_usage_error(tmp_path):
    (tmp_path / "d.xlsx").write_bytes(b"x")
    with pytest.raises(UsageError, match=r"unknown suffix '.xlsx'\n.*\.csv, \.tsv, \.jsonl, \.parquet"):
        load(tmp_path / "d.xlsx")


def test_a_folder_of_something_else_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="save_to_disk"):
        load(tmp_path)


def test_a_damaged_datasets_folder_is_refused(tmp_path):
    (tmp_path / "state.json").write_text("{}")
    (tmp_path / "dataset_info.json").write_text("{}")
    with pytest.raises(DataRefused, match="is no data set of `datasets`"):
        load(tmp_path)


def test_an_unreachable_hub_says_to_give_a_local_folder(monkeypatch):
    import datasets

    def offline(*args, **kwargs):
        raise ConnectionError("Couldn't reach 'owner/name' on the Hub (LocalEntryNotFoundError)")

    monkeypatch.setattr(datasets, "load_dataset", offline)
    with pytest.raises(MissingError, match=r"cannot get hub:owner/name: Couldn't reach.*\n.*save_to_disk"):
        load("hub:owner/name")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("hub:imdb", ("imdb", None, None)),
        ("hub:owner/name@abc", ("owner/name", None, "abc")),
        ("hub:owner/name/en@abc", ("owner/name", "en", "abc")),
    ],
)
def test_hub_sources_name_repository_config_and_revision(text, parts):
    source = parse_source(text)
    assert (source.repository, source.config, source.revision) == parts


def test_an_unknown_asset_is_a_usage_error():
    with pytest.raises(UsageError, match=r"unknown asset 'triage'\n.*asset:incident-triage"):
        load("asset:triage")
