"""Every way to tamper with a ledger is found, at the first entry that is wrong; and what is not found is stated."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from rsa_ops.core.digest import Digest
from rsa_ops.governance.checkpoint import make_checkpoint
from rsa_ops.governance.entry import entry_hash, message, plain_canonical, to_base64, to_instant
from rsa_ops.governance.finding import Flaw
from rsa_ops.governance.payloads import Plan
from rsa_ops.governance.plan import plan_digest, sign_plan
from rsa_ops.governance.store import open_ledger

from .conftest import START, Kit, digest
from .tampering import add, all_keys, bodies, put, rewrite, row, rows

LAST = 11


def found(kit: Kit, **how: Any) -> tuple[Flaw, int] | None:
    bad = kit.verify(**how).first_bad
    return None if bad is None else (bad.flaw, bad.sequence)


def later(entry: dict[str, Any]) -> None:
    """A change that leaves the entry well-formed: its time, by a microsecond."""
    entry["at"] = entry["at"].replace("000000Z", "000001Z")


def test_an_untouched_ledger_verifies(kit: Kit) -> None:
    assert found(kit) is None
    assert kit.verify().walk.entries == LAST + 1


@pytest.mark.parametrize("number", range(LAST + 1))
def test_an_edit_is_found_where_it_was_made(kit: Kit, number: int) -> None:
    kit.sql(f"UPDATE rsa_ops_ledger SET body = replace(body, '.000000Z', '.000001Z') WHERE sequence = {number}")
    assert found(kit) == (Flaw.EDITED, number)


@pytest.mark.parametrize("number", range(LAST + 1))
def test_an_edit_with_a_hash_made_to_fit_is_found_by_the_signature(kit: Kit, number: int) -> None:
    rewrite(kit, number, later, {}, rest=False)
    assert found(kit) == (Flaw.BAD_SIGNATURE, number)


@pytest.mark.parametrize("number", range(LAST + 1))
def test_an_edit_with_the_whole_chain_made_to_fit_is_found_by_the_signature(kit: Kit, number: int) -> None:
    rewrite(kit, number, later, {}, rest=True)
    assert found(kit) == (Flaw.BAD_SIGNATURE, number)


@pytest.mark.parametrize("number", [3, 5, 10])
def test_an_edit_by_the_holder_of_the_key_is_found_by_the_entries_of_others_behind_it(
    kit: Kit, number: int
) -> None:
    own = {kit.key("operator").public.key: kit.key("operator")}
    rewrite(kit, number, later, own, rest=False)
    assert found(kit) == (Flaw.REPLACED, number)


def test_a_key_holder_who_chains_all_anew_is_stopped_by_the_first_entry_of_another_key(kit: Kit) -> None:
    own = {kit.key("operator").public.key: kit.key("operator")}
    rewrite(kit, 9, later, own, rest=True)
    assert found(kit) == (Flaw.BAD_SIGNATURE, 11)  # the approval, by another key


@pytest.mark.parametrize("number", range(LAST))
def test_a_deletion_is_found_at_the_number_that_is_gone(kit: Kit, number: int) -> None:
    kit.sql(f"DELETE FROM rsa_ops_ledger WHERE sequence = {number}")
    assert found(kit) == (Flaw.DELETED, number)


@pytest.mark.parametrize("number", range(LAST))
def test_a_deletion_with_the_numbers_closed_up_is_found(kit: Kit, number: int) -> None:
    kit.sql(
        f"DELETE FROM rsa_ops_ledger WHERE sequence = {number}",
        f"UPDATE rsa_ops_ledger SET sequence = sequence - 1 WHERE sequence > {number}",
    )
    assert found(kit) == (Flaw.MOVED, number)


@pytest.mark.parametrize("number", range(1, LAST))
def test_a_deletion_with_all_made_to_fit_is_found_by_the_signature(kit: Kit, number: int) -> None:
    kept = [entry for entry in bodies(kit) if entry["sequence"] != number]
    made: list[dict[str, Any]] = []
    old = [entry["signature"] for entry in rows(kit) if entry["sequence"] != number]
    for position, (entry, signature) in enumerate(zip(kept, old, strict=True)):
        if position:
            entry |= {"sequence": position, "previous": made[-1]["hash"]}
        made.append(row(entry, None, signature))
    put(kit, made)
    assert found(kit) == (Flaw.BAD_SIGNATURE, number)


@pytest.mark.parametrize(("one", "two"), [(3, 4), (1, 10), (0, 11), (10, 11)])
def test_two_entries_that_changed_places_are_found_at_the_first(kit: Kit, one: int, two: int) -> None:
    kit.sql(f"UPDATE rsa_ops_ledger SET sequence = {one} + {two} - sequence WHERE sequence IN ({one}, {two})")
    assert found(kit) == (Flaw.MOVED, one)


@pytest.mark.parametrize("number", [2, 9, LAST])
def test_a_fork_by_a_key_holder_is_found_at_its_number(kit: Kit, number: int) -> None:
    twin = bodies(kit)[number]
    later(twin)
    made = rows(kit)
    put(kit, [*made[: number + 1], row(twin, all_keys(kit)[twin["key"]]), *made[number + 1 :]])
    assert found(kit) == (Flaw.FORKED, number)


def test_a_row_that_is_there_twice_is_a_fork(kit: Kit) -> None:
    kit.sql("INSERT INTO rsa_ops_ledger SELECT * FROM rsa_ops_ledger WHERE sequence = 4")
    assert found(kit) == (Flaw.FORKED, 4)


@pytest.mark.parametrize("left", range(LAST + 1))
def test_a_truncation_is_found_against_a_checkpoint_and_only_then(kit: Kit, left: int) -> None:
    checkpoint = checkpoint_of(kit)
    kit.sql(f"DELETE FROM rsa_ops_ledger WHERE sequence >= {left}")
    assert found(kit, checkpoints=[checkpoint]) == (Flaw.TRUNCATED, left)
    assert found(kit) == (None if left else (Flaw.TRUNCATED, 0))


def checkpoint_of(kit: Kit, sequence: int = LAST, by: str = "operator") -> Any:
    body = rows(kit)[sequence]
    return make_checkpoint(rows(kit)[0]["hash"], sequence, body["hash"], kit.key(by), kit.clock())


@pytest.mark.parametrize("number", [0, 3, 8, LAST])
def test_a_rewriting_by_who_holds_all_keys_is_found_against_a_checkpoint_and_only_then(
    kit: Kit, number: int
) -> None:
    old = [checkpoint_of(kit, sequence) for sequence in (2, 6, LAST)]
    if number == 0:
        all_anew(kit)
        assert found(kit, checkpoints=old) == (Flaw.WRONG_LEDGER, 0)
    else:
        rewrite(kit, number, later, all_keys(kit), rest=True)
        relock(kit)
        first = next(point for point in old if point.sequence >= number)
        assert found(kit, checkpoints=old) == (Flaw.REWRITTEN, first.sequence)
    assert found(kit) is None


def relock(kit: Kit) -> None:
    """Let each entry name others as they are called now, and sign and chain all anew, with all keys."""
    made: list[dict[str, Any]] = []
    locks: dict[str, Digest] = {}
    plan: Plan | None = None
    for entry in bodies(kit):
        entry["previous"] = made[-1]["hash"] if made else entry["previous"]
        if entry["kind"] == "verdict":
            entry["payload"]["lock"] = locks[entry["subject"]]
        if entry["kind"] == "plan":
            entry["payload"]["verdict"] = made[7]["hash"]
            plan = Plan.model_validate_json(json.dumps(entry["payload"]))
        if entry["kind"] == "approval" and plan is not None:
            entry["payload"] = {"plan": plan_digest(plan), "signature": sign_plan(plan, kit.key("approver")).sig}
        made.append(row(entry, all_keys(kit)[entry["key"]]))
        if entry["kind"] == "policy-lock":
            locks[entry["subject"]] = made[-1]["hash"]
    put(kit, made)


def all_anew(kit: Kit) -> None:
    """The same decisions in a new ledger, with another nonce."""
    entries = bodies(kit)
    entries[0]["payload"]["nonce"] = "f" * 32
    name = entry_hash(plain_canonical(entries[0]))
    made = [row(entries[0], kit.key("admin"))]
    for entry in entries[1:]:
        made.append(row({**entry, "ledger": name, "previous": made[-1]["hash"]}, all_keys(kit)[entry["key"]]))
    put(kit, made)
    relock(kit)


def test_a_checkpoint_of_another_ledger_or_by_a_strange_or_revoked_key_is_told(kit: Kit) -> None:
    assert found(kit, checkpoints=[checkpoint_of(kit, 5)]) is None
    assert found(kit, checkpoints=[checkpoint_of(kit, 5, by="stranger")]) == (Flaw.BAD_CHECKPOINT, 5)
    other = checkpoint_of(kit).model_copy(update={"ledger": digest("another")})
    other = make_checkpoint(other.ledger, other.sequence, other.head, kit.key("operator"), START)
    assert found(kit, checkpoints=[other]) == (Flaw.WRONG_LEDGER, 0)
    kit.revoke("operator")
    assert found(kit, checkpoints=[checkpoint_of(kit, 12)]) == (Flaw.BAD_CHECKPOINT, 12)
    assert found(kit, checkpoints=[checkpoint_of(kit, 12, by="approver")]) is None


def test_an_entry_by_a_key_that_was_never_granted_is_found(kit: Kit) -> None:
    add(kit, "stranger")
    assert found(kit) == (Flaw.UNKNOWN_KEY, 12)


def test_an_entry_by_a_revoked_key_is_found(kit: Kit) -> None:
    kit.revoke("operator")
    add(kit, "operator")
    assert found(kit) == (Flaw.REVOKED_KEY, 13)


@pytest.mark.parametrize("role", ["approver", "operator", "admin"])
def test_an_entry_in_a_role_that_the_key_has_not_is_found(kit: Kit, role: str) -> None:
    add(kit, "approver", role=role)
    assert found(kit) == (Flaw.WRONG_ROLE, 12)


@pytest.mark.parametrize("role", ["approver", "admin"])
def test_an_entry_that_its_key_may_write_but_signs_in_another_role_is_found(kit: Kit, role: str) -> None:
    add(kit, "operator", role=role)
    assert found(kit) == (Flaw.WRONG_ROLE, 12)


def test_a_key_that_grants_itself_more_is_found(kit: Kit) -> None:
    public = kit.key("friend").public
    grant = {
        "custody": "held",
        "key": public.key,
        "name": "friend",
        "public_key": public.public_key,
        "role": "admin",
    }
    add(kit, "operator", kind="key-added", payload=grant)
    assert found(kit) == (Flaw.WRONG_ROLE, 12)


def test_a_clock_that_went_back_is_found_beyond_the_tolerance(kit: Kit) -> None:
    good = kit.clock.now - timedelta(seconds=59)
    add(kit, "operator", at=to_instant(good))
    assert found(kit) is None
    add(kit, "operator", at=to_instant(kit.clock.now - timedelta(seconds=61)))
    assert found(kit) == (Flaw.CLOCK_BACK, 13)


def test_a_time_that_is_still_to_come_is_found(kit: Kit) -> None:
    add(kit, "operator", at=to_instant(kit.clock.now + timedelta(seconds=61)))
    assert found(kit) == (Flaw.CLOCK_AHEAD, 12)
    assert found(kit, now=kit.clock.now + timedelta(days=1)) is None


@pytest.mark.parametrize(
    "signature", ["", "AAAA", "no base64!", None, 7, b"\x00\xff", to_base64(b"\x00" * 64), to_base64(b"\xff" * 64)]
)
def test_a_signature_that_is_none_is_found(kit: Kit, signature: object) -> None:
    made = rows(kit)
    made[5]["signature"] = signature
    put(kit, made)
    assert found(kit) == (Flaw.BAD_SIGNATURE, 5)


def test_a_signature_of_another_entry_is_found(kit: Kit) -> None:
    made = rows(kit)
    made[5]["signature"], made[8]["signature"] = made[8]["signature"], made[5]["signature"]
    put(kit, made)
    assert found(kit) == (Flaw.BAD_SIGNATURE, 5)


def test_another_spelling_of_the_same_signature_is_found(kit: Kit) -> None:
    made = rows(kit)
    text = made[5]["signature"]
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    spare = letters[letters.index(text[85]) + 1]  # 64 bytes leave four bits of the 86th letter without a meaning
    made[5]["signature"] = text[:85] + spare + "=="
    put(kit, made)
    assert found(kit) == (Flaw.BAD_SIGNATURE, 5)


def test_a_signature_over_something_else_than_an_entry_does_not_pass(kit: Kit) -> None:
    made = rows(kit)
    body = made[5]["body"].encode()
    made[5]["signature"] = to_base64(kit.key("operator").sign(body))  # the bytes without the type of what is signed
    put(kit, made)
    assert found(kit) == (Flaw.BAD_SIGNATURE, 5)


def test_an_entry_of_another_ledger_of_the_same_keys_is_found(kit: Kit, tmp_path: Any) -> None:
    other = open_ledger(str(tmp_path / "other.db"), write=True)
    name = other.begin(kit.key("admin"), "admin").hash
    add(kit, "operator", ledger=name)
    assert found(kit) == (Flaw.WRONG_LEDGER, 12)


def test_bytes_that_are_not_canonical_are_found_though_they_are_signed(kit: Kit) -> None:
    made = rows(kit)
    text = made[-1]["body"].replace('":', '": ', 1)
    made[-1] |= {
        "body": text,
        "hash": entry_hash(text),
        "signature": to_base64(kit.key("approver").sign(message(text))),
    }
    put(kit, made)
    assert found(kit) == (Flaw.NOT_CANONICAL, LAST)


def test_a_gap_in_the_numbers_is_found(kit: Kit) -> None:
    add(kit, "operator", sequence=14)
    assert found(kit) == (Flaw.DELETED, 12)


@pytest.mark.parametrize(
    ("column", "value"),
    [("previous", digest("x")), ("kind", "plan"), ("subject", "x"), ("at", "2026-01-01T00:00:00.000000Z")],
)
def test_a_column_that_no_longer_copies_the_entry_is_found(kit: Kit, column: str, value: str) -> None:
    kit.sql(f"UPDATE rsa_ops_ledger SET {column} = '{value}' WHERE sequence = 6")
    assert found(kit) == (Flaw.COPY_CHANGED, 6)


@pytest.mark.parametrize("value", ["NULL", "7", "x'00ff'", "CAST(x'80ff' AS TEXT)", "''", "'[]'", "'null'"])
def test_a_body_that_is_no_text_or_no_entry_is_found(kit: Kit, value: str) -> None:
    kit.sql(f"UPDATE rsa_ops_ledger SET body = {value} WHERE sequence = 6")
    assert found(kit) == (Flaw.EDITED, 6)


@pytest.mark.parametrize("value", ["NULL", "'eleven'", "-1", "3.5", "99999999999"])
def test_a_number_that_is_none_is_found(kit: Kit, value: str) -> None:
    kit.sql(f"UPDATE rsa_ops_ledger SET sequence = {value} WHERE sequence = 6")
    flaw, sequence = found(kit) or (None, -1)
    at_the_front = value in ("NULL", "-1", "3.5")
    assert flaw in (Flaw.MOVED, Flaw.DELETED)
    assert sequence == ({"3.5": 4}.get(value, 0) if at_the_front else 6)


def test_a_second_beginning_is_found(kit: Kit) -> None:
    public = kit.key("friend").public
    genesis = {**bodies(kit)[0]["payload"], "key": public.key, "public_key": public.public_key}
    add(kit, "admin", kind="genesis", role="admin", payload=genesis)
    assert found(kit) == (Flaw.WRONG_ORDER, 12)


def test_a_ledger_that_begins_with_something_else_is_found(bare: Kit) -> None:
    rewrite(bare, 0, lambda entry: entry.update(kind="plan"), all_keys(bare), rest=False)
    assert found(bare) == (Flaw.WRONG_ORDER, 0)


def test_a_beginning_signed_by_another_key_than_it_grants_is_found(bare: Kit) -> None:
    def swap(entry: dict[str, Any]) -> None:
        entry["key"] = bare.key("stranger").public.key

    rewrite(bare, 0, swap, {bare.key("stranger").public.key: bare.key("stranger")}, rest=False)
    assert found(bare) == (Flaw.UNKNOWN_KEY, 0)


def test_a_payload_that_is_not_what_its_kind_says_is_found(kit: Kit) -> None:
    add(kit, "operator", kind="policy-lock", payload={"policy": "x"})
    assert found(kit) == (Flaw.BAD_PAYLOAD, 12)


def test_of_two_tampered_entries_the_first_is_named(kit: Kit) -> None:
    kit.sql(
        "UPDATE rsa_ops_ledger SET signature = (SELECT signature FROM rsa_ops_ledger WHERE sequence = 1) "
        "WHERE sequence = 4",
        "UPDATE rsa_ops_ledger SET body = 'x' WHERE sequence = 7",
    )
    assert found(kit) == (Flaw.BAD_SIGNATURE, 4)


def test_what_stands_behind_the_first_bad_entry_is_not_believed(kit: Kit) -> None:
    kit.sql("UPDATE rsa_ops_ledger SET body = 'x' WHERE sequence = 7")
    walk = kit.verify().walk
    assert walk.entries == 7
    assert list(walk.order.versions) == [("triage.1a2b3c4d5e6f", "1")]
