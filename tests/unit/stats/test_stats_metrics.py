"""Laws of metrics that are no mean: scikit-learn, sacrebleu and hand-worked tables as oracles."""

import numpy as np
import pytest
from sacrebleu.metrics import CHRF

from rsa_ops.core.estimate import Answer
from rsa_ops.errors import IntegrityError, UsageError
from rsa_ops.stats import bootstrap_difference, calibration, corpus_chrf, from_sums, weighted_mean, worst_slice_mean

TEXTS = ["the server crashed at night", "a user may read any file", "remote code can be run", "x"]
REFERENCES = ["the server crashed last night", "any user can read files", "an attacker runs code", "nothing alike"]


def grams(text: str, order: int) -> dict[str, int]:
    joined = text.replace(" ", "")
    found: dict[str, int] = {}
    for place in range(len(joined) - order + 1):
        part = joined[place : place + order]
        found[part] = found.get(part, 0) + 1
    return found


def statistics(texts: list[str], references: list[str]) -> np.ndarray:
    rows = []
    for text, reference in zip(texts, references, strict=True):
        row: list[int] = []
        for order in range(1, 7):
            ours, theirs = grams(text, order), grams(reference, order)
            common = sum(min(count, theirs.get(part, 0)) for part, count in ours.items())
            row += [sum(ours.values()), sum(theirs.values()), common]
        rows.append(row)
    return np.array([rows], dtype=float)


def test_corpus_chrf_is_sacrebleus_also_when_examples_are_drawn_twice() -> None:
    arm = corpus_chrf(statistics(TEXTS, REFERENCES))
    published = CHRF(word_order=0).corpus_score(TEXTS, [REFERENCES]).score
    assert arm.metric(0, np.ones(4)) == pytest.approx(published)
    drawn = CHRF(word_order=0).corpus_score([TEXTS[0]] * 3 + [TEXTS[2]], [[REFERENCES[0]] * 3 + [REFERENCES[2]]])
    assert arm.metric(0, np.array([3.0, 0, 1, 0])) == pytest.approx(drawn.score)


def test_a_corpus_without_common_text_has_chrf_zero() -> None:
    assert corpus_chrf(statistics(["aaaa"] * 2, ["bbbb"] * 2)).metric(0, np.ones(2)) == 0.0
    assert corpus_chrf(np.zeros((1, 2, 18))).metric(0, np.ones(2)) == 0.0


def test_calibration_error_of_a_table_worked_by_hand() -> None:
    # Bins of 0.2: 0.9 and 1.0 share the last, |1 + 0 - 1.9| = 0.9; 0.55 alone, |1 - 0.55| = 0.45; 0.2 in the first
    # (upper ends belong to a bin), |0 - 0.2| = 0.2. Sum 1.55 over 4 examples.
    arm = calibration([[1.0, 0.0, 1.0, 0.0]], [[0.9, 1.0, 0.55, 0.2]], bins=5)
    assert arm.metric(0, np.ones(4)) == pytest.approx(-1.55 / 4)
    assert arm.metric(0, np.array([2.0, 0, 1, 1])) == pytest.approx(-(0.2 + 0.45 + 0.2) / 4)


def test_the_worst_slice_is_the_lowest_weighted_mean() -> None:
    masks = {"a": np.array([True, True, False, False]), "b": np.array([False, False, True, True])}
    arm = worst_slice_mean([[1.0, 0.0, 1.0, 1.0]], masks)
    assert arm.metric(0, np.ones(4)) == 0.5
    assert arm.metric(0, np.array([3.0, 1, 0, 0])) == 0.75  # slice b was not drawn


def test_a_metric_of_sums_that_is_a_mean_agrees_with_the_mean() -> None:
    table = np.random.default_rng(1).random((3, 50))
    sums = from_sums(np.stack([table, np.ones_like(table)], axis=-1), lambda total: float(total[0] / total[1]))
    weights = np.random.default_rng(2).integers(0, 3, 50).astype(float)
    for seed in range(3):
        assert sums.metric(seed, weights) == pytest.approx(weighted_mean(table).metric(seed, weights))


def test_any_of_them_goes_through_the_same_crossing() -> None:
    rng = np.random.default_rng(3)
    right = (rng.random((2, 3, 300)) < 0.8).astype(float)
    sure = np.clip(rng.normal(0.8, 0.1, (2, 3, 300)), 0, 1)
    found = bootstrap_difference(
        calibration(right[0], sure[0]), calibration(right[1], sure[1]), margin=0.2, rng=rng, draws=200
    )
    assert found.answer is Answer.NON_INFERIOR
    assert found.variance_share_seeds is not None


@pytest.mark.parametrize(
    "make",
    [
        lambda: calibration([[1.0]], [[1.2]]),
        lambda: calibration([[1.0, 0.0]], [[0.5]]),
        lambda: calibration([[1.0]], [[0.5]], bins=0),
        lambda: corpus_chrf([[1.0]]),
        lambda: from_sums("text", float),
        lambda: worst_slice_mean([[1.0]], {}),
        lambda: worst_slice_mean([[1.0, 0.0]], {"a": np.array([True])}),
    ],
)
def test_tables_that_do_not_match_are_refused(make: object) -> None:
    with pytest.raises(UsageError):
        make()  # type: ignore[operator]


def test_nan_is_refused() -> None:
    with pytest.raises(IntegrityError):
        corpus_chrf(np.full((1, 2, 18), np.nan))
    with pytest.raises(IntegrityError):
        calibration([[np.nan]], [[0.5]])
