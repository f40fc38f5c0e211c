"""A configuration file becomes a frozen instance, or every problem at once with its line."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field, JsonValue

from rsa_ops.config import load_config, read_config
from rsa_ops.core.record import Record, Value
from rsa_ops.errors import ConfigError, MissingError, Problem


class Colour(StrEnum):
    RED = "red"


class Circle(Value):
    kind: Literal["circle"]
    radius: float = Field(gt=0)


class Square(Value):
    kind: Literal["square"]
    side_length: float


class Arm(Value):
    method: str
    learning_rate: float = 0.1
    options: dict[str, JsonValue] = Field(default_factory=dict)


class Sample(Record):
    """Every shape that the real configurations have."""

    schema_: Literal["rsa_ops/sample/v1"] = Field(default="rsa_ops/sample/v1", alias="schema")

    name: str
    epochs: int = 1
    since: str = ""
    colour: Colour = Colour.RED
    price: Decimal = Decimal(0)
    seeds: tuple[int, ...] = ()
    arms: dict[str, Arm] = Field(default_factory=dict)
    steps: tuple[Arm, ...] = ()
    shapes: tuple[Annotated[Circle | Square, Field(discriminator="kind")], ...] = ()
    extra: Arm | None = None


def load(text: str) -> Sample:
    return load_config(Sample, text, "pipeline.yaml")


def problems(text: str) -> tuple[Problem, ...]:
    with pytest.raises(ConfigError) as caught:
        load(text)
    assert caught.value.source == "pipeline.yaml"
    return caught.value.problems


def test_a_right_file_becomes_a_frozen_instance() -> None:
    text = """
name: triage
epochs: 3
colour: red
price: "1.50"
seeds: [1, 2]
arms: {rsa: {method: rsa, options: {r: 4, deep: [1, {a: null}]}}}
shapes: [{kind: circle, radius: 2}]
"""
    found = load(text)
    assert found.seeds == (1, 2)
    assert found.price == Decimal("1.50")
    assert found.colour is Colour.RED
    assert found.arms["rsa"].options == {"r": 4, "deep": [1, {"a": None}]}
    assert found.shapes == (Circle(kind="circle", radius=2.0),)


def test_every_problem_is_said_at_once_with_its_line() -> None:
    text = """name: triage
epochz: 3
seeds: [1, two]
arms:
  rsa:
    method: rsa
    learning_rat: 0.1
steps:
  - method: a
  - methd: b
"""
    assert problems(text) == (
        Problem("seeds.1", "Input should be a valid integer; found 'two'", 3),
        Problem("arms.rsa.learning_rat", "unknown key; did you mean `learning_rate`?", 7),
        Problem("steps.1.method", "is missing", 10),
        Problem("steps.1.methd", "unknown key; did you mean `method`?", 10),
        Problem("epochz", "unknown key; did you mean `epochs`?", 2),
    )


def test_a_key_like_no_other_gets_the_list_of_known_ones() -> None:
    (found,) = problems("name: a\nextra:\n  method: x\n  zzzz: 1\n")
    assert found == Problem("extra.zzzz", "unknown key; known here: method, learning_rate, options", 4)


def test_a_known_key_is_named_as_it_is_written_in_files() -> None:
    (found,) = problems("name: a\nqqqqqqq: 1\n")
    assert "schema," in found.what
    assert "schema_" not in found.what


def test_a_typo_inside_a_union_is_shown_at_its_own_line_with_the_nearest_key() -> None:
    text = "name: a\nshapes:\n  - kind: circle\n    radius: 1\n  - kind: square\n    side_lengt: 1\n"
    assert set(problems(text)) == {
        Problem("shapes.1.side_length", "is missing", 5),
        Problem("shapes.1.side_lengt", "unknown key; did you mean `side_length`?", 6),
    }


def test_a_wrong_value_inside_a_union_is_shown_at_its_own_line() -> None:
    (found,) = problems("name: a\nshapes:\n  - kind: circle\n    radius: -1\n")
    assert found == Problem("shapes.0.radius", "Input should be greater than 0; found -1", 4)


def test_a_mapping_key_that_equals_a_field_name_hides_no_suggestion() -> None:
    (found,) = problems("name: a\narms:\n  method:\n    method: x\n    learning_rat: 1\n")
    assert found == Problem("arms.method.learning_rat", "unknown key; did you mean `learning_rate`?", 5)


def test_a_key_that_stands_twice_is_refused_at_its_second_line() -> None:
    assert problems("name: a\nepochs: 1\nepochs: 2\n") == (Problem("epochs", "stands here a second time", 3),)
    (nested,) = problems("name: a\narms:\n  rsa: {method: x}\n  lora: {method: x}\n  rsa: {method: y}\n")
    assert nested == Problem("arms.rsa", "stands here a second time", 5)


@pytest.mark.parametrize(
    ("text", "line"),
    [("name: a\nseeds: [1, 2\narms: {}\n", 3), ("name: a\n\tepochs: 1\n", 2), ('name: "a\n', 2), ("a: b: c\n", 1)],
)
def test_a_syntax_error_says_its_line(text: str, line: int) -> None:
    (found,) = problems(text)
    assert (found.where, found.line) == ("YAML", line)


def test_two_documents_in_one_file_are_refused() -> None:
    assert problems("name: a\n---\nname: b\n")[0].where == "YAML"


def test_an_alias_to_itself_is_refused_not_followed() -> None:
    (found,) = problems("name: a\nextra: &here\n  options: *here\n")
    assert (found.where, found.what) == ("extra.options", "refers to itself")


def test_an_alias_to_something_else_is_that_thing() -> None:
    found = load("name: a\narms:\n  one: &arm {method: x}\n  two: *arm\n")
    assert found.arms["one"] == found.arms["two"]


def test_aliases_of_aliases_do_not_fill_the_memory() -> None:
    # The "billion laughs": nine levels of nine references are 9 ** 9 values.
    levels = ["l0: &l0 [x, x, x, x, x, x, x, x, x]"]
    levels += [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 10)]
    found = problems("\n".join(["name: a", *levels]))
    assert any("alias" in problem.what for problem in found)


def test_a_thousand_brackets_are_a_problem_not_a_crash() -> None:
    assert "deep" in problems("name: " + "[" * 3000 + "]" * 3000)[0].what


@pytest.mark.parametrize("written", ["2026-11-24", "2026-11-24 10:00:00", "2026-11-24T10:00:00Z"])
def test_a_date_stays_the_text_that_was_written(written: str) -> None:
    assert load(f"name: a\nsince: {written}\n").since == written


@pytest.mark.parametrize("written", ["no", "yes", "on", "off", "null", "1", "1.5", "0x10", "1_000"])
def test_a_value_that_yaml_takes_for_no_text_is_refused_not_turned_into_text(written: str) -> None:
    (found,) = problems(f"name: {written}\n")
    assert (found.where, found.line) == ("name", 1)
    assert "valid string" in found.what


@pytest.mark.parametrize("written", ["3.0", '"3"', "yes", "3.5"])
def test_a_value_of_another_type_is_refused_not_converted(written: str) -> None:
    assert problems(f"name: a\nepochs: {written}\n")[0].where == "epochs"


@pytest.mark.parametrize("written", [".nan", ".inf", "-.inf"])
@pytest.mark.parametrize("place", ["{method: x, learning_rate: %s}", "{method: x, options: {r: %s}}"])
def test_a_number_that_is_no_number_is_refused(written: str, place: str) -> None:
    assert problems(f"name: a\nextra: {place % written}\n")[0].line == 2


@pytest.mark.parametrize("written", ["!!int many", "!!float x", "!python/object:os.system x", "!mine {a: 1}"])
def test_a_tag_that_does_not_fit_is_a_problem_with_its_line(written: str) -> None:
    (found, *_) = problems(f"name: a\nsince: {written}\n")
    assert found.line == 2


def test_text_that_json_cannot_hold_is_a_problem() -> None:
    assert problems('name: "\\ud800"\n')


def test_control_characters_are_a_problem() -> None:
    assert problems("name: a\x00b\n")[0].where == "YAML"


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n"])
def test_an_empty_file_lacks_what_is_needed(text: str) -> None:
    assert problems(text) == (Problem("name", "is missing", problems(text)[0].line),)


@pytest.mark.parametrize("text", ["- a\n", "just words\n", "3\n"])
def test_a_file_that_is_no_mapping_is_refused(text: str) -> None:
    (found,) = problems(text)
    assert (found.where, found.line) == ("the document", 1)


def test_a_file_that_is_not_there_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"none\.yaml is not there"):
        read_config(Sample, tmp_path / "none.yaml")


def test_a_file_that_is_not_utf8_is_refused_with_the_place(tmp_path: Path) -> None:
    path = tmp_path / "latin.yaml"
    path.write_bytes("name: caf\xe9\n".encode("latin-1"))
    with pytest.raises(ConfigError) as caught:
        read_config(Sample, path)
    assert caught.value.problems == (Problem("byte 9", "is not UTF-8; save the file as UTF-8"),)


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    path = tmp_path / "bom.yaml"
    path.write_bytes(b"\xef\xbb\xbfname: a\n")
    assert read_config(Sample, path).name == "a"


def test_the_file_is_named_in_its_errors(tmp_path: Path) -> None:
    path = tmp_path / "pipeline.yaml"
    path.write_text("epochs: 1\n")
    with pytest.raises(ConfigError, match="is missing") as caught:
        read_config(Sample, path)
    assert caught.value.source == str(path)
