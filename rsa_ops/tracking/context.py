"""Where the code of a run came from: git commit and whether the tree was clean."""

from __future__ import annotations

import subprocess
from pathlib import Path


def source_tags(folder: Path) -> dict[str, str]:
    """`git.commit` and `git.clean` of the repository that holds `folder`; empty outside of one."""
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return {}
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return {"git.commit": commit, "git.clean": str(changed == "").lower()}


def _git(folder: Path, *words: str) -> str | None:
    command = ["git", "-C", str(folder), *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
