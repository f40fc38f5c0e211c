"""The committed record of the ledger's speed keeps the limits, and its page quotes it."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RECORD = json.loads((ROOT / "benchmarks" / "results" / "ledger.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("store", ["sqlite", "postgresql"])
def test_a_hundred_thousand_entries_verify_and_one_more_is_written_within_the_limits(store: str) -> None:
    assert RECORD["entries"] == 100_000
    assert RECORD["limits"] == {"verify_seconds": 20.0, "append_ms_median": 10.0}
    for name, limit in RECORD["limits"].items():
        assert RECORD[store][name] <= limit


def test_the_page_quotes_the_record(tmp_path: Path) -> None:
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "docs").mkdir()
    shutil.copy(ROOT / "docs" / "governance.md", tmp_path / "docs")
    spec = importlib.util.spec_from_file_location("ledger_benchmark", ROOT / "benchmarks" / "ledger.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    script.HERE = tmp_path / "benchmarks"
    script.quote(RECORD)
    quoted = (tmp_path / "docs" / "governance.md").read_text(encoding="utf-8")
    assert quoted == (ROOT / "docs" / "governance.md").read_text(encoding="utf-8")
