"""What each run says about where it came from, as MLflow asks its plugins: git, CI, lock file, actor.

MLflow asks every plugin of an environment at every run, those of other people's programs too. So this one is silent
unless asked for: within a run of rsa_ops (`within_run`), or where `RSA_OPS_CONTEXT=1`. It reads named variables and
files only, starts no process, and a thing that it cannot read it leaves out.
"""

from __future__ import annotations

import getpass
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from pathlib import Path

from rsa_ops.core.digest import digest_bytes

ASKED = "RSA_OPS_CONTEXT"
LOCK_FILES = ("uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock", "constraints.txt", "requirements.txt")
_LIMIT = 500
_FOLDER: ContextVar[Path | None] = ContextVar("rsa_ops_run_folder", default=None)
# Named, one by one: no variable is read that could hold a secret.
_CI: Mapping[str, Mapping[str, str]] = {
    "GITHUB_ACTIONS": {
        "ci.run": "GITHUB_RUN_ID",
        "ci.job": "GITHUB_JOB",
        "ci.repository": "GITHUB_REPOSITORY",
        "git.commit": "GITHUB_SHA",
        "git.branch": "GITHUB_REF_NAME",
        "actor": "GITHUB_ACTOR",
    },
    "GITLAB_CI": {
        "ci.run": "CI_PIPELINE_ID",
        "ci.job": "CI_JOB_ID",
        "ci.repository": "CI_PROJECT_PATH",
        "git.commit": "CI_COMMIT_SHA",
        "git.branch": "CI_COMMIT_REF_NAME",
        "actor": "GITLAB_USER_LOGIN",
    },
}
_NAMES = {"GITHUB_ACTIONS": "github", "GITLAB_CI": "gitlab"}
_COMMIT = re.compile(r"[0-9a-f]{40,64}")


class RunContext:
    """The plugin `mlflow.run_context_provider`; MLflow makes one and calls both methods at each run."""

    def in_context(self) -> bool:
        """Whether this process wants tags of ours."""
        return _FOLDER.get() is not None or os.environ.get(ASKED, "").lower() in ("1", "true", "yes")

    def tags(self) -> dict[str, str]:
        """The tags, under `rsa.`."""
        return {f"rsa.{name}": value for name, value in origin(_FOLDER.get() or Path(), os.environ).items()}


@contextmanager
def within_run(folder: Path) -> Iterator[None]:
    """Runs that are made inside belong to a run of rsa_ops whose pipeline is in `folder`."""
    token = _FOLDER.set(folder)
    try:
        yield
    finally:
        _FOLDER.reset(token)


def origin(folder: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Tags `git.*`, `ci.*`, `lock.*` and `actor` (without `rsa.`) of a run in `folder`; what CI says goes first."""
    found = {**_git(folder), **_lock(folder), **_actor(environment)}
    for marker, names in _CI.items():
        if environment.get(marker, "").lower() == "true":
            found["ci"] = _NAMES[marker]
            found |= {tag: environment[name] for tag, name in names.items() if environment.get(name)}
    return {name: value[:_LIMIT] for name, value in found.items()}


def _actor(environment: Mapping[str, str]) -> dict[str, str]:
    if environment.get("RSA_OPS_ACTOR"):
        return {"actor": environment["RSA_OPS_ACTOR"]}
    try:
        return {"actor": getpass.getuser()}
    except (OSError, KeyError):  # a container whose user has no name
        return {}


def _git(folder: Path) -> dict[str, str]:
    """Commit and branch as the files of git say them; whether the tree is clean takes a process (`context`)."""
    try:
        top = next((place for place in _upwards(folder) if (place / ".git").exists()), None)
        return {} if top is None else _head(top / ".git")
    except (OSError, ValueError):
        return {}


def _head(git: Path) -> dict[str, str]:
    if git.is_file():  # a worktree: "gitdir: ..."
        git = (git.parent / git.read_text("utf-8").removeprefix("gitdir:").strip()).resolve()
    common = git / "commondir"
    shared = (git / common.read_text("utf-8").strip()).resolve() if common.is_file() else git
    head = (git / "HEAD").read_text("utf-8").strip()
    if not head.startswith("ref:"):
        return _commit(head)
    name = head.removeprefix("ref:").strip()
    loose = next((place / name for place in (git, shared) if (place / name).is_file()), None)
    if loose is not None:
        commit = loose.read_text("utf-8").strip()
    else:
        packed = (shared / "packed-refs").read_text("utf-8").splitlines()
        commit = next((line.split()[0] for line in packed if line.endswith(f" {name}")), "")
    return {**_commit(commit), "git.branch": name.removeprefix("refs/heads/")}


def _commit(words: str) -> dict[str, str]:
    return {"git.commit": words} if _COMMIT.fullmatch(words) else {}


def _lock(folder: Path) -> dict[str, str]:
    try:
        for place in _upwards(folder):
            for file in (place / name for name in LOCK_FILES):
                if file.is_file():
                    return {"lock.file": file.name, "lock.sha256": _digest(file, file.stat().st_mtime_ns)}
            if (place / ".git").exists():
                break
    except OSError:
        pass
    return {}


@lru_cache(maxsize=16)
def _digest(file: Path, changed: int) -> str:  # noqa: ARG001  another time is another file
    return digest_bytes(file.read_bytes())


def _upwards(folder: Path) -> tuple[Path, ...]:
    here = folder.resolve()
    return (here, *here.parents)
