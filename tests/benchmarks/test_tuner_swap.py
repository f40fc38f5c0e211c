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


def test_rsa_gives_every_bit_back(tmp_path: Path) -> None:
    out = tmp_path / "swap.json"
    command = f"{out} --shape tiny --devices cpu --rank 2 --most 4 --families rsa --ways set_adapter merge reload"
    tuner_swap.main(command.split())
    records = json.loads(out.read_text())["records"]
    assert [(one["way"], one["error"]) for one in records] == [
        (way, None) for way in ("set_adapter", "merge", "reload")
    ]
    assert all(one[key]["bit_equal"] for one in records for key in ("weights_of_one", "base"))
    assert all(one["same_logits"] for one in records)
    assert [one["resident_layers"] for one in records] == [28, 0, 28]


def test_what_fails_is_a_record_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("no such switch")

    monkeypatch.setattr(tuner_swap.Served, "set_adapter", refuse)
    out = tmp_path / "swap.json"
    command = f"{out} --shape tiny --devices cpu --rank 2 --families lora --ways set_adapter"
    tuner_swap.main(command.split())
    (found,) = json.loads(out.read_text())["records"]
    assert found["error"] == "RuntimeError: no such switch"
