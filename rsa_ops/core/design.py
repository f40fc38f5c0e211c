"""The design of a comparison: what was fixed before any score existed, in one record named by its digest."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from rsa_ops.core.digest import Digest
from rsa_ops.core.record import Record, Value


class DesignMargin(Value):
    """The loss of `metric` against the arm `against` that is accepted, absolute, in score units.

    `on_slices`: asked of every slice that is large enough, instead of all examples.
    """

    metric: str
    against: str
    margin: Annotated[float, Field(gt=0)]
    on_slices: bool = False


class DesignSlice(Value):
    """A slice of the test set, `vector=xss`, and how many examples it has."""

    slice: str
    examples: Annotated[int, Field(ge=1)]


class ComparisonDesign(Record):
    """`design.json`, derived from policy.yaml, pipeline.yaml and the validated test split before training.

    `alpha`: one-sided, of one look. `looks`: how many different comparisons the test set may carry; None where the
    policy does not say, and then they are counted and not limited. `seeds`: of every arm. `policy_digest` is None
    in a design that was written for two tables (`rsa-ops plan --write`), `test_digest` where no test set is known.
    `groups`: how many groups the test examples come in; None where each is a draw of its own.
    """

    schema_: Literal["rsa_ops/comparison-design/v1"] = Field(default="rsa_ops/comparison-design/v1", alias="schema")

    candidate: str
    primary_metric: str
    alpha: Annotated[float, Field(gt=0, lt=0.5)]
    looks: Annotated[int, Field(ge=1)] | None
    margins: tuple[DesignMargin, ...]
    seeds: Annotated[tuple[int, ...], Field(min_length=1)]
    examples: Annotated[int, Field(ge=1)]
    slices: tuple[DesignSlice, ...]
    groups: Annotated[int, Field(ge=2)] | None = None
    test_digest: Digest | None
    policy_digest: Digest | None
