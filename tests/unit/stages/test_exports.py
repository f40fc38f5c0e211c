"""The names that a pipeline imports are functions, and nobody pays for those that are not asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest

import rsa_ops.stages

HEAVY = ("numpy", "torch", "mlflow", "pandas", "rsa_ops.stages.benchmark")


@pytest.mark.parametrize("name", rsa_ops.stages.__all__)
def test_a_stage_is_a_function_though_its_module_was_imported_before(name: str) -> None:
    code = f"import rsa_ops.stages.{name.lower()}; from rsa_ops.stages import {name}; print(callable({name}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


def test_a_command_about_the_ledger_imports_no_stage_of_training() -> None:
    modules = "rsa_ops.stages.models, rsa_ops.stages.audit, rsa_ops.stages.ledger, rsa_ops.stages.promotion"
    code = f"import sys, {modules}; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
