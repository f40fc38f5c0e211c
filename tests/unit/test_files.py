"""Bytes on disk: whole or not at all, whatever ends the writer; digests that see every byte and every name."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsa_ops.core.cell import Cell
from rsa_ops.core.digest import digest_parts
from rsa_ops.core.validation import Validation
from rsa_ops.errors import IntegrityError, MissingError, UsageError
from rsa_ops.files import (
    clear_leftovers,
    digest_file,
    digest_folder,
    disk_errors,
    folder_bytes,
    fresh_folder,
    process_alive,
    read_record,
    write_bytes,
    write_text,
)

ROOT = Path(__file__).parents[2]


class Crash(Exception):
    """What no library raises."""


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 256 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("may not mount here; test_an_error_of_the_disk_is_explained covers the rest")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_what_was_written_is_there_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "new" / "deep" / "a.txt"
    write_text(path, "first")
    write_text(path, "naïve 日本")
    assert path.read_bytes() == "naïve 日本".encode()
    assert names(tmp_path) == ["new", "new/deep", "new/deep/a.txt"]


def test_others_may_read_what_was_written(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "x")
    with fresh_folder(tmp_path / "folder") as folder:
        (folder / "b.txt").write_text("x")
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o755


def test_a_folder_appears_only_when_its_block_ends_well(tmp_path: Path) -> None:
    with fresh_folder(tmp_path / "cells" / "a") as folder:
        (folder / "one").write_text("1")
        assert folder.is_absolute()
        assert not (tmp_path / "cells" / "a").exists()
    assert names(tmp_path) == ["cells", "cells/a", "cells/a/one"]


@pytest.mark.parametrize("error", [Crash, KeyboardInterrupt, SystemExit])
def test_a_block_that_ends_badly_leaves_what_was_there_before(tmp_path: Path, error: type[BaseException]) -> None:
    with fresh_folder(tmp_path / "a") as folder:
        (folder / "old").write_text("old")
    with pytest.raises(error), fresh_folder(tmp_path / "a") as folder:
        (folder / "new").write_text("new")
        raise error
    with pytest.raises(error), fresh_folder(tmp_path / "b") as folder:
        raise error
    assert names(tmp_path) == ["a", "a/old"]


def test_a_second_folder_replaces_the_first_whole(tmp_path: Path) -> None:
    for name in ("first", "second"):
        with fresh_folder(tmp_path / "a") as folder:
            (folder / name).write_text(name)
    assert names(tmp_path) == ["a", "a/second"]


def test_an_old_folder_that_is_being_replaced_is_never_half_there(tmp_path: Path, monkeypatch) -> None:
    old = tmp_path / "a"
    with fresh_folder(old) as folder:
        for number in range(5):
            (folder / str(number)).write_text("x")
    seen: list[list[str]] = []
    unlink, rmdir = os.unlink, os.rmdir
    watch = lambda call: lambda *args, **kinds: (call(*args, **kinds), seen.append(names(old)))[0]  # noqa: E731
    monkeypatch.setattr(os, "unlink", watch(unlink))
    monkeypatch.setattr(os, "rmdir", watch(rmdir))
    with fresh_folder(old) as folder:
        (folder / "new").write_text("x")
    assert all(state in ([], ["new"], ["0", "1", "2", "3", "4"]) for state in seen)
    assert seen


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_kill_9_in_the_middle_of_writing_leaves_the_old_bytes(tmp_path: Path, kind: str) -> None:
    script = {
        "file": "while True:\n    write_bytes(home / 'a', bytes([65 + turn % 26]) * 3_000_000); turn += 1",
        "folder": (
            "while True:\n    with fresh_folder(home / 'a') as out:\n        for part in 'xyz':\n"
            "            (out / part).write_bytes(bytes([65 + turn % 26]) * 500_000)\n    turn += 1"
        ),
    }[kind]
    code = (
        f"from pathlib import Path\nfrom rsa_ops.files import *\nhome, turn = Path({str(tmp_path)!r}), 0\n{script}"
    )
    child = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)})
    wait_for((tmp_path / "a").exists)
    time.sleep(0.25)
    child.send_signal(signal.SIGKILL)
    child.wait()
    files = [tmp_path / "a"] if kind == "file" else sorted((tmp_path / "a").iterdir())
    if kind == "folder" and not (tmp_path / "a").exists():
        return  # killed between taking the old one away and putting the new one there: not there, not half there
    assert [file.stat().st_size for file in files] == ([3_000_000] if kind == "file" else [500_000] * 3)
    assert len({byte for file in files for byte in set(file.read_bytes())}) == 1


def test_what_a_killed_process_left_is_cleared_and_what_a_living_one_makes_is_not(tmp_path: Path) -> None:
    code = (
        "import os, signal\nfrom pathlib import Path\nfrom rsa_ops.files import fresh_folder\n"
        f"with fresh_folder(Path({str(tmp_path / 'a')!r})) as folder:\n"
        "    (folder / 'half').write_text('x')\n    os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False)
    assert len(names(tmp_path)) == 2
    with fresh_folder(tmp_path / "a") as folder, fresh_folder(tmp_path / "ab") as other:
        clear_leftovers(tmp_path / "a")
        assert names(tmp_path) == sorted([folder.name, other.name])


def test_a_full_disk_is_said_and_leaves_the_old_bytes(small_disk: Path) -> None:
    path = small_disk / "a.bin"
    write_bytes(path, b"old")
    with pytest.raises(MissingError, match="no space left on the disk of") as caught:
        write_bytes(path, b"x" * 1_000_000)
    assert "Free some space" in caught.value.hint
    assert path.read_bytes() == b"old"
    assert names(small_disk) == ["a.bin"]


def test_a_full_disk_in_the_middle_of_a_folder_leaves_nothing_of_it(small_disk: Path) -> None:
    with pytest.raises(MissingError, match="no space left"), fresh_folder(small_disk / "a") as folder:
        (folder / "small").write_bytes(b"x" * 10_000)
        (folder / "large").write_bytes(b"x" * 1_000_000)
    assert names(small_disk) == []
    write_bytes(small_disk / "again", b"x" * 100_000)


def test_a_device_that_is_full_is_a_full_disk() -> None:
    with pytest.raises(MissingError, match="no space left"), disk_errors(Path("/dev/full")):
        Path("/dev/full").write_bytes(b"x")


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, MissingError),
        (errno.EDQUOT, MissingError),
        (errno.EROFS, UsageError),
        (errno.EACCES, UsageError),
    ],
)
def test_an_error_of_the_disk_is_explained(tmp_path: Path, monkeypatch, number: int, kind: type[Exception]) -> None:
    def fail(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(kind, match=r"a\.txt"):
        write_text(tmp_path / "a.txt", "x")
    with pytest.raises(kind, match="folder"), fresh_folder(tmp_path / "folder") as folder:
        (folder / "a").write_text("x")
    assert names(tmp_path) == []


def test_an_error_of_another_kind_is_not_explained_away(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError), disk_errors(tmp_path):
        tmp_path.write_text("x")


def test_a_file_that_may_not_be_used_is_named_not_the_folder_being_made(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"theirs\.csv"), fresh_folder(tmp_path / "mine"):
        raise PermissionError(errno.EACCES, "Permission denied", "/data/theirs.csv")


def test_a_file_has_the_digest_of_its_bytes(tmp_path: Path) -> None:
    data = os.urandom(3 << 20)
    (tmp_path / "a").write_bytes(data)
    assert digest_file(tmp_path / "a") == "sha256:" + hashlib.sha256(data).hexdigest()


def a_folder(home: Path) -> Path:
    folder = home / "f"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.txt").write_bytes(b"one")
    (folder / "deep" / "b.txt").write_bytes(b"two")
    return folder


def test_the_digest_of_a_folder_is_that_of_its_sorted_names_and_digests(tmp_path: Path) -> None:
    parts = [part for name, data in (("a.txt", b"one"), ("deep/b.txt", b"two"))
             for part in (name.encode(), b"sha256:" + hashlib.sha256(data).hexdigest().encode())]  # fmt: skip
    assert digest_folder(a_folder(tmp_path)) == digest_parts(parts)


@pytest.mark.parametrize(
    "change",
    [
        lambda f: (f / "a.txt").write_bytes(b"onf"),
        lambda f: (f / "a.txt").write_bytes(b"one\0"),
        lambda f: (f / "a.txt").write_bytes(b""),
        lambda f: (f / "deep" / "b.txt").rename(f / "deep" / "c.txt"),
        lambda f: (f / "deep" / "b.txt").rename(f / "b.txt"),
        lambda f: (f / "a.txt").unlink(),
        lambda f: (f / "new").write_bytes(b""),
        lambda f: ((f / "a.txt").write_bytes(b"two"), (f / "deep" / "b.txt").write_bytes(b"one")),
    ],
    ids=["byte", "longer", "emptied", "renamed", "moved", "removed", "added", "swapped"],
)
def test_the_digest_of_a_folder_sees_every_byte_and_name(tmp_path: Path, change: Callable[[Path], object]) -> None:
    folder = a_folder(tmp_path)
    before = digest_folder(folder)
    change(folder)
    assert digest_folder(folder) != before


def test_the_digest_of_a_folder_does_not_see_when_and_where(tmp_path: Path) -> None:
    folder = a_folder(tmp_path)
    before = digest_folder(folder)
    os.utime(folder / "a.txt", (1, 1))
    (folder / "a.txt").chmod(0o600)
    assert digest_folder(folder) == before
    shutil.copytree(folder, tmp_path / "copy")
    assert digest_folder(tmp_path / "copy") == before


@given(st.binary(max_size=64), st.integers(0, 63), st.integers(1, 255))
def test_any_flipped_byte_changes_the_digest(tmp_path_factory, data: bytes, place: int, flip: int) -> None:
    folder = tmp_path_factory.mktemp("flip")
    (folder / "a").write_bytes(data)
    before = digest_folder(folder)
    changed = bytearray(data or b"\0")
    changed[place % len(changed)] ^= flip
    (folder / "a").write_bytes(changed)
    assert digest_folder(folder) != before


def test_the_bytes_of_a_folder_are_counted(tmp_path: Path) -> None:
    assert folder_bytes(a_folder(tmp_path)) == 6


def test_a_record_that_is_not_there_is_missing_and_another_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "validation.json"
    with pytest.raises(MissingError, match=r"validation\.json is not there") as caught:
        read_record(Validation, path)
    assert "rsa_ops/validation/v1" in caught.value.hint
    path.write_text(Cell(arm="a", seed=1).model_dump_json())
    with pytest.raises(IntegrityError, match=r"validation\.json is not a rsa_ops/validation/v1 record"):
        read_record(Validation, path)


def wait_for(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "never happened"
        time.sleep(0.01)


@pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="only Linux tells an ended process from a living one"
)
def test_a_process_that_ended_and_was_never_asked_for_is_not_alive() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert process_alive(child.pid)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and stays listed
    assert not process_alive(child.pid)
    child.communicate()
    assert not process_alive(child.pid)
