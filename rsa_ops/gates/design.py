"""The design of a comparison: derived from the policy before training, and held against what was compared.

The policy stays the only source of margins and levels. The design adds what the policy cannot know (the seeds, the
size of the test set and of its slices) and puts all of it under one digest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rsa_ops.core.comparison import ALL, ArmSummary, Comparison
from rsa_ops.core.design import ComparisonDesign, DesignMargin, DesignSlice
from rsa_ops.core.digest import Digest, short
from rsa_ops.gates.policy import CHAMPION, Policy, questions

TOLERANCE = 1e-12


def design_margins(policy: Policy) -> tuple[DesignMargin, ...]:
    """Every margin of the policy, those about the champion last."""
    asked = (
        DesignMargin(metric=entry.metric, against=entry.against, margin=entry.margin, on_slices=entry.on_slices)
        for entry in questions(policy)
    )
    champion = (
        DesignMargin(metric=rule.metric, against=CHAMPION, margin=rule.margin) for rule in policy.champion_rules
    )
    return (*asked, *champion)


def design_of(
    policy: Policy,
    *,
    primary_metric: str,
    seeds: tuple[int, ...],
    examples: int,
    slices: Mapping[str, int],
    test_digest: Digest,
    groups: int | None = None,
) -> ComparisonDesign:
    """The design that `policy` asks for on this test set.

    Args:
        policy: margins, level, looks.
        primary_metric: of the task.
        seeds: of every arm.
        examples: of the test set.
        slices: name -> examples, of the test set.
        test_digest: of the test set.
        groups: how many the test examples come in; None where each is a draw of its own.
    """
    return ComparisonDesign(
        candidate=policy.candidate,
        primary_metric=primary_metric,
        alpha=policy.level,
        looks=policy.looks,
        margins=design_margins(policy),
        seeds=seeds,
        examples=examples,
        slices=tuple(DesignSlice(slice=name, examples=slices[name]) for name in sorted(slices)),
        groups=groups,
        test_digest=test_digest,
        policy_digest=policy.digest(),
    )


def departures(design: ComparisonDesign, comparison: Comparison) -> tuple[str, ...]:
    """Each way in which `comparison` is not the one that `design` describes, in words; empty when it is."""
    return tuple(_departures(design, comparison))


def policy_departures(design: ComparisonDesign, policy: Policy) -> tuple[str, ...]:
    """Each way in which `design` is not the one that `policy` asks for."""
    found = []
    if design.policy_digest != policy.digest():
        locked = short(design.policy_digest) if design.policy_digest is not None else "no policy"
        found.append(f"the policy is {short(policy.digest())}; the design was made from {locked}")
    ours = (policy.candidate, policy.level, policy.looks, design_margins(policy))
    if ours != (design.candidate, design.alpha, design.looks, design.margins):
        found.append("candidate, alpha, looks or margins of the policy are not those of the design")
    return tuple(found)


def _departures(design: ComparisonDesign, comparison: Comparison) -> Iterator[str]:
    for what, planned, found in (
        ("the candidate", design.candidate, comparison.candidate),
        ("the primary metric", design.primary_metric, comparison.primary_metric),
        ("the number of test examples", design.examples, comparison.examples),
    ):
        if planned != found:
            yield f"{what} is {found}; the design says {planned}"
    if design.test_digest not in (None, comparison.test_digest):
        yield "the test set is another one than the design's"
    if design.test_digest is not None and design.groups != comparison.groups:
        yield (
            f"the examples come in {comparison.groups or 'no'} groups; the design says {design.groups or 'none'}"
        )
    if design.looks is not None and comparison.look is not None and comparison.look > design.looks:
        yield f"this is look {comparison.look} at the same test set; the design declares {design.looks}"
    for arm in comparison.arms:
        yield from _arm(design, arm)
    yield from _terms(design, comparison)


def _arm(design: ComparisonDesign, arm: ArmSummary) -> Iterator[str]:
    if tuple(sorted(arm.seeds)) != tuple(sorted(design.seeds)):
        yield f"the seeds of {arm.arm} are {_listed(arm.seeds)}; the design says {_listed(design.seeds)}"
    planned = {entry.slice: entry.examples for entry in design.slices}
    found = {entry.slice: entry.score.examples for entry in arm.slices}
    for name in sorted(planned.keys() | found.keys()):
        if planned.get(name) != found.get(name):
            yield (
                f"{arm.arm} was scored on {found.get(name, 0)} examples of the slice {name}; "
                f"the design says {planned.get(name, 0)}"
            )


def _terms(design: ComparisonDesign, comparison: Comparison) -> Iterator[str]:
    margins = {(entry.metric, entry.against, entry.on_slices): entry.margin for entry in design.margins}
    for contrast in comparison.contrasts:
        planned = margins.get((contrast.metric, contrast.baseline, contrast.population != ALL))
        if planned is None:
            yield f"{contrast.name}: the design asks no such question"
        elif abs(contrast.result.margin - planned) > TOLERANCE:
            yield f"{contrast.name}: the margin is {contrast.result.margin:g}; the design says {planned:g}"
        if abs(contrast.result.alpha - design.alpha) > TOLERANCE:
            yield f"{contrast.name}: alpha is {contrast.result.alpha:g}; the design says {design.alpha:g}"


def _listed(seeds: tuple[int, ...]) -> str:
    return ", ".join(map(str, sorted(seeds)))
