"""Rollbacks that are killed (SIGKILL): `python killed.py MODEL ANSWERS FOLDER=STEP ...`; prints how each ended.

It imports what a rollback needs once, and then forks before it opens anything, a process for each folder.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, cast

from rsa_ops.governance.apply import Step
from rsa_ops.governance.keys import load_key
from rsa_ops.governance.notary import Notary
from rsa_ops.governance.store import open_ledger
from rsa_ops.serving.trial import Answer, FreshProcess
from rsa_ops.stages.rollback import Wish, roll_back
from rsa_ops.tracking.store import read_store


class Stand:
    """Gives the answers that were judged."""

    def __init__(self, answers: list[str]) -> None:
        self.answers = tuple(answers)

    def ask(self, *_: Any) -> Answer:
        return Answer(outputs=self.answers)


def rolled_back(model: str, answers: list[str], folder: Path, step: Step) -> None:
    def die(at: Step) -> None:
        if at is step:
            os.kill(os.getpid(), signal.SIGKILL)

    notary = Notary(open_ledger(str(folder / "ledger.db"), write=True), load_key(folder / "ledger.key"))
    store = read_store(f"sqlite:///{folder / 'mlflow.db'}")
    wish = Wish(model, "champion", reason="it answers badly")
    fresh = cast("FreshProcess", Stand(answers))
    roll_back(notary, store, wish, fresh, lambda _: None, time.perf_counter(), die)


def main() -> None:
    import mlflow
    import mlflow.artifacts  # noqa: F401

    model, answers, *tasks = sys.argv[1:]
    for task in tasks:
        folder, _, step = task.partition("=")
        process = os.fork()
        if process == 0:
            rolled_back(model, json.loads(answers), Path(folder), Step(step))
            os._exit(0)
        _, status = os.waitpid(process, 0)
        sys.stdout.write(f"{step}: {os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
