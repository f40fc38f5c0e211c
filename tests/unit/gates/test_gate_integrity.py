"""Every way that evidence can be broken or incomplete ends in ERROR with the right exit code."""

from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rsa_ops.core.comparison import SliceScore
from rsa_ops.core.estimate import Answer
from rsa_ops.core.verdict import Evidence, Outcome
from rsa_ops.errors import ExitCode
from rsa_ops.gates import Policy, decide


def change(evidence: Evidence, **changes: object) -> Evidence:
    return evidence.model_copy(update=changes)


def recompare(evidence: Evidence, **changes: object) -> Evidence:
    return change(evidence, comparison=evidence.comparison.model_copy(update=changes))


def rearm(evidence: Evidence, index: int, **changes: object) -> Evidence:
    arms = list(evidence.comparison.arms)
    arms[index] = arms[index].model_copy(update=changes)
    return recompare(evidence, arms=tuple(arms))


def recontrast(evidence: Evidence, index: int, **changes: object) -> Evidence:
    """Change the result of one contrast."""
    contrasts = list(evidence.comparison.contrasts)
    result = contrasts[index].result.model_copy(update=changes)
    contrasts[index] = contrasts[index].model_copy(update={"result": result})
    return recompare(evidence, contrasts=tuple(contrasts))


def errs(policy: Policy, evidence: Evidence, code: ExitCode, says: str) -> None:
    verdict = decide(policy, evidence)
    assert verdict.outcome is Outcome.ERROR, verdict.sentence
    assert verdict.exit_code is code, verdict.sentence
    assert says in verdict.sentence


def test_candidate_and_champion_may_not_be_the_same(policy: Policy, evidence: Evidence) -> None:
    same = change(evidence, champion_digest=evidence.candidate_digest)
    errs(policy, same, ExitCode.INTEGRITY, "the same artifact")


def test_without_a_champion_the_first_candidate_may_be_promoted(policy: Policy, evidence: Evidence) -> None:
    assert decide(policy, change(evidence, champion_digest=None)).outcome is Outcome.PROMOTE


def test_the_candidate_must_be_what_was_compared(policy: Policy, evidence: Evidence, kit: SimpleNamespace) -> None:
    unseen = change(evidence, candidate_digest=kit.sha("unseen", 1))
    errs(policy, unseen, ExitCode.INTEGRITY, "other artifacts")


def test_another_test_set_is_refused(policy: Policy, evidence: Evidence, kit: SimpleNamespace) -> None:
    errs(policy, change(evidence, test_digest=kit.other), ExitCode.INTEGRITY, "another test set")


def test_a_policy_changed_after_the_lock_is_refused(
    policy: Policy, evidence: Evidence, kit: SimpleNamespace
) -> None:
    assert decide(policy, change(evidence, locked_policy_digest=policy.digest())).outcome is Outcome.PROMOTE
    changed = change(evidence, locked_policy_digest=kit.other)
    errs(policy, changed, ExitCode.INTEGRITY, "changed after it was locked")


def test_the_policy_must_be_about_this_candidate(policy: Policy, evidence: Evidence) -> None:
    other = policy.model_copy(update={"candidate": "shira"})
    errs(other, evidence, ExitCode.INTEGRITY, "about shira")


def test_an_empty_policy_built_in_code_is_an_error(policy: Policy, evidence: Evidence) -> None:
    errs(policy.model_copy(update={"rules": ()}), evidence, ExitCode.MISSING, "rule of the policy is missing")


def test_one_artifact_may_not_stand_in_two_places(policy: Policy, evidence: Evidence, kit: SimpleNamespace) -> None:
    shared = rearm(evidence, 1, artifact_digests=(kit.sha("rsa", 1), kit.sha("full", 2), kit.sha("full", 3)))
    errs(policy, shared, ExitCode.INTEGRITY, "stands for rsa and full")
    twice = rearm(evidence, 0, artifact_digests=(kit.sha("rsa", 1), kit.sha("rsa", 1), kit.sha("rsa", 3)))
    errs(policy, twice, ExitCode.INTEGRITY, "two seeds of rsa")


def test_seeds_and_artifacts_must_match(policy: Policy, evidence: Evidence) -> None:
    errs(policy, rearm(evidence, 1, artifact_digests=()), ExitCode.INTEGRITY, "do not match one to one")
    errs(policy, rearm(evidence, 1, seeds=(1, 1, 2)), ExitCode.INTEGRITY, "do not match one to one")


def test_a_seed_that_was_not_compared_is_a_partial_grid(
    policy: Policy, evidence: Evidence, kit: SimpleNamespace
) -> None:
    extra = (*evidence.measurements, kit.measured("rsa", 4))
    errs(policy, change(evidence, measurements=extra), ExitCode.INTEGRITY, "left out of the comparison")
    fewer = evidence.comparison.contrasts[0].result.difference.model_copy(update={"seeds": 2})  # type: ignore[union-attr]
    errs(policy, recontrast(evidence, 0, difference=fewer), ExitCode.INTEGRITY, "not all 3 seeds")


def test_part_of_the_test_set_is_refused(policy: Policy, evidence: Evidence) -> None:
    fewer = evidence.comparison.contrasts[0].result.difference.model_copy(update={"examples": 899})  # type: ignore[union-attr]
    errs(policy, recontrast(evidence, 0, difference=fewer), ExitCode.INTEGRITY, "only part of the 900")


def test_a_cell_measured_twice_or_another_artifact_measured_is_refused(policy: Policy, evidence: Evidence) -> None:
    first = evidence.measurements[0]
    twice = change(evidence, measurements=(first, *evidence.measurements))
    errs(policy, twice, ExitCode.INTEGRITY, "measured twice")
    other = first.model_copy(update={"artifact_digest": evidence.test_digest})
    exchanged = change(evidence, measurements=(other, *evidence.measurements[1:]))
    errs(policy, exchanged, ExitCode.INTEGRITY, "not the one that was compared")


@pytest.mark.parametrize(("field", "value"), [("margin", 0.03), ("alpha", 0.1)])
def test_a_comparison_at_other_terms_than_the_policys_is_refused(
    policy: Policy, evidence: Evidence, field: str, value: float
) -> None:
    errs(policy, recontrast(evidence, 0, **{field: value}), ExitCode.INTEGRITY, "compare again")


def test_an_answer_that_its_interval_does_not_give_is_refused(policy: Policy, evidence: Evidence) -> None:
    claimed = recontrast(evidence, 0, answer=Answer.SUPERIOR)
    errs(policy, claimed, ExitCode.INTEGRITY, "does not say superior")
    errs(policy, recontrast(evidence, 0, difference=None), ExitCode.INTEGRITY, "does not say non-inferior")


def test_a_question_answered_twice_is_refused(policy: Policy, evidence: Evidence) -> None:
    doubled = (*evidence.comparison.contrasts, evidence.comparison.contrasts[0])
    errs(policy, recompare(evidence, contrasts=doubled), ExitCode.INTEGRITY, "answered twice")


def test_an_interval_too_narrow_for_alpha_is_refused(
    policy: Policy, evidence: Evidence, kit: SimpleNamespace
) -> None:
    narrow = {"accuracy": kit.estimate(0.84, 0.83, 0.85, confidence=0.5)}
    errs(policy, rearm(evidence, 0, metrics=narrow), ExitCode.INTEGRITY, "90 % or more")


def test_the_candidate_may_not_be_its_own_baseline(policy: Policy, evidence: Evidence) -> None:
    errs(policy, recompare(evidence, baselines=("rsa", "full")), ExitCode.INTEGRITY, "its own baseline")


def test_a_missing_arm_metric_slice_measurement_or_cost_is_exit_8(policy: Policy, evidence: Evidence) -> None:
    comparison = evidence.comparison
    missing = [
        recompare(evidence, arms=comparison.arms[:2]),
        recompare(evidence, baselines=()),
        recompare(evidence, contrasts=comparison.contrasts[1:]),
        recompare(evidence, contrasts=comparison.contrasts[:-1]),
        rearm(evidence, 0, metrics={}),
        rearm(evidence, 0, robustness={}),
        rearm(evidence, 0, slices=()),
        rearm(evidence, 1, slices=()),
        change(evidence, measurements=()),
        change(evidence, measurements=evidence.measurements[:-1]),
        change(evidence, tco=None),
    ]
    for piece in missing:
        errs(policy, piece, ExitCode.MISSING, "missing")


def test_what_is_broken_is_told_before_what_is_missing(policy: Policy, evidence: Evidence) -> None:
    both = change(evidence, tco=None, champion_digest=evidence.candidate_digest)
    errs(policy, both, ExitCode.INTEGRITY, "the same artifact")


def removals(evidence: Evidence) -> list[Evidence]:
    """The evidence with each single piece taken away, one at a time."""
    comparison = evidence.comparison
    out = [change(evidence, tco=None)]
    out += [
        change(evidence, measurements=_without(evidence.measurements, k)) for k in range(len(evidence.measurements))
    ]
    for field in ("arms", "baselines", "contrasts"):
        pieces = getattr(comparison, field)
        out += [recompare(evidence, **{field: _without(pieces, k)}) for k in range(len(pieces))]
    for index, arm in enumerate(comparison.arms):
        for field in ("seeds", "artifact_digests", "slices"):
            pieces = getattr(arm, field)
            out += [rearm(evidence, index, **{field: _without(pieces, k)}) for k in range(len(pieces))]
        for field in ("metrics", "robustness"):
            table = getattr(arm, field)
            out += [
                rearm(evidence, index, **{field: {k: v for k, v in table.items() if k != key}}) for key in table
            ]
    for index, contrast in enumerate(comparison.contrasts):
        if contrast.result.difference is not None:
            out.append(recontrast(evidence, index, difference=None))
    return out


def _without(pieces: tuple[object, ...], index: int) -> tuple[object, ...]:
    return (*pieces[:index], *pieces[index + 1 :])


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_taking_evidence_away_never_promotes(kit: SimpleNamespace, data: st.DataObject) -> None:
    evidence = kit.evidence()
    answers = st.sampled_from([*Answer])
    contrasts = tuple(
        kit.contrast(data.draw(answers), baseline=c.baseline, population=c.population)
        for c in evidence.comparison.contrasts
    )
    low = data.draw(st.floats(0.3, 0.8))
    slices = tuple(
        SliceScore(slice=s.slice, assessable=s.assessable, score=kit.estimate(0.8, low, 0.85))
        for s in evidence.comparison.arms[0].slices
    )
    evidence = rearm(recompare(evidence, contrasts=contrasts), 0, slices=slices)
    slow = data.draw(st.sampled_from([1.0, 100.0]))
    times = tuple(kit.measured(m.cell.arm, m.cell.seed, wall_seconds=slow) for m in evidence.measurements)
    evidence = change(evidence, measurements=times)
    rules = data.draw(st.lists(st.sampled_from(kit.all_rules), min_size=1, max_size=4, unique=True))
    policy = kit.policy(*rules)
    if decide(policy, evidence).outcome is Outcome.PROMOTE:
        return
    for less in removals(evidence):
        assert decide(policy, less).outcome is not Outcome.PROMOTE
