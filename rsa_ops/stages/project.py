"""A project folder of one's own: the pipeline copied to be edited, its settings inferred from the data."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from rsa_ops.data.config import Columns, SplitConfig
from rsa_ops.data.infer import Inferred, infer
from rsa_ops.data.load import load_table
from rsa_ops.errors import UsageError
from rsa_ops.files import fresh_folder
from rsa_ops.models.base import asset_requirement
from rsa_ops.models.task import Task
from rsa_ops.stages.config import PipelineConfig, read_pipeline
from rsa_ops.stats import examples_needed_for_margin

if TYPE_CHECKING:
    import pandas as pd

DEFAULT_BASE: dict[Task, str] = {"classification": "asset:minilm-l6", "generation": "asset:smollm2-135m"}
COPIED: dict[Task, str] = {"classification": "incident-triage", "generation": "incident-report"}
SETTINGS: dict[Task, dict[str, Any]] = {
    "classification": {
        "metric": "accuracy",
        "sizes": {"train": 1500, "validation": 300, "test": 1000},
    },
    "generation": {
        "metric": "chrf",
        "sizes": {"train": 96, "validation": 32, "test": 80},
    },
}
"""Sizes that two cores finish in minutes; rates and batches are those of the embedded pipelines."""

SLICE_MARGIN = 0.10
MOST_TEST_ROWS = 3000
"""More than `sizes` says are used for testing where the classes are many, so that a class can be judged."""

_JAPANESE = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]")


@dataclass(frozen=True)
class Question:
    """What `rsa-ops init` was asked for."""

    folder: Path
    task: Task
    data: str
    test_data: str | None
    text: str
    label: str
    base: str | None


def write_project(question: Question, pipelines: Path) -> list[str]:
    """Write the project folder; returns what its owner should know.

    Raises:
        UsageError: the folder is not empty. MissingError, DataRefused: the data cannot be read.
    """
    folder = question.folder
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty", hint="Give a new folder; nothing is overwritten.")
    table = load_table(question.data, _columns(question), question.task)
    test = load_table(question.test_data, _columns(question), question.task) if question.test_data else None
    found = infer(table, question.task)
    with fresh_folder(folder) as work:
        for name, words in _files(question, table, test, found, pipelines).items():
            (work / name).parent.mkdir(parents=True, exist_ok=True)
            (work / name).write_text(words, encoding="utf-8")
        read_pipeline(work)  # what is written must be readable, or nothing is written
    return _notes(question, table)


def _columns(question: Question) -> Columns:
    if question.task == "classification":
        return Columns(text=question.text, label=question.label)
    return Columns(source=question.text, target=question.label)


def _files(
    question: Question, table: pd.DataFrame, test: pd.DataFrame | None, found: Inferred, pipelines: Path
) -> dict[str, str]:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("rsa_ops.stages"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701  YAML, not HTML
    )
    embedded, _, _ = read_pipeline(pipelines / COPIED[question.task])
    context = _context(question, table, found, embedded) | _sizes(question.task, table, test)
    code = (pipelines / COPIED[question.task] / "pipeline.py").read_text(encoding="utf-8")
    return {
        "pipeline.py": code.replace(code.split("\n", 1)[0], f'"""{context["description"]}', 1),
        "pipeline.yaml": environment.get_template("pipeline.yaml.j2").render(context),
        "policy.yaml": environment.get_template("policy.yaml.j2").render(context),
        ".github/workflows/rsa-ops.yml": environment.get_template("workflow.yml.j2").render(context),
    }


def _context(question: Question, table: pd.DataFrame, found: Inferred, embedded: PipelineConfig) -> dict[str, Any]:
    columns = _columns(question).model_dump(exclude_none=True, exclude_defaults=True)
    name = re.sub(r"[^a-z0-9]+", "-", question.folder.resolve().name.lower()).strip("-") or "project"
    return {
        "metric": SETTINGS[question.task]["metric"],
        "epochs": f"{embedded.train.epochs:g}",
        "batch_size": embedded.train.batch_size,
        "head_learning_rate": _rate(embedded.train.head_learning_rate),
        "arms": {
            name: {"method": arm.method, "rate": _rate(arm.learning_rate), "options": arm.options}
            for name, arm in embedded.train.arms.items()
        },
        "benchmark_batch_size": embedded.benchmark.batch_size,
        "robustness_examples": embedded.benchmark.robustness_examples,
        "latency_examples": embedded.benchmark.latency_examples,
        "name": name[:60],
        "folder": question.folder.name,
        "task": question.task,
        "description": f"{name}: a {question.task} on {Path(question.data).name}.",
        "source": _from_folder(question.data, question.folder),
        "test_source": _from_folder(question.test_data, question.folder) if question.test_data else None,
        "columns": columns,
        "rows": len(table),
        "checks": yaml.safe_dump(
            found.checks.model_dump(mode="json"), sort_keys=False, allow_unicode=True
        ).rstrip(),
        "base": _base(question),
        "base_requirement": asset_requirement(_base(question)),
        "max_length": found.max_length,
        "max_new_tokens": found.max_new_tokens,
    }


def _sizes(task: Task, table: pd.DataFrame, test: pd.DataFrame | None) -> dict[str, Any]:
    """`sample`, or None where two cores can take all rows; and whether a class will have the rows to be judged."""
    needed = examples_needed_for_margin(SLICE_MARGIN)
    held = test if test is not None else table
    rows = len(held) if test is not None else round(len(table) * SplitConfig().test)
    shares = held["label"].value_counts(normalize=True)
    sizes = dict(SETTINGS[task]["sizes"])
    if task == "classification":
        sizes["test"] = min(max(sizes["test"], (needed + 1) * len(shares)), MOST_TEST_ROWS)
    sample = sizes if len(table) > sum(SETTINGS[task]["sizes"].values()) else None
    tested = min(rows, sizes["test"]) if sample else rows
    judged = task == "classification" and bool(shares.max() * tested >= needed)
    return {"sample": sample, "slices_judged": judged, "slice_margin": f"{SLICE_MARGIN:.2f}", "slice_rows": needed}


def _rate(value: float) -> str:
    """`2.7e-3`, `6.67e-4`: three figures, and always a point, because YAML reads `3e-3` as text."""
    digits, _, power = f"{value:.2e}".partition("e")
    return f"{digits.removesuffix('0')}e{int(power)}"


def _base(question: Question) -> str:
    if question.base is None:
        return DEFAULT_BASE[question.task]
    local = not question.base.startswith(("asset:", "hub:"))
    return str(Path(question.base).resolve()) if local else question.base


def _from_folder(source: str, folder: Path) -> str:
    """A local path as pipeline.yaml writes it: relative to the project folder."""
    if source.startswith(("asset:", "hub:")):
        return source
    return os.path.relpath(Path(source).resolve(), folder.resolve())


def _notes(question: Question, table: pd.DataFrame) -> list[str]:
    sample = " ".join(table["text"].head(200))
    japanese = len(_JAPANESE.findall(sample)) / max(1, len(sample))
    notes = [f"read {len(table)} rows from {question.data}"]
    if japanese > 0.1 and question.base is None:
        notes.append(
            "the texts are Japanese, which the embedded base models cannot read: give --base with a multilingual "
            "model, for example a local copy of multilingual-e5-small"
        )
    return notes
