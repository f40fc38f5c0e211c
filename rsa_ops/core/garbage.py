"""What nothing in the ledger names: found, and perhaps removed."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from rsa_ops.core.digest import Digest
from rsa_ops.core.record import Record, Value

What = Literal["version", "logged model", "cell"]


class Unnamed(Value):
    """A version (`MODEL/VERSION`), a logged model (its id) or a cell (its folder) that the ledger does not name.

    `age_days` since it was made; `size_bytes` where it is known.
    """

    what: What
    name: str
    digest: Digest
    age_days: Annotated[float, Field(ge=0)]
    size_bytes: int | None = None


class Garbage(Record):
    """`rsa-ops gc --json`.

    `unnamed` is what may go, and went where `removed` is true. `kept` counts what stays, by why it does.
    """

    schema_: Literal["rsa_ops/garbage/v1"] = Field(default="rsa_ops/garbage/v1", alias="schema")

    unnamed: tuple[Unnamed, ...]
    kept: dict[str, int]
    removed: bool
