"""One tiny walk through every stage, on the real encoder and the real incidents."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import yaml

from rsa_ops.core.costs import Tco
from rsa_ops.core.design import ComparisonDesign
from rsa_ops.core.measurements import Measurements
from rsa_ops.core.verdict import Verdict
from rsa_ops.errors import ExitCode
from rsa_ops.files import read_record

from ..shell import RSA_OPS, environment, run_cli, run_here
from .conftest import edited_copy

CHANGES = {
    "data.checks": {"class_floor": {"min_rows": 1}},
    "data.sample": {"train": 64, "validation": 24, "test": 60},
    "train.seeds": [1, 2],
    "train.batch_size": 16,
    "model.max_length": 32,
    "benchmark.robustness_examples": 6,
    "benchmark.latency_examples": 2,
}
GENEROUS = {
    "rules": [
        {"kind": "noninferiority", "metric": "accuracy", "against": "full", "margin": 0.9},
        {"kind": "noninferiority", "metric": "macro_f1", "against": "lora", "margin": 0.9},
        {"kind": "champion", "metric": "accuracy", "margin": 0.9},
        {"kind": "measured", "quantity": "trainable_share", "at_most": 0.2},
    ]
}
RECORDS = (
    "run.json",
    "design.json",
    "validation.json",
    "comparison.json",
    "tco.json",
    "verdict.json",
    "verdict.xml",
    "verdict.md",
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("triage")
    edited_copy("incident-triage", folder / "pipeline", CHANGES, GENEROUS)
    return folder


@pytest.fixture(scope="module")
def first(home: Path) -> subprocess.CompletedProcess[str]:
    """The first run is killed while cells are being trained, and then run again to its end."""
    driver = subprocess.Popen(
        [*RSA_OPS, "run", "pipeline", "--work", "work"],
        cwd=home,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 240
    while len(trained(home)) < 2:
        assert driver.poll() is None, "the run ended before two cells were trained"
        assert time.monotonic() < deadline, "two cells were not trained in time"
        time.sleep(0.05)
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    time.sleep(5)  # the fork server ends with its driver, and the workers with it; unloading torch takes a while
    (home / "survivors").write_text(json.dumps(processes_in(home)))
    (home / "before").write_text(json.dumps(trained(home)))
    return run_cli("run", "pipeline", "--work", "work", cwd=home)


def trained(home: Path) -> dict[str, int]:
    """Finished training cells: name -> time of their measurements in nanoseconds."""
    found = sorted((home / "work" / "cells" / "train").glob("[!.]*/measurements.json"))
    return {file.parent.name: file.stat().st_mtime_ns for file in found}


def processes_in(folder: Path) -> list[str]:
    """Ids of the processes that work in `folder`."""
    found = []
    for link in Path("/proc").glob("[0-9]*/cwd"):
        try:
            place = link.readlink()
        except OSError:
            continue  # it ended, or belongs to somebody else
        if place == folder.resolve():
            found.append(link.parent.name)
    return found


def record(home: Path, name: str) -> dict[str, object]:
    loaded: dict[str, object] = json.loads((home / "work" / "results" / name).read_text(encoding="utf-8"))
    return loaded


def test_the_walk_ends_with_a_promotion_and_says_where_everything_is(
    first: subprocess.CompletedProcess[str], home: Path
) -> None:
    assert first.returncode == ExitCode.DONE, first.stderr
    assert "PROMOTE" in first.stdout
    assert "report.html" in first.stdout
    assert "mlflow ui --backend-store-uri" in first.stdout
    for name in RECORDS:
        assert (home / "work" / "results" / name).stat().st_size > 0, name


def test_after_kill_9_only_the_unfinished_cells_are_trained(
    first: subprocess.CompletedProcess[str], home: Path
) -> None:
    before, after = json.loads((home / "before").read_text()), trained(home)
    assert len(before) >= 2
    assert len(after) == 6
    assert {name: after[name] for name in before} == before


def test_what_the_kill_cut_short_is_counted_as_a_try_and_paid_for(
    first: subprocess.CompletedProcess[str], home: Path
) -> None:
    cells = [read_record(Measurements, file) for file in (home / "work" / "results" / "measurements").iterdir()]
    begun = len(list((home / "work" / "cells" / "tries").glob("*/*")))
    assert sum(cell.attempts for cell in cells) == begun
    assert all(cell.failed_seconds == 0 for cell in cells if cell.attempts == 1)
    assert all(cell.failed_seconds is not None for cell in cells)
    paid = read_record(Tco, home / "work" / "results" / "tco.json").items
    failed = {item.description.split(":")[0] for item in paid if item.category == "failed attempts"}
    assert len(failed) == len({f"seed {cell.cell.seed}" for cell in cells if cell.attempts > 1})
    finished = json.loads((home / "before").read_text())
    for cell in cells:
        if any(name.startswith(f"{cell.cell.name}-") for name in finished):
            assert cell.attempts == 1  # trained before the kill, and not again


def test_no_worker_outlives_a_killed_driver(first: subprocess.CompletedProcess[str], home: Path) -> None:
    assert json.loads((home / "survivors").read_text()) == []


def test_the_table_fits_eighty_columns(first: subprocess.CompletedProcess[str]) -> None:
    table = first.stdout.split("PROMOTE")[0]
    assert max(len(line) for line in table.splitlines()) <= 80


def test_every_ruling_is_in_the_junit_file(first: subprocess.CompletedProcess[str], home: Path) -> None:
    suite = ET.parse(home / "work" / "results" / "verdict.xml")
    assert len(suite.findall(".//testcase")) == len(GENEROUS["rules"])
    assert suite.findall(".//failure") == []


def test_the_policy_was_locked_before_training(first: subprocess.CompletedProcess[str], home: Path) -> None:
    locked, verdict = record(home, "run.json"), record(home, "verdict.json")
    assert locked["policy_digest"] == verdict["policy_digest"]
    assert locked["test_digest"] == verdict["test_digest"]


def test_the_comparison_is_the_one_that_was_designed_before_training(
    first: subprocess.CompletedProcess[str], home: Path
) -> None:
    design, comparison = record(home, "design.json"), record(home, "comparison.json")
    found = ComparisonDesign.from_json(json.dumps(design), "design.json")
    assert record(home, "run.json")["design_digest"] == comparison["design_digest"] == found.digest()
    assert (found.seeds, found.examples) == ((1, 2), 60)
    assert {(entry.metric, entry.against) for entry in found.margins} == {
        ("accuracy", "full"),
        ("macro_f1", "lora"),
        ("accuracy", "champion"),
    }
    assert comparison["look"] == 1


@pytest.fixture(scope="module")
def second(first: subprocess.CompletedProcess[str], home: Path) -> tuple[subprocess.CompletedProcess[str], float]:
    start = time.monotonic()
    done = run_cli("run", "pipeline", "--work", "work", "--json", cwd=home)
    return done, time.monotonic() - start


def test_a_second_run_trains_nothing_and_says_the_same(
    second: tuple[subprocess.CompletedProcess[str], float], home: Path
) -> None:
    done, _ = second
    assert done.returncode == ExitCode.DONE, done.stderr
    assert json.loads(done.stdout)["sentence"] == record(home, "verdict.json")["sentence"]
    assert "to compute" not in done.stderr
    assert "is the champion already" in done.stderr
    assert record(home, "comparison.json")["look"] == 1, "the same artifacts by the same design are the same look"


def test_the_gate_alone_refuses_a_candidate_that_is_the_champion(
    second: tuple[subprocess.CompletedProcess[str], float], home: Path
) -> None:
    words = ("gate", "--candidate", "work/results", "--policy", "pipeline/policy.yaml", "--champion", "champion")
    done = run_here(*words, cwd=home)
    assert done.returncode == ExitCode.INTEGRITY, done.stdout + done.stderr
    assert "same artifact" in done.stdout


def test_the_gate_alone_repeats_the_verdict_from_the_mlflow_run(
    second: tuple[subprocess.CompletedProcess[str], float], home: Path
) -> None:
    run = record(home, "run.json")
    words = (
        "gate",
        "--candidate",
        run["run_id"],
        "--policy",
        "pipeline/policy.yaml",
        "--store",
        run["store"],
        "--json",
    )
    done = run_here(*words, cwd=home)
    assert done.returncode == ExitCode.DONE, done.stderr
    assert json.loads(done.stdout)["sentence"] == record(home, "verdict.json")["sentence"]


def test_a_changed_policy_is_refused_by_the_gate(
    second: tuple[subprocess.CompletedProcess[str], float], home: Path
) -> None:
    text = (home / "pipeline" / "policy.yaml").read_text().replace("0.9", "0.8")
    (home / "other.yaml").write_text(text)
    done = run_here("gate", "--candidate", "work/results", "--policy", "other.yaml", cwd=home)
    assert done.returncode == ExitCode.INTEGRITY
    assert "locked" in done.stdout


def test_a_design_changed_after_the_fact_is_refused_by_the_gate(
    second: tuple[subprocess.CompletedProcess[str], float], home: Path
) -> None:
    shutil.copytree(home / "work" / "results", home / "changed")
    file = home / "changed" / "design.json"
    file.write_text(file.read_text().replace('"examples": 60', '"examples": 61'))
    done = run_here("gate", "--candidate", "changed", "--policy", "pipeline/policy.yaml", cwd=home)
    assert done.returncode == ExitCode.INTEGRITY, done.stdout
    assert "locked" in done.stdout
    file.unlink()
    done = run_here("gate", "--candidate", "changed", "--policy", "pipeline/policy.yaml", cwd=home)
    assert done.returncode == ExitCode.MISSING


def test_a_pilot_run_plans_the_next_one(second: tuple[subprocess.CompletedProcess[str], float], home: Path) -> None:
    words = ("plan", "--margin", "0.1", "--pilot", "work/results/comparison.json", "--json")
    done = run_here(*words, cwd=home)
    assert done.returncode == ExitCode.DONE, done.stderr
    plan = json.loads(done.stdout)
    assert plan["variation"]["source"] == "pilot: accuracy, rsa against full, 2 seeds x 60 examples"
    assert plan["cautious"]["seed_sd"] >= plan["method"]["seed_sd"]


def audited(home: Path, *words: object) -> dict[str, Any]:
    done = run_here("audit", "verify", "--ledger", "work/ledger.db", *words, "--json", cwd=home)
    found: dict[str, Any] = {"exit": done.returncode, **json.loads(done.stdout)}
    return found


def entries(home: Path) -> list[dict[str, Any]]:
    done = run_here("audit", "log", "--ledger", "work/ledger.db", "--json", cwd=home)
    return [sealed["entry"] for sealed in json.loads(done.stdout)["entries"]]


def test_the_ledger_has_policy_test_set_and_design_before_training_and_the_verdict_after(
    second: tuple[subprocess.CompletedProcess[str], float], home: Path
) -> None:
    verdict, run = record(home, "verdict.json"), record(home, "run.json")
    found = [entry for entry in entries(home) if entry["subject"] == run["run_id"]]
    lock, given = found[0], found[1]
    assert [lock["kind"], given["kind"]] == ["policy-lock", "verdict"]
    for name in ("policy_digest", "test_digest"):
        assert lock["payload"][name] == given["payload"][name] == verdict[name]
    assert lock["payload"]["design_digest"] == given["payload"]["design_digest"] == run["design_digest"]
    assert given["payload"]["verdict_digest"] == read_record(Verdict, home / "work/results/verdict.json").digest()
    report = audited(home, "--checkpoint", "work/results/ledger-checkpoint.json")
    assert report["exit"] == ExitCode.DONE
    assert report["first_bad"] is None


def test_the_run_that_was_killed_left_its_lock_and_no_verdict(
    second: tuple[subprocess.CompletedProcess[str], float], home: Path
) -> None:
    found = entries(home)
    assert [entry["kind"] for entry in found[:4]] == ["genesis", "policy-lock", "policy-lock", "verdict"]
    assert found[1]["subject"] != found[2]["subject"] == found[3]["subject"]


def test_the_first_output_says_what_the_key_beside_the_ledger_is_worth_and_nothing_shows_it(
    first: subprocess.CompletedProcess[str], home: Path
) -> None:
    secret = (home / "work" / "ledger.key").read_text().splitlines()[1]
    assert (home / "work" / "ledger.key").stat().st_mode & 0o777 == 0o600
    assert "rsa-ops audit verify --ledger" in first.stderr
    assert secret not in first.stderr + first.stdout
    holding = [
        path for path in (home / "work").rglob("*") if path.is_file() and secret.encode() in path.read_bytes()
    ]
    assert holding == [home / "work" / "ledger.key"]


def test_the_walk_leaves_signed_papers_and_evidence_that_holds_without_ledger_and_store(
    second: tuple[subprocess.CompletedProcess[str], float], home: Path
) -> None:
    (papers,) = [entry for entry in entries(home) if entry["kind"] == "papers"]  # the second run found them
    model, version = papers["payload"]["model"], papers["payload"]["version"]
    assert papers["payload"]["digest"] == record(home, "verdict.json")["candidate_digest"]
    key = home / "work" / "ledger.key.oms"
    assert key.stat().st_mode & 0o777 == 0o600
    done = run_here("evidence", model, version, "-o", "evidence.zip", "--ledger", "work/ledger.db", cwd=home)
    assert done.returncode == ExitCode.DONE, done.stderr
    (home / "elsewhere").mkdir()
    (home / "evidence.zip").rename(home / "elsewhere" / "evidence.zip")
    done = run_here("evidence", "--check", "evidence.zip", cwd=home / "elsewhere")
    assert done.stdout.splitlines()[-1] == "verified", done.stderr
    data = (home / "elsewhere" / "evidence.zip").read_bytes()
    for line in key.read_bytes().splitlines()[1:-1]:
        assert line not in data
    (home / "elsewhere" / "evidence.zip").write_bytes(data.replace(b"promote", b"promptg", 1))
    done = run_here("evidence", "--check", "evidence.zip", cwd=home / "elsewhere")
    assert done.returncode == ExitCode.INTEGRITY


@pytest.mark.parametrize("what", ["policy_digest", "design_digest"])
def test_a_run_record_that_was_changed_does_not_change_what_was_locked(
    second: tuple[subprocess.CompletedProcess[str], float], home: Path, what: str
) -> None:
    file = home / "work" / "results" / "run.json"
    before = file.read_text()
    locked = json.loads(before)[what]
    file.write_text(before.replace(locked, "sha256:" + "0" * 64))
    done = run_here("gate", "--candidate", "work/results", "--policy", "pipeline/policy.yaml", cwd=home)
    file.write_text(before)
    assert done.returncode == ExitCode.INTEGRITY
    assert "ledger is the record" in done.stderr


def test_a_new_seed_trains_only_its_own_cells_and_meets_the_champion(
    second: tuple[subprocess.CompletedProcess[str], float], home: Path
) -> None:
    before = trained(home)
    file = home / "pipeline" / "pipeline.yaml"
    file.write_text(
        file.read_text().replace("release_seed: 1", "release_seed: 3").replace("  - 2\n", "  - 2\n  - 3\n")
    )
    done = run_cli("run", "pipeline", "--work", "work", "--json", cwd=home)
    assert done.returncode == ExitCode.DONE, done.stderr
    after = trained(home)
    assert len(after) == len(before) + 3
    assert {name: after[name] for name in before} == before
    verdict = json.loads(done.stdout)
    assert verdict["champion_digest"] is not None
    assert "is now the champion" in done.stderr
    assert record(home, "comparison.json")["look"] == 2


@pytest.mark.slow  # the laws themselves: tests/unit/stages/test_refused.py
def test_a_refused_candidate_is_a_version_with_papers_and_the_champion_stays(
    second: tuple[subprocess.CompletedProcess[str], float], home: Path
) -> None:
    settings = home / "pipeline" / "pipeline.yaml"
    settings.write_text(re.sub(r"release_seed: \d", "release_seed: 2", settings.read_text()))
    file = home / "pipeline" / "policy.yaml"
    policy = yaml.safe_load(file.read_text())
    policy["rules"].append({"kind": "floor", "metric": "accuracy", "at_least": 0.999})
    file.write_text(yaml.safe_dump(policy))
    before = entries(home)
    done = run_cli("run", "pipeline", "--work", "work", cwd=home)
    assert done.returncode == ExitCode.REJECTED, done.stderr
    assert "no plan is made for" in done.stderr
    lock, verdict, papers = entries(home)[len(before) :]
    assert [each["kind"] for each in (lock, verdict, papers)] == ["policy-lock", "verdict", "papers"]
    about = papers["payload"]
    assert about["digest"] == verdict["payload"]["candidate_digest"]
    assert audited(home)["exit"] == ExitCode.DONE
    listed = json.loads(run_here("models", "--ledger", "work/ledger.db", "--json", cwd=home).stdout)["variants"]
    (ours,) = [each for each in listed if each["digest"] == about["digest"]]
    assert (ours["state"], ours["verdict"]) == ("candidate", "reject")
    assert ours["versions"] == [f"{about['model']}/{about['version']}"]
    words = (about["model"], about["version"], "-o", "refused.zip", "--ledger", "work/ledger.db")
    assert run_here("evidence", *words, cwd=home).returncode == ExitCode.DONE
    assert run_here("evidence", "--check", "refused.zip", cwd=home).returncode == ExitCode.DONE
    words = ("plan", about["model"], about["version"], "--reason", "x", "--ledger", "work/ledger.db")
    assert run_here("promote", *words, cwd=home).returncode == ExitCode.DONE
    done = run_here("promote", "apply", "plan.json", "--ledger", "work/ledger.db", cwd=home)
    assert done.returncode == ExitCode.REJECTED, done.stderr


def test_more_looks_than_the_policy_declares_end_with_exit_6(
    second: tuple[subprocess.CompletedProcess[str], float], home: Path
) -> None:
    file = home / "pipeline" / "policy.yaml"
    file.write_text(file.read_text() + "looks: 1\n")
    done = run_cli("run", "pipeline", "--work", "work", cwd=home)
    assert done.returncode == ExitCode.INTEGRITY, done.stderr
    assert "the policy declares 1" in done.stderr
    assert not (home / "work" / "results" / "comparison.json").exists()
