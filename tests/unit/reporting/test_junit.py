"""A CI must never show green for a verdict that does not promote."""

import pytest
from junitparser import Error, Failure, JUnitXml

from rsa_ops.core.verdict import Outcome, Verdict
from rsa_ops.reporting import verdict_junit


def parsed(verdict: Verdict) -> JUnitXml:
    return JUnitXml.fromstring(verdict_junit(verdict).encode())


def test_one_case_per_ruling_with_the_right_counts(verdict: Verdict) -> None:
    suite = next(iter(parsed(verdict)))
    assert (suite.tests, suite.failures, suite.errors, suite.skipped) == (3, 1, 1, 0)
    assert [case.name for case in suite] == [ruling.rule for ruling in verdict.rulings]
    kinds = [[type(result) for result in case.result] for case in suite]
    assert kinds == [[], [Error], [Failure]]


def test_reasons_survive_the_markup(verdict: Verdict) -> None:
    worst = list(next(iter(parsed(verdict))))[-1]
    assert worst.result[0].message == verdict.rulings[-1].reason


@pytest.mark.parametrize("outcome", list(Outcome))
def test_no_rules_are_never_green(verdict: Verdict, outcome: Outcome) -> None:
    empty = verdict.model_copy(update={"rulings": (), "outcome": outcome})
    suite = next(iter(parsed(empty)))
    assert suite.tests == 1
    assert suite.failures + suite.errors == 1


def test_an_error_that_no_ruling_names_is_red(verdict: Verdict) -> None:
    broken = verdict.model_copy(update={"rulings": verdict.rulings[:1], "outcome": Outcome.ERROR})
    suite = next(iter(parsed(broken)))
    assert (suite.tests, suite.errors) == (2, 1)


def test_a_promotion_is_green(verdict: Verdict) -> None:
    good = verdict.model_copy(update={"rulings": verdict.rulings[:1], "outcome": Outcome.PROMOTE})
    suite = next(iter(parsed(good)))
    assert (suite.tests, suite.failures, suite.errors) == (1, 0, 0)


def test_characters_that_xml_cannot_carry_are_replaced(verdict: Verdict) -> None:
    ruling = verdict.rulings[0].model_copy(update={"reason": "a\x00b\x1b[31mc\ufffe", "outcome": Outcome.REJECT})
    suite = next(iter(parsed(verdict.model_copy(update={"rulings": (ruling,)}))))
    assert next(iter(suite)).result[0].message == "a\ufffdb\ufffd[31mc\ufffd"
