"""Tiny artifacts: an adapter (or a checkpoint) on a tiny encoder, its trainable values moved at random."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rsa_ops.core.cell import Cell
from rsa_ops.core.digest import digest_bytes
from rsa_ops.models.base import resolve_base
from rsa_ops.models.task import ModelConfig, load_base_model
from rsa_ops.models.trained import TrainedModel, save_trained
from rsa_ops.training.arms import apply_arm
from rsa_ops.training.config import ArmConfig

METHODS: dict[str, dict[str, Any]] = {
    "rsa": {"options": {"density": 0.1}},
    "lora": {"options": {"r": 2}},
    "full": {},
}
TEXTS = ("attack remote word1 word2", "word3 local", "word9 word8 word7 remote attack")


def train_tiny(base: Path, folder: Path, *, method: str = "rsa", move: float = 0.3, seed: int = 7) -> Path:
    """An artifact in `folder` whose trainable values were moved at random by about `move`."""
    import torch

    config = ModelConfig(base=str(base))
    arm = ArmConfig.model_validate({"method": method, "learning_rate": 1e-3, **METHODS[method]})
    bare = load_base_model(base, config, "classification", ("a", "b", "c"), seed=4)
    model, _ = apply_arm(bare, arm, "arm", "classification", seed=4)
    generator = torch.Generator().manual_seed(seed)
    for name, value in model.named_parameters():
        if value.requires_grad and (move or "classifier" in name):  # without a move, the head alone is trained
            value.data.add_((move or 0.3) * torch.randn(value.shape, generator=generator))
    spec = TrainedModel(
        cell=Cell(arm="arm", seed=4),
        method=method,
        task="classification",
        model=config,
        base_digest=resolve_base(str(base)).digest,
        labels=("a", "b", "c"),
        data_digest=digest_bytes(b"data"),
    )
    folder.mkdir(parents=True)
    save_trained(folder, model, spec)
    return folder
