"""A ledger with every kind of entry that verification reads, on a clock that only moves when it is told to."""

from __future__ import annotations

import shutil
import sqlite3
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from rsa_ops.core.digest import digest_bytes
from rsa_ops.core.verdict import Outcome
from rsa_ops.governance.entry import Draft, Kind, Role, Sealed
from rsa_ops.governance.keys import FileKey, make_key
from rsa_ops.governance.payloads import (
    Approval,
    Generation,
    KeyGrant,
    KeyRevoked,
    Plan,
    PointerMoved,
    PolicyLock,
    VerdictGiven,
)
from rsa_ops.governance.plan import plan_digest, sign_plan
from rsa_ops.governance.store import Ledger, open_ledger
from rsa_ops.governance.verify import Verified, verify_rows

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
MODEL = "triage.1a2b3c4d5e6f"


def digest(name: str) -> str:
    return digest_bytes(name.encode())


ANY = Draft.of(
    Kind.POLICY_LOCK,
    "some run",
    PolicyLock(pipeline="triage", policy="p", policy_digest=digest("p"), test_digest=digest("t")),
)
"""An entry that may stand anywhere."""


@dataclass
class Clock:
    """A minute passes with every look."""

    now: datetime = START

    def __call__(self) -> datetime:
        self.now += timedelta(minutes=1)
        return self.now


@dataclass
class Kit:
    """A ledger in a file, the keys of an admin, an operator and an approver, and short ways to write entries."""

    folder: Path
    ledger: Ledger
    clock: Clock
    keys: dict[str, FileKey] = field(default_factory=dict)

    @property
    def file(self) -> Path:
        return self.folder / "ledger.db"

    def key(self, name: str) -> FileKey:
        if name not in self.keys:
            self.keys[name] = make_key(self.folder / f"{name}.pem")
        return self.keys[name]

    def grant(self, name: str, role: Role) -> Sealed:
        public = self.key(name).public
        payload = KeyGrant(key=public.key, public_key=public.public_key, role=role, name=name, custody="held")
        return self.write(Kind.KEY_ADDED, public.key, payload, "admin")

    def revoke(self, name: str) -> Sealed:
        key = self.key(name).public.key
        return self.write(Kind.KEY_REVOKED, key, KeyRevoked(key=key, reason="left the team"), "admin")

    def write(self, kind: Kind, subject: str, payload: Any, by: str = "operator", **how: Any) -> Sealed:
        return self.ledger.append(Draft.of(kind, subject, payload), self.key(by), **how)

    def lock(
        self, run: str = "run1", policy: str = "policy", test: str = "test", design: str | None = None
    ) -> Sealed:
        payload = PolicyLock(
            pipeline="triage",
            policy=policy,
            policy_digest=digest(policy),
            test_digest=digest(test),
            design_digest=None if design is None else digest(design),
        )
        return self.write(Kind.POLICY_LOCK, run, payload)

    def verdict(self, lock: Sealed, *, run: str = "run1", policy: str = "policy", **changes: Any) -> Sealed:
        payload = VerdictGiven(
            pipeline="triage",
            lock=lock.hash,
            policy_digest=digest(policy),
            test_digest=digest("test"),
            verdict_digest=digest("verdict"),
            outcome=Outcome.PROMOTE,
            candidate_digest=digest("candidate"),
            champion_digest=None,
        )
        return self.write(Kind.VERDICT, run, payload.model_copy(update=changes))

    def move(
        self, version: str, generation: int, *, kind: Kind = Kind.APPLIED, bytes_: str | None = None
    ) -> Sealed:
        payload = PointerMoved(
            model=MODEL,
            alias="champion",
            version=version,
            digest=digest(bytes_ or f"adapter {version}"),
            generation=generation,
        )
        return self.write(kind, f"{MODEL}@champion", payload)

    def plan(self, by: str = "operator", **changes: Any) -> Plan:
        """A plan of version 3 on the newest verdict, from where the kit's moves led to; written."""
        with self.ledger.view() as view:
            verdict = next(view.find((Kind.VERDICT,), newest_first=True, limit=1))
        plan = Plan(
            model=MODEL,
            alias="champion",
            version="3",
            digest=digest("candidate"),
            expected=Generation(generation=3, version="1", digest=digest("adapter 1")),
            verdict=verdict.hash,
            papers=None,
            approvals=1,
            expires="2026-04-01T00:00:00.000000Z",
            requester=self.key(by).public.key,
            reason="it is better",
            nonce="0" * 32,
        ).model_copy(update=changes)
        self.write(Kind.PLAN, f"{plan.model}@{plan.alias}", plan, by)
        return plan

    def approve(self, plan: Plan, by: str = "approver") -> Sealed:
        made = sign_plan(plan, self.key(by))
        return self.write(
            Kind.APPROVAL, f"{plan.model}@{plan.alias}", Approval(plan=plan_digest(plan), signature=made.sig), by
        )

    def verify(self, **how: Any) -> Verified:
        return verify_rows(self.ledger.rows(), **{"now": self.clock.now, **how})

    def sql(self, *statements: str, free: bool = True) -> None:
        """Change the file behind the ledger's back; `free`: as somebody who may drop triggers and constraints."""
        connection = sqlite3.connect(self.file, isolation_level=None)
        if free:
            loosen(connection)
        for statement in statements:
            connection.execute(statement)
        connection.close()

    def fetch(self, statement: str) -> list[tuple[Any, ...]]:
        connection = sqlite3.connect(self.file)
        found = connection.execute(statement).fetchall()
        connection.close()
        return found


def loosen(connection: sqlite3.Connection) -> None:
    """The same rows in a table without triggers, keys and constraints."""
    names = "sequence, previous, hash, kind, subject, at, body, signature"
    connection.executescript(f"""
        CREATE TABLE IF NOT EXISTS loose AS SELECT {names} FROM rsa_ops_ledger WHERE 0;
        INSERT INTO loose SELECT {names} FROM rsa_ops_ledger;
        DROP TABLE rsa_ops_ledger;
        ALTER TABLE loose RENAME TO rsa_ops_ledger;
    """)


def begun(folder: Path) -> Kit:
    clock = Clock()
    ledger = replace(open_ledger(str(folder / "ledger.db"), write=True), clock=clock)
    kit = Kit(folder, ledger, clock)
    ledger.begin(kit.key("admin"), "admin")
    return kit


@pytest.fixture
def bare(tmp_path: Path) -> Kit:
    """A ledger that has begun, and nothing else."""
    return begun(tmp_path)


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Kit:
    """What `kit` is a copy of; not to be changed."""
    kit = begun(tmp_path_factory.mktemp("ledger"))
    kit.grant("operator", Role.OPERATOR)
    kit.grant("approver", Role.APPROVER)
    kit.verdict(kit.lock())
    kit.move("1", 1)
    kit.verdict(kit.lock("run2"), run="run2")
    kit.move("2", 2)
    kit.move("1", 3, kind=Kind.ROLLBACK)
    kit.approve(kit.plan())
    kit.ledger.close()
    return kit


@pytest.fixture
def kit(written: Kit, tmp_path: Path) -> Kit:
    """Entries 0 to 11: genesis, 2 keys, lock, verdict, move, lock, verdict, move, rollback, plan, approval."""
    shutil.copy(written.file, tmp_path / "ledger.db")
    clock = Clock(written.clock.now)
    ledger = replace(open_ledger(str(tmp_path / "ledger.db"), write=True), clock=clock)
    return Kit(tmp_path, ledger, clock, dict(written.keys))
