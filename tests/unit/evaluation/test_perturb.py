"""Noise on text: the same for everybody, as much as was asked for, and nothing else."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsa_ops.evaluation.config import PerturbationName
from rsa_ops.evaluation.perturb import perturb

KINDS: tuple[PerturbationName, ...] = ("typos", "case", "whitespace")
LONG = " ".join(random.Random(0).choices(["remote", "attacker", "overflow", "crafted", "request", "via"], k=4000))


def noisy(text: str, kind: PerturbationName, *, example: str = "a", rate: float = 0.1, seed: int = 0) -> str:
    return perturb(text, kind, example_id=example, rate=rate, seed=seed)


@pytest.mark.parametrize("kind", KINDS)
def test_an_example_is_disturbed_in_the_same_way_whatever_came_before_it(kind: PerturbationName) -> None:
    texts = {f"id{number}": LONG[number * 50 : number * 50 + 200] for number in range(20)}
    forwards = {name: noisy(text, kind, example=name) for name, text in texts.items()}
    random.seed(99)
    backwards = {name: noisy(texts[name], kind, example=name) for name in reversed(texts)}
    assert forwards == backwards


@pytest.mark.parametrize("kind", KINDS)
def test_another_seed_or_another_example_gets_other_noise(kind: PerturbationName) -> None:
    assert noisy(LONG, kind) != noisy(LONG, kind, seed=1)
    assert noisy(LONG, kind) != noisy(LONG, kind, example="b")


@given(st.text(), st.sampled_from(KINDS))
def test_no_rate_is_no_noise(text: str, kind: PerturbationName) -> None:
    assert noisy(text, kind, rate=0.0) == text


@given(st.text(max_size=200), st.sampled_from(KINDS), st.floats(0, 1))
def test_noise_is_bounded_by_the_text(text: str, kind: PerturbationName, rate: float) -> None:
    found = noisy(text, kind, rate=rate)
    assert len(found) <= 3 * len(text)  # typos double at most; one letter's capitals are three at most ("ΐ")


@given(st.text(max_size=200), st.floats(0, 1))
def test_white_space_noise_changes_blanks_only(text: str, rate: float) -> None:
    assert noisy(text, "whitespace", rate=rate).replace(" ", "") == text.replace(" ", "")


@given(st.text(st.characters(max_codepoint=127), max_size=200), st.floats(0, 1))
def test_case_noise_changes_case_only(text: str, rate: float) -> None:
    assert noisy(text, "case", rate=rate).lower() == text.lower()


@given(st.text("0123456789 .,:-_/", max_size=200))
def test_typing_errors_leave_digits_and_punctuation_alone(text: str) -> None:
    assert noisy(text, "typos", rate=1.0) == text


@pytest.mark.parametrize("rate", [0.02, 0.1, 0.3])
def test_the_share_of_words_in_capitals_is_the_rate(rate: float) -> None:
    words = noisy(LONG, "case", rate=rate).split(" ")
    share = sum(word.isupper() for word in words) / len(words)
    assert share == pytest.approx(rate, abs=4 * (rate * (1 - rate) / len(words)) ** 0.5)  # four standard errors


@pytest.mark.parametrize("rate", [0.02, 0.1, 0.3])
def test_the_share_of_characters_that_get_a_blank_is_half_the_rate(rate: float) -> None:
    added = len(noisy(LONG, "whitespace", rate=rate)) - len(LONG)
    half = rate / 2
    assert added / len(LONG) == pytest.approx(half, abs=4 * (half * (1 - half) / len(LONG)) ** 0.5)


@pytest.mark.parametrize("rate", [0.02, 0.1])
def test_the_share_of_letters_with_a_typing_error_is_the_rate(rate: float) -> None:
    # Words of one repeated letter, far apart in a text of different letters, cannot be told apart when swapped;
    # so count on letters that all differ from their neighbours: the edits are swaps (2 letters), drops, doubles.
    text = "".join(chr(ord("a") + number % 26) for number in range(26 * 400))
    found = noisy(text, "typos", rate=rate)
    doubles = sum(one == two for one, two in pairwise(found))
    drops = len(text) + doubles - len(found)
    swaps = sum((ord(one) - ord(two)) % 26 == 1 for one, two in pairwise(found))
    # A swap jumps over the letter that it moves, so slightly fewer than `rate` of all letters get a turn.
    expected = rate / 3
    for count in (doubles, drops, swaps):
        assert count / len(text) == pytest.approx(expected, rel=0.25)
    turns = (doubles + drops + swaps) / (len(text) - swaps)
    assert turns == pytest.approx(rate, rel=0.1)
