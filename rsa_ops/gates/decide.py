"""The verdict: every rule and every integrity check, joined so that nothing missing or broken can pass.

ERROR outranks REJECT, REJECT outranks INCONCLUSIVE, and PROMOTE is what is left when every rule says so.
"""

from __future__ import annotations

from rsa_ops.core.verdict import Evidence, Outcome, Verdict
from rsa_ops.errors import ExitCode
from rsa_ops.gates.integrity import integrity_problems
from rsa_ops.gates.policy import Policy
from rsa_ops.gates.rules import HEADLINE, apply
from rsa_ops.gates.ruling import Judged

_ORDER = (Outcome.ERROR, Outcome.REJECT, Outcome.INCONCLUSIVE, Outcome.PROMOTE)


def decide(policy: Policy, evidence: Evidence) -> Verdict:
    """Judge `evidence` by `policy`. Equal arguments give equal verdicts; nothing is read or written.

    `error_exit` is 6 when pieces of evidence disagree (also when others are missing besides), 8 when pieces are
    only missing. Integrity rulings stand first and only where something is wrong.
    """
    problems = integrity_problems(policy, evidence)
    judged = (*problems, *(apply(rule, policy, evidence) for rule in policy.rules))
    found = {entry.ruling.outcome for entry in judged}
    outcome = next((kind for kind in _ORDER if kind in found), Outcome.ERROR)
    broken = any(entry.exit_code is ExitCode.INTEGRITY for entry in judged)
    missing = outcome is Outcome.ERROR and not broken
    error_exit = ExitCode.MISSING if missing else ExitCode.INTEGRITY
    return Verdict(
        outcome=outcome,
        sentence=_sentence(outcome, sorted(judged, key=_weight)),
        candidate=policy.candidate,
        baselines=evidence.comparison.baselines,
        rulings=tuple(entry.ruling for entry in judged),
        policy=policy.name,
        policy_digest=policy.digest(),
        test_digest=evidence.test_digest,
        candidate_digest=evidence.candidate_digest,
        champion_digest=evidence.champion_digest,
        error_exit=int(error_exit),
    )


def _weight(entry: Judged) -> tuple[bool, bool]:
    """What is broken is told before what is missing, and the main comparison before other rules."""
    other = entry.exit_code is ExitCode.DONE and not entry.ruling.rule.startswith(HEADLINE)
    return entry.exit_code is not ExitCode.INTEGRITY, other


def _sentence(outcome: Outcome, judged: list[Judged]) -> str:
    """One sentence: the outcome, the ruling that decided it, and how many others say the same."""
    if not judged:
        return "ERROR: the policy has no rules."
    same = [entry.ruling for entry in judged if entry.ruling.outcome is outcome]
    first = same[0]
    tells_itself = first.rule.startswith(HEADLINE) and outcome is not Outcome.ERROR
    about = "" if tells_itself else f"{first.rule}: "
    more = ""
    if len(same) > 1:
        more = (
            f"; all {len(same)} rules hold" if outcome is Outcome.PROMOTE else f"; {len(same) - 1} more like this"
        )
    return f"{outcome.value.upper()}: {about}{first.reason}{more}."
