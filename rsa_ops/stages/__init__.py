"""One module a stage: each joins rooms into a typed function. `pipelines/*/pipeline.py` call them in order.

A function is imported when it is asked for: all of them take a second, and commands about the ledger need none.
"""
# ruff: noqa: TC004  what is exported is imported on demand, below

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rsa_ops.stages.benchmark import benchmark
    from rsa_ops.stages.compare import compare
    from rsa_ops.stages.cost import cost
    from rsa_ops.stages.gate import gate
    from rsa_ops.stages.promote import promote
    from rsa_ops.stages.report import report
    from rsa_ops.stages.run import Run
    from rsa_ops.stages.train import train
    from rsa_ops.stages.validate import validate

__all__ = ["Run", "benchmark", "compare", "cost", "gate", "promote", "report", "train", "validate"]


class _Stages(ModuleType):
    """A stage's function has the name of its module; here it means the function, whatever was imported before."""

    def __getattribute__(self, name: str) -> Any:
        if name in __all__:
            return getattr(import_module(f"{__name__}.{name.lower()}"), name)
        return super().__getattribute__(name)


sys.modules[__name__].__class__ = _Stages
