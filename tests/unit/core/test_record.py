"""Records: what is written is read back, and nothing else is."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, ValidationError

from rsa_ops.core import benchmark, comparison, costs, design, measurements, plan, run_record, validation, verdict
from rsa_ops.core.cell import Cell
from rsa_ops.core.money import Money
from rsa_ops.core.record import Record
from rsa_ops.errors import ExitCode, IntegrityError
from rsa_ops.stats import (
    BernoulliEProcess,
    BettingEProcess,
    ConfidenceSequence,
    EProcess,
    RolloutDecision,
    SampleRatio,
)


class Sample(Record):
    """A record of every kind of field that the real ones have."""

    schema_: Literal["rsa_ops/sample/v1"] = Field(default="rsa_ops/sample/v1", alias="schema")

    name: str
    count: int
    share: float
    price: Decimal
    cells: tuple[Cell, ...] = ()
    scores: dict[str, float] = Field(default_factory=dict)
    note: str | None = None


TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
SAMPLES = st.builds(
    Sample,
    name=TEXT,
    count=st.integers(-(2**53) + 1, 2**53 - 1),
    share=st.floats(allow_nan=False, allow_infinity=False),
    price=st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**9), max_value=10**9),
    cells=st.lists(st.builds(Cell, arm=TEXT, seed=st.integers(0, 9)), max_size=3).map(tuple),
    scores=st.dictionaries(TEXT, st.floats(0, 1), max_size=3),
    note=st.none() | TEXT,
)
ONE = Sample(name="a", count=1, share=0.5, price=Decimal("1.10"), cells=(Cell(arm="rsa", seed=1),))
RECORDS = (
    benchmark.BaseScores, benchmark.CellScores, comparison.Comparison, costs.Tco, design.ComparisonDesign,
    measurements.Measurements, plan.ComparisonPlan, run_record.RunRecord, validation.Validation, verdict.Verdict,
    EProcess, BernoulliEProcess, BettingEProcess, ConfidenceSequence, SampleRatio, RolloutDecision,
)  # fmt: skip


@given(SAMPLES)
def test_a_record_read_back_equals_the_one_written(record: Sample) -> None:
    again = Sample.from_json(record.to_json(), "here")
    assert again == record
    assert again.digest() == record.digest()


@given(SAMPLES, SAMPLES)
def test_records_share_a_digest_only_when_they_are_equal(one: Sample, other: Sample) -> None:
    # Decimal("1.0") == Decimal("1.00"), but the file says which it was; so compare what the files say.
    assert (one.digest() == other.digest()) == (one.model_dump(mode="json") == other.model_dump(mode="json"))


@pytest.mark.parametrize(
    "change",
    [{"name": "b"}, {"count": 2}, {"share": 0.25}, {"price": "1.11"}, {"cells": []}, {"scores": {"x": 1.0}},
     {"note": ""}],
)  # fmt: skip
def test_any_changed_field_changes_the_digest(change: dict[str, object]) -> None:
    changed = Sample.from_json(json.dumps({**json.loads(ONE.to_json()), **change}), "here")
    assert changed.digest() != ONE.digest()


def test_the_digest_does_not_depend_on_the_order_or_layout_of_the_file() -> None:
    fields = json.loads(ONE.to_json())
    turned = json.dumps({key: fields[key] for key in reversed(fields)})
    assert Sample.from_json(turned, "here").digest() == ONE.digest()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"extra": 1}, "extra"),
        ({"schema": "rsa_ops/sample/v2"}, "schema"),
        ({"count": "1"}, "count"),
        ({"count": 1.5}, "count"),
        ({"count": True}, "count"),
        ({"name": None}, "name"),
        ({"share": float("nan")}, "share"),
        ({"share": float("inf")}, "share"),
        ({"scores": {"accuracy": float("nan")}}, "scores.accuracy"),
        ({"price": "NaN"}, "price"),
        ({"cells": [{"arm": "a"}]}, "cells.0.seed"),
    ],
)
def test_a_file_that_is_no_such_record_is_refused_with_the_place(change: dict[str, object], named: str) -> None:
    text = json.dumps({**json.loads(ONE.to_json()), **change})
    with pytest.raises(IntegrityError) as caught:
        Sample.from_json(text, "sample.json")
    assert caught.value.message.startswith(f"sample.json is not a rsa_ops/sample/v1 record: {named}: ")
    assert caught.value.hint


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", b"\xff\xfe", '{"a":1}{"a":1}'])
def test_what_is_no_json_object_is_refused(text: str | bytes) -> None:
    with pytest.raises(IntegrityError):
        Sample.from_json(text, "sample.json")


def test_a_file_without_its_schema_is_no_record() -> None:
    fields = json.loads(ONE.to_json())
    del fields["schema"]
    with pytest.raises(IntegrityError, match="schema"):
        Sample.from_json(json.dumps(fields), "sample.json")


def test_nan_cannot_be_put_into_a_record() -> None:
    with pytest.raises(ValidationError):
        Sample(name="a", count=1, share=float("nan"), price=Decimal(1))
    with pytest.raises(ValidationError):
        Money(amount=Decimal("NaN"), currency="JPY")


def test_a_record_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        ONE.name = "b"  # type: ignore[misc]


@pytest.mark.parametrize("kind", RECORDS)
def test_the_schema_name_comes_first_in_every_file(kind: type[Record]) -> None:
    assert next(iter(kind.model_fields)) == "schema_"
    assert kind.model_fields["schema_"].alias == "schema"
    assert re.fullmatch(r"rsa_ops/[a-z-]+/v[1-9]", kind.schema_name())


def test_every_schema_of_a_record_stands_in_the_list_of_formats() -> None:
    told = (Path(__file__).parents[3] / "docs" / "formats.md").read_text(encoding="utf-8")
    assert [kind.schema_name() for kind in RECORDS if f"`{kind.schema_name()}`" not in told] == []


def test_the_json_of_a_record_starts_with_its_schema_and_ends_with_a_newline() -> None:
    assert ONE.to_json().startswith('{\n  "schema": "rsa_ops/sample/v1",\n')
    assert ONE.to_json().endswith("}\n")


def test_no_two_records_share_a_schema_name() -> None:
    names = [kind.schema_name() for kind in RECORDS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("outcome", "code"),  # DESIGN.md section 5
    [("promote", ExitCode.DONE), ("reject", 4), ("inconclusive", 5), ("error", 6)],
)
def test_the_exit_code_of_a_verdict_is_the_designs(outcome: str, code: int) -> None:
    digest = "sha256:" + "0" * 64
    made = verdict.Verdict(
        outcome=verdict.Outcome(outcome), sentence="", candidate="rsa", baselines=("full",), rulings=(),
        policy="p", policy_digest=digest, test_digest=digest, candidate_digest=digest, champion_digest=None,
    )  # fmt: skip
    assert made.exit_code == code


@given(TEXT, TEXT, st.integers(-9, 99), st.integers(-9, 99))
def test_two_cells_share_a_name_only_when_they_are_equal(arm: str, other: str, seed: int, other_seed: int) -> None:
    one, two = Cell(arm=arm, seed=seed), Cell(arm=other, seed=other_seed)
    assert (one.name == two.name) == (one == two)
