"""A verdict as JUnit XML, so that any CI shows which rule stopped a promotion and never shows green for a doubt."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rsa_ops.core.verdict import Outcome, Ruling, Verdict

if TYPE_CHECKING:
    from junitparser import TestCase

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot carry (section 2.2)."""


def verdict_junit(verdict: Verdict) -> str:
    """One test case per ruling: reject is a failure; inconclusive and error are errors.

    A verdict that does not promote although no ruling says so (no rules at all, say) gets a case of its own.
    """
    from junitparser import JUnitXml, TestSuite

    suite = TestSuite(_clean(f"rsa-ops gate {verdict.policy}"))
    suite.add_property("policy_digest", verdict.policy_digest)
    suite.add_property("candidate_digest", verdict.candidate_digest)
    suite.add_property("test_digest", verdict.test_digest)
    for ruling in verdict.rulings:
        suite.add_testcase(_case(ruling, verdict.policy))
    stopped = any(ruling.outcome is not Outcome.PROMOTE for ruling in verdict.rulings)
    if not verdict.rulings or (verdict.outcome is not Outcome.PROMOTE and not stopped):
        suite.add_testcase(_case(_whole(verdict), verdict.policy))
    xml = JUnitXml("rsa-ops")
    xml.add_testsuite(suite)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{xml.tostring().decode("utf-8")}\n'


def _whole(verdict: Verdict) -> Ruling:
    outcome = Outcome.ERROR if verdict.outcome is Outcome.PROMOTE else verdict.outcome
    return Ruling(
        rule="verdict",
        required=Outcome.PROMOTE.value,
        observed=verdict.outcome.value if verdict.rulings else f"{verdict.outcome.value}, by no rule at all",
        outcome=outcome,
        reason=verdict.sentence,
    )


def _case(ruling: Ruling, policy: str) -> TestCase:
    from junitparser import Error, Failure, TestCase

    case = TestCase(_clean(ruling.rule), classname=_clean(policy), time=0.0)
    case.system_out = _clean(f"required: {ruling.required}\nobserved: {ruling.observed}\n{ruling.reason}")
    if ruling.outcome is Outcome.PROMOTE:
        return case
    kind = Failure if ruling.outcome is Outcome.REJECT else Error
    result = kind(_clean(ruling.reason), ruling.outcome.value)
    result.text = _clean(f"required: {ruling.required}\nobserved: {ruling.observed}")
    case.result = [result]
    return case


def _clean(words: str) -> str:
    return _NOT_XML.sub("\ufffd", words)
