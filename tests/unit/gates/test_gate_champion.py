"""The candidate against the champion in production: an artifact against an artifact."""

from types import SimpleNamespace

import pytest
from pydantic import ValidationError

from rsa_ops.core.estimate import Answer
from rsa_ops.core.verdict import Evidence, Outcome
from rsa_ops.errors import ExitCode
from rsa_ops.gates import decide
from rsa_ops.gates.policy import CHAMPION, ChampionRule, NonInferiorityRule

RULE = ChampionRule(kind="champion", metric="accuracy", margin=0.02)
FULL = NonInferiorityRule(kind="noninferiority", metric="accuracy", against="full", margin=0.02)


def against_champion(evidence: Evidence, kit: SimpleNamespace, answer: Answer, *, margin: float = 0.02) -> Evidence:
    made = kit.contrast(answer, baseline=CHAMPION, margin=margin)
    contrasts = (*evidence.comparison.contrasts, made)
    return evidence.model_copy(
        update={"comparison": evidence.comparison.model_copy(update={"contrasts": contrasts})}
    )


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (Answer.SUPERIOR, Outcome.PROMOTE),
        (Answer.NON_INFERIOR, Outcome.PROMOTE),
        (Answer.INCONCLUSIVE, Outcome.INCONCLUSIVE),
        (Answer.INFERIOR, Outcome.REJECT),
        (Answer.INVALID, Outcome.ERROR),
    ],
)
def test_the_answer_against_the_champion_decides(
    answer: Answer, outcome: Outcome, evidence: Evidence, kit: SimpleNamespace
) -> None:
    verdict = decide(kit.policy(FULL, RULE), against_champion(evidence, kit, answer))
    assert verdict.outcome is outcome, verdict.sentence


def test_a_champion_that_was_not_compared_is_an_error_and_never_a_pass(
    evidence: Evidence, kit: SimpleNamespace
) -> None:
    verdict = decide(kit.policy(FULL, RULE), evidence)
    assert (verdict.outcome, verdict.exit_code) == (Outcome.ERROR, ExitCode.MISSING)


def test_a_first_version_has_no_champion_to_lose_against(evidence: Evidence, kit: SimpleNamespace) -> None:
    verdict = decide(kit.policy(FULL, RULE), evidence.model_copy(update={"champion_digest": None}))
    assert verdict.outcome is Outcome.PROMOTE
    assert "no champion yet" in verdict.rulings[1].observed


def test_a_candidate_that_is_the_champion_is_an_error(evidence: Evidence, kit: SimpleNamespace) -> None:
    same = evidence.model_copy(update={"champion_digest": evidence.candidate_digest})
    verdict = decide(kit.policy(FULL), same)
    assert (verdict.outcome, verdict.exit_code) == (Outcome.ERROR, ExitCode.INTEGRITY)


def test_a_contrast_at_another_margin_than_the_policy_asks_for_is_refused(
    evidence: Evidence, kit: SimpleNamespace
) -> None:
    wider = against_champion(evidence, kit, Answer.NON_INFERIOR, margin=0.2)
    verdict = decide(kit.policy(FULL, RULE), wider)
    assert (verdict.outcome, verdict.exit_code) == (Outcome.ERROR, ExitCode.INTEGRITY)


def test_no_arm_may_be_called_champion(kit: SimpleNamespace) -> None:
    with pytest.raises(ValidationError, match="is no arm"):
        kit.policy(NonInferiorityRule(kind="noninferiority", metric="accuracy", against=CHAMPION, margin=0.02))


def test_a_policy_names_the_arms_it_needs(kit: SimpleNamespace) -> None:
    assert kit.policy(FULL, RULE).arms == ("full",)
    assert kit.policy(FULL, RULE).champion_rules == (RULE,)
