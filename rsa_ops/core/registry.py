"""What a model registry says at one moment, so that it can be held against what the ledger says."""

from __future__ import annotations

from rsa_ops.core.digest import Digest
from rsa_ops.core.record import Value


class LiveVersion(Value):
    """A version that exists: `digest` is that of the adapter's bytes now, None where they cannot be fetched."""

    model: str
    version: str
    digest: Digest | None
    reason: str = ""


class RegistryReading(Value):
    """`aliases` maps (model, alias) to the version it names; `versions` are those asked for that exist."""

    store: str
    aliases: dict[tuple[str, str], str]
    versions: tuple[LiveVersion, ...]
