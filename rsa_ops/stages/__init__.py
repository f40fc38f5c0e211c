"""One module a stage: each joins rooms into a typed function. `pipelines/*/pipeline.py` call them in order."""

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
