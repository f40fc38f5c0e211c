"""The other side of `trial`: `python -P -m rsa_ops.serving.fresh` reads a question, loads, answers, ends."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

from rsa_ops.errors import RsaOpsError
from rsa_ops.files import write_record
from rsa_ops.serving.trial import Answer, Question

SLOW_IMPORTS = ("torch", "transformers", "peft", "rsa_ops.tuners", "rsa_ops.models.heads", "rsa_ops.serving.load")


def main() -> None:
    """Answer the question on stdin; anything that is not an error of ours ends the process with a traceback."""
    for name in SLOW_IMPORTS:
        importlib.import_module(name)
    asked = sys.stdin.read()
    if not asked:
        return  # whoever started us needed no answer
    question = Question.from_json(asked.encode(), "the question")
    try:
        answer = _answer(question)
    except RsaOpsError as error:
        answer = Answer(error=type(error).__name__, message=error.message, hint=error.hint)
    write_record(Path(question.answer), answer)


def _answer(question: Question) -> Answer:
    import torch

    from rsa_ops.models.trained import read_spec
    from rsa_ops.serving.load import load_checked

    if read_spec(Path(question.folder)).task == "classification":
        torch.set_num_threads(
            1
        )  # for single short texts, more threads only wait for each other (three times slower)
    served = load_checked(Path(question.folder), question.resolved, base=question.base, sample=question.texts)
    outputs = tuple(served.predict([text])[0] for text in question.texts)  # one by one, as the probe was made
    return Answer(outputs=outputs, checks=served.checks)


if __name__ == "__main__":
    main()
    os._exit(0)  # the answer is on the disk, and taking torch down would cost another second
