"""docs/tuner.md says what the committed records say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tuner_doc
import tuner_swap
from tuner_cost_ratios import GIB, ratios


def test_every_table_of_the_page_is_made_from_the_committed_records():
    page = tuner_doc.PAGE.read_text(encoding="utf-8")
    assert tuner_doc.written(page) == page


def test_every_picture_of_the_page_is_there():
    page = tuner_doc.PAGE.read_text(encoding="utf-8")
    named = {part.split(")")[0] for part in page.split("](images/")[1:]}
    assert named
    assert all((tuner_doc.PAGE.parent / "images" / name).is_file() for name in named)


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in the place of the committed results."""
    monkeypatch.setattr(tuner_doc, "RESULTS", tmp_path)
    return tmp_path


def cost(row: str, ms: float, gib: float, **facts: Any) -> dict[str, Any]:
    """A record as tuner_cost.py writes it, as far as the tables read it."""
    return {
        "row": row,
        "shape": "1b",
        "batch": "8x1024",
        "checkpointing": False,
        "compiled": False,
        "card": "H100",
        "card_id": "a",
        "error": None,
        "leftover_bytes": 0,
        "peak_bytes": int(gib * GIB),
        "steps_ms": [ms],
        "trainable": 2_000_000,
        **facts,
    }


def put(folder: Path, records: list[dict[str, Any]]) -> None:
    (folder / "tuner_cost.json").write_text(json.dumps({"ratios": ratios(records), "records": records}))


SETTINGS = {
    "cost-1b-compiled": {"compiled": True},
    "cost-1b-small": {"batch": "1x512"},
    "cost-3b": {"shape": "3b"},
}


@pytest.mark.parametrize("table", list(SETTINGS))
def test_a_setting_has_its_rows_over_its_own_floor_and_says_when_it_has_none(table, results):
    facts = SETTINGS[table]
    put(results, [cost("floor", 100.0, 10.0), cost("rsa", 104.0, 10.0)])
    head, rows = tuner_doc.TABLES[table]()
    assert rows == [["not measured yet", *[""] * (len(head) - 1)]]
    put(results, [cost("floor", 100.0, 10.0), cost("floor", 40.0, 8.0, **facts), cost("rsa", 50.0, 10.0, **facts)])
    _, rows = tuner_doc.TABLES[table]()
    assert rows == [
        ["floor", "40.0", "1.000", "8.00", "1.000", "2.00"],
        ["rsa", "50.0", "1.250", "10.00", "1.250", "2.00"],
    ]


def test_other_shapes_and_batches_have_ratios_without_targets(results):
    first = [cost("rsa", 90.0, 9.0), cost("lora-bf16", 100.0, 10.0)]
    put(results, first)
    assert tuner_doc.other_ratio_table()[1] == [["not measured yet", "", "", ""]]
    small = [cost(row, ms, 1.0, batch="1x512") for row, ms in (("rsa", 10.0), ("lora-bf16", 20.0))]
    put(results, [*first, *small, *(one | {"shape": "3b", "compiled": True} for one in small)])
    # 0.90 of the time and of the memory are above the targets of issue 3, 0.80 and 0.84.
    assert tuner_doc.ratio_table()[1] == [
        ["rsa / lora-bf16", "**0.900 (0.80) missed**", "0.900", "**0.900 (0.84) missed**"]
    ]
    assert tuner_doc.other_ratio_table()[1] == [
        ["rsa / lora-bf16, 1b 1x512", "0.500", "0.500", "1.000"],
        ["rsa / lora-bf16 compiled, 3b 1x512", "0.500", "0.500", "1.000"],
    ]


def test_rows_of_two_cards_are_never_divided_by_each_other(results):
    again = [cost(row, ms, 5.0, card_id="b") for row, ms in (("floor", 50.0), ("rsa", 60.0), ("lora", 90.0))]
    put(results, [cost("floor", 100.0, 10.0), cost("rsa", 104.0, 10.0), *again])
    rows = tuner_doc.cost_table("1b 8x1024")[1]
    assert [row[:3] for row in rows] == [
        ["floor", "50.0", "1.000"],
        ["rsa", "60.0", "1.200"],
        ["lora", "90.0", "1.800"],
    ]


def test_the_swap_is_not_measured_until_its_record_is_there(results):
    assert not (results / "tuner_swap.json").exists()
    head, rows = tuner_doc.swap_table()
    assert head[0] == "method and way"
    assert rows == [["not measured yet", *[""] * (len(head) - 1)]]


def swap(**facts: Any) -> dict[str, Any]:
    taken = {"switch": 3.0, "first_token": 23.0, "forward": 20.0}
    times = {part: {"ms": ms, "quartiles": [ms - 1, ms + 2], "times": 40} for part, ms in taken.items()}
    return {
        "family": "rsa",
        "way": "set_adapter",
        "card": "H100",
        "shape": "1b",
        "versions": {"torch": "2.11", "peft": "0.21"},
        "error": None,
        "calls": 350,
        "launches": 360,
        "base": {"bit_equal": True, "differing_share": 0.0},
        **times,
        **facts,
    }


def test_a_switch_is_a_row_with_quartiles_kernels_and_bits(results):
    worse = swap(family="lora", way="merge", launches=None, base={"bit_equal": False, "differing_share": 0.0512})
    failed = {key: swap()[key] for key in ("family", "card", "shape", "versions")}
    failed |= {"way": "reload", "error": "OSError: no file\nmore"}
    (results / "tuner_swap.json").write_text(json.dumps({"records": [swap(), worse, failed]}))
    head, rows = tuner_doc.swap_table()
    assert head[0] == "method and way (H100, torch 2.11, PEFT 0.21, 1b)"
    times = ["3.00 (2.00 to 5.00)", "23.00 (22.00 to 25.00)", "20.00 (19.00 to 22.00)"]
    assert rows == [
        ["rsa set_adapter", *times, "360", "40", "equal"],
        ["lora merge", *times, "350 calls", "40", "5.1% off"],
        ["rsa reload", "failed", "", "", "", "", "OSError: no file"],
    ]


def test_what_the_benchmark_writes_is_what_the_table_reads(results):
    out = results / "tuner_swap.json"
    command = f"{out} --shape tiny --devices cpu --rank 2 --most 4 --families rsa lora --ways set_adapter"
    tuner_swap.main(command.split())
    head, rows = tuner_doc.swap_table()
    assert head[0].endswith(", tiny)")
    assert [(row[0], row[-1]) for row in rows] == [("rsa set_adapter", "equal"), ("lora set_adapter", "equal")]
    assert all(len(row) == len(head) for row in rows)
