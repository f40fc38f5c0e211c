"""Scores of one generated text against its reference, each in [0, 1], from kept libraries.

chrF (Popović 2015) and BLEU (Papineni et al. 2002; sentence level with exponential smoothing and effective
order) by sacrebleu; ROUGE-L F (Lin 2004) by rouge-score; and the share of record fields that the text states.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

SCORERS = ("chrf", "bleu", "rouge_l", "field_coverage")
PRIMARY = "chrf"

_WORD = re.compile(r"[^\W_]+(?:[.\-][^\W_]+)*")
_WITHOUT_BLANKS = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")  # kana, and Han characters


def score_texts(
    predictions: Sequence[str], references: Sequence[str], records: Sequence[Mapping[str, str]]
) -> dict[str, list[float]]:
    """One list per scorer, one entry per text. `records` are the fields that the text should state."""
    from rouge_score.rouge_scorer import RougeScorer
    from sacrebleu.metrics import BLEU, CHRF

    chrf, bleu = CHRF(), BLEU(effective_order=True)
    rouge = RougeScorer(["rougeL"], use_stemmer=False)
    pairs = list(zip(predictions, references, strict=True))
    return {
        "chrf": [chrf.sentence_score(made, [true]).score / 100 for made, true in pairs],
        "bleu": [bleu.sentence_score(made, [true]).score / 100 for made, true in pairs],
        "rouge_l": [float(rouge.score(true, made)["rougeL"].fmeasure) for made, true in pairs],
        "field_coverage": [field_coverage(made, record) for made, record in zip(predictions, records, strict=True)],
    }


def field_coverage(text: str, record: Mapping[str, str]) -> float:
    """Share of the record's fields whose value the text states; 1 for a record without fields.

    A value counts as stated when at least half of its words (letters and digits, case ignored) occur in the
    text. Half, because a sentence says "Tensorflow" for "google tensorflow"; a stricter bound would punish
    good style, and no bound at all would count a shared "the". A value in a script without blanks between
    words (Chinese, Japanese) must occur as it is.
    """
    if not record:
        return 1.0
    lower = text.lower()
    words = set(_WORD.findall(lower))
    return sum(_stated(value.strip().lower(), lower, words) for value in record.values()) / len(record)


def _stated(value: str, text: str, words: set[str]) -> bool:
    if _WITHOUT_BLANKS.search(value):
        return value in text
    wanted = set(_WORD.findall(value))
    return bool(wanted) and len(wanted & words) * 2 >= len(wanted)
