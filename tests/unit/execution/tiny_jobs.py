"""Jobs of a few milliseconds, a `RunLog` on disk, and a driver to be killed. Imported by workers, by name."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rsa_ops.core.digest import Digest, digest_value
from rsa_ops.errors import DataRefused
from rsa_ops.execution.cached_map import Item, cached_map
from rsa_ops.execution.local import LocalExecutor
from rsa_ops.execution.progress import Silent

Tell = Callable[[float, str], None]


def work(task: object, out: Path, tell: Tell) -> None:
    """Do what `task` names; every one writes `result` first, so that a half-written folder would be seen."""
    (out / "result").write_text(json.dumps(task))
    name, *rest = task if isinstance(task, list) else [task]
    if name == "sleep":
        (Path(rest[1]) / f"{os.getpid()}.pid").touch()
        deadline = time.monotonic() + rest[0]
        while time.monotonic() < deadline:
            time.sleep(0.05)
    elif name == "tell":
        for share in (0.25, 0.5, 1.0):
            tell(share, f"at {share}")
    elif name == "refuse":
        raise DataRefused("the rows are wrong", hint="Mend them.")
    elif name == "bug":
        print("words on stdout")  # noqa: T201
        print("words on stderr", file=sys.stderr)  # noqa: T201
        sys.stdout.buffer.write(b"\xff\xfe not utf-8\n")
        raise ZeroDivisionError("seven by nothing")
    elif name == "signal":
        os.kill(os.getpid(), getattr(signal, rest[0]))
        time.sleep(10)
    elif name == "exit":
        os._exit(rest[0])
    elif name == "memory":
        raise MemoryError("4 GB wanted")
    elif name == "full":
        Path("/dev/full").write_bytes(b"x")
    elif name == "wrapped-full":
        raise RuntimeError("could not save: No space left on device (os error 28)")
    elif name == "pid":
        (out / "pid").write_text(str(os.getpid()))
    elif name == "hold-gil":
        # A C call that keeps the interpreter's lock: no Python thread of this process runs meanwhile.
        (Path(rest[1]) / f"{os.getpid()}.pid").touch()
        ctypes.PyDLL(None).sleep(rest[0])


@dataclass(frozen=True)
class FileLog:
    """A `RunLog`: one JSON file a finished run."""

    folder: Path

    def finished(self, keys: Sequence[Digest]) -> Mapping[Digest, Digest]:
        """As the protocol says."""
        found = [json.loads(file.read_text()) for file in sorted(self.folder.glob("*.json"))]
        return {run["key"]: run["digest"] for run in found if run["key"] in set(keys)}

    def restore(self, key: Digest, folder: Path) -> None:
        """This store keeps no files, so nothing comes back."""

    def record(self, *, stage: str, name: str, key: Digest, folder: Path, digest: Digest) -> None:
        """As the protocol says."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / f"{stage}-{name}-{time.time_ns()}.json").write_text(
            json.dumps({"key": key, "digest": digest})
        )


def item(name: str, task: object) -> Item:
    """A piece of work whose key is its task."""
    return Item("train", name, digest_value([name, task]), task)


if __name__ == "__main__":  # a driver: tiny_jobs.py HOME JSON-of-tasks WORKERS PRELOAD
    home, tasks = Path(sys.argv[1]), json.loads(sys.argv[2])
    executor = LocalExecutor(int(sys.argv[3]), home / "logs", (sys.argv[4],))
    try:
        done = cached_map(
            work,
            [item(name, task) for name, task in tasks.items()],
            root=home / "cells",
            log=FileLog(home / "log"),
            executor=executor,
            progress=Silent(),
        )
    except KeyboardInterrupt:
        sys.exit(130)
    print(json.dumps({result.item.name: result.reused for result in done}))  # noqa: T201
