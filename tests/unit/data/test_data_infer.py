import json

from rsa_ops.config import load_config
from rsa_ops.data.checks.config import ChecksConfig
from rsa_ops.data.infer import infer


def test_the_data_clears_what_was_inferred_from_it(table):
    found = infer(table, "classification")
    lengths = table["text"].str.len()
    assert found.checks.text_length.min_characters < lengths.min()
    assert found.checks.text_length.max_characters > lengths.max()
    assert found.checks.class_floor.min_rows == 6  # a third of the 20 rows of the smallest class
    assert found.checks.label_set.labels == ("alpha", "beta", "gamma")
    assert found.checks.nulls.severity == "refuse"
    assert found.max_length % 16 == 0


def test_gaps_make_the_null_check_a_warning(table):
    table.loc[0, "label"] = None
    assert infer(table, "classification").checks.nulls.severity == "warn"


def test_generation_counts_the_answer_into_the_length(table):
    table["label"] = "A sentence of about forty characters here."
    long, short = infer(table, "generation"), infer(table.assign(label="short"), "generation")
    assert long.max_length >= short.max_length
    assert long.max_new_tokens >= 16
    assert long.checks.label_set.labels is None


def test_japanese_takes_a_token_a_character(table):
    english, japanese = (infer(table.assign(text=text), "classification") for text in ("a" * 200, "あ" * 200))
    assert japanese.max_length > 2 * english.max_length


def test_what_is_inferred_can_be_written_to_yaml_and_read_back(table):
    checks = infer(table, "classification").checks
    assert load_config(ChecksConfig, json.dumps(checks.model_dump(mode="json")), "test") == checks
