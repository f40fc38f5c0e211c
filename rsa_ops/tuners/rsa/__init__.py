"""The Robust Sparse Adapter: trained blocks of a frozen linear layer."""

from rsa_ops.tuners.rsa.alpha import AlphaPoint, AlphaSweep, alpha_sweep
from rsa_ops.tuners.rsa.budget import plan_budget
from rsa_ops.tuners.rsa.config import RsaConfig
from rsa_ops.tuners.rsa.hotswap import hotswap
from rsa_ops.tuners.rsa.layout import Layout
from rsa_ops.tuners.rsa.model import RsaModel
from rsa_ops.tuners.rsa.report import ModuleSelection, RoundReport, SelectionReport
from rsa_ops.tuners.rsa.robustness import Robustness, adapter_learning_rate, attached
from rsa_ops.tuners.rsa.schedule import RsaCallback
from rsa_ops.tuners.rsa.scoring import BlockScores, magnitude_scores, score_blocks
from rsa_ops.tuners.rsa.selection import select_blocks

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
