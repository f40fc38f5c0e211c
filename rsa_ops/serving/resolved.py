"""What an alias stands for, once: the version, the bytes that it must have, and the entries that say so."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from rsa_ops.core.digest import Digest
from rsa_ops.core.record import Value


class Resolved(Value):
    """Alias -> version -> digest, resolved once; whoever serves keeps this value and never asks by alias again.

    `digest` names the adapter's bytes, `base_digest` its base model's. `generation` counts the moves of the alias;
    `entry` is the hash of the ledger entry that made it so, `papers` that of the entry about the signature.
    """

    model: str
    alias: str
    version: str
    digest: Digest
    base_digest: Digest
    generation: Annotated[int, Field(ge=1)]
    entry: Digest
    papers: Digest

    @property
    def name(self) -> str:
        """As people call it: `MODEL version N`."""
        return f"{self.model} version {self.version}"
