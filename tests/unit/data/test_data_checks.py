"""Every check: what it flags, and what its finding says. Great Expectations is not needed here."""

import numpy as np
import pandas as pd
import pytest

from rsa_ops.data.checks.catalog import Subject, run_checks
from rsa_ops.data.checks.config import ChecksConfig
from rsa_ops.data.checks.drift import psi
from rsa_ops.data.checks.near import near_duplicates
from rsa_ops.data.config import SplitConfig
from rsa_ops.data.split import split_table


def subject(splits, task="classification", loaded=None, reference=None, leaked=0, unpinned=()):
    whole = pd.concat(list(splits.values())) if loaded is None else loaded
    return Subject(task, whole, splits, reference, leaked, ("train: x",) * leaked, unpinned)


def findings(found, **config):
    outcomes = run_checks(found, ChecksConfig.model_validate_json(pd.io.json.ujson_dumps(config)))
    return {finding.check: finding for outcome in outcomes if (finding := outcome.finding())}


@pytest.fixture
def splits(table):
    return split_table(table, SplitConfig(), "classification")


def put(splits, split, *rows):
    """Rows (text, label) at the end of a split."""
    more = pd.DataFrame(
        [(f"{split}-{n}", *row) for n, row in enumerate(rows)], columns=["example_id", "text", "label"]
    )
    splits[split] = pd.concat([splits[split], more], ignore_index=True)


def test_clean_data_has_no_finding(splits):
    assert findings(subject(splits)) == {}


def test_rows_without_text_or_label_are_refused(splits, table):
    table.loc[[1, 2], "text"] = None
    table.loc[7, "label"] = None
    found = findings(subject(splits, loaded=table))
    assert (found["missing_text"].rows, found["missing_label"].rows) == (2, 1)
    assert found["missing_text"].severity == "refuse"
    assert found["missing_text"].examples == ("label: alpha", "label: alpha")
    assert found["missing_label"].examples[0].startswith("text: ")


def test_a_label_that_training_lacks_is_refused(splits):
    put(splits, "test", ("a new thing", "delta"), ("another new thing", "delta"))
    found = findings(subject(splits))["label_set"]
    assert (found.severity, found.rows, found.examples) == ("refuse", 2, ("test: 'delta' (2 rows)",))
    assert "not in the training split: 2 in test" in found.message


def test_a_label_outside_the_declared_ones_is_refused_even_in_training(splits):
    found = findings(subject(splits), label_set={"labels": ["alpha", "beta"]})["label_set"]
    assert found.rows == 20
    assert "not declared" in found.message


def test_labels_with_too_few_training_rows_are_refused(splits):
    put(splits, "train", ("one of a kind", "rare"))
    found = findings(subject(splits))["class_floor"]
    assert (found.rows, found.examples) == (1, ("'rare': 1 row",))
    assert "class_floor" not in findings(subject(splits), class_floor={"min_rows": 1})


def test_texts_outside_the_bounds_are_named(splits):
    put(splits, "train", ("x" * 200, "alpha"))
    found = findings(subject(splits), text_length={"severity": "refuse", "max_characters": 150})["text_length"]
    assert (found.severity, found.rows) == ("refuse", 1)
    assert found.examples == ("train: " + "x" * 72 + "…",)


def test_the_same_text_twice_in_a_split_counts_once_too_often(splits):
    put(splits, "train", ("It  Broke", "alpha"), ("it broke", "alpha"), ("ｉｔ broke", "alpha"))
    found = findings(subject(splits))["duplicates"]
    assert (found.severity, found.rows) == ("warn", 2)


def test_two_references_for_one_source_are_no_duplicates_in_generation(splits):
    put(splits, "train", ("name[A]", "A is here."), ("name[A]", "Here is A."), ("name[A]", "here is a."))
    assert findings(subject(splits, "generation"))["duplicates"].rows == 1


def test_the_same_text_in_two_splits_is_refused_in_the_earlier_one(splits):
    text, label = splits["test"].iloc[0][["text", "label"]]
    put(splits, "train", (text.upper(), label))
    found = findings(subject(splits))["leakage"]
    assert (found.severity, found.rows) == ("refuse", 1)
    assert "1 in train" in found.message
    assert "drop: true" in found.advice


def test_dropped_leaks_are_reported(splits):
    found = findings(subject(splits, leaked=3), leakage={"drop": True})["leaked_rows_dropped"]
    assert (found.severity, found.rows) == ("warn", 3)


def test_one_text_with_two_labels_is_refused(splits):
    put(splits, "train", ("It broke", "alpha"))
    put(splits, "test", ("it broke", "beta"))
    found = findings(subject(splits))["conflicting_labels"]
    assert (found.rows, found.examples) == (2, ("alpha or beta: it broke",))
    assert "conflicting_labels" not in findings(subject(splits, "generation"))


LONG = "The coolant pump of line four stopped at noon because its motor overheated, the operator reset it by hand"


def test_near_duplicates_are_found_inside_and_across_splits(splits):
    put(splits, "train", (LONG, "alpha"), (LONG + "s", "alpha"))
    put(splits, "test", (LONG + "!", "alpha"))
    found = findings(subject(splits))
    assert (found["near_duplicates"].rows, found["near_leakage"].rows) == (1, 2)
    assert "2 in train" in found["near_leakage"].message
    assert " ~ " in found["near_leakage"].examples[0]


def test_near_duplicates_agree_with_comparing_all_pairs():
    rng = np.random.default_rng(0)
    texts = []
    for _ in range(60):
        words = rng.choice(["pump", "valve", "motor", "belt", "line", "shop", "stop", "heat"], 14).tolist()
        changed = [*words[:-1], f"x{rng.integers(100)}"]
        texts += [" ".join(words), " ".join(changed)]
    table = pd.DataFrame({"example_id": [str(n) for n in range(len(texts))], "text": texts, "label": "a"})
    empty = table.iloc[:0]
    within, _ = near_duplicates(
        {"train": table, "validation": empty, "test": empty}, ChecksConfig().near_duplicates, "classification"
    )

    def grams(text):
        return {text[at : at + 5] for at in range(len(text) - 4)}

    def alike(one, two):
        return one != two and len(grams(one) & grams(two)) / len(grams(one) | grams(two)) >= 0.9

    true = {text for text in texts if any(alike(text, other) for other in texts)}
    flagged = set(table.loc[within.flagged["train"], "text"])
    assert flagged <= true  # a wrong pair is never named
    assert len(flagged) >= 0.9 * len(true) / 2  # of each pair one is flagged; LSH may miss a few
    assert len(true) > 20


def test_rows_of_one_template_do_not_take_quadratic_time(splits):
    # 3,000 rows alike would be 4.5 million comparisons; the bound keeps it near-linear
    put(splits, "train", *((f"{LONG} {number:05}", "alpha") for number in range(3000)))
    assert findings(subject(splits))["near_duplicates"].rows > 2500


def test_personal_data_is_found_masked_and_graded(splits):
    put(splits, "train", ("mail me at jane.doe@example.com please", "alpha"), ("card 4111 1111 1111 1111", "alpha"))
    found = findings(subject(splits))
    assert (found["pii_email"].severity, found["pii_card"].severity) == ("warn", "refuse")
    shown = found["pii_email"].examples[0] + found["pii_card"].examples[0]
    assert "jane" not in shown
    assert "4111" not in shown
    assert "pii_card" not in findings(subject(splits), pii={"card": "off"})


def test_drift_against_a_reference_is_measured_on_labels_and_lengths(splits, table):
    shifted = table.assign(label="alpha", text=table["text"] + " and so on and so forth, at great length")
    found = findings(subject(splits, reference=shifted), drift={"reference": "old.csv", "severity": "refuse"})[
        "drift"
    ]
    assert "label_psi" in found.message
    assert "text_length_psi" in found.message
    assert found.examples[0] == "'alpha': 100.0% -> 60.0%"
    assert "drift" not in findings(subject(splits, reference=table), drift={"reference": "old.csv"})


def test_psi_agrees_with_its_closed_form():
    # shares .5/.5 against .9/.1, by hand: .4 ln(.5/.9)*-1 ... = (.5-.9)ln(.5/.9) + (.5-.1)ln(.5/.1) = 0.8789
    many = 10**9
    assert psi({"a": 5 * many, "b": 5 * many}, {"a": 9 * many, "b": many}) == pytest.approx(0.878890, abs=1e-6)
    assert psi({"a": 3, "b": 1}, {"a": 3, "b": 1}) == 0


def test_a_hub_source_without_a_revision_is_mentioned(splits):
    assert "hub:x/y" in findings(subject(splits, unpinned=("hub:x/y",)))["pinned"].message


def test_checks_that_are_off_do_not_run(splits):
    put(splits, "test", ("new", "delta"))
    assert findings(subject(splits), label_set={"severity": "off"}) == {}
