"""The bytes of an entry: one text for one value, and nothing else is accepted."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsa_ops.core.canonical import canonical_json
from rsa_ops.errors import IntegrityError, UsageError
from rsa_ops.governance.entry import (
    ENTRY_TYPE,
    NOTHING,
    Draft,
    Entry,
    Kind,
    Role,
    entry_hash,
    from_instant,
    pae,
    parse_entry,
    plain_canonical,
    to_instant,
)
from rsa_ops.governance.payloads import ClockSet

DIGEST = "sha256:" + "ab" * 32
BODY = (  # written by hand from the table in docs/governance.md; keys sorted, no blanks
    '{"at":"2026-03-01T12:00:00.000001Z","key":"' + DIGEST + '","kind":"plan","ledger":"' + DIGEST + '",'
    '"payload":{"price":"1.20","text":"é\\n\\"€\\u0001"},"previous":"' + DIGEST + '","role":"operator",'
    '"schema":"rsa_ops/ledger-entry/v1","sequence":7,"subject":"model@champion"}'
)
# printf of the DSSE encoding of BODY, piped into sha256sum (coreutils 9)
HASH = "sha256:26267a8b031c5dd318462da65de8f6b83f3ecb7b2d2e766d506789e705dc884d"

plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(max_codepoint=127)), inner),
    max_leaves=20,
)


def entry(**changes: object) -> Entry:
    fields: dict[str, object] = {
        "ledger": DIGEST,
        "sequence": 7,
        "previous": DIGEST,
        "at": "2026-03-01T12:00:00.000001Z",
        "kind": Kind.PLAN,
        "subject": "model@champion",
        "key": DIGEST,
        "role": Role.OPERATOR,
        "payload": {"text": 'é\n"€\x01', "price": "1.20"},
    }
    return Entry.model_validate({**fields, **changes})


def test_the_bytes_of_an_entry_are_those_of_the_format() -> None:
    assert entry().body() == BODY
    assert entry_hash(BODY) == HASH


def test_the_encoding_that_is_signed_is_the_example_of_dsse() -> None:
    # DSSE 1.0.2, protocol.md, "Test vectors"
    expected = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    assert pae("http://example.com/HelloWorld", b"hello world") == expected


def test_the_length_in_that_encoding_counts_bytes_and_not_characters() -> None:
    assert pae(ENTRY_TYPE, "é".encode()).endswith(b" 2 \xc3\xa9")


@given(plain)
def test_the_fast_canonical_form_is_rfc_8785_on_what_a_ledger_holds(value: object) -> None:
    assert plain_canonical(value).encode() == canonical_json(value)


@given(st.dictionaries(st.text(st.characters(max_codepoint=127)), plain))
def test_an_entry_is_read_as_it_was_written(payload: dict[str, object]) -> None:
    written = entry(payload=payload)
    assert parse_entry(written.body()) == written


@pytest.mark.parametrize(
    "payload",
    [
        {"n": 0.5},
        {"deep": [{"n": 1.0}]},
        {"n": 2**53},
        {"n": -(2**53)},
        {"ключ": 1},
        {"text": "\ud800"},
        {"big": "x" * 70_000},
    ],
    ids=["float", "float inside", "2**53", "-2**53", "key beyond ASCII", "lone surrogate", "70 kB"],
)
def test_what_json_libraries_write_differently_is_not_written_at_all(payload: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        entry(payload=payload).body()


def test_a_payload_of_a_thousand_levels_is_refused() -> None:
    nested: object = 1
    for _ in range(1000):
        nested = [nested]
    with pytest.raises((UsageError, ValueError)):
        entry(payload={"deep": nested}).body()


@pytest.mark.parametrize("subject", ["", "x" * 256])
def test_a_subject_has_1_to_255_characters(subject: str) -> None:
    with pytest.raises(UsageError, match="not an entry"):
        Draft.of(Kind.CLOCK_SET, subject, ClockSet(reason="a battery was flat"))


def twist(name: str) -> str:
    value = json.loads(BODY)
    return {
        "blank": BODY.replace(",", ", ", 1),
        "unsorted": json.dumps(dict(reversed(value.items())), separators=(",", ":"), ensure_ascii=False),
        "escaped": json.dumps(value, sort_keys=True, separators=(",", ":")),
        "twice": BODY.replace('"sequence":7', '"sequence":6,"sequence":7'),
        "minus zero": BODY.replace('"sequence":7', '"sequence":-0'),
        "float": BODY.replace('"sequence":7', '"sequence":7.0'),
        "exponent": BODY.replace('"sequence":7', '"sequence":7e0'),
        "NaN": BODY.replace('"sequence":7', '"sequence":NaN'),
        "huge": BODY.replace('"sequence":7', '"sequence":' + "9" * 5000),
        "newline": BODY + "\n",
        "more": plain_canonical({**value, "more": 1}),
        "less": plain_canonical({name: part for name, part in value.items() if name != "role"}),
        "other schema": plain_canonical({**value, "schema": "rsa_ops/ledger-entry/v2"}),
        "text for a number": plain_canonical({**value, "sequence": "7"}),
        "unknown kind": plain_canonical({**value, "kind": "gift"}),
        "local time": plain_canonical({**value, "at": "2026-03-01T12:00:00.000001+09:00"}),
        "nested": "[" * 100_000,
        "empty": "",
    }[name]


TWISTS = (
    "blank",
    "unsorted",
    "escaped",
    "twice",
    "minus zero",
    "float",
    "exponent",
    "NaN",
    "huge",
    "newline",
    "more",
)
OTHERS = ("less", "other schema", "text for a number", "unknown kind", "local time", "nested", "empty")


@pytest.mark.parametrize("name", TWISTS + OTHERS)
def test_other_bytes_for_the_same_or_another_value_are_no_entry(name: str) -> None:
    with pytest.raises(IntegrityError):
        parse_entry(twist(name))


@given(st.text() | st.text().map(lambda text: BODY[:40] + text + BODY[40:]))
def test_no_text_makes_reading_fail_in_another_way(text: str) -> None:
    if text == BODY:
        return
    with pytest.raises(IntegrityError):
        parse_entry(text)


@given(st.datetimes().map(lambda moment: moment.replace(microsecond=0)))
def test_times_sort_as_text(moment: object) -> None:
    import datetime as dt

    assert isinstance(moment, dt.datetime)
    if not 1000 <= moment.year <= 9998:
        return
    first = moment.replace(tzinfo=dt.UTC)
    later = first + dt.timedelta(microseconds=1)
    assert to_instant(first) < to_instant(later)
    assert len(to_instant(first)) == 27
    assert from_instant(to_instant(later)) == later


def test_a_day_that_does_not_exist_is_no_moment() -> None:
    with pytest.raises(IntegrityError):
        from_instant("2026-02-30T12:00:00.000000Z")


def test_nothing_stands_for_no_entry() -> None:
    assert NOTHING == "sha256:" + 64 * "0"
