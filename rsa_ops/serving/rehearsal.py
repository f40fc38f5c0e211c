"""What `rsa-ops rollback` prints: where it went back to, what held before it did, and how long that took."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from rsa_ops.core.digest import Digest
from rsa_ops.core.record import Record
from rsa_ops.serving.checks import Passed
from rsa_ops.serving.resolved import Resolved


class Rehearsal(Record):
    """`rsa-ops rollback --json`. `before_version` stood in `before_generation`; `target` is what was gone back to.

    `moved` is None for a drill, else the hash of the `rollback` entry. `checks` held before anything moved, in the
    order in which they were made; `wall_seconds` are those of everything since the command began.
    """

    schema_: Literal["rsa_ops/rollback/v1"] = Field(default="rsa_ops/rollback/v1", alias="schema")

    before_version: str
    before_generation: Annotated[int, Field(ge=1)]
    target: Resolved
    checks: tuple[Passed, ...]
    drill: bool
    moved: Digest | None
    wall_seconds: float
