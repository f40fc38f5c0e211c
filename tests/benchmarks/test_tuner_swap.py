"""Switching adapters on a tiny model: the bits are compared, and RSA's come back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import tuner_swap


def test_a_difference_is_counted_entry_by_entry() -> None:
    one = {"x": torch.zeros(2, 3), "y": torch.ones(4)}
    other = {"x": torch.tensor([[0.0, 0.5, 0.0], [0.0, 0.0, -2.0]]), "y": torch.ones(4)}
    assert tuner_swap.difference(one, other) == {
        "bit_equal": False,
        "differing_share": 0.2,  # 2 of 10 entries
        "largest_difference": 2.0,
    }
    assert tuner_swap.difference(one, dict(one))["bit_equal"]


def test_every_repetition_ends_on_the_first_adapter() -> None:
    seen: list[str] = []
    found = tuner_swap.repeated(seen.append, "cpu", most=5, seconds=60)
    assert seen == ["two", "one"] * 3
    assert found["times"] == 6


def test_a_time_is_the_median_of_the_switches_between_its_quartiles(monkeypatch: pytest.MonkeyPatch) -> None:
    # The clock is read once for the end, then before and after each switch: 1, 2, 4 and 8 ms.
    readings = iter([0.0, *(t for ms in (1, 2, 4, 8) for t in (0.0, ms / 1000))])
    monkeypatch.setattr(tuner_swap.time, "perf_counter", lambda: next(readings))
    found = tuner_swap.repeated(lambda _: None, "cpu", most=4, seconds=60)
    # Linear interpolation between order statistics, as numpy.percentile([1, 2, 4, 8], [25, 50, 75]) has it.
    assert (found["ms"], found["quartiles"]) == (3.0, [1.75, 5.0])
    assert (found["ms_least"], found["ms_most"], found["times"]) == (1.0, 8.0, 4)


def test_operators_are_counted_and_views_are_not() -> None:
    seen: list[str] = []
    x = torch.zeros(2, 3)

    def action(name: str) -> None:
        seen.append(name)
        x.view(-1).add_(1).view(3, 2).t().mul_(2)

    assert tuner_swap.counted(action, "cpu") == {"calls": 2, "launches": None}
    assert seen == ["two", "one"]


def test_rsa_gives_every_bit_back(tmp_path: Path) -> None:
    out = tmp_path / "swap.json"
    command = (
        f"{out} --shape tiny --devices cpu --rank 2 --most 4 --families rsa --ways set_adapter merge reload hotswap"
    )
    tuner_swap.main(command.split())
    records = json.loads(out.read_text())["records"]
    ways = ("set_adapter", "reload", "merge", "hotswap")
    assert sorted((one["way"], one["error"]) for one in records) == sorted((way, None) for way in ways)
    assert all(one[key]["bit_equal"] for one in records for key in ("weights_of_one", "base"))
    assert all(one["same_logits"] for one in records)
    resident = {"set_adapter": 28, "reload": 28, "merge": 0, "hotswap": 28}
    assert {one["way"]: one["resident_layers"] for one in records} == resident
    for one in records:
        assert one["card_id"] == "cpu"
        assert {"python", "torch", "peft", "transformers"} <= set(one["versions"])
        for part in ("switch", "first_token", "forward"):
            low, high = one[part]["quartiles"]
            assert 0 < low <= one[part]["ms"] <= high
            assert one[part]["times"] == 4
    # Of 28 layers: each leaves, is read and is written; what is left over is the same for any number of them.
    switch = next(one for one in records if one["way"] == "set_adapter")
    assert 3 * 28 <= switch["calls"] < 3 * 28 + 28


def test_what_fails_is_a_record_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("no such switch")

    monkeypatch.setattr(tuner_swap.Served, "set_adapter", refuse)
    out = tmp_path / "swap.json"
    command = f"{out} --shape tiny --devices cpu --rank 2 --families lora --ways set_adapter"
    tuner_swap.main(command.split())
    (found,) = json.loads(out.read_text())["records"]
    assert found["error"] == "RuntimeError: no such switch"
