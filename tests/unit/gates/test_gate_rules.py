"""The truth table: each kind of rule, each outcome, and how they join into one verdict."""

from types import SimpleNamespace

import pytest

from rsa_ops.core.estimate import Answer
from rsa_ops.core.verdict import Evidence, Outcome, Verdict
from rsa_ops.errors import ExitCode
from rsa_ops.gates import Policy, decide
from rsa_ops.gates.policy import (
    CostRule,
    FloorRule,
    MeasuredRule,
    NonInferiorityRule,
    RobustnessRule,
    SlicesRule,
    WorstSliceRule,
)

FULL = NonInferiorityRule(kind="noninferiority", metric="accuracy", against="full", margin=0.02)
BETTER = FULL.model_copy(update={"require": "superior"})
SLICES = SlicesRule(kind="slices", metric="accuracy", against="full", margin=0.05, min_assessable=2)


def with_(evidence: Evidence, **changes: object) -> Evidence:
    return evidence.model_copy(update={"comparison": evidence.comparison.model_copy(update=changes)})


def with_candidate(evidence: Evidence, **changes: object) -> Evidence:
    first, *others = evidence.comparison.arms
    return with_(evidence, arms=(first.model_copy(update=changes), *others))


def with_contrast(evidence: Evidence, new: object) -> Evidence:
    kept = tuple(
        c
        for c in evidence.comparison.contrasts
        if (c.metric, c.baseline, c.population) != (new.metric, new.baseline, new.population)  # type: ignore[attr-defined]
    )
    return with_(evidence, contrasts=(new, *kept))


def test_evidence_that_satisfies_every_rule_promotes(policy: Policy, evidence: Evidence) -> None:
    verdict = decide(policy, evidence)
    assert verdict.outcome is Outcome.PROMOTE, verdict.sentence
    assert verdict.exit_code is ExitCode.DONE
    assert len(verdict.rulings) == len(policy.rules)
    assert verdict.policy_digest == policy.digest()
    assert verdict.sentence == (
        "PROMOTE: rsa is not worse than full by more than 0.020 accuracy (difference +0.004, 90 % interval -0.006 "
        "to +0.014, 3 seeds x 900 examples); all 11 rules hold."
    )


@pytest.mark.parametrize(
    ("rule", "answer", "outcome"),
    [
        (FULL, Answer.SUPERIOR, Outcome.PROMOTE),
        (FULL, Answer.NON_INFERIOR, Outcome.PROMOTE),
        (FULL, Answer.INFERIOR, Outcome.REJECT),
        (FULL, Answer.INCONCLUSIVE, Outcome.INCONCLUSIVE),
        (FULL, Answer.INVALID, Outcome.ERROR),
        (BETTER, Answer.SUPERIOR, Outcome.PROMOTE),
        (BETTER, Answer.NON_INFERIOR, Outcome.INCONCLUSIVE),
        (BETTER, Answer.INFERIOR, Outcome.REJECT),
        (BETTER, Answer.INCONCLUSIVE, Outcome.INCONCLUSIVE),
        (BETTER, Answer.INVALID, Outcome.ERROR),
    ],
)
def test_noninferiority_follows_the_answer(
    kit: SimpleNamespace, rule: NonInferiorityRule, answer: Answer, outcome: Outcome
) -> None:
    verdict = decide(kit.policy(rule), with_contrast(kit.evidence(), kit.contrast(answer)))
    assert verdict.outcome is outcome, verdict.sentence


def test_an_inconclusive_verdict_says_what_would_decide(kit: SimpleNamespace) -> None:
    verdict = decide(kit.policy(FULL), with_contrast(kit.evidence(), kit.contrast(Answer.INCONCLUSIVE)))
    assert verdict.exit_code is ExitCode.INCONCLUSIVE
    assert verdict.sentence == (
        "INCONCLUSIVE: it is open whether rsa is not worse than full by more than 0.020 accuracy (difference "
        "-0.020, 90 % interval -0.070 to +0.030, 3 seeds x 900 examples); about 400 more test examples or 2 more "
        "seeds per arm would decide."
    )


@pytest.mark.parametrize(
    ("examples", "seeds", "says"),
    [
        (None, None, "no practical number of test examples or seeds would decide."),
        (None, 2, "no number of test examples would decide, but about 2 more seeds per arm would."),
        (1400, None, "about 1,400 more test examples would decide."),
        (None, 1, "about 1 more seed per arm would."),
    ],
)
def test_what_cannot_decide_is_not_promised(
    kit: SimpleNamespace, examples: int | None, seeds: int | None, says: str
) -> None:
    found = kit.contrast(Answer.INCONCLUSIVE)
    changed = found.result.model_copy(update={"more_examples": examples, "more_seeds": seeds})
    verdict = decide(kit.policy(FULL), with_contrast(kit.evidence(), found.model_copy(update={"result": changed})))
    assert verdict.sentence.endswith(says)


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (Answer.NON_INFERIOR, Outcome.PROMOTE),
        (Answer.INCONCLUSIVE, Outcome.PROMOTE),
        (Answer.INFERIOR, Outcome.REJECT),
        (Answer.INVALID, Outcome.ERROR),
    ],
)
def test_one_surely_harmed_slice_rejects(kit: SimpleNamespace, answer: Answer, outcome: Outcome) -> None:
    changed = with_contrast(kit.evidence(), kit.contrast(answer, population="vector=xss"))
    verdict = decide(kit.policy(SLICES), changed)
    assert verdict.outcome is outcome, verdict.sentence


def test_a_slice_that_looks_harmed_among_many_only_by_chance_stops_nothing(kit: SimpleNamespace) -> None:
    # Of two slices the worst must be surer than alpha / 2 (Holm): p of harm 0.04 is not, 0.02 is.
    found = kit.contrast(Answer.INFERIOR, population="vector=xss")
    for p_harm, outcome in ((0.04, Outcome.PROMOTE), (0.02, Outcome.REJECT)):
        result = found.result.model_copy(update={"p_noninferior": 1 - p_harm})
        changed = with_contrast(kit.evidence(), found.model_copy(update={"result": result}))
        verdict = decide(kit.policy(SLICES), changed)
        assert verdict.outcome is outcome, verdict.sentence


def test_what_decides_only_together_is_not_offered_as_a_choice(kit: SimpleNamespace) -> None:
    found = kit.contrast(Answer.INCONCLUSIVE)
    changed = {"more_examples": 900, "more_seeds": 2, "more_together": True}
    result = found.result.model_copy(update=changed)
    verdict = decide(kit.policy(FULL), with_contrast(kit.evidence(), found.model_copy(update={"result": result})))
    assert verdict.sentence.endswith(
        "neither more test examples nor more seeds alone would decide, "
        "but about 900 more test examples with 2 more seeds per arm would."
    )


def test_a_slice_too_small_is_reported_and_never_counted_as_passed(kit: SimpleNamespace) -> None:
    verdict = decide(kit.policy(SLICES), kit.evidence())
    assert "2 of 3 slices judged, 1 not assessable" in verdict.rulings[0].observed
    more = decide(kit.policy(SLICES.model_copy(update={"min_assessable": 3})), kit.evidence())
    assert more.outcome is Outcome.INCONCLUSIVE
    small = tuple(s.model_copy(update={"assessable": False}) for s in kit.arm("rsa").slices)
    none = decide(
        kit.policy(WorstSliceRule(kind="worst_slice", at_least=0.1)), with_candidate(kit.evidence(), slices=small)
    )
    assert none.outcome is Outcome.INCONCLUSIVE
    assert "not" in none.sentence or "none" in none.sentence


@pytest.mark.parametrize(
    ("at_least", "outcome"),
    [(0.81, Outcome.PROMOTE), (0.82, Outcome.INCONCLUSIVE), (0.87, Outcome.INCONCLUSIVE), (0.88, Outcome.REJECT)],
)
def test_a_floor_is_judged_by_the_ends_of_the_interval(
    kit: SimpleNamespace, at_least: float, outcome: Outcome
) -> None:
    rule = FloorRule(kind="floor", metric="accuracy", at_least=at_least)  # 0.84 (0.81 to 0.87)
    assert decide(kit.policy(rule), kit.evidence()).outcome is outcome


@pytest.mark.parametrize(
    ("at_least", "outcome"),
    [(0.75, Outcome.PROMOTE), (0.8, Outcome.INCONCLUSIVE), (0.9, Outcome.REJECT)],
)
def test_the_worst_slice_is_judged_by_the_ends_of_its_interval(
    kit: SimpleNamespace, at_least: float, outcome: Outcome
) -> None:
    rule = WorstSliceRule(kind="worst_slice", at_least=at_least)  # 0.80 (0.75 to 0.85)
    assert decide(kit.policy(rule), kit.evidence()).outcome is outcome


@pytest.mark.parametrize(
    ("max_drop", "outcome"),
    [(0.05, Outcome.PROMOTE), (0.02, Outcome.INCONCLUSIVE), (0.0, Outcome.INCONCLUSIVE)],
)
def test_a_drop_is_judged_by_the_interval_of_the_disturbed_score(
    kit: SimpleNamespace, max_drop: float, outcome: Outcome
) -> None:
    rule = RobustnessRule(kind="robustness", perturbation="typos", max_drop=max_drop)  # 0.84 -> 0.80 to 0.84
    assert decide(kit.policy(rule), kit.evidence()).outcome is outcome


def test_a_drop_that_is_surely_too_large_rejects(kit: SimpleNamespace) -> None:
    rule = RobustnessRule(kind="robustness", perturbation="typos", max_drop=0.05)
    changed = with_candidate(kit.evidence(), robustness={"typos": kit.estimate(0.6, 0.55, 0.65)})
    assert decide(kit.policy(rule), changed).outcome is Outcome.REJECT


@pytest.mark.parametrize("at_most", [0.24, 0.25, 0.26])
def test_a_measured_ratio_is_candidate_over_arm(kit: SimpleNamespace, at_most: float) -> None:
    rule = MeasuredRule(kind="measured", quantity="wall_seconds_ratio", at_most=at_most, against="full")  # 10 / 40
    expected = Outcome.PROMOTE if at_most >= 0.25 else Outcome.REJECT
    assert decide(kit.policy(rule), kit.evidence()).outcome is expected


@pytest.mark.parametrize("at_most", [0.29, 0.3, 0.31])
def test_cost_is_the_ratio_of_one_training(kit: SimpleNamespace, at_most: float) -> None:
    expected = Outcome.PROMOTE if at_most >= 0.3 else Outcome.REJECT  # 30 / 100 yen
    rule = CostRule(kind="cost", against="full", at_most=at_most)
    assert decide(kit.policy(rule), kit.evidence()).outcome is expected


def test_a_free_or_unmeasured_baseline_has_no_ratio(kit: SimpleNamespace) -> None:
    rule = CostRule(kind="cost", against="full", at_most=1)
    free = kit.evidence().model_copy(update={"tco": kit.tco(kit.yen(30), kit.yen(0))})
    assert decide(kit.policy(rule), free).outcome is Outcome.ERROR


def test_the_worst_outcome_wins(kit: SimpleNamespace) -> None:
    reject = FloorRule(kind="floor", metric="accuracy", at_least=0.99)
    open_ = FloorRule(kind="floor", metric="accuracy", at_least=0.85)
    error = FloorRule(kind="floor", metric="no_such", at_least=0.1)
    good = FloorRule(kind="floor", metric="accuracy", at_least=0.1)

    def outcome(*rules: FloorRule) -> Outcome:
        return decide(kit.policy(*rules), kit.evidence()).outcome

    assert outcome(good, open_) is Outcome.INCONCLUSIVE
    assert outcome(open_, reject, good) is Outcome.REJECT
    assert outcome(good, reject, error, open_) is Outcome.ERROR


def test_equal_arguments_give_equal_verdicts(policy: Policy, kit: SimpleNamespace) -> None:
    first, second = decide(policy, kit.evidence()), decide(policy, kit.evidence())
    assert first == second
    assert first.digest() == second.digest()
    assert Verdict.from_json(first.to_json(), "verdict.json") == first


@pytest.mark.parametrize("require", ["non-inferior", "superior"])
def test_a_ruling_says_how_many_groups_its_examples_come_in(
    kit: SimpleNamespace, evidence: Evidence, require: str
) -> None:
    rule, grouped = FULL.model_copy(update={"require": require}), with_(evidence, groups=120)
    observed = {
        groups: next(r.observed for r in decide(kit.policy(rule), found).rulings if r.rule.startswith("noninf"))
        for groups, found in ((120, grouped), (None, evidence))
    }
    assert observed[120].endswith("3 seeds x 900 examples in 120 groups")
    assert observed[None].endswith("3 seeds x 900 examples")
