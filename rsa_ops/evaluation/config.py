"""The `benchmark:` section of pipeline.yaml."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rsa_ops.core.record import Value

PerturbationName = Literal["typos", "case", "whitespace"]


class BenchmarkConfig(Value):
    """What is measured on the test split.

    `robustness_examples`: how many test examples (the first by id digest) are also scored under each
    perturbation. `rate`: share of letters (typos) or words (case) that are touched; for whitespace, half of
    it is the share of characters that get a blank.
    `latency_examples`: examples scored one at a time, for latency percentiles and as the answers that a
    registered model must repeat in a fresh process.
    """

    batch_size: int = Field(default=64, ge=1)
    perturbations: tuple[PerturbationName, ...] = ("typos", "case", "whitespace")
    rate: float = Field(default=0.1, gt=0, le=1)
    perturbation_seed: int = 0
    robustness_examples: int = Field(default=300, ge=0)
    latency_examples: int = Field(default=32, ge=1)
