"""What a run says about where it came from: never a secret, never an error, only when asked."""

from __future__ import annotations

import hashlib
import subprocess
import time
from pathlib import Path

import pytest

from rsa_ops.files import write_text
from rsa_ops.tracking.run_context import RunContext, origin, within_run

GITHUB = {
    "GITHUB_ACTIONS": "true",
    "GITHUB_RUN_ID": "42",
    "GITHUB_JOB": "train",
    "GITHUB_REPOSITORY": "team/triage",
    "GITHUB_SHA": "a" * 40,
    "GITHUB_REF_NAME": "main",
    "GITHUB_ACTOR": "ann",
    "GITHUB_TOKEN": "secret-1",
    "AWS_SECRET_ACCESS_KEY": "secret-2",
}
GITLAB = {
    "GITLAB_CI": "true",
    "CI_PIPELINE_ID": "43",
    "CI_COMMIT_SHA": "b" * 40,
    "CI_COMMIT_REF_NAME": "side",
    "GITLAB_USER_LOGIN": "bob",
    "CI_JOB_TOKEN": "secret-3",
}


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *who, "-C", folder, *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    write_text(folder / "uv.lock", "locked")
    git(folder, "init", "-q", "-b", "topic/one")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "first")
    return folder


def test_git_is_read_as_git_says_it(repository: Path, tmp_path: Path) -> None:
    commit = git(repository, "rev-parse", "HEAD")
    below = repository / "deep" / "below"
    below.mkdir(parents=True)
    wanted = {"git.commit": commit, "git.branch": "topic/one"}
    assert wanted.items() <= origin(below, {}).items()
    git(repository, "pack-refs", "--all")
    assert wanted.items() <= origin(below, {}).items()
    git(repository, "worktree", "add", "-q", "-b", "other", str(tmp_path / "tree"))
    assert {**wanted, "git.branch": "other"}.items() <= origin(tmp_path / "tree", {}).items()
    git(repository, "checkout", "-q", commit)
    detached = origin(below, {})
    assert detached["git.commit"] == commit
    assert "git.branch" not in detached


def test_the_lock_file_is_named_by_its_digest(repository: Path) -> None:
    found = origin(repository, {})
    assert found["lock.file"] == "uv.lock"
    assert found["lock.sha256"] == f"sha256:{hashlib.sha256(b'locked').hexdigest()}"


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        (GITHUB, {"ci": "github", "ci.run": "42", "git.commit": "a" * 40, "git.branch": "main", "actor": "ann"}),
        (GITLAB, {"ci": "gitlab", "ci.run": "43", "git.commit": "b" * 40, "git.branch": "side", "actor": "bob"}),
    ],
)
def test_what_ci_says_is_kept_and_no_secret(
    repository: Path, environment: dict[str, str], wanted: dict[str, str]
) -> None:
    found = origin(repository, environment)
    assert wanted.items() <= found.items()
    assert "secret" not in str(found)


def test_a_damaged_repository_is_left_out(repository: Path) -> None:
    write_text(repository / ".git" / "HEAD", "ref: refs/heads/gone")
    assert "git.commit" not in origin(repository, {})
    (repository / ".git" / "HEAD").write_bytes(b"\xff\xfe\x00")
    assert "git.commit" not in origin(repository, {})
    (repository / ".git" / "HEAD").unlink()
    assert "git.commit" not in origin(repository, {})


def test_it_is_silent_unless_asked_for(monkeypatch: pytest.MonkeyPatch, repository: Path) -> None:
    monkeypatch.delenv("RSA_OPS_CONTEXT", raising=False)
    assert not RunContext().in_context()
    with within_run(repository):
        assert RunContext().in_context()
        assert RunContext().tags()["rsa.git.branch"] == "topic/one"
    assert not RunContext().in_context()
    monkeypatch.setenv("RSA_OPS_CONTEXT", "1")
    assert RunContext().in_context()
    assert all(name.startswith("rsa.") for name in RunContext().tags())


def test_it_costs_less_than_fifty_milliseconds(repository: Path) -> None:
    origin(repository, {})
    start = time.process_time()
    for _ in range(10):
        origin(repository, GITHUB)
    assert (time.process_time() - start) / 10 < 0.05
