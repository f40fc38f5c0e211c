"""The pool: what runs next, what is kept, and what happens when a worker has an accident."""

from __future__ import annotations

from pathlib import Path

import fake_worker
import pytest
from quality import pool
from quality.plan import Study, Variant
from quality.pool import Pool, Settings
from quality.records import finished, read


def study(method: str) -> Study:
    return Study("e2e", Variant(method, method, 2, rate=1e-3), "test", (1, 2), (101,))


STUDIES = tuple(study(method) for method in ("lora", "shira", "miss", "super"))


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Pool, Path, list[str]]:
    monkeypatch.setattr(pool, "work", fake_worker.work)
    monkeypatch.setattr(pool, "PRELOAD", ())
    out, said = tmp_path / "out" / "trials.jsonl", []
    made = Pool(tmp_path, out, Settings(workers=2, streams=2, minutes=1), "cuda")
    made.run(STUDIES, [], said.append)
    return made, out, said


def test_accidents_cost_their_own_trials_and_nothing_else(
    run: tuple[Pool, Path, list[str]], tmp_path: Path
) -> None:
    made, out, said = run
    done = finished(read([out]))
    # Three rates and two seeds of each study that works; a worker's death repeats what it was at.
    assert {key.split("/")[1] for key in done} == {"lora", "shira", "super"}
    assert len(done) == 3 * 5
    assert all(not record["graphs"] for record in done.values() if record["variant"]["method"] == "shira")
    assert all(record["graphs"] for record in done.values() if record["variant"]["method"] == "super")
    assert any("a worker died (3)" in line for line in said)
    assert any(line.startswith("shira runs eagerly") for line in said)
    # The three rates of `miss` are tried twice and then left; half a try more where a process died under two.
    left = {key for key, count in made.errors.items() if count >= pool.MOST_ERRORS}
    assert left == {study("miss").trial(rate, 101, "validation").key for rate in (3.16e-4, 1e-3, 3.16e-3)}

    again = Pool(tmp_path, tmp_path / "later.jsonl", Settings(workers=1, minutes=1), "cuda")
    assert again.run((study("lora"), study("super")), [out]) == 0  # what is known does not run again


def test_nothing_starts_when_the_time_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "work", fake_worker.work)
    monkeypatch.setattr(pool, "PRELOAD", ())
    made = Pool(tmp_path, tmp_path / "trials.jsonl", Settings(minutes=0), "cpu")
    assert made.run(STUDIES, []) == 0
    assert made.workers == []
