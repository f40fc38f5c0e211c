"""The verdict: every rule and every integrity check, joined so that nothing missing or broken can pass.

ERROR outranks REJECT, REJECT outranks INCONCLUSIVE, and PROMOTE is what is left when every rule says so.
"""

from __future__ import annotations

from rsa_ops.core.verdict import Evidence, Outcome, Verdict
from rsa_ops.errors import ExitCode
from rsa_ops.gates.integrity import integrity_problems
from rsa_ops.gates.policy import NonInferiorityRule, Policy
from rsa_ops.gates.rules import apply
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
    exits = {entry.exit_code for entry in judged}
    return Verdict(
        outcome=outcome,
        sentence=_sentence(policy, outcome, judged),
        candidate=policy.candidate,
        baselines=evidence.comparison.baselines,
        rulings=tuple(entry.ruling for entry in judged),
        policy=policy.name,
        policy_digest=policy.digest(),
        test_digest=evidence.test_digest,
        candidate_digest=evidence.candidate_digest,
        champion_digest=evidence.champion_digest,
        error_exit=int(
            ExitCode.MISSING
            if exits <= {ExitCode.DONE, ExitCode.MISSING} and outcome is Outcome.ERROR
            else ExitCode.INTEGRITY
        ),
    )


def _sentence(policy: Policy, outcome: Outcome, judged: tuple[Judged, ...]) -> str:
    """One sentence: the outcome, the ruling that decided it, and how many others say the same."""
    same = [entry.ruling for entry in judged if entry.ruling.outcome is outcome]
    if outcome is not Outcome.PROMOTE:
        first = same[0]
        more = f"; {len(same) - 1} more of this kind" if len(same) > 1 else ""
        about = (
            "" if first.rule.startswith("noninferiority") and outcome is not Outcome.ERROR else f"{first.rule}: "
        )
        return f"{outcome.value.upper()}: {about}{first.reason}{more}."
    headline = next(
        (ruling for rule, ruling in zip(policy.rules, same, strict=True) if isinstance(rule, NonInferiorityRule)),
        same[0],
    )
    about = "" if headline.rule.startswith("noninferiority") else f"{headline.rule}: "
    rest = f"; all {len(same)} rules hold" if len(same) > 1 else ""
    return f"PROMOTE: {about}{headline.reason}{rest}."
