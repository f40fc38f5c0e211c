"""The content key changes with everything that could change a result, and with nothing else."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import rsa_ops
from rsa_ops.core.digest import digest_bytes
from rsa_ops.errors import IntegrityError
from rsa_ops.execution import key as key_module
from rsa_ops.execution.key import content_key, library_versions, source_digest

DATA, OTHER = digest_bytes(b"train"), digest_bytes(b"test")
SETTINGS = {"arm": {"method": "rsa", "learning_rate": 0.01}, "seeds": [1, 2]}


def test_equal_work_has_an_equal_key() -> None:
    turned = {"seeds": [1, 2], "arm": {"learning_rate": 0.01, "method": "rsa"}}
    assert content_key("train", SETTINGS, DATA) == content_key("train", turned, DATA)


@pytest.mark.parametrize(
    "changed",
    [
        lambda: content_key("benchmark", SETTINGS, DATA),
        lambda: content_key("train", {**SETTINGS, "seeds": [2, 1]}, DATA),
        lambda: content_key("train", {**SETTINGS, "arm": {"method": "rsa", "learning_rate": 0.011}}, DATA),
        lambda: content_key("train", {**SETTINGS, "new": None}, DATA),
        lambda: content_key("train", SETTINGS, OTHER),
        lambda: content_key("train", SETTINGS),
        lambda: content_key("train", SETTINGS, DATA, OTHER),
    ],
    ids=["stage", "order", "setting", "new setting", "data", "no data", "more data"],
)
def test_a_change_of_stage_settings_or_data_changes_the_key(changed) -> None:
    assert changed() != content_key("train", SETTINGS, DATA)


def test_the_order_of_the_data_matters() -> None:
    assert content_key("train", {}, DATA, OTHER) != content_key("train", {}, OTHER, DATA)


def test_another_version_of_a_computing_library_changes_the_key(monkeypatch) -> None:
    before = content_key("train", SETTINGS, DATA)
    versions = tuple(entry.replace("torch==", "torch==9.") for entry in library_versions())
    assert versions != library_versions()
    monkeypatch.setattr(key_module, "library_versions", lambda: versions)
    assert content_key("train", SETTINGS, DATA) != before


def test_the_versions_are_those_installed() -> None:
    assert library_versions()[0] == f"python {sys.version_info.major}.{sys.version_info.minor}"
    assert f"torch=={version('torch')}" in library_versions()
    assert f"peft=={version('peft')}" in library_versions()


def test_any_change_in_the_package_source_changes_the_key(tmp_path: Path) -> None:
    copy = tmp_path / "rsa_ops"
    shutil.copytree(Path(rsa_ops.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    code = "from rsa_ops.execution.key import source_digest; print(source_digest())"

    def digest() -> str:
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)},
                              capture_output=True, text=True, check=True)  # fmt: skip
        return done.stdout.strip()

    assert digest() == source_digest()  # where it lies does not matter
    (copy / "evaluation" / "scorers.py").open("a").write("# one comment\n")
    assert digest() != source_digest()


def test_settings_that_are_no_number_have_no_key() -> None:
    with pytest.raises(IntegrityError):
        content_key("train", {"rate": float("nan")}, DATA)
