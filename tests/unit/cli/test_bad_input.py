"""What bad input gets: a clear message, the right exit code, no traceback, nothing half-written."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import yaml

from rsa_ops.errors import ExitCode

from ...shell import ROOT, run_cli, run_here

TRIAGE = ROOT / "pipelines" / "incident-triage"


def project(folder: Path, **changes: object) -> Path:
    """A project on `folder/data.csv`, with top-level keys of pipeline.yaml replaced."""
    settings = yaml.safe_load((TRIAGE / "pipeline.yaml").read_text())
    settings["data"] = {"source": "../data.csv", "columns": {"text": "text", "label": "label"}}
    home = folder / "project"
    home.mkdir()
    (home / "pipeline.yaml").write_text(yaml.safe_dump({**settings, **changes}))
    (home / "policy.yaml").write_text((TRIAGE / "policy.yaml").read_text())
    (home / "pipeline.py").write_text((TRIAGE / "pipeline.py").read_text())
    return home


def table(rows: int = 60, classes: int = 3) -> str:
    lines = [f"report number {row} says that part {row * 7} broke,class{row % classes}" for row in range(rows)]
    return "text,label\n" + "\n".join(lines) + "\n"


def refused(done: subprocess.CompletedProcess[str], code: ExitCode, *words: str) -> None:
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr + done.stdout, done.stderr


def test_a_missing_column_is_named_with_the_columns_there_are(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text(table().replace("text,label", "texts,label"))
    done = run_here("validate", project(tmp_path), "-o", "out", cwd=tmp_path)
    refused(done, ExitCode.DATA_REFUSED, "text", "texts")
    assert not (tmp_path / "out").exists()


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("")
    refused(run_here("validate", project(tmp_path), cwd=tmp_path), ExitCode.DATA_REFUSED, "empty")


def test_latin_1_bytes_are_refused_with_the_setting_that_reads_them(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_bytes(table().replace("broke", "zerstört").encode("latin-1"))
    refused(run_here("validate", project(tmp_path), cwd=tmp_path), ExitCode.DATA_REFUSED, "latin-1")


def test_a_line_of_two_gigabytes_is_refused_without_being_read(tmp_path: Path) -> None:
    with (tmp_path / "data.csv").open("w") as file:
        file.write("text,label\n")
        file.truncate(2 << 30)  # a sparse file: two gigabytes of zeros without a line break
    refused(run_here("validate", project(tmp_path), cwd=tmp_path), ExitCode.DATA_REFUSED, "line 2")


def test_an_unknown_label_in_the_test_set_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text(table())
    (tmp_path / "test.csv").write_text("text,label\nquite another report about a pump,class9\n")
    data = {
        "source": "../data.csv",
        "test_source": "../test.csv",
        "columns": {"text": "text", "label": "label"},
    }
    refused(run_here("validate", project(tmp_path, data=data), cwd=tmp_path), ExitCode.DATA_REFUSED, "class9")


def test_a_typo_in_yaml_is_answered_with_the_nearest_key_and_its_line(tmp_path: Path) -> None:
    home = project(tmp_path)
    file = home / "pipeline.yaml"
    file.write_text(file.read_text().replace("epochs:", "epoch:"))
    line = next(n for n, text in enumerate(file.read_text().splitlines(), 1) if "epoch:" in text)
    refused(run_here("run", home, cwd=tmp_path), ExitCode.USAGE, "did you mean `epochs`", f"line {line}")


def test_broken_yaml_is_answered_with_its_line(tmp_path: Path) -> None:
    home = project(tmp_path)
    (home / "policy.yaml").write_text("name: [\nrules: }\n")
    refused(run_here("run", home, cwd=tmp_path), ExitCode.USAGE, "policy.yaml", "line 2")


def test_an_arm_that_the_policy_names_but_nobody_trains_is_refused(tmp_path: Path) -> None:
    home = project(tmp_path)
    (home / "policy.yaml").write_text((home / "policy.yaml").read_text().replace("against: lora", "against: dora"))
    refused(run_here("run", home, cwd=tmp_path), ExitCode.USAGE, "dora", "lora")


def test_an_unknown_arm_of_train_is_answered_with_the_arms_there_are(tmp_path: Path) -> None:
    done = run_here("train", project(tmp_path), "--arm", "laro", "--data", "nowhere", cwd=tmp_path)
    refused(done, ExitCode.USAGE, "laro", "lora")


def test_a_model_directory_without_weights_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text(table())
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    home = project(tmp_path, model={"base": str(tmp_path / "model")})
    done = run_here("run", home, "--work", "work", cwd=tmp_path)
    refused(done, ExitCode.MISSING, "no weights")


def test_a_folder_that_is_no_pipeline_says_how_to_make_one(tmp_path: Path) -> None:
    refused(run_here("run", "nowhere", cwd=tmp_path), ExitCode.MISSING, "rsa-ops init")


def test_an_mlflow_server_that_does_not_answer_is_named(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text(table())
    home = project(tmp_path, tracking={"uri": "http://127.0.0.1:9"})
    refused(run_here("run", home, cwd=tmp_path), ExitCode.MISSING, "127.0.0.1:9")


def test_unknown_options_and_commands_are_usage_errors(tmp_path: Path) -> None:
    refused(run_here("frobnicate", cwd=tmp_path), ExitCode.USAGE)
    refused(run_here("run", cwd=tmp_path), ExitCode.USAGE)


@pytest.mark.parametrize(
    ("candidate", "baseline", "code", "words"),
    [
        ("a,1,1\nb,1,0\n", "a,1,1\n", ExitCode.INTEGRITY, "different examples"),
        ("a,1,1\nb,1,\n", "a,1,1\nb,1,0\n", ExitCode.INTEGRITY, "no number"),
        ("a,1,1\na,1,0\n", "a,1,1\nb,1,0\n", ExitCode.INTEGRITY, "twice"),
        ("a,1,1\nb,1,0\n", "a,1,1\nb,1,0\n", ExitCode.USAGE, "same table"),
        ("a,1,1\nb,1,0\na,2,1\n", "a,1,0\nb,1,0\n", ExitCode.INTEGRITY, "missing"),
    ],
)
def test_tables_that_cannot_be_compared_are_refused(
    tmp_path: Path, candidate: str, baseline: str, code: ExitCode, words: str
) -> None:
    for name, rows in (("a.csv", candidate), ("b.csv", baseline)):
        (tmp_path / name).write_text("example_id,seed,score\n" + rows)
    done = run_here("compare", "--candidate", "a.csv", "--baseline", "b.csv", "--margin", "0.02", cwd=tmp_path)
    refused(done, code, words)


def test_a_table_without_the_needed_columns_says_which_are_missing(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,score\n1,1\n")
    (tmp_path / "b.csv").write_text("example_id,seed,score\n1,1,1\n")
    done = run_here("compare", "--candidate", "a.csv", "--baseline", "b.csv", "--margin", "0.02", cwd=tmp_path)
    refused(done, ExitCode.DATA_REFUSED, "example_id", "seed")


def test_a_bug_says_that_it_is_one(tmp_path: Path) -> None:
    home = project(tmp_path)
    (home / "pipeline.py").write_text(
        textwrap.dedent(
            """
            def pipeline(run):
                raise ZeroDivisionError("a bug in somebody's pipeline")
            """
        )
    )
    done = run_here("run", home, "--work", "work", cwd=tmp_path)
    assert done.returncode == ExitCode.BUG
    assert "ZeroDivisionError" in done.stderr


def test_ctrl_c_says_that_the_same_command_goes_on_and_marks_the_run_as_killed(tmp_path: Path) -> None:
    home = project(tmp_path)
    (home / "pipeline.py").write_text(
        textwrap.dedent(
            """
            import time
            from pathlib import Path

            def pipeline(run):
                Path("ready").write_text(run.run_id)
                time.sleep(60)
            """
        )
    )
    command = [sys.executable, "-m", "rsa_ops.cli", "run", str(home), "--work", "work"]
    run = subprocess.Popen(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "ready").exists():
        assert run.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    run.send_signal(signal.SIGINT)
    _, said = run.communicate(timeout=30)
    assert run.returncode == ExitCode.INTERRUPTED
    assert "interrupted" in said
    assert "the same command goes on" in said
    assert "Traceback" not in said
    with sqlite3.connect(tmp_path / "work" / "mlflow.db") as store:
        assert store.execute("SELECT status FROM runs").fetchall() == [("KILLED",)]


def test_a_database_that_another_program_locks_in_the_middle_is_a_conflict(tmp_path: Path) -> None:
    home = project(tmp_path)
    (home / "pipeline.py").write_text(
        textwrap.dedent(
            """
            import sqlite3
            from sqlalchemy import event
            from sqlalchemy.engine import Engine

            @event.listens_for(Engine, "before_cursor_execute", retval=True)
            def wait_a_tenth_of_a_second(connection, cursor, statement, parameters, context, many):
                return statement.replace("busy_timeout = 20000", "busy_timeout = 100"), parameters

            def pipeline(run):
                run.store.client._tracking_client.store.engine.dispose()  # the next connection waits less
                other = sqlite3.connect(run.work / "mlflow.db", isolation_level=None)
                other.execute("BEGIN IMMEDIATE")
                run.tag({"never": "written"})
            """
        )
    )
    done = run_cli("run", home, "--work", "work", cwd=tmp_path)  # listens to every engine
    refused(done, ExitCode.CONFLICT, "is locked by another program", "run again")


def test_a_full_disk_is_named_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)], check=False)
    if mounted.returncode != 0:
        pytest.skip("mounting a small file system needs root")
    try:
        (tmp_path / "data.csv").write_text(table())
        done = run_cli("run", project(tmp_path), "--work", small / "work", cwd=tmp_path)  # opens files there
        refused(done, ExitCode.MISSING, "space")
        assert not list(small.rglob("mlflow.db*")), "half a database would stop the next run"
    finally:
        subprocess.run(["umount", str(small)], check=True)
