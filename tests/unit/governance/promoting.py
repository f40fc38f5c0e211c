"""A team that promotes: a ledger with four keys, a registry that is a dict, and verdicts when they are wanted."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rsa_ops.core.verdict import Outcome
from rsa_ops.errors import MissingError
from rsa_ops.governance.apply import At, carry_out, nowhere, promotion_intent
from rsa_ops.governance.desk import Desk, open_desk
from rsa_ops.governance.entry import Kind, Role, Sealed
from rsa_ops.governance.keys import FileKey, make_key
from rsa_ops.governance.notary import Notary
from rsa_ops.governance.payloads import Intent, KeyGrant, KeyRevoked, Plan, PolicyLock, VerdictGiven
from rsa_ops.governance.plan import PlanFile, plan_digest
from rsa_ops.governance.pointer import subject_of
from rsa_ops.governance.store import Ledger, open_ledger
from rsa_ops.governance.verify import Verified, verify_rows
from rsa_ops.stages.promotion import Wish, file_plan

from .conftest import digest

MODEL = "triage.1a2b3c4d5e6f"
SUBJECT = subject_of(MODEL, "champion")
TEAM = {"admin": Role.ADMIN, "ci": Role.OPERATOR, "ops": Role.OPERATOR, "bob": Role.APPROVER, "eve": Role.APPROVER}


@dataclass
class Seconds:
    """A second passes with every look."""

    now: datetime = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


@dataclass
class Live:
    """A registry: aliases in a dict. `down`: it does not answer; `deaf`: it says yes and moves nothing."""

    aliases: dict[tuple[str, str], str] = field(default_factory=dict)
    down: bool = False
    deaf: bool = False

    def read(self, model: str, alias: str) -> str | None:
        self._answer()
        return self.aliases.get((model, alias))

    def move(self, model: str, alias: str, version: str) -> None:
        self._answer()
        if not self.deaf:
            self.aliases[model, alias] = version

    def _answer(self) -> None:
        if self.down:
            raise MissingError("the MLflow server does not answer")


@dataclass
class World:
    """The team, its ledger and its registry."""

    folder: Path
    ledger: Ledger
    clock: Seconds
    live: Any = field(default_factory=Live)
    keys: dict[str, FileKey] = field(default_factory=dict)
    runs: int = 0

    def desk(self, who: str = "ci") -> Desk:
        """A freshly verified desk, at which this key writes."""
        return open_desk(Notary(self.ledger, self.keys[who]))

    def judge(self, version: str, outcome: Outcome = Outcome.PROMOTE, *, approvals: int = 0, **said: Any) -> str:
        """A lock and a verdict about a version, against the champion of now; the run that it is about."""
        self.runs += 1
        run, notary = f"run{self.runs}", Notary(self.ledger, self.keys["ci"])
        about = {"pipeline": "triage", "policy_digest": digest("policy"), "test_digest": digest("test")}
        lock = notary.write(Kind.POLICY_LOCK, run, PolicyLock(**about, policy="policy", approvals=approvals))
        given = {
            "verdict_digest": digest(run),
            "candidate_digest": bytes_of(version),
            "champion_digest": self.desk().alias(SUBJECT).at.digest,
            "unmet": () if outcome is Outcome.PROMOTE else ("accuracy", "cost"),
            **said,
        }
        notary.write(Kind.VERDICT, run, VerdictGiven(**about, lock=lock.hash, outcome=outcome, **given))
        return run

    def plan(self, version: str, who: str = "ci", **wish: Any) -> PlanFile:
        """A plan of a version on the newest verdict about it."""
        reason = wish.pop("reason", "it is better")
        return file_plan(self.desk(who), Wish(MODEL, version, bytes_of(version), reason, **wish))

    def intent(self, plan: Plan, desk: Desk) -> Intent:
        return promotion_intent(desk, plan, plan_digest(plan))

    def apply(self, file: PlanFile, who: str = "ops", at: At = nowhere) -> Sealed:
        """Carry a plan out on the dict."""
        desk = self.desk(who)
        return carry_out(desk, self.live, self.intent(file.plan(), desk), at)

    def promoted(self, version: str) -> Sealed:
        """A version judged, planned and applied."""
        self.judge(version)
        return self.apply(self.plan(version))

    def revoke(self, name: str) -> None:
        key = self.keys[name].public.key
        Notary(self.ledger, self.keys["admin"]).write(Kind.KEY_REVOKED, key, KeyRevoked(key=key, reason="lost"))

    def verify(self) -> Verified:
        return verify_rows(self.ledger.rows(), now=self.ledger.clock())

    @property
    def count(self) -> int:
        return self.verify().walk.entries

    @property
    def champion(self) -> str | None:
        """What the registry says."""
        return self.live.aliases.get((MODEL, "champion"))

    def consistent(self) -> None:
        """The ledger verifies, nothing is open, and registry and ledger name the same champion."""
        verified = self.verify()
        assert verified.first_bad is None
        state = verified.walk.order.promotions.alias(SUBJECT)
        assert state.open is None
        assert state.at.version == self.champion


def bytes_of(version: str) -> str:
    return digest(f"adapter {version}")


def begin(folder: Path, address: str | None = None, clock: Any = None) -> World:
    """A new ledger with the whole team."""
    clock = clock or Seconds()
    ledger = replace(open_ledger(address or str(folder / "ledger.db"), write=True), clock=clock)
    keys = {name: make_key(folder / f"{name}.pem") for name in TEAM}
    ledger.begin(keys["admin"], "admin")
    admin = Notary(ledger, keys["admin"])
    for name, role in TEAM.items():
        public = keys[name].public
        grant = KeyGrant(key=public.key, public_key=public.public_key, role=role, name=name, custody="held")
        if name != "admin":
            admin.write(Kind.KEY_ADDED, public.key, grant)
    return World(folder, ledger, clock, keys=keys)


def copy_of(world: World, folder: Path) -> World:
    """The same team on a copy of its ledger file."""
    folder.mkdir(parents=True, exist_ok=True)
    world.ledger.close()
    shutil.copy(world.folder / "ledger.db", folder / "ledger.db")
    clock = Seconds(world.clock.now)
    ledger = replace(open_ledger(str(folder / "ledger.db"), write=True), clock=clock)
    return World(folder, ledger, clock, Live(dict(world.live.aliases)), world.keys, world.runs)
