"""What must come before what; and what is in order and still told."""

from __future__ import annotations

from typing import Any

import pytest

from rsa_ops.core.registry import LiveVersion, RegistryReading
from rsa_ops.core.verdict import Outcome
from rsa_ops.governance.audit import chain_notes
from rsa_ops.governance.entry import Kind
from rsa_ops.governance.finding import Flaw
from rsa_ops.governance.mirror import disagreements

from .conftest import MODEL, Kit, digest


def found(kit: Kit) -> tuple[Flaw, int] | None:
    bad = kit.verify().first_bad
    return None if bad is None else (bad.flaw, bad.sequence)


def test_a_verdict_without_a_lock_is_found(kit: Kit) -> None:
    with kit.ledger.view() as view:
        plan = next(view.find((Kind.PLAN,)))
    kit.verdict(plan, run="run9")
    assert found(kit) == (Flaw.WRONG_ORDER, 12)


def test_a_verdict_on_the_lock_of_another_run_is_found(kit: Kit) -> None:
    kit.verdict(kit.lock("run3"), run="run1")
    assert found(kit) == (Flaw.WRONG_ORDER, 13)


def test_a_lock_that_was_written_again_after_the_scores_does_not_count(kit: Kit) -> None:
    kit.lock("run3", policy="strict")
    easier = kit.lock("run3", policy="easier")
    kit.verdict(easier, run="run3", policy="easier")
    assert found(kit) == (Flaw.WRONG_ORDER, 14)


@pytest.mark.parametrize(
    "change",
    [{"policy_digest": digest("another")}, {"test_digest": digest("another")}, {"pipeline": "another"}],
    ids=["policy", "test set", "pipeline"],
)
@pytest.mark.parametrize("outcome", [Outcome.PROMOTE, Outcome.REJECT, Outcome.INCONCLUSIVE])
def test_a_verdict_by_another_policy_or_test_set_than_the_locked_ones_is_found(
    kit: Kit, change: dict[str, Any], outcome: Outcome
) -> None:
    kit.verdict(kit.lock("run3"), run="run3", outcome=outcome, **change)
    assert found(kit) == (Flaw.WRONG_ORDER, 13)


@pytest.mark.parametrize("judged", [digest("another"), None], ids=["another", "none"])
def test_a_verdict_by_another_design_than_the_locked_one_is_found(kit: Kit, judged: str | None) -> None:
    kit.verdict(kit.lock("run3", design="design"), run="run3", design_digest=judged)
    assert found(kit) == (Flaw.WRONG_ORDER, 13)


def test_a_verdict_by_the_locked_design_is_in_order_and_so_is_one_on_a_lock_without_any(kit: Kit) -> None:
    kit.verdict(kit.lock("run3", design="design"), run="run3", design_digest=digest("design"))
    kit.verdict(kit.lock("run4"), run="run4", design_digest=digest("design"))
    assert found(kit) is None


def test_an_error_verdict_may_be_about_just_that(kit: Kit) -> None:
    kit.verdict(kit.lock("run3"), run="run3", outcome=Outcome.ERROR, policy_digest=digest("another"))
    assert found(kit) is None


def test_a_promotion_on_a_test_set_that_another_policy_had_opened_is_told_and_a_rejection_is_not(kit: Kit) -> None:
    kit.lock("run3", policy="strict")
    kit.verdict(kit.lock("run4", policy="easier"), run="run4", policy="easier", outcome=Outcome.REJECT)
    assert kit.verify().walk.order.notes == []
    kit.verdict(kit.lock("run5", policy="easier"), run="run5", policy="easier")
    (note,) = kit.verify().walk.order.notes
    assert note.sequence == 16
    assert "entries 3, 12" in note.text  # `policy` since entry 3, `strict` since entry 12
    kit.verdict(
        kit.lock("run6", policy="easier", test="fresh"), run="run6", test_digest=digest("fresh"), policy="easier"
    )
    assert len(kit.verify().walk.order.notes) == 1


@pytest.mark.parametrize("generation", [1, 3, 5, 100])
def test_generations_of_an_alias_count_one_by_one(kit: Kit, generation: int) -> None:
    kit.move("3", generation)  # three moves stand there
    assert found(kit) == (Flaw.WRONG_ORDER, 12)


def test_a_version_keeps_its_digest(kit: Kit) -> None:
    kit.move("2", 4, bytes_="other bytes")
    assert found(kit) == (Flaw.BAD_PAYLOAD, 12)


def test_a_key_beside_the_ledger_is_told(kit: Kit, tmp_path: Any) -> None:
    from rsa_ops.governance.notary import open_notary

    notary = open_notary(str(tmp_path / "own" / "ledger.db"), None, lambda _: None)
    other = Kit(tmp_path / "own", notary.ledger, kit.clock)
    assert [note.sequence for note in chain_notes(other.verify(now=notary.ledger.clock()))] == [0]
    assert {note.sequence for note in chain_notes(kit.verify())} == {5, 8, 9}  # its moves have no intents


def reading(kit: Kit, **changes: str | None) -> RegistryReading:
    """What a registry says that mirrors the ledger, but for `alias`, `bytes1`, `bytes2`, `gone`."""
    versions = tuple(
        LiveVersion(model=MODEL, version=number, digest=changes.get(f"bytes{number}", digest(f"adapter {number}")))
        for number in ("1", "2", "3")
        if number != changes.get("gone")
    )
    alias = changes.get("alias", "1")
    aliases = {} if alias is None else {(MODEL, "champion"): alias}
    return RegistryReading(store="x", aliases={**aliases, (MODEL, "challenger"): "3"}, versions=versions)


def test_a_registry_that_mirrors_the_ledger_is_no_finding(kit: Kit) -> None:
    assert disagreements(kit.verify().walk.order, reading(kit)) == ()


@pytest.mark.parametrize(
    ("changes", "flaw", "sequence"),
    [
        ({"alias": "2"}, Flaw.ALIAS_MOVED, 9),  # the rollback to version 1 is entry 9
        ({"alias": None}, Flaw.ALIAS_MOVED, 9),
        ({"gone": "2"}, Flaw.VERSION_DELETED, 8),  # version 2 was named by entry 8
        ({"bytes1": digest("other")}, Flaw.BYTES_CHANGED, 5),
        ({"bytes2": None}, Flaw.BYTES_MISSING, 8),
    ],
)
def test_what_was_done_around_the_gate_is_found_with_the_entry_that_says_how_it_should_be(
    kit: Kit, changes: dict[str, str | None], flaw: Flaw, sequence: int
) -> None:
    (finding,) = disagreements(kit.verify().walk.order, reading(kit, **changes))
    assert (finding.flaw, finding.sequence) == (flaw, sequence)


def test_all_disagreements_are_told_in_the_order_of_the_ledger(kit: Kit) -> None:
    live = RegistryReading(store="x", aliases={}, versions=())
    told = [(finding.flaw, finding.sequence) for finding in disagreements(kit.verify().walk.order, live)]
    assert told == [(Flaw.VERSION_DELETED, 5), (Flaw.VERSION_DELETED, 8), (Flaw.ALIAS_MOVED, 9)]
