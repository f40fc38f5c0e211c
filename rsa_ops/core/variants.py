"""Every adapter that was trained, and what became of it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from rsa_ops.core.digest import Digest
from rsa_ops.core.record import Record, Value
from rsa_ops.core.verdict import Outcome

State = Literal["trained", "candidate", "champion", "retired", "rolled back"]
"""`candidate`: judged, planned or registered. `retired`: was champion. `rolled back`: was, and was bad."""


class Variant(Value):
    """One trained cell. `config` is its content key: code, settings, base and data. `parent` is the pipeline's run.

    `versions` are `MODEL/VERSION` made of these very bytes. `verdict` is the newest that the ledger has about them,
    `generation` that of the champion that they are or last were.
    """

    model_id: str
    run: str
    parent: str
    made: str
    arm: str
    seed: int
    method: str
    base_model: str
    base: Digest
    data: Digest
    config: Digest
    digest: Digest
    versions: tuple[str, ...]
    state: State
    verdict: Outcome | None
    generation: int | None


class Variants(Record):
    """`rsa-ops models --json`: the newest variants first; `total` counts those that `--limit` left out too."""

    schema_: Literal["rsa_ops/variants/v1"] = Field(default="rsa_ops/variants/v1", alias="schema")

    store: str
    ledger: str | None
    total: Annotated[int, Field(ge=0)]
    variants: tuple[Variant, ...]
