"""Texts become token ids, and ids become batches, without losing or teaching anything unmeant."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rsa_ops.core.cell import Cell
from rsa_ops.core.digest import digest_bytes
from rsa_ops.models.task import ModelConfig, load_base_model, load_tokenizer
from rsa_ops.training.cell import TrainTask, _seed, _trainer
from rsa_ops.training.config import ArmConfig, TrainConfig
from rsa_ops.training.features import IGNORED, Collator, Features, encode


def encoded(folder: Path, texts: list[str], targets: list[str], **more: Any) -> tuple[Features, Any]:
    tokenizer = load_tokenizer(folder)
    config = ModelConfig(base=str(folder), **{"max_length": 12, **more})
    task = "generation" if "prompt" in more else "classification"
    labels = () if "prompt" in more else ("x", "y")
    return encode(texts, targets, tokenizer=tokenizer, config=config, task=task, labels=labels), tokenizer


def test_labels_are_places_in_the_list_of_labels(encoder: Path) -> None:
    features, _ = encoded(encoder, ["word1", "word2 word3"], ["y", "x"])
    assert [item["labels"] for item in features] == [1, 0]
    assert [item["length"] for item in features] == [3, 4]  # [CLS] and [SEP] are added
    assert features.tokens == 7


def test_long_texts_are_cut_to_the_limit(encoder: Path) -> None:
    features, tokenizer = encoded(encoder, [" ".join(["word1"] * 40)], ["x"])
    assert features[0]["length"] == 12
    assert features[0]["input_ids"][-1] == tokenizer.convert_tokens_to_ids("[SEP]")


def test_only_the_answer_and_its_end_are_learnt(causal: Path) -> None:
    features, tokenizer = encoded(
        causal, ["word1 word2"], ["attack remote"], prompt="{text} Report :", max_length=20
    )
    item = features[0]
    learnt = [token for token in item["labels"] if token != IGNORED]
    assert tokenizer.convert_ids_to_tokens(learnt) == ["attack", "remote", "</s>"]
    assert item["input_ids"][-3:] == learnt
    prompt = tokenizer.convert_ids_to_tokens(item["input_ids"][:-3])
    assert prompt == ["<s>", "word1", "word2", "Report", ":"]


def test_a_long_prompt_loses_its_beginning_and_never_the_answer(causal: Path) -> None:
    features, tokenizer = encoded(causal, [" ".join(["word1"] * 50)], ["attack"], prompt="{text} Report :")
    assert features[0]["length"] == 12
    assert tokenizer.convert_ids_to_tokens(features[0]["input_ids"][-4:]) == ["Report", ":", "attack", "</s>"]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.sampled_from(["classification", "generation"]))
def test_a_batch_holds_each_item_and_padding_that_nobody_sees(lengths: list[int], task: Any) -> None:
    items: list[Mapping[str, Any]] = [
        {
            "input_ids": list(range(10, 10 + n)),
            "labels": [IGNORED, *range(1, n)] if task == "generation" else n % 2,
            "length": n,
        }
        for n in lengths
    ]
    batch = Collator(pad_id=0, task=task)(items)
    assert batch["input_ids"].shape == batch["attention_mask"].shape == (len(items), max(lengths))
    assert batch["attention_mask"].sum(dim=1).tolist() == lengths
    for row, item in enumerate(items):
        seen = batch["attention_mask"][row].bool()
        assert batch["input_ids"][row][seen].tolist() == item["input_ids"]
        assert set(batch["input_ids"][row][~seen].tolist()) <= {0}
        if task == "generation":
            assert batch["labels"][row][seen].tolist() == item["labels"]
            assert set(batch["labels"][row][~seen].tolist()) <= {IGNORED}
    if task == "classification":
        assert torch.equal(batch["labels"], torch.tensor([item["labels"] for item in items]))


LENGTHS = [3 + 7 * n % 23 for n in range(50)]


def epochs(folder: Path, out: Path, seed: int, *, batch_size: int = 4) -> list[list[list[int]]]:
    """Which rows stand together in each batch of two epochs, as the real Trainer draws them."""
    arm = ArmConfig(method="full", learning_rate=1e-3)
    job = TrainTask(
        cell=Cell(arm="full", seed=seed),
        arm=arm,
        train=TrainConfig(arms={"full": arm}, seeds=(seed,), batch_size=batch_size),
        model=ModelConfig(base=str(folder)),
        task="classification",
        labels=("x", "y"),
        train_file=out,
        data_digest=digest_bytes(b""),
        base_digest=digest_bytes(b""),
        workers=1,
        threads=1,
    )
    # The second token of a row is its number, so that a batch tells which rows are in it.
    rows = Features(
        [{"input_ids": [2, row] + [1] * (n - 2), "labels": 0, "length": n} for row, n in enumerate(LENGTHS)]
    )
    _seed(seed)
    model = load_base_model(folder, job.model, job.task, job.labels, seed=seed)
    trainer, _ = _trainer(job, model, rows, load_tokenizer(folder), [], lambda share, words: None, out)
    loader = trainer.get_train_dataloader()
    return [[batch["input_ids"][:, 1].tolist() for batch in loader] for _ in range(2)]


def test_each_epoch_has_every_example_once_in_an_order_of_its_own(encoder: Path, tmp_path: Path) -> None:
    first, second = epochs(encoder, tmp_path, seed=1)
    for epoch in (first, second):
        assert sorted(row for batch in epoch for row in batch) == list(range(len(LENGTHS)))
        assert [len(batch) for batch in epoch] == [4] * 12 + [2]
    assert first != second


def test_the_seed_decides_the_order(encoder: Path, tmp_path: Path) -> None:
    one, same, other = (epochs(encoder, tmp_path, seed=seed) for seed in (1, 1, 2))
    assert one == same
    assert one != other


def test_batches_by_length_hold_less_padding_than_batches_by_chance(encoder: Path, tmp_path: Path) -> None:
    def padding(batches: list[list[int]]) -> int:
        return sum(max(LENGTHS[row] for row in batch) * len(batch) for batch in batches) - sum(LENGTHS)

    rows = torch.randperm(len(LENGTHS), generator=torch.Generator().manual_seed(0)).tolist()
    by_chance = [rows[start : start + 4] for start in range(0, len(rows), 4)]
    assert all(2 * padding(epoch) < padding(by_chance) for epoch in epochs(encoder, tmp_path, seed=1))


@pytest.mark.parametrize("limit", [8, 9, 16])
def test_an_example_never_outgrows_its_limit_and_always_has_something_to_learn(causal: Path, limit: int) -> None:
    texts = [" ".join(["word1"] * n) for n in (0, 1, 30)]
    for answer in ("attack", " ".join(["attack"] * 30)):
        features, _ = encoded(causal, texts, [answer] * 3, prompt="{text} Report :", max_length=limit)
        for item in features:
            assert item["length"] == len(item["input_ids"]) == len(item["labels"]) <= limit
            learnt = [label != IGNORED for label in item["labels"]]
            assert learnt == sorted(learnt)  # the prompt first, then the answer, and nothing between them
            assert learnt[-1]
            assert not learnt[0]


def test_an_unknown_label_is_no_class(encoder: Path) -> None:
    with pytest.raises(KeyError):
        encoded(encoder, ["word1"], ["z"])
