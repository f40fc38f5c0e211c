"""Adapters that PEFT does not carry yet. Importing this package registers them with PEFT.

A process that loads a saved adapter must import this package first; PEFT knows no plug-ins, so without the
import `PeftModel.from_pretrained` raises `KeyError` for `ROBUST_SPARSE`. The room can be used alone: it imports
torch, peft and (for the Trainer callback) transformers, and nothing else of rsa_ops.
"""

from rsa_ops.tuners.registration import register
from rsa_ops.tuners.rsa import (
    AlphaPoint,
    AlphaSweep,
    BlockScores,
    Layout,
    ModuleSelection,
    Robustness,
    RoundReport,
    RsaCallback,
    RsaConfig,
    RsaModel,
    SelectionReport,
    adapter_learning_rate,
    alpha_sweep,
    attached,
    hotswap,
    magnitude_scores,
    plan_budget,
    score_blocks,
    select_blocks,
)

register(RsaConfig, RsaModel)

__all__ = [
    "AlphaPoint",
    "AlphaSweep",
    "BlockScores",
    "Layout",
    "ModuleSelection",
    "Robustness",
    "RoundReport",
    "RsaCallback",
    "RsaConfig",
    "RsaModel",
    "SelectionReport",
    "adapter_learning_rate",
    "alpha_sweep",
    "attached",
    "hotswap",
    "magnitude_scores",
    "plan_budget",
    "score_blocks",
    "select_blocks",
]
