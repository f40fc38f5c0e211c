"""A store with registered adapters, made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from .shelf import Shelf, fill


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory, migrated_database: Path, encoder: Path) -> Shelf:
    """Four adapters in a real store; not to be changed."""
    return fill(tmp_path_factory.mktemp("shelf"), migrated_database, encoder)


@pytest.fixture(autouse=True)
def nothing_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "RSA_OPS_LEDGER", "RSA_OPS_KEY"):
        monkeypatch.delenv(name, raising=False)
