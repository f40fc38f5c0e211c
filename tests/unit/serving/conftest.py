"""A trained adapter on a tiny encoder, and what an alias that names it is resolved to."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rsa_ops.core.digest import digest_bytes
from rsa_ops.files import digest_folder
from rsa_ops.models.base import resolve_base
from rsa_ops.serving.resolved import Resolved

from ..adapters import TEXTS, train_tiny

__all__ = ["TEXTS"]


def resolved_of(folder: Path, **changes: Any) -> Resolved:
    """What an alias would be resolved to that names the adapter in `folder`."""
    facts: dict[str, Any] = {
        "model": "triage.1a2b3c4d5e6f",
        "alias": "champion",
        "version": "3",
        "digest": digest_folder(folder),
        "base_digest": digest_bytes(b"base"),
        "generation": 2,
        "entry": digest_bytes(b"entry"),
        "papers": digest_bytes(b"papers"),
    }
    return Resolved(**{**facts, **changes})


@dataclass(frozen=True)
class Version:
    """An adapter folder of its own, with the base that it belongs to."""

    folder: Path
    base: Path

    def resolved(self, **changes: Any) -> Resolved:
        return resolved_of(self.folder, **{"base_digest": resolve_base(str(self.base)).digest, **changes})


@pytest.fixture(scope="session")
def trained(encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Adapters by method and move, each made once; not to be changed."""
    made: dict[tuple[str, float], Path] = {}

    def make(method: str = "rsa", move: float = 0.3) -> Path:
        if (method, move) not in made:
            folder = tmp_path_factory.mktemp("trained") / "adapter"
            made[method, move] = train_tiny(encoder, folder, method=method, move=move)
        return made[method, move]

    return make


@pytest.fixture
def version(trained: Callable[..., Path], encoder: Path, tmp_path: Path) -> Version:
    """A trained adapter to be tampered with."""
    return Version(shutil.copytree(trained(), tmp_path / "adapter"), encoder)
