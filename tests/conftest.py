"""What every folder of tests may ask for: a real PostgreSQL, a real browser."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .browser import chromium
from .postgres import Absent, Postgres

__all__ = ["chromium"]


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server, or a skip that says why there is none."""
    pytest.importorskip("pg8000", reason="pg8000 is not installed")
    try:
        server = Postgres()
    except Absent as absent:
        pytest.skip(f"no PostgreSQL: {absent}")
    yield server
    server.stop()
