"""Plan, approve, apply: what is refused, with which exit code, and that nothing moved then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from rsa_ops.core.verdict import Outcome
from rsa_ops.errors import ConflictError, ExitCode, IntegrityError, MissingError, RsaOpsError, UsageError
from rsa_ops.governance.apply import carry_out, finish
from rsa_ops.governance.audit import chain_notes, overdue
from rsa_ops.governance.desk import open_desk
from rsa_ops.governance.entry import Draft, Kind
from rsa_ops.governance.finding import Flaw
from rsa_ops.governance.notary import Notary
from rsa_ops.governance.payloads import (
    Abandoned,
    Approval,
    Generation,
    Intent,
    Plan,
    PointerMoved,
    payload_as,
)
from rsa_ops.governance.plan import (
    plan_bytes,
    plan_digest,
    plan_file,
    read_plan,
    require_signatures,
    sign_plan,
    write_plan,
)
from rsa_ops.governance.pointer import NOWHERE, open_intent, pointer_history, standing_at
from rsa_ops.governance.promotion import leaned_on, promotion_of
from rsa_ops.governance.reconcile import put_back, reconcile, strays
from rsa_ops.governance.store import open_ledger
from rsa_ops.stages.promotion import Wish, approve, break_glass, duration, file_plan, ratify, waive

from .conftest import digest
from .promoting import MODEL, SUBJECT, World, begin, bytes_of, copy_of

DAY = timedelta(days=1)


@pytest.fixture(scope="session")
def founded(tmp_path_factory: pytest.TempPathFactory) -> World:
    """What `world` is a copy of: version 1 is the champion of generation 1; not to be changed."""
    world = begin(tmp_path_factory.mktemp("team"))
    world.promoted("1")
    return world


@pytest.fixture
def world(founded: World, tmp_path: Path) -> World:
    return copy_of(founded, tmp_path)


def refused(world: World, act: Callable[[], Any], code: ExitCode, *words: str) -> RsaOpsError:
    """The act is refused with this exit code and these words, nothing moved, and nothing was written."""
    before, champion = world.count, world.champion
    with pytest.raises(RsaOpsError) as caught:
        act()
    assert caught.value.exit_code is code, caught.value
    for word in words:
        assert word in str(caught.value)
    assert (world.count, world.champion) == (before, champion)
    world.consistent()
    return caught.value


def test_a_plan_is_applied_in_three_entries_and_the_registry_follows(world: World) -> None:
    world.judge("2")
    file = world.plan("2")
    moved = payload_as(world.apply(file).entry, PointerMoved)
    assert (moved.version, moved.generation, world.champion) == ("2", 2, "2")
    with world.ledger.view() as view:
        kinds = [sealed.entry.kind for sealed in view.find(subject=SUBJECT)][-3:]
        assert kinds == [Kind.PLAN, Kind.INTENT, Kind.APPLIED]
        assert open_intent(view, MODEL, "champion") is None
        assert [payload_as(s.entry, PointerMoved).version for s in pointer_history(view, MODEL, "champion")] == [
            "1",
            "2",
        ]
        assert standing_at(view, MODEL, "champion") == Generation(generation=2, version="2", digest=bytes_of("2"))
        assert standing_at(view, MODEL, "other") == NOWHERE
    world.consistent()
    assert chain_notes(world.verify()) == ()


def test_a_plan_is_applied_once(world: World) -> None:
    world.judge("2")
    file = world.plan("2")
    world.apply(file)
    refused(world, lambda: world.apply(file), ExitCode.CONFLICT, "applied already, by entry")
    assert promotion_of(world.desk(), file.plan()).state == "applied"


@pytest.mark.parametrize(("approvals", "signers"), [(1, ("bob",)), (2, ("bob", "eve")), (2, ("admin", "bob"))])
def test_a_plan_waits_for_as_many_keys_as_the_policy_asks_for(
    world: World, approvals: int, signers: tuple[str, ...]
) -> None:
    world.judge("2", approvals=approvals)
    file = world.plan("2")
    for number, name in enumerate(signers):
        assert promotion_of(world.desk(), file.plan()).state == "waiting"
        words = f"needs {approvals} approval{'s' * (approvals > 1)} and has {number}"
        refused(world, lambda file=file: world.apply(file), ExitCode.CONFLICT, words)
        file = approve(world.desk(name), file)
    assert promotion_of(world.desk(), file.plan()).state == "ready"
    assert [signature.keyid for signature in file.signatures] == [
        world.keys[name].public.key for name in ("ci", *signers)
    ]
    assert require_signatures(file, world.desk().walk.keyring) == file.plan()
    world.apply(file)
    assert world.champion == "2"
    world.consistent()


def test_a_plan_may_ask_for_more_approvals_than_its_policy_and_never_for_fewer(world: World) -> None:
    world.judge("2", approvals=1)
    refused(
        world, lambda: world.plan("2", approvals=0), ExitCode.USAGE, "policy asks for: 1; that the plan does: 0"
    )
    assert world.plan("2", approvals=2).plan().approvals == 2


def test_a_version_that_was_made_again_with_other_bytes_is_not_planned(world: World) -> None:
    """A registered model that is deleted and made again counts its versions from 1."""
    world.promoted("2")
    world.judge("9")
    again = Wish(MODEL, "1", bytes_of("9"), "made again")
    refused(world, lambda: file_plan(world.desk(), again), ExitCode.INTEGRITY, "A version keeps its bytes")


def test_the_requesters_approval_does_not_count_and_is_refused(world: World) -> None:
    world.judge("2", approvals=1)
    file = world.plan("2", "admin")
    refused(world, lambda: approve(world.desk("admin"), file), ExitCode.USAGE, "cannot approve it")


def test_an_approval_twice_by_one_key_is_refused(world: World) -> None:
    world.judge("2", approvals=2)
    file = approve(world.desk("bob"), world.plan("2"))
    refused(world, lambda: approve(world.desk("bob"), file), ExitCode.CONFLICT, "approved the plan already")
    refused(world, lambda: world.apply(file), ExitCode.CONFLICT, "needs 2 approvals and has 1")


def test_an_operators_approval_is_refused(world: World) -> None:
    world.judge("2", approvals=1)
    file = world.plan("2")
    refused(world, lambda: approve(world.desk("ops"), file), ExitCode.USAGE, "may not write approval")


def test_an_approval_by_a_key_that_was_revoked_since_does_not_count(world: World) -> None:
    world.judge("2", approvals=1)
    file = approve(world.desk("bob"), world.plan("2"))
    world.revoke("bob")
    refused(world, lambda: world.apply(file), ExitCode.CONFLICT, "has 0 (1 by keys that are no longer good)")
    refused(world, lambda: approve(world.desk("bob"), file), ExitCode.INTEGRITY, "revoked")


def test_a_plan_whose_requester_was_revoked_is_refused(world: World) -> None:
    world.judge("2")
    file = world.plan("2")
    world.revoke("ci")
    refused(world, lambda: world.apply(file), ExitCode.INTEGRITY, "asked for the plan, is revoked")


def test_an_expired_plan_is_neither_approved_nor_applied(world: World) -> None:
    world.judge("2", approvals=1)
    file = world.plan("2", lasts=DAY)
    approve(world.desk("bob"), file)
    world.clock.now += DAY
    refused(world, lambda: world.apply(file), ExitCode.CONFLICT, "expired at 2026-03-02T")
    refused(world, lambda: approve(world.desk("eve"), file), ExitCode.CONFLICT, "expired")


def test_a_plan_from_before_another_promotion_is_stale(world: World) -> None:
    world.judge("2")
    early = world.plan("2")
    world.promoted("3")
    refused(
        world,
        lambda: world.apply(early),
        ExitCode.CONFLICT,
        "generation 1 (version 1)",
        "at generation 2 (version 3)",
    )


def test_a_verdict_against_another_champion_than_todays_is_stale(world: World) -> None:
    world.judge("2")
    world.promoted("3")
    late = world.plan("2")
    refused(world, lambda: world.apply(late), ExitCode.CONFLICT, "judged against", "version 3 now")


def test_another_alias_has_generations_of_its_own_and_asks_for_no_contest_with_the_champion(world: World) -> None:
    world.judge("2")
    world.promoted("3")
    moved = payload_as(world.apply(world.plan("2", alias="pilot-osaka")).entry, PointerMoved)
    assert (moved.alias, moved.generation) == ("pilot-osaka", 1)
    world.consistent()


def test_bytes_that_are_the_champion_already_are_not_planned(world: World) -> None:
    world.judge("1")
    refused(world, lambda: world.plan("1"), ExitCode.CONFLICT, "already")


def test_a_version_that_nobody_judged_is_not_planned(world: World) -> None:
    refused(world, lambda: world.plan("2"), ExitCode.MISSING, "no verdict")
    world.judge("2")
    refused(world, lambda: world.plan("2", run="run99"), ExitCode.MISSING, "from the run run99")


@pytest.mark.parametrize(
    ("outcome", "code"),
    [(Outcome.REJECT, 4), (Outcome.INCONCLUSIVE, 5), (Outcome.ERROR, 6)],
)
def test_a_verdict_that_does_not_promote_keeps_its_exit_code(world: World, outcome: Outcome, code: int) -> None:
    world.judge("2", outcome)
    file = world.plan("2")
    refused(world, lambda: world.apply(file), ExitCode(code), f"verdict is {outcome.value}")
    assert promotion_of(world.desk(), file.plan()).exit_code == code


@pytest.mark.parametrize("rules", [(), ("accuracy", "cost")])
def test_a_waiver_of_what_is_unmet_lets_a_rejected_candidate_through_and_is_told(
    world: World, rules: tuple[str, ...]
) -> None:
    run = world.judge("2", Outcome.REJECT)
    file = world.plan("2")
    waive(world.desk("bob"), run, rules, "the audit wants it", DAY)
    world.apply(file)
    world.consistent()
    assert "WAIVED" in next(leaned_on(world.desk(), file.plan()))
    assert "the audit wants it" in chain_notes(world.verify())[0].text


def test_a_waiver_of_some_rules_does_not_cover_the_others(world: World) -> None:
    run = world.judge("2", Outcome.REJECT)
    file = world.plan("2")
    waive(world.desk("bob"), run, ("cost",), "it is cheap enough", DAY)
    refused(world, lambda: world.apply(file), ExitCode.REJECTED, "does not cover all", "accuracy")


def test_an_expired_waiver_and_one_whose_author_is_revoked_count_for_nothing(world: World) -> None:
    run = world.judge("2", Outcome.REJECT)
    file = world.plan("2", lasts=7 * DAY)
    waive(world.desk("bob"), run, (), "for today", DAY)
    waive(world.desk("eve"), run, (), "for three days", 3 * DAY)
    world.revoke("eve")
    world.clock.now += DAY
    refused(world, lambda: world.apply(file), ExitCode.CONFLICT, "waiver expired")


def test_an_error_is_never_waived_and_a_promotion_need_not_be(world: World) -> None:
    broken, fine = world.judge("2", Outcome.ERROR), world.judge("3")
    refused(world, lambda: waive(world.desk("bob"), broken, (), "x", DAY), ExitCode.INTEGRITY, "never waived")
    refused(world, lambda: waive(world.desk("bob"), fine, (), "x", DAY), ExitCode.USAGE, "nothing to waive")
    refused(world, lambda: waive(world.desk("bob"), "run99", (), "x", DAY), ExitCode.MISSING, "no verdict")


def test_a_rule_that_holds_cannot_be_waived_and_only_approvers_waive(world: World) -> None:
    run = world.judge("2", Outcome.REJECT)
    refused(world, lambda: waive(world.desk("bob"), run, ("latency",), "x", DAY), ExitCode.USAGE, "latency")
    refused(world, lambda: waive(world.desk("ci"), run, (), "x", DAY), ExitCode.USAGE, "may not write waiver")


def test_a_verdict_that_does_not_tell_its_unmet_rules_takes_a_waiver_of_all(world: World) -> None:
    run = world.judge("2", Outcome.REJECT, unmet=None)
    file = world.plan("2")
    refused(world, lambda: waive(world.desk("bob"), run, ("accuracy",), "x", DAY), ExitCode.USAGE)
    waive(world.desk("bob"), run, (), "all of it", DAY)
    world.apply(file)
    world.consistent()


def test_broken_glass_moves_at_once_is_loud_and_stops_further_plans_when_nobody_ratifies_it(world: World) -> None:
    world.judge("2", Outcome.ERROR, approvals=2)
    file = world.plan("2", "ops")
    made = break_glass(world.desk("ci"), file, "the champion leaks", DAY)
    world.apply(file)
    assert world.champion == "2"
    verified = world.verify()
    assert verified.first_bad is None
    assert "NOT RATIFIED YET" in chain_notes(verified)[0].text
    assert overdue(verified) == ()
    world.judge("3")
    file = world.plan("3")
    world.clock.now += DAY
    (finding,) = overdue(world.verify())
    assert (finding.flaw, finding.sequence) == (Flaw.NOT_RATIFIED, made.entry.sequence)
    refused(world, lambda: world.apply(file), ExitCode.INTEGRITY, "nobody ratified it")
    for name in ("ci", "ops"):
        refused(world, lambda name=name: ratify(world.desk(name), made.entry.sequence, "x"), ExitCode.USAGE)
    ratify(world.desk("bob"), made.entry.sequence, "seen, and right")
    refused(world, lambda: ratify(world.desk("eve"), made.entry.sequence, "me too"), ExitCode.CONFLICT, "already")
    assert overdue(world.verify()) == ()
    world.apply(file)
    assert world.champion == "3"
    world.consistent()


def test_an_admin_who_broke_the_glass_or_asked_for_the_plan_cannot_ratify_it(world: World) -> None:
    world.judge("2", Outcome.REJECT)
    file = world.plan("2", "admin")
    made = break_glass(world.desk("ci"), file, "now", DAY)
    refused(world, lambda: ratify(world.desk("admin"), made.entry.sequence, "x"), ExitCode.USAGE, "cannot ratify")
    refused(world, lambda: ratify(world.desk("bob"), 0, "x"), ExitCode.MISSING, "no break-glass entry")


def test_a_rollback_goes_on_while_broken_glass_is_overdue(world: World) -> None:
    world.judge("2", Outcome.REJECT)
    file = world.plan("2")
    break_glass(world.desk("ci"), file, "now", DAY)
    world.apply(file)
    world.clock.now += 2 * DAY
    carry_out(world.desk(), world.live, back(3, "1", "2"))
    assert world.champion == "1"
    world.consistent()


def test_expired_broken_glass_breaks_nothing(world: World) -> None:
    world.judge("2", Outcome.REJECT)
    file = world.plan("2", lasts=7 * DAY)
    break_glass(world.desk("ci"), file, "now", DAY)
    world.clock.now += DAY
    refused(world, lambda: world.apply(file), ExitCode.CONFLICT, "break-glass entry expired")


def back(generation: int, version: str, before: str, **changes: Any) -> Intent:
    return Intent(
        plan=None,
        action="rollback",
        model=MODEL,
        alias="champion",
        version=version,
        digest=bytes_of(version),
        generation=generation,
        before_version=before,
        reason="it drifts",
    ).model_copy(update=changes)


def test_a_rollback_needs_no_plan_and_leads_only_to_what_was_there(world: World) -> None:
    world.promoted("2")
    for wrong, code in (
        (back(3, "9", "2"), ExitCode.CONFLICT),
        (back(3, "1", "2", digest=digest("other")), ExitCode.INTEGRITY),
        (back(2, "1", "2"), ExitCode.CONFLICT),
        (back(3, "1", "1"), ExitCode.CONFLICT),
        (back(3, "1", "2", plan=digest("plan")), ExitCode.INTEGRITY),
    ):
        refused(world, lambda wrong=wrong: carry_out(world.desk(), world.live, wrong), code)
    sealed = carry_out(world.desk(), world.live, back(3, "1", "2"))
    assert (sealed.entry.kind, world.champion) == (Kind.ROLLBACK, "1")
    world.consistent()


def test_an_open_intent_keeps_everybody_out_until_it_is_reconciled(world: World) -> None:
    world.judge("2")
    world.judge("3")
    first, second = world.plan("2"), world.plan("3")
    world.live.down = True
    with pytest.raises(MissingError, match="stays open") as caught:
        world.apply(first)
    assert "rsa-ops reconcile" in caught.value.hint
    with world.ledger.view() as view:
        opened = open_intent(view, MODEL, "champion")
    assert opened is not None
    (note,) = chain_notes(world.verify())
    assert "is open" in note.text
    world.live.down = False
    for act in (lambda: world.apply(second), lambda: world.apply(first)):
        with pytest.raises(ConflictError, match="still open"):
            act()
    assert world.champion == "1"
    ended = reconcile(world.desk(), world.live, opened)
    assert ended.ending == "abandoned"
    world.consistent()
    world.apply(first)
    assert world.champion == "2"
    world.consistent()


def test_a_registry_that_says_yes_and_moves_nothing_is_caught_by_reading_back(world: World) -> None:
    world.judge("2")
    file = world.plan("2")
    world.live.deaf = True
    with pytest.raises(IntegrityError, match="read back as 1"):
        world.apply(file)
    world.live.deaf = False
    with world.ledger.view() as view:
        opened = open_intent(view, MODEL, "champion")
    assert opened is not None
    assert reconcile(world.desk(), world.live, opened, onward=True).ending == "finished"
    assert world.champion == "2"
    world.consistent()


def test_a_slow_process_whose_intent_was_ended_by_another_moves_nothing(world: World) -> None:
    world.judge("2")
    slow = world.desk()
    opened = slow.write(Kind.INTENT, SUBJECT, world.intent(world.plan("2").plan(), world.desk()))
    assert reconcile(world.desk("ops"), world.live, opened).ending == "abandoned"
    world.promoted("3")
    refused(world, lambda: finish(slow, world.live, opened), ExitCode.CONFLICT, "is not open")
    assert world.champion == "3"


def test_an_alias_at_a_third_version_is_not_reconciled_by_guessing(world: World) -> None:
    world.judge("2")
    opened = world.desk().write(Kind.INTENT, SUBJECT, world.intent(world.plan("2").plan(), world.desk()))
    world.live.aliases[MODEL, "champion"] = "7"
    with pytest.raises(IntegrityError, match="names version 7"):
        reconcile(world.desk(), world.live, opened)
    assert world.champion == "7"
    assert reconcile(world.desk(), world.live, opened, onward=True).ending == "finished"
    world.consistent()


def test_an_alias_moved_from_outside_is_put_back_in_one_more_generation_of_the_same_version(world: World) -> None:
    world.promoted("2")
    assert list(strays(world.desk(), world.live)) == []
    world.judge("3")
    waiting = world.plan("3")
    world.live.aliases[MODEL, "champion"] = "7"
    (stray,) = strays(world.desk(), world.live)
    assert (stray.moved.version, stray.live) == ("2", "7")
    with pytest.raises(UsageError, match="needs a reason"):
        put_back(world.desk(), world.live, stray, " ")
    sealed = put_back(world.desk("ops"), world.live, stray, "moved in the database")
    assert (sealed.entry.kind, world.champion) == (Kind.APPLIED, "2")
    assert world.desk().alias(SUBJECT).at.generation == 3
    world.consistent()
    with pytest.raises(ConflictError, match="expected at generation 2"):
        world.apply(waiting)  # who planned on what was moved looks again
    refused(world, lambda: put_back(world.desk(), world.live, stray, "twice"), ExitCode.CONFLICT, "was expected at")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"version": "1", "digest": bytes_of("1")}, ExitCode.CONFLICT),
        ({"digest": digest("other")}, ExitCode.INTEGRITY),
        ({"generation": 2}, ExitCode.CONFLICT),
        ({"plan": digest("plan")}, ExitCode.INTEGRITY),
        ({"waiver": digest("waiver")}, ExitCode.INTEGRITY),
    ],
)
def test_nothing_is_restored_but_what_stands_in_the_ledger(
    world: World, changes: dict[str, Any], code: ExitCode
) -> None:
    world.promoted("2")
    wrong = back(3, "2", "2", action="restore").model_copy(update=changes)
    refused(world, lambda: carry_out(world.desk(), world.live, wrong), code)


def test_a_restoring_process_that_died_is_carried_onward(world: World) -> None:
    world.promoted("2")
    world.live.aliases[MODEL, "champion"] = "7"
    opened = world.desk().write(Kind.INTENT, SUBJECT, back(3, "2", "2", action="restore"))
    assert list(strays(world.desk(), world.live)) == []  # the open intent is ended first
    with pytest.raises(IntegrityError, match="names version 7"):
        reconcile(world.desk(), world.live, opened)
    assert reconcile(world.desk(), world.live, opened, onward=True).ending == "finished"
    assert world.champion == "2"
    world.consistent()


def edited(file: Any, **changes: Any) -> Any:
    """The plan changed by who cannot sign for its requester: signatures as they were."""
    return plan_file(file.plan().model_copy(update=changes), file.signatures)


@pytest.mark.parametrize(
    "changes",
    [{"version": "3"}, {"digest": bytes_of("3")}, {"approvals": 0}, {"expires": "2027-01-01T00:00:00.000000Z"}],
    ids=["version", "digest", "approvals", "expiry"],
)
def test_an_edited_plan_is_refused(world: World, changes: dict[str, Any]) -> None:
    world.judge("2", approvals=1)
    file = world.plan("2")
    refused(
        world, lambda: require_signatures(edited(file, **changes), world.desk().walk.keyring), ExitCode.INTEGRITY
    )
    refused(
        world, lambda: approve(world.desk("bob"), edited(file, **changes)), ExitCode.INTEGRITY, "was changed after"
    )


def test_every_byte_of_the_plan_in_its_file_counts(world: World, tmp_path: Path) -> None:
    world.judge("2")
    write_plan(tmp_path / "plan.json", world.plan("2"))
    keyring = world.desk().walk.keyring
    whole = read_plan(tmp_path / "plan.json")
    payload = plan_bytes(whole.plan())
    from rsa_ops.governance.entry import to_base64

    for place in range(0, len(payload), 7):
        changed = payload[:place] + bytes([payload[place] ^ 1]) + payload[place + 1 :]
        with pytest.raises(IntegrityError):
            require_signatures(whole.model_copy(update={"payload": to_base64(changed)}), keyring)


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "\x00", '{"payload": "e30=", "payloadType": "x", "signatures": []}']
)
def test_what_is_no_plan_is_refused_as_such(tmp_path: Path, text: str) -> None:
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(IntegrityError, match="is no plan"):
        read_plan(tmp_path / "plan.json")
    with pytest.raises(MissingError):
        read_plan(tmp_path / "other.json")
    with pytest.raises(UsageError):
        read_plan(tmp_path)


def test_a_plan_of_another_ledger_is_unknown(world: World, tmp_path: Path) -> None:
    other = begin(tmp_path / "elsewhere")
    other.judge("2")
    strange = other.plan("2")
    refused(world, lambda: approve(world.desk("bob"), strange), ExitCode.MISSING, "does not know")
    mine = world.judge("2") and world.plan("2").plan()
    unfiled = mine.model_copy(update={"nonce": "f" * 32})
    file = plan_file(unfiled, (sign_plan(unfiled, world.keys["ci"]),))
    refused(world, lambda: world.desk().filed(file.plan()), ExitCode.MISSING, "not in the ledger")
    refused(world, lambda: world.apply(file), ExitCode.MISSING, "not in this ledger")


def test_securesystemslib_verifies_the_file_with_a_threshold(world: World, tmp_path: Path) -> None:
    dsse = pytest.importorskip("securesystemslib.dsse")
    import json

    from cryptography.hazmat.primitives.serialization import load_der_public_key
    from securesystemslib.exceptions import VerificationError
    from securesystemslib.signer import SSlibKey

    from rsa_ops.governance.entry import from_base64

    world.judge("2", approvals=2)
    file = approve(world.desk("bob"), world.plan("2"))
    write_plan(tmp_path / "plan.json", approve(world.desk("eve"), file))
    envelope = dsse.Envelope.from_dict(json.loads((tmp_path / "plan.json").read_text()))
    publics = [world.keys[name].public for name in ("ci", "bob", "eve", "ops")]
    keys = [
        SSlibKey.from_crypto(load_der_public_key(from_base64(half.public_key)), keyid=half.key) for half in publics
    ]
    assert set(envelope.verify(keys, 3)) == {half.key for half in publics[:3]}
    with pytest.raises(VerificationError):
        envelope.verify(keys, 4)
    envelope.payload = envelope.payload.replace(b'"version":"2"', b'"version":"3"')
    with pytest.raises(VerificationError):
        envelope.verify(keys, 1)


def test_a_promotion_stops_at_a_ledger_that_does_not_verify(world: World) -> None:
    world.judge("2")
    file = world.plan("2")
    desk = world.desk()
    intent = world.intent(file.plan(), desk)
    with world.ledger.engine.connect().execution_options(rsa_ops_writing=True) as connection, connection.begin():
        connection.exec_driver_sql("DROP TRIGGER rsa_ops_ledger_update")
        connection.exec_driver_sql(
            "UPDATE rsa_ops_ledger SET body = replace(body, 'run1', 'run7') WHERE sequence = 5"
        )
    with pytest.raises(IntegrityError, match="does not verify: entry"):
        world.desk()
    carry_out(desk, world.live, intent)  # verified before the edit, and built on what was verified
    assert world.champion == "2"


def test_a_ledger_that_may_only_be_read_refuses_and_nothing_moves(world: World) -> None:
    world.judge("2")
    file = world.plan("2")
    readable = replace(open_ledger(str(world.folder / "ledger.db"), write=False), clock=world.clock)
    desk = open_desk(Notary(readable, world.keys["ops"]))
    intent = world.intent(file.plan(), desk)
    refused(world, lambda: carry_out(desk, world.live, intent), ExitCode.USAGE, "may not be written")


def test_a_revoked_key_files_and_applies_nothing(world: World) -> None:
    world.judge("2")
    file = world.plan("2")
    world.revoke("ops")
    refused(world, lambda: world.apply(file, "ops"), ExitCode.INTEGRITY, "revoked")
    refused(world, lambda: world.plan("2", "ops"), ExitCode.INTEGRITY, "revoked")
    world.apply(file, "ci")
    assert world.champion == "2"


def test_a_clock_that_is_behind_applies_nothing(world: World) -> None:
    world.judge("2")
    file = world.plan("2")
    right = world.clock.now
    desk = world.desk()
    intent = world.intent(file.plan(), desk)
    world.clock.now = right - timedelta(minutes=10)
    for act in (lambda: world.apply(file), lambda: carry_out(desk, world.live, intent)):
        with pytest.raises(RsaOpsError, match="clock") as caught:
            act()
        assert caught.value.exit_code in (ExitCode.INTEGRITY, ExitCode.CONFLICT)
        assert world.champion == "1"
    world.clock.now = right
    world.apply(file)
    assert world.champion == "2"


def test_two_champions_of_one_generation_are_found_and_nothing_moves_on_them(world: World) -> None:
    """A program that asks nobody writes a second champion beside the first; the registry knows one alone."""
    world.judge("2")
    file = world.plan("2")
    second = PointerMoved(model=MODEL, alias="champion", version="2", digest=bytes_of("2"), generation=1)
    Notary(world.ledger, world.keys["ops"]).write(Kind.APPLIED, SUBJECT, second)
    bad = world.verify().first_bad
    assert bad is not None
    assert (bad.flaw, bad.sequence) == (Flaw.WRONG_ORDER, world.verify().walk.entries)
    with pytest.raises(IntegrityError, match="does not verify"):
        world.apply(file)
    assert world.champion == "1"


WRONG: dict[str, Callable[[World, Plan, Intent], tuple[Kind, Any, str]]] = {
    "an intent on an expired plan": lambda w, p, i: (Kind.INTENT, later(w, i), "ci"),
    "an intent without a plan": lambda w, p, i: (Kind.INTENT, i.model_copy(update={"plan": None}), "ci"),
    "an intent of another version": lambda w, p, i: (Kind.INTENT, i.model_copy(update={"version": "9"}), "ci"),
    "an intent that skips one": lambda w, p, i: (Kind.INTENT, i.model_copy(update={"generation": 3}), "ci"),
    "a move without an intent": lambda w, p, i: (Kind.APPLIED, moved(p, None), "ci"),
    "a move by an unknown intent": lambda w, p, i: (Kind.APPLIED, moved(p, digest("x")), "ci"),
    "an end of what is not open": lambda w, p, i: (Kind.ABANDONED, Abandoned(intent=digest("x"), reason="x"), "ci"),
    "the requester's approval": lambda w, p, i: (Kind.APPROVAL, approval(p, w, "admin"), "admin"),
    "an approval of an unknown plan": lambda w, p, i: (
        Kind.APPROVAL, approval(p.model_copy(update={"nonce": "f" * 32}), w, "bob"), "bob"
    ),
    "another key's signature": lambda w, p, i: (Kind.APPROVAL, approval(p, w, "eve"), "bob"),
    "a plan in another's name": lambda w, p, i: (Kind.PLAN, p.model_copy(update={"nonce": "f" * 32}), "ci"),
    "a plan twice": lambda w, p, i: (Kind.PLAN, p, "admin"),
    "a plan about bytes that nobody judged": lambda w, p, i: (
        Kind.PLAN, p.model_copy(update={"digest": digest("x"), "nonce": "f" * 32}), "admin"
    ),
    "a plan with too few approvals": lambda w, p, i: (
        Kind.PLAN, p.model_copy(update={"approvals": 0, "nonce": "f" * 32}), "admin"
    ),
    "a plan on papers that are not there": lambda w, p, i: (
        Kind.PLAN, p.model_copy(update={"papers": digest("x"), "nonce": "f" * 32}), "admin"
    ),
}  # fmt: skip


def later(world: World, intent: Intent) -> Intent:
    world.clock.now += 30 * DAY
    return intent


def moved(plan: Plan, intent: str | None) -> PointerMoved:
    about = {"model": plan.model, "alias": plan.alias, "version": plan.version, "digest": plan.digest}
    return PointerMoved(**about, generation=2, intent=intent)


def approval(plan: Plan, world: World, signer: str) -> Approval:
    return Approval(plan=plan_digest(plan), signature=sign_plan(plan, world.keys[signer]).sig)


@pytest.mark.parametrize("name", WRONG)
def test_what_apply_would_refuse_is_found_where_a_program_wrote_it_all_the_same(world: World, name: str) -> None:
    world.judge("2", approvals=1)
    plan = world.plan("2", "admin").plan()
    approve(world.desk("bob"), plan_file(plan, (sign_plan(plan, world.keys["admin"]),)))
    intent = world.intent(plan, world.desk())
    kind, payload, who = WRONG[name](world, plan, intent)
    with pytest.raises(RsaOpsError) as caught:
        world.desk(who).write(kind, SUBJECT, payload)
    made = world.ledger.append(Draft.of(kind, SUBJECT, payload), world.keys[who])  # as another program would
    bad = world.verify().first_bad
    assert bad is not None
    assert (bad.flaw, bad.sequence) == (Flaw.WRONG_ORDER, made.entry.sequence)
    assert bad.reason == caught.value.message


def test_a_move_of_an_alias_without_an_intent_is_told_in_a_ledger_that_never_had_one(tmp_path: Path) -> None:
    world = begin(tmp_path)
    plan = PointerMoved(model=MODEL, alias="champion", version="1", digest=bytes_of("1"), generation=1)
    made = world.ledger.append(Draft.of(Kind.APPLIED, SUBJECT, plan), world.keys["ci"])
    assert [note.sequence for note in chain_notes(world.verify())] == [made.entry.sequence]


@pytest.mark.parametrize(("text", "seconds"), [("30m", 1800), ("12h", 43200), ("7d", 604800)])
def test_a_time_to_last_is_minutes_hours_or_days(text: str, seconds: int) -> None:
    assert duration(text).total_seconds() == seconds


@pytest.mark.parametrize("text", ["", "7", "0d", "-1d", "7w", "400d", "1.5h", "7d "])
def test_other_times_to_last_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        duration(text)
