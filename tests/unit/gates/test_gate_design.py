"""The design: derived from the policy, and every departure from it is an error with exit 6."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from rsa_ops.core.comparison import SliceScore
from rsa_ops.core.design import ComparisonDesign, DesignMargin, DesignSlice
from rsa_ops.core.verdict import Evidence, Outcome
from rsa_ops.errors import ExitCode
from rsa_ops.gates import Policy, decide
from rsa_ops.gates.design import departures, design_of
from rsa_ops.gates.policy import ChampionRule


def designed(policy: Policy, evidence: Evidence, **changes: object) -> ComparisonDesign:
    made = design_of(
        policy,
        primary_metric="accuracy",
        seeds=(1, 2, 3),
        examples=900,
        slices={"vector=xss": 200, "vector=sqli": 150, "vector=rare": 12},
        test_digest=evidence.test_digest,
    )
    return made.model_copy(update=changes)


def held(evidence: Evidence, design: ComparisonDesign | None, **changes: object) -> Evidence:
    """`evidence` whose comparison says that it keeps to `design`, locked as such."""
    digest = design.digest() if design is not None else None
    comparison = evidence.comparison.model_copy(update={"design_digest": digest, "look": 1})
    update = {"comparison": comparison, "design": design, "locked_design_digest": digest, **changes}
    return evidence.model_copy(update=update)


def refused(policy: Policy, evidence: Evidence, says: str, code: ExitCode = ExitCode.INTEGRITY) -> None:
    verdict = decide(policy, evidence)
    assert verdict.outcome is Outcome.ERROR
    assert verdict.exit_code is code
    assert says in " ".join(ruling.reason for ruling in verdict.rulings)


def test_a_comparison_by_its_design_is_judged(policy: Policy, evidence: Evidence) -> None:
    assert decide(policy, held(evidence, designed(policy, evidence))).outcome is Outcome.PROMOTE


def test_the_design_holds_every_margin_of_the_policy_and_its_level(
    policy: Policy, evidence: Evidence, kit: SimpleNamespace
) -> None:
    champion = ChampionRule(kind="champion", metric="accuracy", margin=0.03)
    made = designed(kit.policy(*kit.all_rules, champion), evidence)
    assert made.margins == (
        DesignMargin(metric="accuracy", against="full", margin=0.02),
        DesignMargin(metric="accuracy", against="lora", margin=0.02),
        DesignMargin(metric="accuracy", against="full", margin=0.05, on_slices=True),
        DesignMargin(metric="accuracy", against="champion", margin=0.03),
    )
    assert (made.alpha, made.looks, made.seeds) == (0.05, None, (1, 2, 3))
    assert made.slices[0] == DesignSlice(slice="vector=rare", examples=12)
    assert designed(policy.model_copy(update={"looks": 2}), evidence).alpha == 0.025


def test_equal_designs_have_one_digest_whatever_the_order_of_the_slices(policy: Policy, evidence: Evidence) -> None:
    terms = {"primary_metric": "accuracy", "seeds": (1,), "examples": 9, "test_digest": evidence.test_digest}
    one, other = (
        design_of(policy, slices=dict(pairs), **terms) for pairs in ([("a", 4), ("b", 5)], [("b", 5), ("a", 4)])
    )
    assert one.digest() == other.digest()
    assert one.digest() != designed(policy, evidence).digest()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"seeds": (1, 2, 3, 4)}, "the seeds of rsa are 1, 2, 3; the design says 1, 2, 3, 4"),
        ({"examples": 901}, "the number of test examples is 900; the design says 901"),
        ({"primary_metric": "macro_f1"}, "the primary metric is accuracy; the design says macro_f1"),
        ({"slices": ()}, "examples of the slice vector=rare; the design says 0"),
        ({"alpha": 0.025}, "alpha is 0.05; the design says 0.025"),
        ({"candidate": "lora"}, "the candidate is rsa; the design says lora"),
    ],
)
def test_another_comparison_than_the_designed_one_is_refused(
    policy: Policy, evidence: Evidence, changes: dict[str, object], says: str
) -> None:
    refused(policy, held(evidence, designed(policy, evidence, **changes)), says)


def test_another_margin_is_refused(policy: Policy, evidence: Evidence) -> None:
    design = designed(policy, evidence)
    wider = (design.margins[0].model_copy(update={"margin": 0.01}), *design.margins[1:])
    refused(
        policy, held(evidence, design.model_copy(update={"margins": wider})), "margin is 0.02; the design says 0.01"
    )


def test_a_question_that_was_not_designed_is_refused(policy: Policy, evidence: Evidence) -> None:
    design = designed(policy, evidence)
    fewer = held(evidence, design.model_copy(update={"margins": design.margins[:2]}))
    refused(policy, fewer, "accuracy on vector=xss, rsa against full: the design asks no such question")


def test_a_slice_of_another_size_is_refused(policy: Policy, evidence: Evidence, kit: SimpleNamespace) -> None:
    arms = list(evidence.comparison.arms)
    shrunk = SliceScore(slice="vector=xss", score=kit.estimate(0.8, 0.75, 0.85, n=120), assessable=True)
    arms[1] = arms[1].model_copy(update={"slices": (shrunk, *arms[1].slices[1:])})
    changed = held(evidence, designed(policy, evidence))
    changed = changed.model_copy(update={"comparison": changed.comparison.model_copy(update={"arms": tuple(arms)})})
    refused(policy, changed, "full was scored on 120 examples of the slice vector=xss; the design says 200")


def test_another_test_set_than_the_designed_one_is_refused(
    policy: Policy, evidence: Evidence, kit: SimpleNamespace
) -> None:
    refused(
        policy, held(evidence, designed(policy, evidence, test_digest=kit.other)), "another one than the design's"
    )


def test_a_policy_other_than_the_designs_is_refused(policy: Policy, evidence: Evidence) -> None:
    design = held(evidence, designed(policy, evidence))
    refused(policy.model_copy(update={"name": "other"}), design, "the design was made from")


def test_margins_that_are_not_the_policys_are_refused_also_under_its_digest(
    policy: Policy, evidence: Evidence
) -> None:
    forged = designed(policy, evidence, looks=4)
    refused(policy, held(evidence, forged), "are not those of the design")


def test_a_design_changed_after_the_lock_is_refused(
    policy: Policy, evidence: Evidence, kit: SimpleNamespace
) -> None:
    changed = held(evidence, designed(policy, evidence), locked_design_digest=kit.other)
    refused(policy, changed, "changed after it was locked")


def test_a_comparison_without_the_design_or_by_another_is_refused(
    policy: Policy, evidence: Evidence, kit: SimpleNamespace
) -> None:
    design = designed(policy, evidence)
    for digest in (None, kit.other):
        made = held(evidence, design)
        made = made.model_copy(update={"comparison": made.comparison.model_copy(update={"design_digest": digest})})
        refused(policy, made, "was not made by the design")


def test_a_lost_design_is_missing_and_not_waived(policy: Policy, evidence: Evidence) -> None:
    made = held(evidence, designed(policy, evidence))
    refused(
        policy,
        made.model_copy(update={"design": None}),
        "the design of the comparison is missing",
        ExitCode.MISSING,
    )


@pytest.mark.parametrize(("look", "kept"), [(1, True), (2, True), (3, False), (None, True)])
def test_more_looks_than_declared_are_a_departure(
    policy: Policy, evidence: Evidence, look: int | None, kept: bool
) -> None:
    twice = designed(policy, evidence, looks=2)
    found = departures(twice, evidence.comparison.model_copy(update={"look": look}))
    assert (found == ()) == kept
    unlimited = departures(designed(policy, evidence), evidence.comparison.model_copy(update={"look": look}))
    assert unlimited == ()


def test_every_departure_is_told_at_once(policy: Policy, evidence: Evidence) -> None:
    assert len(departures(designed(policy, evidence, examples=1, seeds=(9,)), evidence.comparison)) == 4
