"""Score maps of finished runs, in safetensors: stored, read back, and counted in as batches read before.

What is stored is each layer's mean score, relative to the layer's own mean, so that runs with other batch sizes or
losses can be added; its spread goes with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from rsa_ops.tuners.rsa.scoring import BlockScores, ScoreMap


def save_scores(scores: ScoreMap, path: Path) -> None:
    """Write a score map.

    Raises:
        ValueError: it is empty: nothing was scored.
    """
    if not scores:
        raise ValueError(
            "save_scores: expected scores, found none. Was training run, with a scoring that reads data?"
        )
    tensors = {}
    for name, score in scores.items():
        for part in ("total", "squares", "power"):
            tensors[f"{name}:{part}"] = getattr(score, part).detach().cpu().contiguous()
        tensors[f"{name}:batches"] = torch.tensor([score.batches])
    save_file(tensors, path)


def load_scores(path: Path) -> ScoreMap:
    """Read a score map.

    Raises:
        ValueError: the file holds something else.
    """
    tensors = load_file(path)
    names = {key.rpartition(":")[0] for key in tensors}
    try:
        return {
            name: BlockScores(
                tensors[f"{name}:total"],
                tensors[f"{name}:squares"],
                int(tensors[f"{name}:batches"]),
                tensors[f"{name}:power"],
            )
            for name in sorted(names)
        }
    except KeyError as error:
        raise ValueError(f"{path}: expected a score map of RsaCallback.save_scores, found no {error}.") from error


def with_prior(scores: ScoreMap, prior: Sequence[ScoreMap]) -> ScoreMap:
    """Scores with those of earlier runs added, each layer's brought to the new scores' mean.

    Raises:
        ValueError: a layer's shape differs: another base, structure or tile.
    """
    total = dict(scores)
    for earlier in prior:
        for name, own in scores.items():
            known = earlier.get(name)
            if known is None:
                continue
            if known.total.shape != own.total.shape:
                raise ValueError(
                    f"warm start: {name!r} expects scores of shape {tuple(own.total.shape)}, found "
                    f"{tuple(known.total.shape)}. Use score maps of the same base model and structure."
                )
            total[name] = total[name] + _brought_to(known, own)
    return total


def _brought_to(known: BlockScores, own: BlockScores) -> BlockScores:
    device = own.total.device
    mean = known.total.mean() / known.batches
    factor = float(own.total.mean() / own.batches / mean) if mean > 0 else 0.0
    zero_power = torch.zeros_like(own.power)  # inputs are measured anew: they need few batches
    return BlockScores(
        known.total.to(device) * factor, known.squares.to(device) * factor**2, known.batches, zero_power
    )
