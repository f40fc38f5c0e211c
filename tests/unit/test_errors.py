"""The exception tree: one exit code for each kind, and errors that survive the way out of a worker process."""

from __future__ import annotations

import copy
import pickle

import pytest

from rsa_ops.errors import (
    EXIT_MEANINGS,
    CellFailed,
    ConfigError,
    ConflictError,
    DataRefused,
    ExitCode,
    IntegrityError,
    MissingError,
    Problem,
    RsaOpsError,
    UsageError,
)

KINDS = (RsaOpsError, UsageError, DataRefused, IntegrityError, ConflictError, MissingError, CellFailed)
PROBLEMS = (Problem("train.epochs", "is missing", 4), Problem("data", "unknown key"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("copied", [lambda e: pickle.loads(pickle.dumps(e)), copy.deepcopy, copy.copy])
def test_an_error_crosses_a_process_boundary_unchanged(kind: type[RsaOpsError], copied) -> None:
    error = kind("the test split is empty", hint="Give more rows.")
    again = copied(error)
    assert type(again) is kind
    assert (again.message, again.hint, str(again)) == (error.message, error.hint, str(error))
    assert again.exit_code == kind.exit_code


def test_a_config_error_crosses_a_process_boundary_with_all_its_problems() -> None:
    again = pickle.loads(pickle.dumps(ConfigError("pipeline.yaml", PROBLEMS, hint="look")))
    assert again.problems == PROBLEMS
    assert (again.source, again.hint) == ("pipeline.yaml", "look")


def test_a_config_error_lists_every_problem_with_its_line() -> None:
    assert ConfigError("p.yaml", PROBLEMS).message == (
        "p.yaml: 2 problems\n  line 4, train.epochs: is missing\n  data: unknown key"
    )
    assert ConfigError("p.yaml", PROBLEMS[:1]).message.startswith("p.yaml: 1 problem\n")


@pytest.mark.parametrize(
    ("kind", "code"),  # DESIGN.md section 5
    [
        (RsaOpsError, 1), (UsageError, 2), (ConfigError, 2), (DataRefused, 3), (IntegrityError, 6),
        (ConflictError, 7), (MissingError, 8), (CellFailed, 8),
    ],
)  # fmt: skip
def test_the_exit_code_of_each_kind_is_the_designs(kind: type[RsaOpsError], code: int) -> None:
    assert kind.exit_code == code


def test_the_exit_table_is_the_designs_and_every_code_has_a_meaning() -> None:
    assert sorted(ExitCode) == [0, 1, 2, 3, 4, 5, 6, 7, 8, 130]
    assert set(EXIT_MEANINGS) == set(ExitCode)


def test_the_hint_stands_under_the_message() -> None:
    assert str(MissingError("no table", hint="Run train first.")) == "no table\n  Run train first."
    assert str(MissingError("no table")) == "no table"
