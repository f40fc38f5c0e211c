"""What the gate said, as in-toto statements: test-result v0.1 with every rule, and svr v0.1 with what holds."""

from __future__ import annotations

import re
from typing import Any

from rsa_ops.core.verdict import Outcome
from rsa_ops.governance.papers.attestation import statement
from rsa_ops.governance.papers.dossier import Dossier, hexadecimal

TEST_RESULT_TYPE = "https://in-toto.io/attestation/test-result/v0.1"
SVR_TYPE = "https://in-toto.io/attestation/svr/v0.1"


def full_result(dossier: Dossier) -> dict[str, Any]:
    """The full list: what promotes is passed, all else failed, inconclusive too; in-toto has no third word."""
    verdict = dossier.verdict
    passed = [ruling.rule for ruling in verdict.rulings if ruling.outcome is Outcome.PROMOTE]
    failed = [f"{r.rule}: {r.outcome.value}" for r in verdict.rulings if r.outcome is not Outcome.PROMOTE]
    return statement(
        dossier,
        TEST_RESULT_TYPE,
        {
            "result": "PASSED" if verdict.outcome is Outcome.PROMOTE else "FAILED",
            "configuration": _configuration(dossier),
            "passedTests": passed,
            "warnedTests": [],
            "failedTests": failed,
            "verdict": {
                "outcome": verdict.outcome.value,
                "digest": {"sha256": hexadecimal(verdict.digest())},
                "ledgerEntry": dossier.verdict_entry,
            },
        },
    )


def simple_result(dossier: Dossier) -> dict[str, Any]:
    """The rules that hold, each as a property; the verdict itself only where it promotes."""
    verdict = dossier.verdict
    held = [f"RSA_OPS_RULE_{_word(r.rule)}" for r in verdict.rulings if r.outcome is Outcome.PROMOTE]
    if verdict.outcome is Outcome.PROMOTE:
        held.insert(0, "RSA_OPS_VERDICT_PROMOTE")
    (policy, *_) = _configuration(dossier)
    return statement(
        dossier,
        SVR_TYPE,
        {
            "verifier": {"id": f"urn:rsa-ops:gate:{dossier.source.version}", "policy": policy},
            "timeCreated": dossier.judged_at,
            "properties": held,
        },
    )


def _configuration(dossier: Dossier) -> list[dict[str, Any]]:
    verdict = dossier.verdict
    digests = {f"policy {verdict.policy}": verdict.policy_digest, "test set": verdict.test_digest}
    if dossier.comparison.design_digest is not None:
        digests["design"] = dossier.comparison.design_digest
    return [{"name": name, "digest": {"sha256": hexadecimal(digest)}} for name, digest in digests.items()]


def _word(rule: str) -> str:
    return re.sub(r"[^A-Z0-9]+", "_", rule.upper()).strip("_")
