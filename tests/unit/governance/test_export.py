"""An exported ledger verifies as the ledger does, and fails as it does, without its database."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rsa_ops.errors import MissingError
from rsa_ops.governance.export import export_lines, read_export
from rsa_ops.governance.finding import Flaw
from rsa_ops.governance.verify import verify_rows

from .conftest import Kit

LINES = 12


def exported(kit: Kit) -> Path:
    path = kit.folder / "ledger.jsonl"
    path.write_text("".join(export_lines(kit.ledger.rows())), encoding="utf-8")
    return path


def found(kit: Kit, path: Path) -> tuple[Flaw, int] | None:
    bad = verify_rows(read_export(path), now=kit.clock.now).first_bad
    return None if bad is None else (bad.flaw, bad.sequence)


def test_an_exported_ledger_verifies_line_by_line(kit: Kit) -> None:
    path = exported(kit)
    assert path.read_text().count("\n") == LINES
    verified = verify_rows(read_export(path), now=kit.clock.now)
    assert verified.first_bad is None
    assert verified.walk.head == kit.verify().walk.head
    assert json.loads(json.loads(path.read_text().splitlines()[3])["body"])["kind"] == "policy-lock"


def test_what_is_wrong_with_a_ledger_is_wrong_with_its_export_at_the_same_entry(kit: Kit) -> None:
    kit.sql("UPDATE rsa_ops_ledger SET body = CAST(x'80ff' AS TEXT) WHERE sequence = 6")
    assert found(kit, exported(kit)) == (Flaw.EDITED, 6)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda lines: lines[:4] + lines[5:], (Flaw.DELETED, 4)),
        (lambda lines: [*lines[:4], lines[5], lines[4], *lines[6:]], (Flaw.DELETED, 4)),
        (lambda lines: [*lines[:5], lines[4], *lines[5:]], (Flaw.FORKED, 4)),
        (lambda lines: [*lines[:4], lines[4].replace("000000Z", "000001Z"), *lines[5:]], (Flaw.EDITED, 4)),
        (lambda lines: [*lines[:4], lines[4][:-20] + "\n", *lines[5:]], (Flaw.EDITED, 4)),
        (lambda lines: [*lines[:4], "\n", *lines[4:]], (Flaw.EDITED, 4)),
        (lambda lines: [*lines[:4], '["a", "list"]\n', *lines[5:]], (Flaw.EDITED, 4)),
        (lambda lines: [*lines[:4], "[" * 100_000 + "\n", *lines[5:]], (Flaw.EDITED, 4)),
        (lambda lines: [*lines[:4], '{"body": 1, "hash": [], "signature": {}}\n', *lines[5:]], (Flaw.EDITED, 4)),
        (lambda lines: [*lines[:4], '{"body": "x", "hash": "y"}\n', *lines[5:]], (Flaw.EDITED, 4)),
        (lambda lines: [*lines[:4], lines[4].replace("{", '{"more": 1, ', 1), *lines[5:]], (Flaw.EDITED, 4)),
        (lambda lines: [*lines[:-1], lines[-1][:100]], (Flaw.EDITED, 11)),
        (lambda _: [], (Flaw.TRUNCATED, 0)),
    ],
    ids=[
        "gone",
        "reordered",
        "twice",
        "edited",
        "cut",
        "blank",
        "list",
        "nested",
        "types",
        "less",
        "more",
        "half written",
        "empty",
    ],
)
def test_a_changed_file_is_found_at_its_line(kit: Kit, change: object, expected: tuple[Flaw, int]) -> None:
    path = exported(kit)
    assert callable(change)
    path.write_text("".join(change(path.read_text().splitlines(keepends=True))))
    assert found(kit, path) == expected


def test_bytes_that_are_no_text_are_found(kit: Kit) -> None:
    path = exported(kit)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], lines[2].replace(b"approver", b"\xff\xfepprover"), *lines[3:]]))
    assert found(kit, path) == (Flaw.EDITED, 2)


def test_a_file_that_is_not_there_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="audit export"):
        list(read_export(tmp_path / "none"))
