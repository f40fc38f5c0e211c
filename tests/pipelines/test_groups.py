"""A tiny pipeline whose examples come in groups: from the column of a CSV to the verdict, the champion included."""

from __future__ import annotations

import csv
import random
import subprocess
from pathlib import Path

import pandas as pd
import pytest
import yaml

from rsa_ops.core.benchmark import PREDICTIONS_SCHEMA
from rsa_ops.core.comparison import Comparison
from rsa_ops.core.design import ComparisonDesign
from rsa_ops.errors import ExitCode
from rsa_ops.gates.policy import CHAMPION

from ..shell import run_cli
from .conftest import edited_copy

CHANGES = {
    "data": {
        "source": "tickets.csv",
        "columns": {"text": "text", "label": "label", "group": "customer", "slices": ["region"]},
        "split": {"validation": 0.1, "test": 0.5, "seed": 1},
        "checks": {"class_floor": {"min_rows": 1}, "near_duplicates": {"severity": "off"}},
    },
    "train.seeds": [1, 2],
    "train.batch_size": 16,
    "train.arms": {
        "rsa": {"method": "rsa", "learning_rate": 1e-3, "options": {"r": 2}},
        "full": {"method": "full", "learning_rate": 1e-4},
    },
    "model.max_length": 24,
    "benchmark.robustness_examples": 4,
    "benchmark.latency_examples": 1,
}
POLICY = {
    "rules": [
        {"kind": "noninferiority", "metric": "accuracy", "against": "full", "margin": 0.9},
        {"kind": "noninferiority", "metric": "macro_f1", "against": "full", "margin": 0.9},
        {"kind": "slices", "metric": "accuracy", "against": "full", "margin": 0.9},
        {"kind": "champion", "metric": "accuracy", "margin": 0.9},
    ]
}
TOPICS = {
    "login": ("password", "account", "token", "session", "locked", "expired", "username", "sign-in"),
    "billing": ("invoice", "refund", "charge", "price", "receipt", "tax", "discount", "payment"),
}


def tickets(file: Path) -> None:
    """40 customers with four tickets each, all of one topic; half of the customers are abroad."""
    words = random.Random(4)
    with file.open("w", newline="", encoding="utf-8") as out:
        rows = csv.writer(out)
        rows.writerow(["text", "label", "customer", "region"])
        for customer in range(40):
            label = ("login", "billing")[customer % 2]
            for _ in range(4):
                text = " ".join(words.sample(TOPICS[label], 4)) + f" case {words.randrange(10**6)}"
                rows.writerow([text, label, f"customer-{customer}", "abroad" if customer % 4 < 2 else "home"])


def read(kind: type, home: Path, name: str):
    return kind.from_json((home / "work" / "results" / name).read_text(encoding="utf-8"), name)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("groups")
    edited_copy("incident-triage", folder / "pipeline", CHANGES, POLICY)
    tickets(folder / "pipeline" / "tickets.csv")
    return folder


@pytest.fixture(scope="module")
def first(home: Path) -> subprocess.CompletedProcess[str]:
    done = run_cli("run", "pipeline", "--work", "work", cwd=home)
    assert done.returncode in (ExitCode.DONE, ExitCode.INCONCLUSIVE, ExitCode.REJECTED), done.stderr
    return done


def test_predictions_carry_the_group_of_every_example(first: subprocess.CompletedProcess[str], home: Path) -> None:
    found = sorted((home / "work" / "cells" / "benchmark").glob("[!.]*/predictions.parquet"))
    assert len(found) == 4
    table = pd.read_parquet(found[0])
    assert table.attrs["schema"] == PREDICTIONS_SCHEMA
    clean = table[table["condition"] == "clean"]
    assert set(clean.groupby("group").size()) == {4}  # a customer goes to one split whole
    assert clean["group"].str.startswith("customer-").all()


def test_every_estimate_says_by_how_many_groups_it_is_clustered(
    first: subprocess.CompletedProcess[str], home: Path
) -> None:
    design, found = read(ComparisonDesign, home, "design.json"), read(Comparison, home, "comparison.json")
    assert design.groups == found.groups == found.examples // 4
    told = f", {found.groups} groups"
    for metric in ("accuracy", "macro_f1"):
        result = found.contrast(metric, "full").result
        assert told in result.difference.method
    assert all(told in estimate.method for arm in found.arms for estimate in arm.metrics.values())
    assert " groups" in found.contrast("accuracy", "full", "region=home").result.difference.method


def test_the_report_tells_the_groups_and_the_slices_as_a_family(
    first: subprocess.CompletedProcess[str], home: Path
) -> None:
    found = read(Comparison, home, "comparison.json")
    (family,), groups = found.families, found.groups
    assert {entry.slice for entry in family.result.judged} == {
        "region=home",
        "region=abroad",
        "class=login",
        "class=billing",
    }
    assert f"seeds x {groups * 4} examples in {groups} groups" in " ".join(first.stdout.split())
    page = (home / "work" / "results" / "report.html").read_text(encoding="utf-8")
    assert " test examples in " in page
    words = "Slices against full, Accuracy: none surely worse than −90.0 points (Holm; 4 judged)"
    for place in (page, (home / "work" / "results" / "verdict.md").read_text(encoding="utf-8").replace("\\", "")):
        assert words in place
    assert words in " ".join(first.stdout.split())


@pytest.mark.slow
def test_the_champion_is_compared_by_groups_too(first: subprocess.CompletedProcess[str], home: Path) -> None:
    assert "PROMOTE" in first.stdout
    file = home / "pipeline" / "pipeline.yaml"
    settings = yaml.safe_load(file.read_text(encoding="utf-8"))
    file.write_text(yaml.safe_dump({**settings, "release_seed": 2}), encoding="utf-8")
    again = run_cli("run", "pipeline", "--work", "work", cwd=home)
    assert again.returncode in (ExitCode.DONE, ExitCode.INCONCLUSIVE), again.stderr
    found = read(Comparison, home, "comparison.json")
    difference = found.contrast("accuracy", CHAMPION).result.difference
    assert difference is not None
    assert difference.method.startswith(f"paired score t over examples, {found.groups} groups")
    sides = (
        "--candidate",
        "work/results",
        "--champion",
        "1",
        "--policy",
        "pipeline/policy.yaml",
    )  # what 2 replaced
    judged = run_cli("gate", *sides, cwd=home)
    assert judged.returncode == ExitCode.DONE, judged.stderr
