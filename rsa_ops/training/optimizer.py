"""AdamW with two learning rates: the arm's, and the head's."""

from __future__ import annotations

from typing import Any

from rsa_ops.training.config import TrainConfig

HEAD_NAMES = ("classifier", "score")


def optimizer(model: Any, learning_rate: float, train: TrainConfig) -> Any:
    """AdamW over the parameters that learn. Decay is for matrices only, as in BERT's and GPT-2's recipes."""
    import torch

    groups: dict[tuple[float, float], list[Any]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        is_head = any(part in HEAD_NAMES for part in name.split("."))
        rate = train.head_learning_rate if is_head else learning_rate
        decay = train.weight_decay if parameter.ndim > 1 else 0.0
        groups.setdefault((rate, decay), []).append(parameter)
    parameters = [{"params": group, "lr": rate, "weight_decay": decay} for (rate, decay), group in groups.items()]
    return torch.optim.AdamW(parameters)
