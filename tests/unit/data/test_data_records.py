import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsa_ops.data.records import parse_record, render_record

NAMES = st.text(st.characters(categories=["Ll"]), min_size=1, max_size=12)
VALUES = st.text(st.characters(categories=["L", "N"], include_characters=" :,.()|-"), min_size=1).filter(str.strip)


@given(st.dictionaries(NAMES, VALUES, min_size=2, max_size=5))
def test_a_rendered_record_parses_to_what_it_renders(fields):
    once = parse_record(render_record(fields))
    assert set(once) == set(fields)
    assert render_record(once) == render_record(fields)


def test_e2e_meaning_representations_parse():
    text = "name[The Punter], food[Indian], priceRange[£20-25], near[Café Sicilia]"
    assert parse_record(text) == {
        "name": "The Punter",
        "food": "Indian",
        "priceRange": "£20-25",
        "near": "Café Sicilia",
    }


def test_a_json_object_parses_without_its_structures():
    assert parse_record('{"name": "pump", "count": 3, "parts": ["a"]}') == {"name": "pump", "count": "3"}


def test_a_lone_field_is_a_record_when_it_looks_like_one():
    assert parse_record("affected: openclaw/openclaw") == {"affected": "openclaw/openclaw"}


@pytest.mark.parametrize(
    "prose",
    [
        "",
        "The pump failed.",
        "Note: the pump failed.",
        "see here: it failed.",
        "array[0] is wrong",
        "{not json",
        "a | b",
    ],
)
def test_prose_is_no_record(prose):
    assert parse_record(prose) == {}


def test_a_field_that_occurs_twice_keeps_both_values():
    assert parse_record("near[A], near[B]") == {"near": "A, B"}
