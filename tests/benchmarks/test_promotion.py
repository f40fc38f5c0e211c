"""The committed record of racing and killed promotions holds the law, and its page quotes it."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RECORD = json.loads((ROOT / "benchmarks" / "results" / "promotion.json").read_text(encoding="utf-8"))
STEPS = {"begun", "intent", "moved", "read_back", "closed"}


@pytest.mark.parametrize("store", ["sqlite", "postgresql"])
def test_fifty_races_had_one_winner_each_and_every_death_one_champion(store: str) -> None:
    race = RECORD[store]["races"]
    assert race["rounds"] == race["rounds_with_one_winner_and_one_exit_7"] == 50
    assert race["generations_without_a_gap"]
    assert (race["intents_left_by_losers"], race["first_bad_entry"]) == (0, None)
    for action in ("apply", "rollback"):
        endings = RECORD[store]["killed"][action]
        assert set(endings) == STEPS
        assert endings["intent"] == "abandoned"
        assert endings["moved"] == endings["read_back"] == "completed"


def test_the_page_quotes_the_record(tmp_path: Path) -> None:
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "docs").mkdir()
    shutil.copy(ROOT / "docs" / "governance.md", tmp_path / "docs")
    spec = importlib.util.spec_from_file_location("promotion_benchmark", ROOT / "benchmarks" / "promotion.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    script.HERE = tmp_path / "benchmarks"
    script.quote(RECORD)
    quoted = (tmp_path / "docs" / "governance.md").read_text(encoding="utf-8")
    assert quoted == (ROOT / "docs" / "governance.md").read_text(encoding="utf-8")
