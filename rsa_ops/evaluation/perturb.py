"""Seeded noise on text, as people and systems make it: typing errors, wrong case, stray white space.

Every example has its own random stream, from the seed, the perturbation and the example's id, so that the
same example is disturbed in the same way for every arm, whatever the order.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable

from rsa_ops.evaluation.config import PerturbationName


def perturb(text: str, kind: PerturbationName, *, example_id: str, rate: float, seed: int) -> str:
    """`text` under one perturbation.

    `rate`: share of letters (typos) or of words (case) touched; for whitespace, twice the share of blanks put in.
    """
    stream = hashlib.sha256(f"{seed}:{kind}:{example_id}".encode()).digest()
    return _KINDS[kind](text, rate, random.Random(stream))  # noqa: S311  noise, not secrets


def _typos(text: str, rate: float, rng: random.Random) -> str:
    """Swap with the next letter, drop, or double a letter; each touched letter one of the three."""
    out: list[str] = []
    letters = list(text)
    index = 0
    while index < len(letters):
        letter = letters[index]
        if letter.isalpha() and rng.random() < rate:
            kind = rng.randrange(3)
            if kind == 0 and index + 1 < len(letters):
                out += [letters[index + 1], letter]
                index += 1
            elif kind == 1:
                out += [letter, letter]
        else:
            out.append(letter)
        index += 1
    return "".join(out)


def _case(text: str, rate: float, rng: random.Random) -> str:
    """Words in capitals."""
    return " ".join(word.upper() if rng.random() < rate else word for word in text.split(" "))


def _whitespace(text: str, rate: float, rng: random.Random) -> str:
    """A blank after any character, at half the rate: inside words, and doubled between them."""
    out: list[str] = []
    for letter in text:
        out.append(letter)
        if rng.random() < rate / 2:
            out.append(" ")
    return "".join(out)


_KINDS: dict[PerturbationName, Callable[[str, float, random.Random], str]] = {
    "typos": _typos,
    "case": _case,
    "whitespace": _whitespace,
}
