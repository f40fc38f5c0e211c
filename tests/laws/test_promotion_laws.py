"""Random sequences of promotions, rollbacks and crashes: after reconcile, one champion, and a ledger that verifies.

The registry is a dict and the ledger a real SQLite file. A crash is an exception that nothing catches, raised at a
random step of a move; what a killed process leaves behind is tested in tests/unit/governance.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from rsa_ops.core.verdict import Outcome
from rsa_ops.errors import RsaOpsError
from rsa_ops.governance.apply import Step, carry_out
from rsa_ops.governance.audit import overdue
from rsa_ops.governance.entry import Sealed
from rsa_ops.governance.payloads import Intent
from rsa_ops.governance.plan import PlanFile
from rsa_ops.governance.pointer import open_intent
from rsa_ops.governance.reconcile import reconcile
from rsa_ops.stages.promotion import approve, break_glass, ratify, waive
from tests.unit.governance.promoting import MODEL, SUBJECT, World, begin, bytes_of, copy_of

DAY = timedelta(days=1)
WHO = st.sampled_from(["ci", "ops", "admin"])
APPROVERS = st.sampled_from(["bob", "eve", "admin", "ci"])
VERSIONS = st.integers(1, 6).map(str)
STEPS = st.sampled_from([None, None, *Step])


class Died(Exception):
    """The process ends here."""


def dying(step: Step | None) -> Callable[[Step], None]:
    def at(reached: Step) -> None:
        if reached is step:
            raise Died

    return at


class Promoting(RuleBasedStateMachine):
    """A team that does everything in any order; refusals are expected, inconsistency never."""

    template: World | None = None

    @initialize()
    def begin(self) -> None:
        if Promoting.template is None:
            Promoting.template = begin(Path(tempfile.mkdtemp(prefix="rsa-ops-laws-")))
        self.folder = Path(tempfile.mkdtemp(prefix="rsa-ops-law-"))
        self.world = copy_of(Promoting.template, self.folder)
        self.plans: list[PlanFile] = []
        self.broken: list[Sealed] = []
        self.moves = 0

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.ledger.close()
            shutil.rmtree(self.folder)

    @rule(
        version=VERSIONS,
        outcome=st.sampled_from([*[Outcome.PROMOTE] * 4, *Outcome]),
        approvals=st.sampled_from([0, 0, 0, 1, 2]),
        who=WHO,
        days=st.integers(1, 3),
    )
    def judge_and_plan(self, version: str, outcome: Outcome, approvals: int, who: str, days: int) -> None:
        self.world.judge(version, outcome, approvals=approvals)
        with contextlib.suppress(RsaOpsError):  # the champion has these bytes already
            self.plans.append(self.world.plan(version, who, lasts=days * DAY))

    @precondition(lambda self: self.plans)
    @rule(who=APPROVERS, pick=st.integers(0, 50))
    def approve(self, who: str, pick: int) -> None:
        with contextlib.suppress(RsaOpsError):
            approve(self.world.desk(who), self.plans[-1 - pick % len(self.plans)])

    @precondition(lambda self: self.plans)
    @rule(who=WHO, pick=st.integers(0, 3), step=STEPS)
    def apply(self, who: str, pick: int, step: Step | None) -> None:
        self.attempt(lambda: self.world.apply(self.plans[-1 - pick % len(self.plans)], who, dying(step)))

    @rule(version=VERSIONS, who=WHO, step=STEPS)
    def roll_back(self, version: str, who: str, step: Step | None) -> None:
        desk = self.world.desk(who)
        at = desk.alias(SUBJECT).at
        intent = Intent(
            plan=None,
            action="rollback",
            model=MODEL,
            alias="champion",
            version=version,
            digest=bytes_of(version),
            generation=at.generation + 1,
            before_version=at.version,
        )
        self.attempt(lambda: carry_out(desk, self.world.live, intent, dying(step)))

    def attempt(self, act: Callable[[], Sealed]) -> None:
        with contextlib.suppress(RsaOpsError, Died):
            act()
            self.moves += 1

    @precondition(lambda self: self.world.runs)
    @rule(pick=st.integers(0, 20), name=st.sampled_from(["bob", "eve"]), days=st.integers(1, 3))
    def waive(self, pick: int, name: str, days: int) -> None:
        with contextlib.suppress(RsaOpsError):
            waive(self.world.desk(name), f"run{1 + pick % self.world.runs}", (), "we must", days * DAY)

    @precondition(lambda self: self.plans)
    @rule(who=WHO, days=st.integers(1, 2))
    def break_glass(self, who: str, days: int) -> None:
        with contextlib.suppress(RsaOpsError):
            self.broken.append(break_glass(self.world.desk(who), self.plans[-1], "it burns", days * DAY))

    @precondition(lambda self: self.broken)
    @rule(name=APPROVERS)
    def ratify(self, name: str) -> None:
        with contextlib.suppress(RsaOpsError):
            ratify(self.world.desk(name), self.broken[-1].entry.sequence, "right so")

    @rule(name=st.sampled_from(["bob", "eve", "ops"]))
    def revoke(self, name: str) -> None:
        with contextlib.suppress(RsaOpsError):
            self.world.revoke(name)

    @rule(hours=st.integers(1, 40))
    def wait(self, hours: int) -> None:
        self.world.clock.now += timedelta(hours=hours)

    @rule(down=st.booleans())
    def the_registry_goes_or_comes(self, down: bool) -> None:
        self.world.live.down = down

    @rule(onward=st.booleans())
    def reconcile(self, onward: bool) -> None:
        self.world.live.down = False
        with self.world.ledger.view() as view:
            opened = open_intent(view, MODEL, "champion")
        if opened is not None:
            reconcile(self.world.desk("admin"), self.world.live, opened, onward=onward)
        self.world.consistent()

    @invariant()
    def the_ledger_verifies_and_the_alias_is_where_it_says_or_an_open_intent_leads(self) -> None:
        if not hasattr(self, "world"):
            return
        verified = self.world.verify()
        assert verified.first_bad is None
        state = verified.walk.order.promotions.alias(SUBJECT)
        allowed = {state.at.version} | ({state.open.intent.version} if state.open is not None else set())
        assert self.world.champion in allowed
        assert state.at.generation >= self.moves
        for finding in overdue(verified):
            assert finding.sequence in {sealed.entry.sequence for sealed in self.broken}


TestPromoting = Promoting.TestCase
TestPromoting.settings = settings(
    deadline=None, max_examples=30, stateful_step_count=25, suppress_health_check=list(HealthCheck)
)
