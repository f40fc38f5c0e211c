"""The README's commands do what it says, and its numbers come from a committed record."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from rsa_ops.data.config import Columns
from rsa_ops.data.load import load_table
from rsa_ops.errors import EXIT_MEANINGS, ExitCode

from ..shell import ROOT, environment

README = (ROOT / "README.md").read_text(encoding="utf-8")
VERDICTS = {ExitCode.DONE, ExitCode.REJECTED, ExitCode.INCONCLUSIVE}


def commands(section: str) -> list[str]:
    """The `$ ` lines of the console blocks of a section."""
    body = README.split(f"## {section}\n", 1)[1].split("\n## ", 1)[0]
    blocks = re.findall(r"```console\n(.*?)```", body, flags=re.DOTALL)
    return [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]


@pytest.fixture(scope="module")
def shell_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `tickets.csv` (three classes of real incidents) and two tables of scores."""
    home = tmp_path_factory.mktemp("readme")
    table = load_table("asset:incident-triage", Columns(text="text", label="label"), "classification")
    chosen = table[table["label"].isin(["xss", "ssrf", "dos"])].drop_duplicates("text").head(96)
    chosen[["text", "label"]].to_csv(home / "tickets.csv", index=False)
    for name, wrong in (("ours.csv", 7), ("theirs.csv", 8)):
        rows = [f"e{n},{seed},{int((n + seed) % wrong != 0)}" for n in range(200) for seed in (1, 2, 3)]
        (home / name).write_text("example_id,seed,score\n" + "\n".join(rows) + "\n")
    return home


def run(command: str, home: Path) -> subprocess.CompletedProcess[str]:
    folder = home / "bin"
    folder.mkdir(exist_ok=True)
    script = folder / "rsa-ops"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m rsa_ops.cli "$@"\n')
    script.chmod(0o755)
    env = {**environment(), "PATH": f"{folder}:{os.environ['PATH']}", "EDITOR": "true"}
    return subprocess.run(["bash", "-c", command], cwd=home, env=env, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_five_lines_lead_from_a_table_to_a_verdict(shell_home: Path) -> None:
    lines = commands("Your own data in five lines")
    assert len(lines) == 6, "five lines, and one comparison of two tables"
    codes = []
    for line in lines[:5]:
        done = run(line, shell_home)
        assert "Traceback" not in done.stderr
        codes.append(ExitCode(done.returncode))
        if "init" in line or "validate" in line:
            assert codes[-1] is ExitCode.DONE, done.stdout + done.stderr
    assert codes[3] in VERDICTS
    assert codes[4] is codes[3], "the gate alone says what the run said"


def test_two_tables_of_scores_are_enough(shell_home: Path) -> None:
    done = run(commands("Your own data in five lines")[5], shell_home)
    assert done.returncode == ExitCode.DONE, done.stderr
    assert "margin" in done.stdout


def test_the_two_commands_are_targets_of_the_makefile() -> None:
    made = commands("Two commands")
    assert made == ["make demo", "make test"]
    for command in made:
        done = subprocess.run(["bash", "-c", f"{command} --dry-run"], cwd=ROOT, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr


def test_ci_runs_the_test_command_of_the_readme() -> None:
    assert "make test" in (ROOT / ".ci" / "run").read_text()


def test_the_quoted_output_is_the_one_of_the_committed_record() -> None:
    record = json.loads((ROOT / "benchmarks" / "results" / "demo.json").read_text(encoding="utf-8"))
    quoted = README.split("<!-- demo:", 1)[1].split("<!-- /demo -->", 1)[0]
    for line in record["output"]:
        assert line in quoted
    assert f"{record['seconds']['cold']:.0f} s" in quoted
    assert f"{record['seconds']['warm']:.0f} s" in quoted


def test_the_exit_codes_are_those_of_the_code() -> None:
    rows = dict(re.findall(r"^\| (\d+) \| (.*) \|$", README, flags=re.MULTILINE))
    assert rows == {str(int(code)): meaning for code, meaning in EXIT_MEANINGS.items()}


def test_every_linked_file_is_there() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_committed_measurements_keep_their_limits() -> None:
    results = ROOT / "benchmarks" / "results"
    overhead = json.loads((results / "overhead.json").read_text(encoding="utf-8"))
    assert overhead["help"]["seconds"] <= overhead["help"]["limit"] == 0.5
    assert overhead["help"]["heavy_imports"] == []
    assert overhead["emptied_run"]["seconds"] <= overhead["emptied_run"]["limit"] == 2.0
    assert overhead["mlflow"]["share"] <= overhead["mlflow"]["limit"] == 0.01
    for name, limits in (("demo", {"cold": 480, "warm": 20}), ("run_incident-report", {"cold": 900})):
        measured = json.loads((results / f"{name}.json").read_text(encoding="utf-8"))
        assert measured["limits"] == limits
        for key, limit in limits.items():
            assert measured["seconds"][key] <= limit, (name, key)
