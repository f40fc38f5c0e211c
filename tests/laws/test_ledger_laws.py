"""Random histories of a ledger, and random tampering with it: found exactly where it was done, and only then.

No database: rows in memory, made as `store` makes them, so that hundreds of histories take seconds.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rsa_ops.core.digest import Digest, digest_bytes
from rsa_ops.core.verdict import Outcome
from rsa_ops.governance.checkpoint import make_checkpoint
from rsa_ops.governance.entry import NOTHING, Entry, Kind, Role, entry_hash, to_instant
from rsa_ops.governance.finding import Flaw
from rsa_ops.governance.keyring import MAY_WRITE, Keyring
from rsa_ops.governance.keys import FileKey
from rsa_ops.governance.payloads import (
    ClockSet,
    Genesis,
    KeyGrant,
    KeyRevoked,
    Papers,
    PointerMoved,
    PolicyLock,
    VerdictGiven,
)
from rsa_ops.governance.store import seal
from rsa_ops.governance.verify import verify_rows
from rsa_ops.governance.view import Row, copies

START = datetime(2026, 3, 1, tzinfo=UTC)
KEYS = [FileKey(Ed25519PrivateKey.from_private_bytes(bytes([number] * 32))) for number in range(1, 7)]

steps = st.lists(
    st.tuples(
        st.sampled_from(["papers", "lock", "move", "grant", "revoke", "clock"]),
        st.integers(0, 5),
        st.integers(0, 30),
        st.text(max_size=8),
    ),
    min_size=4,
    max_size=40,
)
quick = settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])


@dataclass
class History:
    """A ledger as it grows by the rules; what the rules forbid is left out."""

    rows: list[Row] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    keyring: Keyring = field(default_factory=Keyring)
    now: datetime = START
    generation: int = 0

    @property
    def head(self) -> Digest:
        return str(self.rows[-1].hash) if self.rows else NOTHING

    def write(self, kind: Kind, subject: str, payload: object, key: FileKey) -> None:
        value = payload if isinstance(payload, dict) else payload.model_dump(mode="json")  # type: ignore[attr-defined]
        holder = self.keyring.holders.get(key.public.key)
        entry = Entry(
            ledger=NOTHING if not self.rows else str(self.rows[0].hash),
            sequence=len(self.rows),
            previous=self.head,
            at=to_instant(self.now),
            kind=kind,
            subject=subject or "x",
            key=key.public.key,
            role=Role.ADMIN if holder is None else holder.role,
            payload=value,
        )
        self.keyring = self.keyring.after(entry, payload)
        sealed = seal(entry, key)
        self.rows.append(Row(sealed.body, sealed.hash, sealed.signature, copies(entry)))
        self.entries.append(entry)

    def good(self, kind: Kind) -> list[FileKey]:
        keys = {key.public.key: key for key in KEYS}
        return [
            keys[holder.key]
            for holder in self.keyring.holders.values()
            if holder.until is None and kind in MAY_WRITE[holder.role]
        ]


def history(moves: list[tuple[str, int, int, str]]) -> History:
    made = History()
    first = KEYS[0].public
    genesis = {"key": first.key, "public_key": first.public_key, "role": Role.ADMIN, "name": "a", "custody": "held"}
    made.write(Kind.GENESIS, "x", Genesis(**genesis, nonce="0" * 32), KEYS[0])
    for action, number, seconds, text in moves:
        made.now += timedelta(seconds=seconds)
        step(made, action, number, text)
    return made


def step(made: History, action: str, number: int, text: str) -> None:
    other = KEYS[number]
    known = made.keyring.holders.get(other.public.key)
    if action == "papers":
        write_papers(made, number, text)
    elif action == "lock":
        lock = PolicyLock(
            pipeline="p", policy=text, policy_digest=digest_bytes(b"p"), test_digest=digest_bytes(b"t")
        )
        made.write(Kind.POLICY_LOCK, f"run{number}", lock, made.good(Kind.POLICY_LOCK)[0])
    elif action == "move":
        made.generation += 1
        moved = {"model": "m", "alias": "a", "version": str(number), "digest": digest_bytes(bytes([number]))}
        payload = PointerMoved(**moved, generation=made.generation)
        made.write(Kind.APPLIED, "m@a", payload, made.good(Kind.APPLIED)[-1])
    elif action == "grant" and known is None:
        role = list(Role)[number % 3]
        grant = {"key": other.public.key, "public_key": other.public.public_key, "name": text or "x"}
        payload_ = KeyGrant(**grant, role=role, custody="held")
        made.write(Kind.KEY_ADDED, other.public.key, payload_, made.good(Kind.KEY_ADDED)[-1])
    elif action == "revoke" and number and known is not None and known.until is None:
        payload__ = KeyRevoked(key=other.public.key, reason="x")
        made.write(Kind.KEY_REVOKED, other.public.key, payload__, KEYS[0])
    elif action == "clock":
        made.now -= timedelta(days=number)
        made.write(Kind.CLOCK_SET, "clock", ClockSet(reason="x"), KEYS[0])


def write_papers(made: History, number: int, text: str) -> None:
    """Papers stand only behind a verdict about their adapter, and a verdict only behind its run's lock."""
    digest = digest_bytes(bytes([number]))
    seen = {"policy_digest": digest_bytes(b"p"), "test_digest": digest_bytes(b"t")}
    run, writer = f"papers{len(made.rows)}", made.good(Kind.PAPERS)[-1]
    made.write(Kind.POLICY_LOCK, run, PolicyLock(pipeline="p", policy=text, **seen), writer)
    given = {"lock": made.head, "verdict_digest": NOTHING, "outcome": Outcome.REJECT, "candidate_digest": digest}
    verdict = VerdictGiven(pipeline="p", champion_digest=None, **given, **seen)  # type: ignore[arg-type]
    made.write(Kind.VERDICT, run, verdict, writer)
    papers = Papers(
        model="m",
        version=str(number),
        digest=digest,
        run=run,
        base_digest=NOTHING,
        signature=NOTHING,
        signer_public_key=text,  # nobody asks
        files={"card": NOTHING},
    )
    made.write(Kind.PAPERS, f"m/{number}", papers, writer)


def verified(rows: list[Row], **how: object) -> tuple[Flaw, int] | None:
    bad = verify_rows(rows, **{"now": START + timedelta(days=1), **how}).first_bad  # type: ignore[arg-type]
    return None if bad is None else (bad.flaw, bad.sequence)


@quick
@given(steps)
def test_every_history_by_the_rules_verifies(moves: list[tuple[str, int, int, str]]) -> None:
    made = history(moves)
    found = verify_rows(made.rows, now=START + timedelta(days=1))
    assert found.first_bad is None
    assert found.walk.entries == len(made.rows)
    assert {key: holder.until for key, holder in found.walk.keyring.holders.items()} == {
        key: holder.until for key, holder in made.keyring.holders.items()
    }


@quick
@given(steps, st.randoms(use_true_random=False), st.binary(min_size=1, max_size=1))
def test_one_changed_character_of_a_body_is_found_at_its_entry(
    moves: list[tuple[str, int, int, str]], random_: random.Random, byte: bytes
) -> None:
    rows = history(moves).rows
    number = random_.randrange(len(rows))
    body = str(rows[number].body)
    place = random_.randrange(len(body))
    changed = body[:place] + byte.decode("latin-1") + body[place + 1 :]
    rows[number] = replace(rows[number], body=changed)
    assert verified(rows) == (None if changed == body else (Flaw.EDITED, number))
    rows[number] = replace(rows[number], hash=entry_hash(changed))
    found = verified(rows)
    if changed == body:
        assert found is None
    else:
        assert found is not None
        assert found[1] == number


@quick
@given(steps, st.randoms(use_true_random=False))
def test_one_changed_bit_of_a_signature_is_found_at_its_entry(
    moves: list[tuple[str, int, int, str]], random_: random.Random
) -> None:
    rows = history(moves).rows
    number = random_.randrange(len(rows))
    text = str(rows[number].signature)
    place = random_.randrange(len(text))
    other = random_.choice([letter for letter in "ABCDabcd0189+/=" if letter != text[place]])
    rows[number] = replace(rows[number], signature=text[:place] + other + text[place + 1 :])
    assert verified(rows) == (Flaw.BAD_SIGNATURE, number)


ARRANGEMENTS: dict[str, Callable[[list[Row], int, int], list[Row]]] = {
    "delete": lambda rows, one, _: rows[:one] + rows[one + 1 :],
    "double": lambda rows, one, _: [*rows[: one + 1], *rows[one:]],
    "swap": lambda rows, one, two: [rows[{one: two, two: one}.get(n, n)] for n in range(len(rows))],
    "cut": lambda rows, one, _: rows[:one],
}


@pytest.mark.parametrize("name", ARRANGEMENTS)
@quick
@given(steps, st.randoms(use_true_random=False))
def test_rows_taken_out_doubled_or_moved_are_found_at_the_first_of_them(
    name: str, moves: list[tuple[str, int, int, str]], random_: random.Random
) -> None:
    made = history([*moves, ("lock", 0, 1, "last")])
    count = len(made.rows)
    checkpoint = make_checkpoint(str(made.rows[0].hash), count - 1, made.head, KEYS[0], made.now)
    one, two = sorted((random_.randrange(count), random_.randrange(count)))
    rows = ARRANGEMENTS[name](made.rows, one, two)
    found = verified(rows, checkpoints=[checkpoint])
    if rows == made.rows:
        assert found is None
    else:
        assert found is not None
        assert found[1] == one
    if name == "cut" and one:
        assert verified(rows) is None  # without a checkpoint a cut end is no fault of what is left


@quick
@given(steps, st.randoms(use_true_random=False))
def test_a_history_that_was_written_anew_with_all_keys_is_found_by_any_later_checkpoint(
    moves: list[tuple[str, int, int, str]], random_: random.Random
) -> None:
    made = history([*moves, ("lock", 0, 1, "last")])
    number = random_.randrange(1, len(made.rows) + 1) - 1
    points = [
        make_checkpoint(str(made.rows[0].hash), at, str(made.rows[at].hash), KEYS[0], made.now)
        for at in range(number, len(made.rows))
    ]
    anew = again(made, number)
    found = verified(anew, checkpoints=[random_.choice(points)])
    assert found is not None
    assert found[0] in (Flaw.REWRITTEN, Flaw.WRONG_LEDGER)
    assert found[1] >= number or found == (Flaw.WRONG_LEDGER, 0)
    assert verified(anew) is None


def again(made: History, number: int) -> list[Row]:
    """All rows, with another time in entry `number`, chained, bound to their locks and signed anew with keys."""
    keys = {key.public.key: key for key in KEYS}
    rows: list[Row] = []
    names: dict[object, object] = {}  # of an entry before -> of the same entry anew
    for old, entry in zip(made.rows, made.entries, strict=True):
        changes: dict[str, object] = {"previous": str(rows[-1].hash) if rows else NOTHING}
        if rows:
            changes["ledger"] = str(rows[0].hash)
        if entry.kind is Kind.VERDICT:
            changes["payload"] = {**entry.payload, "lock": names[entry.payload["lock"]]}
        if entry.sequence == number:
            changes["at"] = entry.at.replace("000000Z", "000001Z")
        sealed = seal(entry.model_copy(update=changes), keys[entry.key])
        rows.append(Row(sealed.body, sealed.hash, sealed.signature, copies(sealed.entry)))
        names[old.hash] = sealed.hash
    return rows


@quick
@given(
    st.lists(
        st.builds(
            Row,
            st.none() | st.text() | st.binary() | st.integers(),
            st.none() | st.text(),
            st.none() | st.text() | st.binary(),
            st.dictionaries(st.sampled_from(["sequence", "kind", "at"]), st.none() | st.integers() | st.text()),
        ),
        max_size=4,
    )
)
def test_no_rows_at_all_make_verification_fail_in_another_way_than_by_a_finding(rows: list[Row]) -> None:
    assert verified(rows) is not None
