"""A version tried in a fresh process: it loads there, and gives the answers that were judged.

The process is started before the adapter is fetched, so that its imports run meanwhile. `-P` keeps the working
folder off its import path: a `torch.py` lying there is not what is imported.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field

from rsa_ops import errors
from rsa_ops.core.record import Record, Value
from rsa_ops.errors import IntegrityError, MissingError, RsaOpsError
from rsa_ops.serving.checks import Passed
from rsa_ops.serving.resolved import Resolved


class Probe(Value):
    """Texts, each predicted alone, with the answers that were judged; `source` says where they are kept."""

    texts: tuple[str, ...] = Field(min_length=1)
    outputs: tuple[str, ...]
    source: str = ""


class Question(Record):
    """What a fresh process is asked: to load `folder` as `resolved` and to answer `texts` one by one."""

    schema_: Literal["rsa_ops/trial-question/v1"] = Field(default="rsa_ops/trial-question/v1", alias="schema")

    folder: str
    resolved: Resolved
    texts: tuple[str, ...]
    base: str | None = None
    answer: str


class Answer(Record):
    """What it said: `outputs` and the checks that held, or the error that it ended with."""

    schema_: Literal["rsa_ops/trial-answer/v1"] = Field(default="rsa_ops/trial-answer/v1", alias="schema")

    outputs: tuple[str, ...] = ()
    checks: tuple[Passed, ...] = ()
    error: str | None = None
    message: str = ""
    hint: str = ""


@dataclass(frozen=True)
class FreshProcess:
    """A Python that has nothing of ours loaded but its imports, and waits for one question."""

    process: subprocess.Popen[str]
    scratch: Path
    longest_seconds: float = 1800.0

    def ask(self, folder: Path, resolved: Resolved, texts: Sequence[str], base: str | None = None) -> Answer:
        """Have it load and answer; it ends with that.

        Raises:
            IntegrityError: it died. MissingError: it hangs. RsaOpsError: what it found wrong.
        """
        answer = self.scratch / "answer.json"
        question = Question(
            folder=str(folder.resolve()), resolved=resolved, texts=tuple(texts), base=base, answer=str(answer)
        )
        try:
            _, said = self.process.communicate(question.model_dump_json(), timeout=self.longest_seconds)
        except subprocess.TimeoutExpired as error:
            raise MissingError(
                f"{resolved.name} gave no answer in a fresh process for {self.longest_seconds:.0f} s",
                hint="Nothing was moved. Is the machine out of memory, or the model far larger than before?",
            ) from error
        if not answer.is_file():
            raise IntegrityError(
                f"{resolved.name} does not load in a fresh process: {_last(said)}",
                hint="Nothing was moved. Look for a library version that changed since it was judged.",
            )
        found = Answer.from_json(answer.read_bytes(), str(answer))
        if found.error is not None:
            raise _error(found)
        return found


@contextmanager
def fresh_process() -> Iterator[FreshProcess]:
    """A process to ask once; it is ended when the block ends, whether it was asked or not."""
    with tempfile.TemporaryDirectory() as scratch:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "rsa_ops.serving.fresh"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            yield FreshProcess(process, Path(scratch))
        finally:
            process.kill()  # nothing, where it has ended
            process.wait()
            for pipe in filter(None, (process.stdin, process.stderr)):
                with suppress(BrokenPipeError):
                    pipe.close()


def require_same_answers(found: Sequence[str], probe: Probe, about: str) -> str:
    """How many answers agree, once all of them do.

    Raises:
        IntegrityError: one of them differs from the one that was judged.
    """
    if len(found) != len(probe.outputs) or len(probe.texts) != len(probe.outputs):
        raise IntegrityError(
            f"{about}: {len(probe.texts)} texts, {len(probe.outputs)} answers judged, {len(found)} given"
        )
    differing = sum(ours != theirs for ours, theirs in zip(found, probe.outputs, strict=True))
    if differing:
        raise IntegrityError(
            f"{about}: in a fresh process {differing} of {len(found)} answers differ from those that were judged",
            hint="Nothing was moved. Look for a library version that changed since it was judged.",
        )
    return f"{len(found)} answers, all as judged"


def _error(found: Answer) -> RsaOpsError:
    kind = getattr(errors, found.error or "", IntegrityError)
    if not (isinstance(kind, type) and issubclass(kind, RsaOpsError)):
        kind = IntegrityError
    return kind(found.message, hint=found.hint)


def _last(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "no output"
