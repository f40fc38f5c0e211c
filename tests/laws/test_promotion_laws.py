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
from rsa_ops.governance.reconcile import put_back, reconcile, strays
from rsa_ops.stages.promotion import approve, break_glass, ratify, waive
from tests.unit.governance.promoting import MODEL, SUBJECT, World, begin, bytes_of, copy_of

DAY = timedelta(days=1)
WHO = st.sampled_from(["ci", "ops", "admin"])
APPROVERS = st.sampled_from(["bob", "eve", "admin", "ci"])
VERSIONS = st.integers(1, 6).map(str)
FAULTS = st.sampled_from([*[None] * 6, *Step, "down"])
"""What happens on the way: nothing, a death at a step, or a registry that is gone once the intent is written."""


class Died(Exception):
    """The process ends here."""


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

    @rule(version=VERSIONS, fault=FAULTS)
    def promote(self, version: str, fault: Step | str | None) -> None:
        self.world.judge(version)
        with contextlib.suppress(RsaOpsError):  # the champion has these bytes already
            self.plans.append(self.world.plan(version))
            self.attempt(lambda at: self.world.apply(self.plans[-1], "ops", at), fault)

    @rule(versions=st.tuples(VERSIONS, VERSIONS), faults=st.tuples(FAULTS, FAULTS))
    def two_promote_from_one_generation(
        self, versions: tuple[str, str], faults: tuple[Step | str | None, Step | str | None]
    ) -> None:
        files = []
        for version in versions:
            self.world.judge(version)
            with contextlib.suppress(RsaOpsError):
                files.append(self.world.plan(version))
        before = self.moves
        for file, fault in zip(files, faults, strict=False):
            self.attempt(lambda at, file=file: self.world.apply(file, "ops", at), fault)
        assert self.moves - before <= 1  # one winner a generation

    @rule(
        version=VERSIONS,
        outcome=st.sampled_from(list(Outcome)),
        approvals=st.integers(0, 2),
        who=WHO,
        days=st.integers(1, 3),
    )
    def judge_and_plan(self, version: str, outcome: Outcome, approvals: int, who: str, days: int) -> None:
        self.world.judge(version, outcome, approvals=approvals)
        with contextlib.suppress(RsaOpsError):
            self.plans.append(self.world.plan(version, who, lasts=days * DAY))

    @precondition(lambda self: self.plans)
    @rule(who=APPROVERS)
    def approve(self, who: str) -> None:
        with contextlib.suppress(RsaOpsError):
            approve(self.world.desk(who), self.plans[-1])

    @precondition(lambda self: self.plans)
    @rule(who=WHO, pick=st.integers(0, 1), fault=FAULTS)
    def apply(self, who: str, pick: int, fault: Step | str | None) -> None:
        file = self.plans[-1 - pick % len(self.plans)]
        self.attempt(lambda at: self.world.apply(file, who, at), fault)

    @precondition(lambda self: self.moves)
    @rule(pick=st.integers(0, 5), who=WHO, fault=FAULTS)
    def roll_back(self, pick: int, who: str, fault: Step | str | None) -> None:
        desk = self.world.desk(who)
        state = desk.alias(SUBJECT)
        version = list(state.named)[pick % len(state.named)]
        intent = Intent(
            plan=None,
            action="rollback",
            model=MODEL,
            alias="champion",
            version=version,
            digest=bytes_of(version),
            generation=state.at.generation + 1,
            before_version=state.at.version,
        )
        self.attempt(lambda at: carry_out(desk, self.world.live, intent, at), fault)

    @rule(version=st.sampled_from(["1", "2", "99"]), fault=FAULTS)
    def move_outside_and_put_back(self, version: str, fault: Step | str | None) -> None:
        desk = self.world.desk("ops")
        state, before = desk.alias(SUBJECT), self.world.champion
        if state.open is not None or not state.at.generation:
            return
        self.world.live.aliases[MODEL, "champion"] = version
        for stray in strays(desk, self.world.live):
            self.attempt(lambda at, stray=stray: put_back(desk, self.world.live, stray, "outside", at), fault)
        if self.opened is not None:  # it died on the way: only onward leads anywhere
            reconcile(self.world.desk("admin"), self.world.live, self.opened, onward=True)
        for stray in strays(again := self.world.desk(), self.world.live):  # it died before it began
            put_back(again, self.world.live, stray, "outside")
        assert self.world.champion == before

    def attempt(self, act: Callable[[Callable[[Step], None]], Sealed], fault: Step | str | None) -> None:
        def at(reached: Step) -> None:
            if reached is fault:
                raise Died
            if fault == "down" and reached is Step.INTENT:
                self.world.live.down = True

        with contextlib.suppress(RsaOpsError, Died):
            act(at)
            self.moves += 1
        self.world.live.down = False

    @precondition(lambda self: self.world.runs)
    @rule(name=st.sampled_from(["bob", "eve"]), days=st.integers(1, 3))
    def waive(self, name: str, days: int) -> None:
        with contextlib.suppress(RsaOpsError):
            waive(self.world.desk(name), f"run{self.world.runs}", (), "we must", days * DAY)

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

    @precondition(lambda self: self.moves > 2)
    @rule()
    def revoke(self) -> None:
        with contextlib.suppress(RsaOpsError):
            self.world.revoke("eve")

    @rule(hours=st.integers(1, 30))
    def wait(self, hours: int) -> None:
        self.world.clock.now += timedelta(hours=hours)

    @precondition(lambda self: self.opened is not None)
    @rule(onward=st.booleans(), fault=FAULTS)
    def reconcile_and_perhaps_die(self, onward: bool, fault: Step | str | None) -> None:
        def act(at: Callable[[Step], None]) -> Sealed:
            return reconcile(self.world.desk("admin"), self.world.live, self.opened, onward=onward, at=at).sealed

        before = self.moves
        self.attempt(act, fault)
        self.moves = before  # it may have ended a move of another, or given it up

    @precondition(lambda self: self.opened is not None)
    @rule(onward=st.booleans())
    def reconcile(self, onward: bool) -> None:
        reconcile(self.world.desk("admin"), self.world.live, self.opened, onward=onward)
        self.world.consistent()

    @property
    def opened(self) -> Sealed | None:
        with self.world.ledger.view() as view:
            return open_intent(view, MODEL, "champion")

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
    deadline=None, max_examples=20, stateful_step_count=25, suppress_health_check=list(HealthCheck)
)
