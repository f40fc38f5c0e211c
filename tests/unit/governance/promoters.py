"""A process that promotes, and may be killed on the way.

    python promoters.py FOLDER ADDRESS die ACTION STEP      carry out what is planned or open, and die at a step
    python promoters.py FOLDER ADDRESS race NAME ROUNDS     promote in every round, when told to

The registry is MLflow where FOLDER holds its database, else files, one for each alias.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from rsa_ops.errors import ConflictError
from rsa_ops.governance.apply import Step, carry_out, finish, nowhere, promotion_intent
from rsa_ops.governance.desk import Desk, open_desk
from rsa_ops.governance.entry import Sealed
from rsa_ops.governance.keys import load_key
from rsa_ops.governance.notary import Notary
from rsa_ops.governance.payloads import Intent, PointerMoved, payload_as
from rsa_ops.governance.plan import plan_digest, read_plan
from rsa_ops.governance.pointer import LivePointer, open_intents, pointer_history
from rsa_ops.governance.reconcile import reconcile
from rsa_ops.governance.store import open_ledger


class Files:
    """A registry: one file for each alias, replaced whole."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, model: str, alias: str) -> str | None:
        file = self.folder / f"{model}@{alias}"
        return file.read_text() if file.exists() else None

    def move(self, model: str, alias: str, version: str) -> None:
        fresh = self.folder / f".{os.getpid()}"
        fresh.write_text(version)
        fresh.replace(self.folder / f"{model}@{alias}")


def registry(folder: Path) -> LivePointer:
    if not (folder / "mlflow.db").exists():
        return Files(folder)
    from rsa_ops.tracking.registry import AliasPointer
    from rsa_ops.tracking.store import open_store

    return AliasPointer(open_store(f"sqlite:///{folder / 'mlflow.db'}", "triage", folder / "artifacts"))


def desk_of(folder: Path, address: str) -> Desk:
    return open_desk(Notary(open_ledger(address, write=True), load_key(folder / "ops.pem")))


def killer(wanted: str) -> Callable[[Step], None]:
    def at(step: Step) -> None:
        if step.name == wanted:
            os.kill(os.getpid(), signal.SIGKILL)

    return at


def back_to_first(desk: Desk, model: str) -> Intent:
    """The rollback to the oldest version that the alias named."""
    with desk.ledger.view() as view:
        moves = [payload_as(sealed.entry, PointerMoved) for sealed in pointer_history(view, model, "champion")]
    first, last = moves[0], moves[-1]
    return Intent(
        plan=None,
        action="rollback",
        model=model,
        alias="champion",
        version=first.version,
        digest=first.digest,
        generation=last.generation + 1,
        before_version=last.version,
        reason="it drifts",
    )


def opened(desk: Desk) -> Sealed:
    with desk.ledger.view() as view:
        return open_intents(view)[0]


def act(folder: Path, desk: Desk, live: LivePointer, action: str, step: str) -> None:
    at = killer(step)
    plan = read_plan(folder / "plan.json").plan()
    if action == "apply":
        carry_out(desk, live, promotion_intent(desk, plan, plan_digest(plan)), at)
    elif action == "rollback":
        carry_out(desk, live, back_to_first(desk, plan.model), at)
    elif action == "reconcile":
        reconcile(desk, live, opened(desk), onward=True, at=at)
    elif action == "finish":
        finish(desk, live, opened(desk), nowhere)


def race(folder: Path, desk: Desk, live: LivePointer, name: str, rounds: int) -> None:
    """Each round: the plan of this name for it, when told to go; the outcome as the exit code it would be."""
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for number in range(rounds):
        sys.stdin.readline()
        plan = read_plan(folder / f"plan-{name}-{number}.json").plan()
        try:
            desk.refresh()
            carry_out(desk, live, promotion_intent(desk, plan, plan_digest(plan)))
            code = 0
        except ConflictError as error:
            code = int(error.exit_code)
        sys.stdout.write(f"{code}\n")
        sys.stdout.flush()


def main() -> None:
    folder, address, what, name, last = sys.argv[1:]
    desk, live = desk_of(Path(folder), address), registry(Path(folder))
    if what == "die":
        act(Path(folder), desk, live, name, last)
    else:
        race(Path(folder), desk, live, name, int(last))


if __name__ == "__main__":
    main()
