"""Near duplicates: MinHash LSH finds candidates (Broder 1997; datasketch), the exact Jaccard index decides.

Shingles are character 5-grams of the normalised text, because short inquiries have too few words for word
n-grams and Japanese has no blanks between words. Missing a pair is possible (LSH), naming a wrong one is not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rsa_ops.core.validation import SPLITS, Severity
from rsa_ops.data.checks.config import NearDuplicatesCheck
from rsa_ops.data.checks.outcome import Flags, Outcome, counted, some
from rsa_ops.data.config import Task
from rsa_ops.data.normal import same_text

if TYPE_CHECKING:
    import pandas as pd

SHINGLE = 5
PERMUTATIONS = 64
MOST_COMPARED, MOST_INDEXED = 64, 32
"""Exact comparisons of one text, and members of a family in the index: data of one template stays fast."""

_WEIGHTS = (0.05, 0.95)  # a false candidate costs one comparison, a missed one is lost
_MIXER = np.uint64(0x9E3779B97F4A7C15)
Shingles = NDArray[np.uint32]


@dataclass(frozen=True)
class _Text:
    """A distinct text, its shingles (sorted, distinct) and the splits that hold it."""

    text: str
    shingles: Shingles
    splits: frozenset[str]


@dataclass(frozen=True)
class _Found:
    """By split: texts that resemble another, and that other; one of their own split, or one of a later split."""

    within: dict[str, dict[str, str]]
    across: dict[str, dict[str, str]]


def near_duplicates(
    splits: Mapping[str, pd.DataFrame], config: NearDuplicatesCheck, task: Task
) -> tuple[Outcome, Outcome]:
    """Near duplicates inside each split, and rows of an earlier split that resemble one of a later split.

    Exact duplicates are left to their own checks. For generation a row is its text with its target: records of
    few fields resemble each other without being copies.
    """
    subjects = {name: _subjects(table, task) for name, table in splits.items()}
    found = _search(_distinct(subjects), config.threshold)
    share = f"{config.threshold:.0%}"
    return (
        _outcome(
            subjects,
            found.within,
            check="near_duplicates",
            severity=config.severity,
            message=f"rows that resemble another row of their split by {share} or more",
            advice="Look at the pairs: templates and copies make a data set look larger than it is.",
        ),
        _outcome(
            subjects,
            found.across,
            check="near_leakage",
            severity=config.severity_across,
            message=f"rows that resemble a row of a later split by {share} or more",
            advice="Remove them, or give `data.columns.group` so that rows of one origin stay in one split.",
        ),
    )


def _subjects(table: pd.DataFrame, task: Task) -> list[str]:
    texts = [same_text(text) for text in table["text"].tolist()]
    if task == "classification":
        return texts
    return [f"{text}\n{same_text(target)}" for text, target in zip(texts, table["label"].tolist(), strict=True)]


def _outcome(
    subjects: Mapping[str, list[str]],
    found: dict[str, dict[str, str]],
    *,
    check: str,
    severity: Severity,
    message: str,
    advice: str,
) -> Outcome:
    flagged: dict[str, Flags] = {
        name: np.array([text in found[name] for text in texts], dtype=np.bool_) for name, texts in subjects.items()
    }
    pairs = (f"{name}: {_beside(one, other)}" for name in SPLITS for one, other in found[name].items())
    return Outcome(check, severity, f"{message}: {counted(flagged)}", advice, flagged, some(pairs))


def _beside(one: str, other: str) -> str:
    """Both texts from shortly before the place where they part."""
    same = next(
        (at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )
    start = max(0, same - 12)
    return f"{one[start : start + 32]} ~ {other[start : start + 32]}"


def _distinct(subjects: Mapping[str, list[str]]) -> list[_Text]:
    where: dict[str, set[str]] = {}
    for name, texts in subjects.items():
        for text in texts:
            where.setdefault(text, set()).add(name)
    distinct = [_Text(text, _shingles(text), frozenset(names)) for text, names in sorted(where.items())]
    # later splits first, so that every row of an earlier split meets the later rows that it may resemble
    return sorted(distinct, key=_last, reverse=True)


def _last(text: _Text) -> int:
    return max(SPLITS.index(name) for name in text.splits)


def _shingles(text: str) -> Shingles:
    """Distinct 5-grams of code points, each as a 32-bit hash; a shorter text is one shingle."""
    points = np.frombuffer(text.ljust(SHINGLE).encode("utf-32-le"), dtype=np.uint32).astype(np.uint64)
    grams = np.zeros(len(points) - SHINGLE + 1, dtype=np.uint64)
    with np.errstate(over="ignore"):
        for offset in range(SHINGLE):
            grams = grams * _MIXER + points[offset : offset + len(grams)] + np.uint64(1)
        mixed = (grams ^ (grams >> np.uint64(32))) * _MIXER  # or the last character would touch low bits only
    return np.unique((mixed >> np.uint64(32)).astype(np.uint32))


def _search(texts: list[_Text], threshold: float) -> _Found:
    from datasketch import MinHash, MinHashLSH

    found = _Found({name: {} for name in SPLITS}, {name: {} for name in SPLITS})
    index = MinHashLSH(threshold=threshold, num_perm=PERMUTATIONS, weights=_WEIGHTS)
    empty = MinHash(num_perm=PERMUTATIONS, hashfunc=int)  # the shingles are hashes already
    for number, text in enumerate(texts):
        signature = empty.copy()
        signature.update_batch(text.shingles)
        candidates = index.query(signature)
        _compare(texts, number, candidates, threshold=threshold, found=found)
        if sum(texts[candidate].splits == text.splits for candidate in candidates) < MOST_INDEXED:
            index.insert(number, signature, check_duplication=False)
    return found


def _compare(texts: list[_Text], number: int, candidates: list[int], *, threshold: float, found: _Found) -> None:
    """Write down what text `number` resembles; pairs that could tell nothing new are not compared."""
    this, compared = texts[number], 0
    for other in (texts[candidate] for candidate in sorted(candidates)):
        news = [claim for claim in _claims(this, other, found) if claim[1] not in claim[0]]
        if not news:
            continue
        compared += 1
        if _jaccard(this.shingles, other.shingles) >= threshold:
            for known, text, near in news:
                known[text] = near
        if compared == MOST_COMPARED:
            return


def _claims(this: _Text, other: _Text, found: _Found) -> list[tuple[dict[str, str], str, str]]:
    """What would be known if the two were alike: (where it is kept, the text, what it resembles)."""
    claims = [(found.within[name], this.text, other.text) for name in this.splits & other.splits]
    for one, two in ((this, other), (other, this)):
        last = _last(two)
        claims += [(found.across[name], one.text, two.text) for name in one.splits if SPLITS.index(name) < last]
    return claims


def _jaccard(one: Shingles, two: Shingles) -> float:
    shared = len(np.intersect1d(one, two, assume_unique=True))
    return shared / (len(one) + len(two) - shared)
