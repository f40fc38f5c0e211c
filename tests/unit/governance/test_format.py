"""docs/governance.md is enough to check a ledger: here with hashlib and the openssl program, without our code."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
from itertools import dropwhile, takewhile
from pathlib import Path
from typing import Any

import pytest

from rsa_ops.governance.entry import ENTRY_TYPE, Entry, Kind, Role
from rsa_ops.governance.export import export_lines
from rsa_ops.governance.finding import Flaw
from rsa_ops.governance.keyring import MAY_WRITE

from .conftest import Kit

DOC = (Path(__file__).parents[3] / "docs" / "governance.md").read_text(encoding="utf-8")


def sha(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def openssl(public: bytes, signature: bytes, message: bytes, folder: Path) -> bool:
    for name, data in (("public", public), ("signature", signature), ("message", message)):
        (folder / name).write_bytes(data)
    words = ["openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-keyform", "DER", "-inkey", "public"]
    done = subprocess.run(
        [*words, "-in", "message", "-sigfile", "signature"], cwd=folder, capture_output=True, check=False
    )
    return done.returncode == 0


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl program here")
def test_an_exported_ledger_is_checked_by_the_pages_words_alone(kit: Kit, tmp_path: Path) -> None:
    kind = "application/vnd.rsa-ops.ledger-entry.v1+json"
    keys: dict[str, bytes] = {}
    name = previous = "sha256:" + 64 * "0"
    for number, line in enumerate(export_lines(kit.ledger.rows())):
        row = json.loads(line)
        body = row["body"].encode()
        message = f"DSSEv1 {len(kind)} {kind} {len(body)} ".encode() + body
        entry: dict[str, Any] = json.loads(body)
        assert json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode() == body
        assert sha(message) == row["hash"]
        assert (entry["sequence"], entry["previous"], entry["ledger"]) == (number, previous, name)
        if entry["kind"] in ("genesis", "key-added"):
            public = base64.b64decode(entry["payload"]["public_key"])
            assert sha(public) == entry["payload"]["key"]
            keys[entry["payload"]["key"]] = public
        assert openssl(keys[entry["key"]], base64.b64decode(row["signature"]), message, tmp_path)
        assert not openssl(keys[entry["key"]], base64.b64decode(row["signature"]), message + b" ", tmp_path)
        name = row["hash"] if number == 0 else name
        previous = row["hash"]
    assert number == 11


def table(heading: str) -> list[list[str]]:
    """The rows of the first table after a heading, without their back ticks."""
    lines = DOC.split(heading, 1)[1].splitlines()
    after = dropwhile(lambda line: not line.startswith("|"), lines)
    rows = list(takewhile(lambda line: line.startswith("|"), after))[2:]
    return [[cell.strip().replace("`", "") for cell in row.strip("|").split("|")] for row in rows]


def test_the_page_names_every_finding_and_no_other() -> None:
    told = [name.strip() for row in table("## What `audit verify` finds") for name in row[0].split(",")]
    assert sorted(told) == sorted(flaw.value for flaw in Flaw)


def test_the_page_names_every_field_and_kind_of_an_entry() -> None:
    rows = {row[0]: row[1] for row in table("## Byte format")}
    assert set(rows) == {field.alias or name for name, field in Entry.model_fields.items()}
    assert re.findall(r"[a-z-]+", rows["kind"]) == [kind.value for kind in Kind]
    assert ENTRY_TYPE in DOC


def test_the_page_says_what_each_role_may_write() -> None:
    rows = {row[0]: row[1] for row in table("**A team.**")}
    assert set(rows) == {role.value for role in Role}
    for role in (Role.OPERATOR, Role.APPROVER):
        assert sorted(rows[role.value].split(", ")) == sorted(kind.value for kind in MAY_WRITE[role])
    assert MAY_WRITE[Role.ADMIN] == frozenset(Kind)
