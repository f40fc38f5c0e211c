"""Canonical JSON against the vectors of RFC 8785, and the laws of digests."""

from __future__ import annotations

import hashlib
import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsa_ops.core.canonical import canonical_json
from rsa_ops.core.digest import digest_bytes, digest_parts, digest_value, short
from rsa_ops.errors import IntegrityError

EURO_EXAMPLE = {  # RFC 8785, section 3.2.2 (input) and 3.2.4 (its UTF-8 bytes)
    "numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001],
    "string": "\u20ac$\u000f\u000aA'\u0042\u0022\u005c\\\"/",
    "literals": [None, True, False],
}
EURO_BYTES = bytes.fromhex(
    "7b226c69746572616c73223a5b6e756c6c2c747275652c66616c73655d2c226e756d62657273223a"
    "5b3333333333333333332e333333333333332c31652b33302c342e352c302e3030322c31652d3237"
    "5d2c22737472696e67223a22e282ac245c75303030665c6e4127425c225c5c5c5c5c222f227d"
)
SORTING_EXAMPLE = {  # RFC 8785, section 3.2.3: keys sort by UTF-16 code units, not by code points
    "\u20ac": "Euro Sign",
    "\r": "Carriage Return",
    "\ufb33": "Hebrew Letter Dalet With Dagesh",
    "1": "One",
    "\U0001f600": "Emoji: Grinning Face",
    "\u0080": "Control",
    "\u00f6": "Latin Small Letter O With Diaeresis",
}
SORTED_VALUES = [
    "Carriage Return", "One", "Control", "Latin Small Letter O With Diaeresis", "Euro Sign",
    "Emoji: Grinning Face", "Hebrew Letter Dalet With Dagesh",
]  # fmt: skip
NUMBERS = [  # RFC 8785, appendix B: IEEE 754 bits and their only spelling
    ("0000000000000000", "0"),
    ("8000000000000000", "0"),
    ("0000000000000001", "5e-324"),
    ("8000000000000001", "-5e-324"),
    ("7fefffffffffffff", "1.7976931348623157e+308"),
    ("ffefffffffffffff", "-1.7976931348623157e+308"),
    ("4340000000000000", "9007199254740992"),
    ("c340000000000000", "-9007199254740992"),
    ("4430000000000000", "295147905179352830000"),
    ("44b52d02c7e14af5", "9.999999999999997e+22"),
    ("44b52d02c7e14af6", "1e+23"),
    ("44b52d02c7e14af7", "1.0000000000000001e+23"),
    ("444b1ae4d6e2ef4e", "999999999999999700000"),
    ("444b1ae4d6e2ef4f", "999999999999999900000"),
    ("444b1ae4d6e2ef50", "1e+21"),
    ("3eb0c6f7a0b5ed8c", "9.999999999999997e-7"),
    ("3eb0c6f7a0b5ed8d", "0.000001"),
    ("41b3de4355555553", "333333333.3333332"),
    ("41b3de4355555554", "333333333.33333325"),
    ("41b3de4355555555", "333333333.3333333"),
    ("41b3de4355555556", "333333333.3333334"),
    ("41b3de4355555557", "333333333.33333343"),
    ("becbf647612f3696", "-0.0000033333333333333333"),
    ("43143ff3c1cb0959", "1424953923781206.2"),
]

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.text(st.characters(codec="utf-8"), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)


def test_the_example_of_the_rfc_gives_the_bytes_of_the_rfc() -> None:
    assert canonical_json(EURO_EXAMPLE).hex() == EURO_BYTES.hex()


def test_keys_sort_by_utf16_code_units() -> None:
    text = canonical_json(SORTING_EXAMPLE).decode()
    assert sorted(SORTED_VALUES, key=lambda value: text.index(f'"{value}"')) == SORTED_VALUES


@pytest.mark.parametrize(("bits", "spelling"), NUMBERS)
def test_numbers_are_spelled_as_the_rfc_says(bits: str, spelling: str) -> None:
    (number,) = struct.unpack(">d", bytes.fromhex(bits))
    assert canonical_json(number).decode() == spelling


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, -math.inf, 2**53, -(2**53), b"x", object(), {1: 2}, {"a": {3}}]
)
def test_what_json_cannot_say_exactly_is_refused(value: object) -> None:
    with pytest.raises(IntegrityError, match="no canonical JSON"):
        canonical_json({"deep": [value]})


def test_half_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(IntegrityError):
        canonical_json("\ud800")


@given(JSON)
def test_the_order_of_keys_does_not_matter(value: object) -> None:
    assert digest_value(_reversed(value)) == digest_value(value)


@given(JSON, JSON)
def test_different_values_have_different_digests(one: object, other: object) -> None:
    assert (digest_value(one) == digest_value(other)) == (_typed(one) == _typed(other))


def test_a_digest_is_sha256_of_the_bytes() -> None:
    # FIPS 180-2, appendix B.1: SHA-256("abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert digest_bytes(b"abc") == f"sha256:{expected}"
    assert short(f"sha256:{expected}") == expected[:12]


def test_an_equal_concatenation_of_other_parts_has_another_digest() -> None:
    assert digest_parts([b"ab", b"c"]) != digest_parts([b"a", b"bc"])
    assert digest_parts([b"", b"ab"]) != digest_parts([b"ab"])


def test_parts_are_hashed_behind_their_length_in_eight_bytes() -> None:
    raw = b"\0\0\0\0\0\0\0\2ab\0\0\0\0\0\0\0\1c"
    assert digest_parts([b"ab", b"c"]) == "sha256:" + hashlib.sha256(raw).hexdigest()


def _reversed(value: object) -> object:
    if isinstance(value, dict):
        return {key: _reversed(value[key]) for key in reversed(list(value))}
    return [_reversed(item) for item in value] if isinstance(value, list) else value


def _typed(value: object) -> object:
    # Python says True == 1; JSON does not.
    if isinstance(value, dict):
        return ("dict", {key: _typed(item) for key, item in value.items()})
    if isinstance(value, list):
        return ("list", [_typed(item) for item in value])
    return (type(value).__name__, value)
