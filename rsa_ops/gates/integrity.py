"""What is checked for every policy: that the evidence is whole, is about the same things, and can be trusted.

Each check gives nothing when it holds and an ERROR ruling when it does not: exit 6 where pieces disagree, exit 8
where a piece is not there. Every failure known from other gates is here (research/governance.md): a candidate
compared with itself, half a grid, a test set or a policy exchanged after the fact.
"""

from __future__ import annotations

from collections.abc import Iterator

from rsa_ops.core.comparison import ALL, ArmSummary, Comparison, Contrast
from rsa_ops.core.digest import short
from rsa_ops.core.estimate import Answer
from rsa_ops.core.verdict import Evidence
from rsa_ops.gates.design import departures, policy_departures
from rsa_ops.gates.policy import Policy, questions
from rsa_ops.gates.ruling import Judged, Sheet, observed

TOLERANCE = 1e-12


def integrity_problems(policy: Policy, evidence: Evidence) -> tuple[Judged, ...]:
    """All that is wrong with the evidence, apart from what single rules will miss."""
    comparison = evidence.comparison
    return (
        *_policy(policy, evidence),
        *_design(policy, evidence),
        *_subjects(policy, evidence),
        *_arms(comparison),
        *_measurements(evidence),
        *_slices(comparison),
        *(problem for contrast in comparison.contrasts for problem in _contrast(policy, comparison, contrast)),
        *_duplicates(comparison),
    )


def _policy(policy: Policy, evidence: Evidence) -> Iterator[Judged]:
    if not policy.rules:
        yield Sheet("policy", "at least one rule").missing("every rule of the policy")
    locked, sheet = (
        evidence.locked_policy_digest,
        Sheet("locked policy", "the policy that was locked before the scores"),
    )
    if locked is not None and locked != policy.digest():
        yield sheet.broken(
            f"sha256 {short(policy.digest())}",
            f"the policy was changed after it was locked as {short(locked)}",
        )


def _design(policy: Policy, evidence: Evidence) -> Iterator[Judged]:
    """What was fixed before training against what was compared; a run without any design is the caller's choice."""
    design, compared = evidence.design, evidence.comparison.design_digest
    sheet = Sheet("locked design", "the comparison that was designed before the scores")
    if design is None:
        if compared is not None or evidence.locked_design_digest is not None:
            yield sheet.missing("the design of the comparison")
        return
    digest = design.digest()
    locked = evidence.locked_design_digest
    if locked is not None and locked != digest:
        yield sheet.broken(
            f"sha256 {short(digest)}", f"the design was changed after it was locked as {short(locked)}"
        )
    if compared != digest:
        seen = f"sha256 {short(compared)}" if compared is not None else "no design"
        yield sheet.broken(seen, f"the comparison was not made by the design {short(digest)}")
    for words in (*policy_departures(design, policy), *departures(design, evidence.comparison)):
        yield sheet.broken("another comparison", words)


def _subjects(policy: Policy, evidence: Evidence) -> Iterator[Judged]:
    comparison = evidence.comparison
    if policy.candidate != comparison.candidate:
        yield Sheet("candidate", f"the arm {policy.candidate}").broken(
            comparison.candidate,
            f"the policy is about {policy.candidate}, the comparison about {comparison.candidate}",
        )
    if evidence.test_digest != comparison.test_digest:
        yield Sheet("test set", f"sha256 {short(evidence.test_digest)}").broken(
            f"sha256 {short(comparison.test_digest)}", "the comparison was made on another test set"
        )
    differs = Sheet("candidate differs", "another artifact than the champion")
    if evidence.candidate_digest == evidence.champion_digest:
        yield differs.broken(
            f"sha256 {short(evidence.candidate_digest)}", "candidate and champion are the same artifact"
        )
    arm = comparison.arm(comparison.candidate)
    if arm is not None and evidence.candidate_digest not in arm.artifact_digests:
        yield Sheet("candidate artifact", "one of the artifacts that were compared").broken(
            f"sha256 {short(evidence.candidate_digest)}", "the scores belong to other artifacts than the candidate"
        )


def _arms(comparison: Comparison) -> Iterator[Judged]:
    sheet = Sheet("artifacts", "one artifact per arm and seed, none in two places")
    if not comparison.baselines:
        yield sheet.missing("every baseline")
    if comparison.candidate in comparison.baselines:
        yield sheet.broken(comparison.candidate, "the candidate is its own baseline")
    owner: dict[str, str] = {}
    for arm in comparison.arms:
        if not arm.seeds or len(arm.seeds) != len(arm.artifact_digests) or len(set(arm.seeds)) != len(arm.seeds):
            yield sheet.broken(
                f"{arm.arm}: {len(arm.seeds)} seeds, {len(arm.artifact_digests)} artifacts",
                f"the seeds and artifacts of {arm.arm} do not match one to one",
            )
        for digest in arm.artifact_digests:
            if digest in owner:
                where = f"{owner[digest]} and {arm.arm}" if owner[digest] != arm.arm else f"two seeds of {arm.arm}"
                yield sheet.broken(f"sha256 {short(digest)}", f"the same artifact stands for {where}")
            owner[digest] = arm.arm
    for name in (comparison.candidate, *comparison.baselines):
        if sum(arm.arm == name for arm in comparison.arms) != 1:
            yield sheet.missing(f"one summary of the arm {name}")


def _measurements(evidence: Evidence) -> Iterator[Judged]:
    sheet = Sheet("measurements", "one record per arm and seed")
    expected = {
        (arm.arm, seed): digest
        for arm in evidence.comparison.arms
        for seed, digest in zip(arm.seeds, arm.artifact_digests, strict=False)
    }
    found = {(entry.cell.arm, entry.cell.seed): entry.artifact_digest for entry in evidence.measurements}
    if len(found) < len(evidence.measurements):
        yield sheet.broken(f"{len(evidence.measurements)} records", "a cell was measured twice")
    for (arm, seed), digest in expected.items():
        if (arm, seed) not in found:
            yield sheet.missing(f"the measurement of {arm}, seed {seed},")
        elif found[arm, seed] != digest:
            yield sheet.broken(
                f"sha256 {short(found[arm, seed])}",
                f"{arm}, seed {seed}: the artifact that was measured is not the one that was compared",
            )
    named = {arm.arm for arm in evidence.comparison.arms}
    for arm, seed in found:
        if arm in named and (arm, seed) not in expected:
            yield sheet.broken(f"{arm}, seed {seed}", "a cell was trained and left out of the comparison")


def _slices(comparison: Comparison) -> Iterator[Judged]:
    """Every arm, and every set of slice contrasts, must know the same slices: none may go missing unseen."""
    sheet = Sheet("slices", "the same slices for every arm")
    known = {entry.slice for arm in comparison.arms for entry in arm.slices}
    known |= {contrast.population for contrast in comparison.contrasts} - {ALL}
    for arm in comparison.arms:
        lost = sorted(known - {entry.slice for entry in arm.slices})
        if lost:
            yield sheet.missing(f"the score of {arm.arm} on {', '.join(lost[:3])}")


def _contrast(policy: Policy, comparison: Comparison, contrast: Contrast) -> Iterator[Judged]:
    result, sheet = contrast.result, Sheet(contrast.name, "an answer that follows from its own numbers")
    if contrast.candidate != comparison.candidate:
        yield sheet.broken(contrast.candidate, f"a contrast of another candidate than {comparison.candidate}")
    for question in questions(policy):
        if question.covers(contrast.metric, contrast.baseline, contrast.population) and (
            abs(result.margin - question.margin) > TOLERANCE or abs(result.alpha - policy.level) > TOLERANCE
        ):
            yield sheet.broken(
                f"margin {result.margin:g}, alpha {result.alpha:g}",
                f"the policy asks for margin {question.margin:g} at alpha {policy.level:g}; compare again",
            )
    if result.answer is Answer.INVALID:
        return
    ours, theirs = comparison.arm(contrast.candidate), comparison.arm(contrast.baseline)
    if (
        result.difference is None
        or _answer(result.difference.low, result.difference.high, result.margin) != result.answer
    ):
        yield sheet.broken(observed(result), f"its interval does not say {result.answer.value}")
    elif contrast.population == ALL and result.difference.examples != comparison.examples:
        yield sheet.broken(observed(result), f"only part of the {comparison.examples:,} test examples was compared")
    elif ours and theirs and result.difference.seeds != _common_seeds(ours, theirs):
        yield sheet.broken(observed(result), f"not all {_common_seeds(ours, theirs)} seeds were compared")
    elif abs(result.difference.confidence - (1 - 2 * result.alpha)) > 1e-9:
        yield sheet.broken(observed(result), f"its interval is not the one that alpha {result.alpha:g} asks for")


def _duplicates(comparison: Comparison) -> Iterator[Judged]:
    names = [(entry.metric, entry.baseline, entry.population) for entry in comparison.contrasts]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield Sheet("contrasts", "one answer per question").broken(
            ", ".join(name), "the question was answered twice"
        )


def _common_seeds(ours: ArmSummary, theirs: ArmSummary) -> int:
    return min(len(ours.seeds), len(theirs.seeds))


def _answer(low: float, high: float, margin: float) -> Answer:
    """The five answers' own definition (`core.estimate`), worked again so that no file can claim another."""
    if low > 0:
        return Answer.SUPERIOR
    if low > -margin:
        return Answer.NON_INFERIOR
    return Answer.INFERIOR if high < -margin else Answer.INCONCLUSIVE
