"""The Robust Sparse Adapter: trained input columns beside a frozen linear layer."""

from rsa_ops.tuners.rsa.config import RsaConfig
from rsa_ops.tuners.rsa.model import RsaModel
from rsa_ops.tuners.rsa.schedule import ModuleSelection, RsaCallback, SelectionReport
from rsa_ops.tuners.rsa.scoring import magnitude_scores, score_columns, select_columns

__all__ = [
    "ModuleSelection",
    "RsaCallback",
    "RsaConfig",
    "RsaModel",
    "SelectionReport",
    "magnitude_scores",
    "score_columns",
    "select_columns",
]
