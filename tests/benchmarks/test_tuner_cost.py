"""The ratio table of the tuner's cost, by hand; and the script itself on a tiny model."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import torch
import tuner_cost
from llama_shapes import SHAPES, build
from tuner_cost_ratios import TARGETS, drift, ratios, ratios_as_text, rows_as_text, summary
from tuner_cost_rows import ALL, GROUPS, ROWS, chosen, miss_rank, sparsity, top_layers, top_rank

TINY = ["--shapes", "tiny", "--batches", "2x8", "--rank", "2", "--device", "cpu"]


def record(row: str, steps: list[float], peak: int | None, **other: Any) -> dict[str, Any]:
    return {
        "row": row,
        "steps_ms": steps,
        "ms": median(steps) if steps else None,
        "peak_bytes": peak,
        "leftover_bytes": None,
        "launches": 1234,
        "trainable": 11_272_192,
        "error": None,
        "card": "NVIDIA H100 80GB HBM3",
        "card_id": "0a1b2c3d",
        "shape": "1b",
        "batch": "8x1024",
        "checkpointing": False,
        "compiled": False,
        **other,
    }


def test_a_ratio_is_that_of_the_medians_over_all_repeats_and_of_the_largest_peaks() -> None:
    records = [
        record("floor", [60.0, 61.0, 62.0], 830),
        record("rsa", [80.0, 82.0, 84.0], 840),
        record("lora-bf16", [100.0, 102.0, 104.0], 1000),
        record("lora-bf16", [110.0, 112.0, 114.0], 900),
    ]
    (found,) = [one for one in ratios(records) if one["ratio"] == "rsa / lora-bf16"]
    # The six times of LoRA have the median (104 + 110) / 2 = 107; 82 / 107 = 0.7664 and 61 / 107 = 0.5701.
    assert (found["time"], found["time_target"], found["time_met"]) == (0.766, 0.80, True)
    assert (found["memory"], found["memory_target"], found["memory_met"]) == (0.84, 0.84, True)
    assert (found["time_of_floor"], found["memory_of_floor"]) == (0.570, 0.83)


def test_a_missed_target_is_said_to_be_missed() -> None:
    records = [record("rsa", [106.0], 102), record("floor", [100.0], 100)]
    (found,) = ratios(records)
    assert (found["ratio"], found["time"], found["time_met"]) == ("rsa / floor", 1.06, False)
    assert (found["memory"], found["memory_met"]) == (1.02, False)


@pytest.mark.parametrize("apart", [{"card_id": "other"}, {"batch": "1x512"}, {"compiled": True}, {"error": "OOM"}])
def test_rows_that_were_not_measured_alike_are_not_divided(apart: dict[str, Any]) -> None:
    assert ratios([record("rsa", [80.0], 1), record("lora-bf16", [100.0], 1, **apart)]) == []


def test_another_shape_has_ratios_without_targets() -> None:
    (found,) = ratios([record("rsa", [80.0], 1, shape="3b"), record("full", [100.0], 4, shape="3b")])
    assert (found["time"], found["time_target"], found["time_met"]) == (0.8, None, None)


def test_the_targets_are_those_that_were_promised() -> None:
    promised = {target.name: (target.time, target.memory) for target in TARGETS if target.time is not None}
    assert promised == {
        "rsa / lora-bf16": (0.80, 0.84),
        "rsa / lora": (0.56, 0.60),
        "rsa / shira": (0.79, 0.75),
        "rsa / miss": (0.62, 1.00),
        "rsa / full": (0.83, 0.60),
        "rsa / lora-bf16 ckpt": (0.78, 1.02),
        "rsa / lora-bf16 compiled": (0.84, 0.72),
        "rsa / floor": (1.05, 1.01),
        # One promise, of a second configuration: whichever of the two keeps it, with its quality.
        "rsa-depth-55 / lora-bf16": (0.60, 0.65),
        "rsa-depth-50 / lora-bf16": (0.60, 0.65),
    }
    assert {name for target in TARGETS for name in (target.row, target.other)} <= set(ROWS)


def test_what_earlier_rows_left_on_the_card_is_no_part_of_a_peak() -> None:
    left = {**record("rsa", [1.0], 50), "leftover_bytes": 20}
    assert summary([left]) == (1.0, 30)


def test_drift_is_the_last_repeat_over_the_first() -> None:
    records = [record("floor", [100.0], 1), record("rsa", [50.0], 1), record("floor", [103.0], 1)]
    assert drift(records) == {"0a1b2c3d floor, 1b 8x1024": 1.03}


def test_the_tables_fit_80_columns() -> None:
    wide = [record(row.name, [12345.6], 79 << 30) for row in ALL]
    wide += [record(row.name, [12345.6], 79 << 30, checkpointing=True, compiled=True) for row in ALL]
    wide.append(record("floor", [], None, error="OutOfMemoryError: " + "x" * 200, batch="1x512"))
    lines = [*rows_as_text(wide), *ratios_as_text(ratios(wide))]
    assert max(len(line) for one in lines for line in one.splitlines()) <= 80


def test_budgets_are_those_of_lora() -> None:
    one = SHAPES["1b"]
    # q and o 2048 x 2048, k and v 2048 x 512, gate, up and down 2048 x 8192: 44,032 inputs and outputs a layer.
    assert one.lora_parameters(16) == 16 * 44_032 * 16 == 11_272_192
    assert top_layers(one, 0.5) == list(range(8, 16))
    assert top_rank(one, 16, 0.5) == 32
    assert miss_rank(one, 16) == 32  # 29.9 would be equal; 32 is the nearest that divides 2048
    # 60,817,408 weights a layer, of which 704,512 learn.
    assert sparsity(one, 16) == pytest.approx(1 - 704_512 / 60_817_408)


def test_rows_are_chosen_by_name_and_by_group() -> None:
    assert [row.name for row in chosen(["rsa", "floor"])] == ["floor", "rsa"]
    assert {row.group for row in chosen(["all"])} == set(GROUPS)
    assert chosen([]) == []
    with pytest.raises(SystemExit, match="no row or group 'lara'"):
        chosen(["lara"])


def test_below_the_lowest_adapter_nothing_is_kept_even_when_checkpointing() -> None:
    setting = tuner_cost.Setting("tiny", (1, 4), checkpointing=True, compiled=False, device="cpu", rank=2)
    model = tuner_cost.prepare(ROWS["rsa-depth-50"], build(SHAPES["tiny"], "cpu"), setting)
    learns: list[bool] = []
    for layer in model.base_model.model.model.layers:
        layer.register_forward_hook(lambda _, __, out: learns.append(out.requires_grad))
    model(input_ids=torch.ones(1, 4, dtype=torch.long))
    assert learns == [False, False, True, True]


def test_two_rows_of_a_tiny_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "cost.json"
    tuner_cost.main([str(out), *TINY, "--rows", "floor", "rsa", "--repeat", "floor"])
    found = json.loads(out.read_text())
    assert [one["row"] for one in found["records"]] == ["floor", "rsa", "floor"]
    assert [one["error"] for one in found["records"]] == [None] * 3
    rsa = found["records"][1]
    assert len(rsa["steps_ms"]) == 8
    assert rsa["losses"][1] < rsa["losses"][0]
    assert rsa["trainable"] == SHAPES["tiny"].lora_parameters(2)
    assert rsa["resident_layers"] == rsa["rsa_layers"] == 28
    assert {"torch", "peft", "transformers"} <= set(rsa["versions"])
    assert list(found["drift"]) == ["cpu floor, tiny 2x8"]
    assert "rsa / floor" in capsys.readouterr().out


def test_parts_are_put_together_and_a_row_that_fails_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuner_cost, "STEPS", 2)
    one, two, both = (str(tmp_path / name) for name in ("one.json", "two.json", "both.json"))
    tuner_cost.main([one, *TINY, "--rows", "lora-bf16", "--repeat"])
    tuner_cost.main([two, *TINY, "--rows", "rsa", "--repeat", "--rank", "4096"])
    tuner_cost.main([two, *TINY, "--rows", "rsa", "--repeat", "--append"])
    tuner_cost.main([both, "--rows", "--append", one, two])
    found = json.loads(Path(both).read_text())
    assert [(r["row"], r["rank"]) for r in found["records"]] == [("lora-bf16", 2), ("rsa", 4096), ("rsa", 2)]
    assert found["records"][1]["error"].startswith("ValueError: RsaConfig.r=4096")
    assert [one["ratio"] for one in found["ratios"]] == ["rsa / lora-bf16"]


def test_what_the_limit_leaves_out_is_named(tmp_path: Path) -> None:
    out = tmp_path / "cost.json"
    tuner_cost.main([str(out), *TINY, "--rows", "floor", "--repeat", "--limit", "-1"])
    found = json.loads(out.read_text())
    assert (found["records"], found["not_run"]) == ([], ["floor, tiny 2x8"])
