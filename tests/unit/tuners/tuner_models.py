"""Tiny random models and data for the tuner tests; nothing is downloaded."""

from __future__ import annotations

from typing import Any

import torch
from peft import TaskType, get_peft_model
from torch import Tensor, nn
from torch.utils.data import Dataset
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
)

from rsa_ops.tuners import BlockScores, RsaConfig

VOCABULARY = 40
PLAIN: dict[str, Any] = {"activation_scaling": False, "scoring": "fisher", "choice": "top"}
"""Options under which an adapter is the best blocks by plain Fisher scores, without scales."""
STRUCTURES = ("columns", "spread", "subnet", "tiles", "elements")


class TwoLayers(nn.Module):
    """[batch, tokens, 6] -> {"loss"}: small enough for brute force."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 5)
        self.second = nn.Linear(5, 4, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.tanh(self.first(x)))


def two_layers(**options: Any) -> Any:
    config = {"density": 0.5, "target_modules": ["first", "second"], **options}
    return get_peft_model(TwoLayers(), RsaConfig(**config))


def bare_llama() -> LlamaForCausalLM:
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=32,
        pad_token_id=0,
        tie_word_embeddings=True,
    )
    return LlamaForCausalLM(config)


def bare_bert() -> BertForSequenceClassification:
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=32,
        num_labels=3,
        pad_token_id=0,
        initializer_range=0.3,
    )
    return BertForSequenceClassification(config)


def llama(**options: Any) -> Any:
    budget = {} if "r" in options else {"density": 0.25}
    return get_peft_model(bare_llama(), RsaConfig(task_type=TaskType.CAUSAL_LM, **{**budget, **options}))


def bert(**options: Any) -> Any:
    return get_peft_model(bare_bert(), RsaConfig(task_type=TaskType.SEQ_CLS, **{"density": 0.25, **options}))


class Rows(Dataset[dict[str, Tensor]]):
    """The rows of a batch as a data set."""

    def __init__(self, batch: dict[str, Tensor]) -> None:
        self.batch = batch

    def __len__(self) -> int:
        return len(self.batch["input_ids"])

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {name: values[index] for name, values in self.batch.items()}


def causal_batch(rows: int = 3, tokens: int = 7, seed: int = 0) -> dict[str, Tensor]:
    ids = torch.randint(1, VOCABULARY, (rows, tokens), generator=torch.Generator().manual_seed(seed))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids.clone()}


def classified_batch(rows: int = 4, tokens: int = 7, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(1, VOCABULARY, (rows, tokens), generator=generator)
    return {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "labels": torch.randint(0, 3, (rows,), generator=generator),
    }


def learnt(model: Any, adapter_name: str = "default") -> Any:
    """Give the adapter values as after training: random, not zero."""
    generator = torch.Generator().manual_seed(7)
    for name, parameter in model.named_parameters():
        if f"rsa_delta.{adapter_name}.weight" in name:
            with torch.no_grad():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return model


def by_hand(
    total: Tensor, batches: int = 1, error: float | Tensor = 0.0, in_features: int | None = None
) -> BlockScores:
    """Scores of `batches` batches with this total and this standard error of the mean, as [pools, n]."""
    total = total.float().reshape(-1, total.shape[-1])
    variance = torch.as_tensor(error) ** 2 * batches * (batches - 1)
    squares = total.square() / batches + variance
    return BlockScores(total, squares, batches, torch.ones(in_features or total.shape[-1]))


def families(model: Any, adapter_name: str = "default") -> dict[str, list[str]]:
    """Module name -> names of the layers that share its places, itself among them."""
    leaders = {n: m.delta(adapter_name).leader for n, m in model.named_modules() if hasattr(m, "rsa_delta")}
    return {name: [n for n, other in leaders.items() if other is leader] for name, leader in leaders.items()}


def best(model: Any, scores: dict[str, BlockScores], name: str, count: int) -> Tensor:
    """The `count` best columns (of each row group) of `name`'s family, ascending: the oracle of a selection."""
    total = sum(scores[member].total for member in families(model)[name] if member in scores)
    found = torch.topk(total, count).indices.sort().values
    return found if len(total) > 1 else found[0]


def places(model: Any) -> dict[str, Tensor]:
    """Copies of all index buffers, by name."""
    return {
        name: buffer.clone()
        for name, buffer in model.named_buffers()
        if name.endswith((".columns", ".rows")) and ".rsa_delta." in name
    }
