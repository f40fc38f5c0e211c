"""The whole room, Great Expectations included (slow to import, so there are few of these)."""

import json
import os

import pandas as pd
import pytest

from rsa_ops.core.validation import Validation
from rsa_ops.data.config import Columns, DataConfig, SampleConfig
from rsa_ops.data.fingerprint import fingerprint
from rsa_ops.data.validate import data_key, read_split, require_valid, validate
from rsa_ops.errors import DataRefused, MissingError
from rsa_ops.files import read_record

TICKETS = Columns(text="text", label="label")


def run(config, out, task="classification", base=None):
    out.mkdir(exist_ok=True)
    said = []
    return validate(config, task, out, said.append, base), said


def docs(out):
    return "".join(page.read_text() for page in (out / "data_docs").rglob("*.html"))


def test_clean_data_gives_three_splits_a_record_and_data_docs(csv_file, tmp_path):
    found, said = run(DataConfig(source=csv_file.name, columns=TICKETS), tmp_path / "out", base=csv_file.parent)
    require_valid(found)
    assert found == read_record(Validation, tmp_path / "out" / "validation.json")
    assert {split.name: split.rows for split in found.splits} == {"train": 140, "validation": 20, "test": 40}
    assert found.labels == ("alpha", "beta", "gamma")
    for split in found.splits:
        assert fingerprint(read_split(tmp_path / "out", split.name)) == split.digest
    assert len(said) == 3
    pages = docs(tmp_path / "out")
    assert "flag_near_duplicates" in pages
    assert (tmp_path / "out" / "data_docs" / "index.html").is_file()
    assert os.environ["GX_ANALYTICS_ENABLED"] == "false"


def test_every_refusal_is_told_with_rows_examples_and_advice_and_seen_by_gx(csv_file, tmp_path, table, sentence):
    frame = table[["text", "label"]].copy()
    frame.loc[0, "label"] = ""
    frame.loc[1, "text"] = "my card is 4111 1111 1111 1111"
    frame.loc[2, "label"] = "rare"
    frame.to_csv(csv_file, index=False)
    test = tmp_path / "test.csv"
    rows = [(frame["text"][50], "alpha"), (frame["text"][51], "beta"), (sentence(900), "unknown")]
    pd.DataFrame(rows, columns=["text", "label"]).to_csv(test, index=False)
    found, _ = run(DataConfig(source=str(csv_file), test_source=str(test), columns=TICKETS), tmp_path / "out")
    refused = {finding.check for finding in found.refusals}
    assert refused == {"missing_label", "label_set", "class_floor", "conflicting_labels", "leakage", "pii_card"}
    with pytest.raises(DataRefused) as caught:
        require_valid(found)
    message = str(caught.value)
    assert all(check in message for check in refused)
    assert "label_set (1 row): labels that are not in the training split: 1 in test" in message
    assert "'unknown' (1 row)" in message
    assert "-> Replace them before training" in message
    # rows that are refused are still written: the caller decides
    assert found.split("test").rows == 3
    pages = docs(tmp_path / "out")
    assert "4111" not in message + json.dumps(found.model_dump(mode="json")) + pages


def test_dropping_leaks_sampling_and_drift_in_generation(tmp_path, sentence):
    pairs = [{"mr": f"name[{sentence(n)}], area[north]", "ref": f"{sentence(n)} is north."} for n in range(60)]
    train, test = tmp_path / "train.jsonl", tmp_path / "test.jsonl"
    train.write_text("\n".join(map(json.dumps, pairs)))
    test.write_text("\n".join(json.dumps(pair | {"ref": "me@example.com"}) for pair in pairs[:10]))
    checks = {"leakage": {"drop": True}, "drift": {"reference": str(test), "text_length_psi": 0.01}}
    config = DataConfig(
        source=str(train),
        test_source=str(test),
        columns=Columns(source="mr", target="ref"),
        sample=SampleConfig(train=20, test=8),
        checks=DataConfig.model_fields["checks"].annotation.model_validate_json(json.dumps(checks)),
    )
    found, _ = run(config, tmp_path / "out", "generation")
    require_valid(found)
    by_check = {finding.check: finding for finding in found.findings}
    assert by_check["leaked_rows_dropped"].rows == 10
    assert by_check["pii_email"].rows == 8
    assert "drift" in by_check
    assert found.labels == ()
    assert found.rows_read == 70
    assert (found.split("train").rows, found.split("test").rows) == (20, 8)
    assert "test 8 of 10 rows; by hash, seed 1" in found.sampling
    assert "me@example.com" not in docs(tmp_path / "out")


def test_data_that_leaves_a_split_empty_is_refused(tmp_path):
    path = tmp_path / "d.csv"
    path.write_text("text,label\na,x\nb,\n")
    with pytest.raises(DataRefused, match=r"no rows for validation and test; 1 of 2 rows read have text and label"):
        run(DataConfig(source=str(path), columns=TICKETS), tmp_path / "out")


def test_a_split_that_is_not_there_is_missing(tmp_path):
    with pytest.raises(MissingError, match=r"train\.parquet is not there"):
        read_split(tmp_path, "train")


def test_the_key_changes_with_bytes_and_settings_and_with_nothing_else(csv_file, tmp_path):
    config = DataConfig(source=str(csv_file), columns=TICKETS)
    key = data_key(config, "classification")
    assert key == data_key(config, "classification")
    assert key != data_key(config, "generation")
    assert key != data_key(config.model_copy(update={"sample": SampleConfig(train=9)}), "classification")
    csv_file.write_text(csv_file.read_text() + "more,alpha\n")
    assert key != data_key(config, "classification")
    assert data_key(config.model_copy(update={"source": "hub:a/b"}), "classification")[1] == b"hub:a/b"


def test_banking77_is_refused_for_its_leaked_rows_and_passes_without_them(shared_data, tmp_path):
    folder = shared_data / "banking77"
    config = DataConfig(
        source=str(folder / "train.csv"),
        test_source=str(folder / "test.csv"),
        columns=Columns(text="text", label="category"),
    )
    found, _ = run(config, tmp_path / "one")
    # counted with pandas on the normalised texts: 7 of 10,003 training rows stand in test
    assert [(finding.check, finding.rows) for finding in found.refusals] == [("leakage", 7)]
    leaks = config.checks.leakage.model_copy(update={"drop": True})
    again, _ = run(
        config.model_copy(update={"checks": config.checks.model_copy(update={"leakage": leaks})}), tmp_path / "two"
    )
    require_valid(again)
    assert (again.rows_used, len(again.labels)) == (13_076, 77)


def test_e2e_passes_with_its_own_test_set(shared_data, tmp_path):
    folder = shared_data / "e2e"
    config = DataConfig(
        source=str(folder / "train.csv"),
        test_source=str(folder / "test.csv"),
        columns=Columns(source="mr", target="ref"),
    )
    found, _ = run(config, tmp_path / "out", "generation")
    require_valid(found)
    assert found.split("test").rows == 4693
    train, validation = (set(read_split(tmp_path / "out", name)["text"]) for name in ("train", "validation"))
    assert not train & validation
