"""The design of a run: derived before training, locked by its digest, and every look at a test set counted."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from rsa_ops.core.digest import digest_bytes
from rsa_ops.core.validation import SplitInfo, Validation
from rsa_ops.errors import DataRefused, IntegrityError, MissingError
from rsa_ops.stages.config import read_pipeline
from rsa_ops.stages.design import DESIGN, RECORD, TEST, count_look, locked_design, require_design, write_design
from rsa_ops.stages.ledger import LedgerChoice, run_notary
from rsa_ops.stages.run import Run
from rsa_ops.tracking.runs import start_run

ROOT = Path(__file__).parents[3]
ONE, OTHER, THIRD = (digest_bytes(name) for name in (b"one", b"other", b"third"))


@pytest.fixture
def run(store: Any, tmp_path: Path) -> Run:
    config, policy, home = read_pipeline(ROOT / "pipelines" / "incident-triage")
    noted: list[str] = []
    progress = SimpleNamespace(stage=lambda *_: None, note=noted.append, noted=noted)
    return Run(
        config=config,
        policy=policy,
        folder=home,
        work=tmp_path / "work",
        store=store,
        run_id=start_run(store, "walk", {}),
        executor=None,  # type: ignore[arg-type]
        threads=1,
        progress=progress,  # type: ignore[arg-type]
        notary=run_notary(LedgerChoice(), store.uri, tmp_path / "work", lambda _: None),
    )


def again(run: Run, **policy: object) -> Run:
    """Another run in the same experiment."""
    return replace(run, run_id=start_run(run.store, "walk", {}), policy=run.policy.model_copy(update=policy))


def validated(folder: Path, rows: int = 6) -> Validation:
    table = pd.DataFrame(
        {
            "example_id": [f"e{n}" for n in range(rows)],
            "text": "words",
            "label": ["xss", "dos"] * (rows // 2),
            "slice_severity": ["high"] * (rows - 1) + ["low"],
        }
    )
    folder.mkdir(parents=True, exist_ok=True)
    table.to_parquet(folder / "test.parquet")
    split = SplitInfo(name="test", rows=rows, digest=digest_bytes(f"test {rows}".encode()))
    return Validation(
        task="classification", source="here", rows_read=rows, rows_used=rows, sampling="all", fingerprint=ONE,
        splits=(split,), labels=("dos", "xss"), slices=("severity",), findings=(), checks_run=0,
    )  # fmt: skip


def locked(run: Run, folder: Path, rows: int = 6):
    design = write_design(run, validated(folder, rows), folder)
    run.tag({DESIGN: design.digest(), TEST: str(design.test_digest)})
    return design


def test_it_is_derived_from_policy_pipeline_and_test_split(run: Run, tmp_path: Path) -> None:
    design = locked(run, tmp_path / "data")
    assert (design.candidate, design.alpha, design.seeds, design.examples) == ("rsa", 0.05, (1, 2, 3), 6)
    assert design.policy_digest == run.policy.digest()
    assert {entry.slice: entry.examples for entry in design.slices} == {
        "severity=high": 5,
        "severity=low": 1,
        "class=xss": 3,
        "class=dos": 3,
    }
    assert locked_design(run) == design


def test_a_design_that_was_changed_by_hand_is_refused(run: Run, tmp_path: Path) -> None:
    locked(run, tmp_path / "data")
    file = run.results / RECORD
    file.write_text(json.dumps({**json.loads(file.read_text()), "alpha": 0.1}))
    with pytest.raises(IntegrityError, match="was locked with"):
        locked_design(run)


def test_a_design_that_was_never_locked_is_refused(run: Run, tmp_path: Path) -> None:
    write_design(run, validated(tmp_path / "data"), tmp_path / "data")
    with pytest.raises(IntegrityError, match="was locked with"):
        locked_design(run)


def test_a_design_that_is_gone_is_missing(run: Run, tmp_path: Path) -> None:
    locked(run, tmp_path / "data")
    (run.results / RECORD).unlink()
    with pytest.raises(MissingError):
        locked_design(run)


def test_a_policy_exchanged_in_the_middle_of_a_run_is_refused(run: Run, tmp_path: Path) -> None:
    locked(run, tmp_path / "data")
    with pytest.raises(IntegrityError, match="the design was made from"):
        locked_design(replace(run, policy=run.policy.model_copy(update={"alpha": 0.1})))


def test_the_same_comparison_again_is_the_same_look_and_another_is_the_next(run: Run, tmp_path: Path) -> None:
    design = locked(run, tmp_path / "data")
    assert count_look(run, design, [ONE, OTHER]) == 1
    second = again(run)
    assert count_look(second, locked(second, tmp_path / "data"), [OTHER, ONE]) == 1
    assert run.progress.noted == []
    assert count_look(second, design, [ONE, THIRD]) == 2
    assert run.progress.noted[0].startswith("look 2 at this test set: the error rate holds for one look")
    assert count_look(run, design, [ONE, OTHER]) == 1


def test_another_policy_on_the_same_artifacts_is_another_look(run: Run, tmp_path: Path) -> None:
    assert count_look(run, locked(run, tmp_path / "data"), [ONE]) == 1
    other = again(run, alpha=0.04)
    assert count_look(other, locked(other, tmp_path / "data"), [ONE]) == 2


def test_another_test_set_starts_again(run: Run, tmp_path: Path) -> None:
    assert count_look(run, locked(run, tmp_path / "data"), [ONE]) == 1
    fresh = again(run)
    assert count_look(fresh, locked(fresh, tmp_path / "more", rows=8), [OTHER]) == 1


def test_one_look_more_than_declared_is_refused_and_not_counted(run: Run, tmp_path: Path) -> None:
    first = again(run, looks=1)
    design = locked(first, tmp_path / "data")
    assert count_look(first, design, [ONE]) == 1
    second = again(run, looks=1)
    locked(second, tmp_path / "data")
    for _ in range(2):
        with pytest.raises(IntegrityError, match=r"look 2 .* declares 1"):
            count_look(second, design, [OTHER])
    assert count_look(first, design, [ONE]) == 1


def test_departures_of_a_comparison_are_an_integrity_error(run: Run, tmp_path: Path) -> None:
    design = locked(run, tmp_path / "data")
    comparison = SimpleNamespace(
        candidate="lora", primary_metric="accuracy", examples=5, test_digest=design.test_digest, look=1, arms=(),
        contrasts=(), groups=3,
    )  # fmt: skip
    with pytest.raises(IntegrityError) as caught:
        require_design(design, comparison)  # type: ignore[arg-type]
    assert "the candidate is lora; the design says rsa" in caught.value.message
    assert "the number of test examples is 5; the design says 6" in caught.value.message
    assert "the examples come in 3 groups; the design says none" in caught.value.message


def regrouped(run: Run, folder: Path, groups: list[str]):
    validation = validated(folder)
    pd.read_parquet(folder / "test.parquet").assign(group=groups).to_parquet(folder / "test.parquet")
    return write_design(run, validation, folder)


def test_the_groups_of_the_test_split_are_designed(run: Run, tmp_path: Path) -> None:
    assert regrouped(run, tmp_path, ["a", "a", "b", "b", "", ""]).groups == 4
    assert regrouped(run, tmp_path, ["a", "b", "c", "", "", ""]).groups is None


def test_a_test_split_of_one_group_is_refused_before_training(run: Run, tmp_path: Path) -> None:
    with pytest.raises(DataRefused, match="all 6 examples of the test split are one group"):
        regrouped(run, tmp_path, ["a"] * 6)
