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
from typing import Any, get_args

import pytest

from rsa_ops.governance.entry import ENTRY_TYPE, Entry, Kind, Role
from rsa_ops.governance.export import export_lines
from rsa_ops.governance.finding import Flaw
from rsa_ops.governance.keyring import MAY_WRITE
from rsa_ops.governance.payloads import Intent, Plan
from rsa_ops.governance.plan import PLAN_TYPE, plan_digest, write_plan

from .conftest import Kit
from .promoting import begin

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


def test_the_page_names_every_field_of_a_plan_and_every_action_of_an_intent() -> None:
    rows = [re.findall(r"[a-z_]+", row[0]) for row in table("### Byte format of a plan")]
    assert sorted(name for names in rows for name in names) == sorted(Plan.model_fields)
    assert PLAN_TYPE in DOC
    section = DOC.partition("### Byte format of a plan")[2]
    for action in get_args(Intent.model_fields["action"].annotation):
        assert f"`{action}`" in section.partition("###")[0]


def test_a_plan_file_is_checked_by_the_pages_words_alone(tmp_path: Path) -> None:
    """Base64, canonical JSON, the message that is signed, and the digest that is the plan's name."""
    world = begin(tmp_path)
    world.judge("2")
    file = world.plan("2")
    write_plan(tmp_path / "plan.json", file)
    envelope = json.loads((tmp_path / "plan.json").read_text("utf-8"))
    body, kind = base64.b64decode(envelope["payload"]), envelope["payloadType"].encode()
    message = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(body), body)
    assert sha(message) == plan_digest(file.plan())
    fields = json.loads(body)
    assert json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode() == body
    (first,) = envelope["signatures"]
    assert first["keyid"] == fields["requester"]
    public = base64.b64decode(world.keys["ci"].public.public_key)
    assert openssl(public, base64.b64decode(first["sig"]), message, tmp_path)
    assert not openssl(public, base64.b64decode(first["sig"]), message + b" ", tmp_path)
