"""Laws of the decision: any harm rolls back at G / alpha, all safe ships at 1 / alpha, else nothing moves."""

import json
import math

import numpy as np
import pytest

from rsa_ops.errors import UsageError
from rsa_ops.stats import Action, Guardrail, RolloutDecision, decide_rollout


def rail(name: str, harm: float = 1.0, safe: float = 1.0) -> Guardrail:
    return Guardrail(name=name, log_e_harm=math.log(harm), log_e_safe=math.log(safe), guarantee="exact")


def action(*guardrails: Guardrail, mismatch: bool = False, **terms) -> Action:
    return decide_rollout(guardrails, mismatch=mismatch, **terms).action


def test_one_guardrail_needs_1_over_alpha_and_four_need_4_over_alpha() -> None:
    assert action(rail("a", harm=20)) is Action.ROLLBACK
    assert action(rail("a", harm=19.9)) is Action.CONTINUE
    others = rail("b"), rail("c"), rail("d")
    assert action(rail("a", harm=79.9), *others) is Action.CONTINUE
    assert action(rail("a", harm=80.1), *others) is Action.ROLLBACK
    assert action(rail("a", harm=399), *others, alpha=0.01) is Action.CONTINUE


def test_all_must_be_safe_to_ship_and_each_at_1_over_alpha_alone() -> None:
    assert action(rail("a", safe=20.1), rail("b", safe=21)) is Action.SHIP
    assert action(rail("a", safe=20.1), rail("b", safe=19)) is Action.CONTINUE


def test_a_mismatch_holds_unless_told_otherwise_and_never_ships() -> None:
    assert action(rail("a", safe=1e6), mismatch=True) is Action.HOLD
    assert action(rail("a"), mismatch=True, on_mismatch=Action.ROLLBACK) is Action.ROLLBACK
    assert action(rail("a", safe=1e6), mismatch=True, on_mismatch=Action.CONTINUE) is Action.CONTINUE


def test_harm_and_hard_stops_roll_back_whatever_else_is_said() -> None:
    assert action(rail("a", harm=1e3, safe=1e3), mismatch=True) is Action.ROLLBACK
    stopped = decide_rollout((rail("a", safe=1e6),), mismatch=False, hard_stops=("the schema is broken",))
    assert stopped.action is Action.ROLLBACK
    assert "schema is broken" in stopped.reason


def test_the_decision_says_why_and_survives_json() -> None:
    made = decide_rollout((rail("errors", harm=1e3), rail("latency", safe=50)), mismatch=False)
    assert (made.harmed, made.safe) == (("errors",), ("latency",))
    assert "errors" in made.reason
    assert RolloutDecision.from_json(made.to_json(), "decision.json") == made
    assert json.loads(made.to_json())["action"] == "rollback"


def test_for_dependent_guardrails_too_a_harmless_rollout_is_rarely_rolled_back() -> None:
    """The worst dependence: with probability alpha / G each, and never together, an e-value of G / alpha."""
    draws = np.random.default_rng(0).random(2000)
    rolled = [
        action(*(rail(str(g), harm=80 if g / 80 <= draw < (g + 1) / 80 else 1e-9) for g in range(4)))
        for draw in draws
    ]
    assert np.mean([each is Action.ROLLBACK for each in rolled]) == pytest.approx(0.05, abs=0.015)


@pytest.mark.parametrize(
    ("guardrails", "terms", "says"),
    [
        ((), {}, "expected at least one guardrail"),
        ((rail("a"), rail("a")), {}, "expected each guardrail once"),
        ((rail("a"),), {"alpha": 0.0}, "expected 0 < alpha < 1, found 0"),
        ((rail("a"),), {"alpha": math.nan}, "expected 0 < alpha < 1, found nan"),
        ((rail("a"),), {"on_mismatch": Action.SHIP}, "broken evidence ships nothing"),
    ],
)
def test_questions_without_an_answer_are_refused(guardrails, terms, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        decide_rollout(guardrails, mismatch=False, **terms)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_evidence_that_is_no_number_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        Guardrail(name="a", log_e_harm=value, log_e_safe=0.0, guarantee="exact")
