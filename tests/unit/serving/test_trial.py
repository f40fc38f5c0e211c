"""A version tried in a fresh process, as `rsa-ops rollback` does it."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from rsa_ops.errors import IntegrityError, MissingError
from rsa_ops.evaluation.predict import predict_texts
from rsa_ops.models.trained import load_trained
from rsa_ops.serving.trial import Probe, fresh_process, require_same_answers

from .conftest import TEXTS, Version


def test_a_fresh_process_answers_as_the_artifact_does_and_imports_nothing_from_the_working_folder(
    version: Version, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torch.py").write_text("raise SystemExit('the wrong torch')")
    monkeypatch.chdir(tmp_path)
    loaded, spec = load_trained(version.folder, device="cpu")
    expected = tuple(predict_texts(loaded, spec, [text]).outputs[0] for text in TEXTS)
    with fresh_process() as fresh:
        answer = fresh.ask(version.folder, version.resolved(), TEXTS)
    assert answer.outputs == expected
    assert [passed.name for passed in answer.checks][-1] == "is no no-op"


def test_what_the_fresh_process_finds_wrong_comes_back_as_it_was_raised(version: Version, tmp_path: Path) -> None:
    with fresh_process() as fresh, pytest.raises(MissingError, match="check `base model`") as caught:
        fresh.ask(version.folder, version.resolved(), TEXTS, base=str(tmp_path / "none"))
    assert caught.value.hint


def test_a_fresh_process_that_dies_is_a_refusal(version: Version) -> None:
    with fresh_process() as fresh, pytest.raises(IntegrityError, match="does not load in a fresh process"):
        os.kill(fresh.process.pid, signal.SIGKILL)
        fresh.ask(version.folder, version.resolved(), TEXTS)


def test_a_fresh_process_that_hangs_is_a_refusal(version: Version) -> None:
    with fresh_process() as fresh, pytest.raises(MissingError, match="gave no answer"):
        os.kill(fresh.process.pid, signal.SIGSTOP)
        replace(fresh, longest_seconds=0.1).ask(version.folder, version.resolved(), TEXTS)
    assert fresh.process.poll() is not None


def test_a_fresh_process_that_is_not_asked_is_gone_after_the_block() -> None:
    with fresh_process() as fresh:
        assert fresh.process.poll() is None
    assert fresh.process.poll() is not None


@pytest.mark.parametrize("found", [("a", "b", "b"), ("a", "b"), ()])
def test_one_answer_that_differs_or_is_lacking_is_a_refusal(found: tuple[str, ...]) -> None:
    probe = Probe(texts=TEXTS, outputs=("a", "b", "c"))
    assert require_same_answers(("a", "b", "c"), probe, "x") == "3 answers, all as judged"
    with pytest.raises(IntegrityError):
        require_same_answers(found, probe, "x")
