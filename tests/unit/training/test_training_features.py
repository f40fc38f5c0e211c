"""Texts become token ids, and ids become batches, without losing or teaching anything unmeant."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rsa_ops.models.task import ModelConfig, load_tokenizer
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


def test_an_unknown_label_is_no_class(encoder: Path) -> None:
    with pytest.raises(KeyError):
        encoded(encoder, ["word1"], ["z"])
