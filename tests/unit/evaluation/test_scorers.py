"""Scores of generated text: exactly those of the kept libraries, and the coverage of fields worked by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu import sentence_bleu, sentence_chrf

from rsa_ops.evaluation.scorers import PRIMARY, SCORERS, field_coverage, score_texts

PAIRS = [
    ("A remote attacker can execute code.", "A remote attacker may execute arbitrary code."),
    ("the cat sat", "the cat sat"),
    ("", "something"),
    ("日本語の文", "日本語の文章"),
    ("entirely other words", "nothing in common here"),
]
MADE, TRUE = [made for made, _ in PAIRS], [true for _, true in PAIRS]
FOUND = score_texts(MADE, TRUE, [{}] * len(PAIRS))


@pytest.mark.parametrize("row", range(len(PAIRS)))
def test_each_score_is_the_librarys_over_a_hundred(row: int) -> None:
    made, true = PAIRS[row]
    assert FOUND["chrf"][row] == sentence_chrf(made, [true]).score / 100
    assert FOUND["bleu"][row] == sentence_bleu(made, [true], use_effective_order=True).score / 100
    assert FOUND["rouge_l"][row] == RougeScorer(["rougeL"]).score(true, made)["rougeL"].fmeasure


def test_rouge_l_of_the_example_of_its_paper() -> None:
    # Lin (2004), section 3: reference "police killed the gunman"; S2 shares an LCS of 3, S3 one of 2, of 4 words.
    made = ["police kill the gunman", "the gunman kill police"]
    found = score_texts(made, ["police killed the gunman"] * 2, [{}] * 2)["rouge_l"]
    assert found == [0.75, 0.5]


def test_every_scorer_has_one_score_a_text_and_the_primary_is_one_of_them() -> None:
    assert tuple(FOUND) == SCORERS
    assert PRIMARY in SCORERS
    assert {len(scores) for scores in FOUND.values()} == {len(PAIRS)}


@given(st.lists(st.tuples(st.text(max_size=30), st.text(max_size=30)), min_size=1, max_size=3))
def test_every_score_lies_between_0_and_1(pairs: list[tuple[str, str]]) -> None:
    made, true = zip(*pairs, strict=True)
    found = score_texts(made, true, [{"a": text} for text in true])
    assert all(0 <= score <= 1 + 1e-9 for scores in found.values() for score in scores)


def test_an_equal_text_scores_one() -> None:
    text = "a remote attacker may execute arbitrary code"
    found = score_texts([text], [text], [{"what": "arbitrary code"}])
    assert {name: scores[0] for name, scores in found.items()} == pytest.approx(dict.fromkeys(SCORERS, 1.0))


@pytest.mark.parametrize(
    ("text", "record", "share"),
    [
        ("anything", {}, 1.0),
        ("Tensorflow 2.4.0 leaks memory", {"product": "google tensorflow", "version": "2.4.0"}, 1.0),
        ("Tensorflow leaks memory", {"product": "google tensorflow", "version": "2.4.0"}, 0.5),
        ("TENSORFLOW", {"product": "tensorflow"}, 1.0),
        ("an attack over the network", {"product": "the linux kernel"}, 0.0),  # one word of three is too few
        ("the linux box", {"product": "the linux kernel"}, 1.0),  # two of three are enough
        ("", {"product": "x"}, 0.0),
        ("text", {"product": ""}, 0.0),
        ("see CVE-2021-44228 now", {"id": "cve-2021-44228"}, 1.0),
        ("see CVE-2021-44229 now", {"id": "cve-2021-44228"}, 0.0),
        ("tensorflows", {"product": "tensorflow"}, 0.0),
    ],
)
def test_field_coverage_worked_by_hand(text: str, record: dict[str, str], share: float) -> None:
    assert field_coverage(text, record) == share


def test_a_field_in_a_script_without_blanks_is_found() -> None:
    assert field_coverage("東京で地震がありました", {"place": "東京"}) == 1.0
    assert field_coverage("大阪で地震がありました", {"place": "東京"}) == 0.0
    assert field_coverage("Das Gerät ist defekt", {"device": "Gerät"}) == 1.0


@given(
    st.dictionaries(st.text(max_size=4), st.from_regex(r"[a-z]{1,6}( [a-z]{1,6}){0,3}", fullmatch=True), max_size=5)
)
def test_a_text_that_states_every_value_covers_every_field(record: dict[str, str]) -> None:
    assert field_coverage(" and ".join(record.values()).upper(), record) == 1.0
