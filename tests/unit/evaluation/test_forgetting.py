"""Forgetting: zero where nothing was learnt, the sum of single sentences, and what a cell's record says of it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from rsa_ops.core.cell import Cell
from rsa_ops.core.digest import digest_bytes
from rsa_ops.errors import CellFailed, IntegrityError
from rsa_ops.evaluation.base import BASE, BaseTask, benchmark_base
from rsa_ops.evaluation.benchmark import BenchmarkTask, benchmark_cell
from rsa_ops.evaluation.config import BenchmarkConfig
from rsa_ops.evaluation.forgetting import Reading, forgetting, general_text, read_general_text, text_digest
from rsa_ops.evaluation.noop import base_side
from rsa_ops.models.base import resolve_base
from rsa_ops.models.task import LoadedModel, ModelConfig, load_base_model, load_tokenizer
from rsa_ops.models.trained import TrainedModel, load_trained
from rsa_ops.training.arms import apply_arm
from rsa_ops.training.cell import ARTIFACT, TrainTask, train_cell
from rsa_ops.training.config import ArmConfig, TrainConfig

ARMS = {
    "rsa": ArmConfig(method="rsa", learning_rate=2e-2, options={"density": 0.2}),
    "lora": ArmConfig(method="lora", learning_rate=2e-2, options={"r": 2}),
    "full": ArmConfig(method="full", learning_rate=2e-2),
}
TASKS = ("classification", "generation")
LABELS = {"classification": ("a", "b"), "generation": ()}


@pytest.fixture
def bases(encoder: Path, causal: Path) -> dict[str, Path]:
    return {"classification": encoder, "generation": causal}


def config(base: Path) -> ModelConfig:
    return ModelConfig(base=str(base), max_length=16, max_new_tokens=4, prompt="{text} Report :")


def loaded(task: Any, base: Path, arm: str | None) -> tuple[LoadedModel, TrainedModel]:
    """The base as it is, or under an untrained arm."""
    model = load_base_model(base, config(base), task, LABELS[task], seed=0)
    if arm is not None:
        model, _ = apply_arm(model, ARMS[arm], arm, task, seed=0)
    spec = TrainedModel(
        cell=Cell(arm=arm or "full", seed=0),
        method=arm or "full",
        task=task,
        model=config(base),
        base_digest=resolve_base(str(base)).digest,
        labels=LABELS[task],
        data_digest=digest_bytes(b""),
    )
    return LoadedModel(model.eval(), load_tokenizer(base), "cpu"), spec


def test_the_text_is_sixty_different_sentences_with_a_digest() -> None:
    sentences = general_text()
    assert len(set(sentences)) == 60
    assert all(
        sentence.endswith(".") and sentence.isascii() and len(sentence.split()) >= 8 for sentence in sentences
    )
    assert sorted(sentences, key=len) == list(sentences)
    assert text_digest() == digest_bytes(("\n".join(sentences) + "\n").encode())


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("arm", list(ARMS))
def test_what_learnt_nothing_forgot_nothing(bases: dict[str, Path], task: str, arm: str) -> None:
    model, spec = loaded(task, bases[task], arm)
    trained = read_general_text(model.model, model, spec)
    with base_side(model, spec) as base:
        found = forgetting(trained, read_general_text(base, model, spec))
    assert found.value == pytest.approx(0, abs=1e-12)
    assert found.kind == {"generation": "loss_per_token", "classification": "vector_drift"}[task]
    assert (found.sentences, found.text_digest) == (60, text_digest())


def test_the_loss_is_that_of_the_single_sentences(causal: Path) -> None:
    model, spec = loaded("generation", causal, None)
    summed, tokens = 0.0, 0
    for sentence in general_text():
        ids = model.tokenizer(sentence, truncation=True, max_length=16, return_tensors="pt")["input_ids"]
        summed += float(model.model(input_ids=ids, labels=ids).loss.detach()) * (ids.shape[1] - 1)
        tokens += ids.shape[1] - 1
    model.tokenizer.padding_side = "left"  # as generation leaves it
    found = read_general_text(model.model, model, spec)
    assert found.tokens == tokens
    assert found.loss == pytest.approx(summed / tokens, rel=1e-5)
    assert model.tokenizer.padding_side == "left"


def test_the_vectors_are_those_of_the_single_sentences(encoder: Path) -> None:
    model, spec = loaded("classification", encoder, "rsa")
    found = read_general_text(model.model, model, spec)
    assert found.loss is None
    bare = model.model.get_base_model().encoder
    for row, sentence in enumerate(general_text()[:5]):
        batch = model.tokenizer(sentence, truncation=True, max_length=16, return_tensors="pt")
        torch.testing.assert_close(found.vectors[row].float(), bare(**batch).last_hidden_state[0].mean(dim=0))


def test_drift_is_one_minus_the_mean_cosine() -> None:
    one, other = torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([[0.0, 3.0], [0.0, 1.0]])
    assert forgetting(Reading(4, None, one), Reading(4, None, other)).value == pytest.approx(0.5)


def test_a_loss_that_is_no_number_is_refused() -> None:
    with pytest.raises(CellFailed, match="loss_per_token on general text is nan"):
        forgetting(Reading(4, math.nan, None), Reading(4, 1.0, None))


def table(task: str, rows: int = 16) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "example_id": [f"e{n:02}" for n in range(rows)],
            "text": [f"word{n} " + "attack " * (n % 5) for n in range(rows)],
            "label": ["ab"[n % 2] if task == "classification" else f"remote word{n}" for n in range(rows)],
            "slice_kind": ["x", "y", "y", "z"] * (rows // 4),
        }
    )


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("arm", ["rsa", "full"])
def test_a_trained_cell_is_benchmarked_with_its_forgetting(
    bases: dict[str, Path], tmp_path: Path, task: Any, arm: str
) -> None:
    file = tmp_path / "split.parquet"
    table(task).to_parquet(file)
    base = bases[task]
    trained = TrainTask(
        cell=Cell(arm=arm, seed=1),
        arm=ARMS[arm],
        train=TrainConfig(arms=ARMS, seeds=(1,), epochs=2, batch_size=4),
        model=config(base),
        task=task,
        labels=LABELS[task],
        train_file=file,
        data_digest=digest_bytes(b"data"),
        base_digest=resolve_base(str(base)).digest,
        workers=1,
        threads=1,
    )
    train_cell(trained, tmp_path / "trained", lambda share, words: None)
    job = BenchmarkTask(
        cell=trained.cell,
        artifact=tmp_path / "trained" / ARTIFACT,
        base=str(base),
        test_file=file,
        test_digest=digest_bytes(b"test"),
        config=BenchmarkConfig(robustness_examples=2, latency_examples=1),
        threads=1,
        read_record=lambda text: {},
    )
    (tmp_path / "scored").mkdir()
    found = benchmark_cell(job, tmp_path / "scored", lambda share, words: None).forgetting
    if task == "generation":
        assert found.trained is not None
        assert found.base is not None
        assert found.value == found.trained - found.base != 0
    else:
        assert 0 < found.value <= 2
    model, spec = load_trained(job.artifact, device="cpu")
    again = read_general_text(model.model, model, spec)
    bare, _ = loaded(task, base, None)
    assert found.value == pytest.approx(
        forgetting(again, read_general_text(bare.model, bare, spec)).value, abs=1e-6
    )


def base_task(base: Path, file: Path, digest: str) -> BaseTask:
    return BaseTask(
        model=config(base),
        base_digest=digest,
        test_file=file,
        test_digest=digest_bytes(b"test"),
        batch_size=4,
        threads=1,
        read_record=lambda text: {},
    )


def test_the_untrained_base_answers_every_example_once(causal: Path, tmp_path: Path) -> None:
    file = tmp_path / "test.parquet"
    table("generation").to_parquet(file)
    job = base_task(causal, file, resolve_base(str(causal)).digest)
    seen: list[float] = []
    found = benchmark_base(job, tmp_path, lambda share, words: seen.append(share))
    rows = pd.read_parquet(tmp_path / "predictions.parquet")
    assert rows["example_id"].tolist() == table("generation")["example_id"].tolist()
    assert set(rows["arm"]) == {BASE.arm}
    assert found.metrics["chrf"] == pytest.approx(rows["score"].mean())
    assert [entry.group for entry in found.slices] == ["kind=x", "kind=y", "kind=z"]
    assert seen[-1] == 1
    with pytest.raises(IntegrityError, match="was declared"):
        benchmark_base(base_task(causal, file, digest_bytes(b"other")), tmp_path, lambda share, words: None)
