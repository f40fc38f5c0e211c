"""One cell, trained for real on a tiny model: what it writes, repeats, refuses."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from rsa_ops.core.cell import Cell
from rsa_ops.core.digest import digest_bytes
from rsa_ops.core.measurements import Measurements
from rsa_ops.errors import CellFailed, IntegrityError, MissingError
from rsa_ops.files import digest_folder, folder_bytes, read_record
from rsa_ops.models import heads
from rsa_ops.models.base import resolve_base
from rsa_ops.models.task import ModelConfig
from rsa_ops.models.trained import load_trained, read_spec
from rsa_ops.training.cell import ARTIFACT, HISTORY, MEASUREMENTS, SCORE_MAP, SELECTION, TrainTask, train_cell
from rsa_ops.training.config import ArmConfig, TrainConfig

ROWS = 20
ARMS = {
    "rsa": {"method": "rsa", "learning_rate": 1e-2, "options": {"density": 0.1}},
    "lora": {"method": "lora", "learning_rate": 1e-2, "options": {"r": 2}},
    "full": {"method": "full", "learning_rate": 1e-3},
}
Trainer = Callable[..., tuple[Measurements, Path]]


@pytest.fixture
def train(encoder: Path, causal: Path, tmp_path: Path) -> Trainer:
    def run(arm: str, seed: int = 1, *, task: Any = "classification", **more: Any) -> tuple[Measurements, Path]:
        base = encoder if task == "classification" else causal
        table = pd.DataFrame(
            {
                "text": [f"word{n} " + "attack " * (n % 5) for n in range(ROWS)],
                "label": ["ab"[n % 2] if task == "classification" else f"remote word{n}" for n in range(ROWS)],
            }
        )
        table.to_parquet(tmp_path / "train.parquet")
        arms = {name: ArmConfig.model_validate({**ARMS[name], **more.get(name, {})}) for name in ARMS}
        job = TrainTask(
            cell=Cell(arm=arm, seed=seed),
            arm=arms[arm],
            train=TrainConfig(arms=arms, seeds=(seed,), epochs=2, batch_size=4, effort="none"),
            model=ModelConfig(base=str(base), max_length=16, prompt="{text} Report :"),
            task=task,
            labels=("a", "b") if task == "classification" else (),
            train_file=tmp_path / "train.parquet",
            data_digest=digest_bytes(b"data"),
            base_digest=more.get("base_digest", resolve_base(str(base)).digest),
            workers=1,
            threads=1,
            tries=more.get("tries"),
        )
        out = tmp_path / f"{arm}-{seed}-{len(list(tmp_path.iterdir()))}"
        out.mkdir()
        seen: list[float] = []
        measured = train_cell(job, out, lambda share, words: seen.append(share))
        assert seen == pytest.approx([(step + 1) / 10 for step in range(10)])  # 20 rows, batches of 4, 2 epochs
        return measured, out

    return run


@pytest.mark.parametrize("task", ["classification", "generation"])
@pytest.mark.parametrize("arm", list(ARMS))
def test_a_cell_writes_an_artifact_that_loads_and_what_it_took(train: Trainer, arm: str, task: Any) -> None:
    measured, out = train(arm, task=task)
    assert read_record(Measurements, out / MEASUREMENTS) == measured
    assert measured.artifact_digest == digest_folder(out / ARTIFACT)
    assert measured.artifact_bytes == folder_bytes(out / ARTIFACT)
    assert (measured.steps, measured.examples, measured.epochs) == (10, ROWS, 2)
    assert measured.wall_seconds > 0
    assert 0 < measured.trainable_parameters <= measured.total_parameters
    assert (measured.trainable_parameters == measured.total_parameters) is (arm == "full")
    assert (measured.selection_seconds > 0) is (arm == "rsa")
    history = pd.read_csv(out / HISTORY)
    assert history["step"].tolist() == list(range(1, 11))
    loaded, spec = load_trained(out / ARTIFACT, device="cpu")
    assert (spec.cell, spec.is_adapter) == (measured.cell, arm != "full")
    ids = torch.tensor([[4, 6, 7, 8]])
    assert torch.isfinite(loaded.model(ids).logits).all()


def test_a_cell_that_is_trained_again_counts_the_trainings_before(train: Trainer, tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    first, second = (train("lora", tries=marks)[0] for _ in range(2))
    assert (first.attempts, first.failed_seconds) == (1, 0.0)
    assert second.attempts == 2
    assert second.failed_seconds is not None
    assert 0 < second.failed_seconds < 60
    assert train("lora")[0].attempts == 1  # without marks nothing is counted


@pytest.mark.parametrize("arm", list(ARMS))
def test_the_seed_decides_every_byte(train: Trainer, arm: str) -> None:
    one, same, other = (train(arm, seed)[0].artifact_digest for seed in (1, 1, 2))
    assert one == same
    assert one != other


@pytest.mark.parametrize("arm", ["rsa", "lora"])
def test_an_adapter_never_carries_the_base(train: Trainer, encoder: Path, arm: str) -> None:
    _, out = train(arm)
    base = load_file(encoder / "model.safetensors")
    largest = max(value.numel() for value in base.values())
    for name, value in load_file(out / ARTIFACT / "adapter_model.safetensors").items():
        assert (
            "adapter" in name or "lora" in name or "classifier" in name or "robust_sparse" in name or "rsa" in name
        ), name
        assert value.numel() < largest
        for other in base.values():
            assert value.shape != other.shape or not torch.equal(value, other)


@pytest.mark.parametrize("arm", list(ARMS))
def test_the_base_is_left_as_it_was(train: Trainer, encoder: Path, arm: str) -> None:
    before = resolve_base(str(encoder)).digest
    train(arm)
    assert resolve_base(str(encoder)).digest == before


def test_a_cell_leaves_its_files_and_no_other(
    train: Trainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    _, out = train("full")
    assert {file.name for file in out.iterdir()} == {ARTIFACT, MEASUREMENTS, HISTORY}
    assert list(scratch.iterdir()) == []


def test_an_rsa_cell_keeps_what_it_chose_and_a_score_map_to_start_warm_from(train: Trainer) -> None:
    from rsa_ops.tuners.rsa.scoremaps import load_scores

    _, out = train("rsa")
    report = json.loads((out / SELECTION).read_text())
    assert report["scoring"] == "relative"
    assert {module["name"] for module in report["modules"]} == set(load_scores(out / SCORE_MAP))
    assert all(0 <= module["stability"] <= 1 for module in report["modules"])


def test_a_flag_of_robustness_that_cannot_work_ends_the_cell_with_the_place_to_look(train: Trainer) -> None:
    with pytest.raises(CellFailed, match=r"needs? slice ids|slice_ids") as caught:
        train("rsa", rsa={"robustness": {"worst_slice": 0.1}})
    assert "train.arms.rsa.robustness" in str(caught.value.hint)


@pytest.mark.parametrize("arm", list(ARMS))
def test_a_cell_says_with_which_effort_it_was_trained(train: Trainer, arm: str) -> None:
    measured, out = train(arm)
    assert (measured.effort, measured.epochs, measured.learning_rate) == ("none", 2, ARMS[arm]["learning_rate"])
    assert (measured.method, measured.workers, measured.threads) == (ARMS[arm]["method"], 1, 1)
    assert measured.device == ("CPU, 1 thread" if not torch.cuda.is_available() else torch.cuda.get_device_name())
    # word{n} and n % 5 times "attack", between [CLS] and [SEP]; twice over 20 rows
    assert measured.tokens == 2 * sum(3 + n % 5 for n in range(ROWS))
    assert measured.final_loss == pytest.approx(pd.read_csv(out / HISTORY)["loss"].mean(), rel=1e-4)


def test_the_rate_warms_up_and_falls_in_a_line(train: Trainer) -> None:
    # Ten steps, a warm-up of .06 x 10 rounded up to one: 0 at first, then 9/9, 8/9, ... of the rate; the step
    # that follows is logged. (transformers' linear schedule.)
    _, out = train("lora")
    peak = ARMS["lora"]["learning_rate"]
    assert pd.read_csv(out / HISTORY)["learning_rate"].tolist() == pytest.approx(
        [0.0, *(peak * (10 - step) / 9 for step in range(1, 10))]
    )


@pytest.mark.parametrize("arm", list(ARMS))
def test_training_lowers_the_loss(train: Trainer, arm: str) -> None:
    # Random weights guess among 52 tokens: ln 52. The answer is `remote`, one of 20 words and the end.
    rate = 6e-2 if arm == "rsa" else 2e-2
    _, out = train(arm, task="generation", **{arm: {"learning_rate": rate}})
    losses = pd.read_csv(out / HISTORY)["loss"]
    assert losses.iloc[0] == pytest.approx(math.log(52), rel=0.05)
    assert losses.iloc[-3:].mean() < losses.iloc[0] - (1.0 if arm == "full" else 0.1)


def test_a_loss_that_is_no_number_ends_the_cell_with_its_step(
    train: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # AdamW's steps are bounded, so no learning rate overflows so small a model; a division by zero stands in.
    scale = heads.normalize
    monkeypatch.setattr(heads, "normalize", lambda value, dim: scale(value, dim=dim) * float("nan"))
    with pytest.raises(CellFailed, match=r"full-s1: the loss became nan at step 1") as caught:
        train("full")
    assert "learning_rate" in caught.value.hint


def test_a_base_of_another_digest_is_refused(train: Trainer) -> None:
    with pytest.raises(IntegrityError, match="was declared"):
        train("lora", base_digest=digest_bytes(b"another"))


def test_an_artifact_without_its_weights_is_refused(train: Trainer) -> None:
    _, out = train("lora")
    (out / ARTIFACT / "adapter_model.safetensors").unlink()
    with pytest.raises(MissingError, match=r"has no adapter_model\.safetensors"):
        read_spec(out / ARTIFACT)


def test_an_adapter_on_another_base_is_refused(train: Trainer, make_encoder: Callable[..., Path]) -> None:
    _, out = train("rsa")
    with pytest.raises(IntegrityError, match="was declared"):
        load_trained(out / ARTIFACT, device="cpu", base=str(make_encoder(seed=5)))
