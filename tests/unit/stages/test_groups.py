"""Groups on their way from predictions to the estimates: copies of an example under one group are one draw."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rsa_ops.core.comparison import ALL, Comparison
from rsa_ops.core.digest import digest_bytes
from rsa_ops.core.estimate import PairedResult
from rsa_ops.errors import IntegrityError
from rsa_ops.gates.policy import ChampionRule, NonInferiorityRule, Policy, SlicesRule
from rsa_ops.stages.arm_rows import ArmRows
from rsa_ops.stages.champion import champion_contrast
from rsa_ops.stages.compare import compare_arms
from rsa_ops.stages.single import compare_alone
from rsa_ops.stats import pilot_variation

EXAMPLES, COPIES = 150, 10
CHAMPION = ChampionRule(kind="champion", metric="accuracy", margin=0.1)
POLICY = Policy(
    schema="rsa_ops/policy/v1",
    name="groups-v1",
    candidate="rsa",
    rules=(
        NonInferiorityRule(kind="noninferiority", metric="accuracy", against="full", margin=0.1),
        NonInferiorityRule(kind="noninferiority", metric="macro_f1", against="full", margin=0.1),
        SlicesRule(kind="slices", metric="accuracy", against="full", margin=0.2),
        CHAMPION,
    ),
)


def table(arm: str, *, copies: int, groups: bool, seeds: int = 2) -> pd.DataFrame:
    """An arm's predictions; each of 150 examples stands there `copies` times, in a group of its own where asked."""
    rng = np.random.default_rng(len(arm))
    right = np.repeat(rng.random(EXAMPLES) < 0.9, copies)
    label = np.repeat(np.where(np.arange(EXAMPLES) % 2, "dos", "xss"), copies)
    rows = pd.DataFrame(
        {
            "example_id": [f"e{n:04d}" for n in range(EXAMPLES * copies)],
            "condition": "clean",
            "label": label,
            "prediction": np.where(right, label, np.where(label == "dos", "xss", "dos")),
            "score": right.astype(float),
            "confidence": 0.9,
            "slice_region": np.repeat(np.where(np.arange(EXAMPLES) < 10, "small", "large"), copies),
        }
    )
    if groups:
        rows["group"] = np.repeat([f"customer {n}" for n in range(EXAMPLES)], copies)
    return pd.concat([rows.assign(seed=seed) for seed in range(1, seeds + 1)], ignore_index=True)


def compared(*, copies: int = 1, groups: bool = False) -> Comparison:
    arms = [
        ArmRows(name, table(name, copies=copies, groups=groups), (digest_bytes(name.encode()),), {}, ())
        for name in ("rsa", "full")
    ]
    return compare_arms(arms, POLICY, "classification", digest_bytes(b"test"), {})


def variance(result: PairedResult) -> float:
    assert result.difference is not None
    return (result.difference.high - result.difference.low) ** 2


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1"])
def test_copies_under_one_group_leave_the_interval_and_copies_without_make_it_too_sure(metric: str) -> None:
    once, together, apart = compared(), compared(copies=COPIES, groups=True), compared(copies=COPIES)
    assert (once.groups, together.groups, apart.groups) == (None, EXAMPLES, None)
    before, kept, lost = (entry.contrast(metric, "full") for entry in (once, together, apart))
    assert before is not None
    assert kept is not None
    assert lost is not None
    assert kept.result.difference is not None
    assert kept.result.difference.method.endswith(f", {EXAMPLES} groups")
    assert variance(kept.result) == pytest.approx(variance(before.result), rel=0.2)
    assert variance(lost.result) == pytest.approx(variance(before.result) / COPIES, rel=0.3)


def test_scores_of_an_arm_and_of_its_slices_are_clustered_too() -> None:
    once, together = compared(), compared(copies=COPIES, groups=True)
    for name in ("rsa", "full"):
        first, second = once.arm(name), together.arm(name)
        assert first is not None
        assert second is not None
        for metric, found in second.metrics.items():
            assert found.method.endswith(f", {EXAMPLES} groups")
            assert found.high - found.low == pytest.approx(
                first.metrics[metric].high - first.metrics[metric].low, rel=0.1
            )
        assert [" groups" in entry.score.method for entry in second.slices] == [True] * 4


def test_a_slice_is_as_large_as_its_groups_are_many() -> None:
    # 10 groups hold 100 examples; a margin of 20 points needs 14 draws: 1 - 0.05^(1/14) = 19.3 %.
    def small(found: Comparison) -> bool:
        arm = found.arm("rsa")
        assert arm is not None
        return next(entry.assessable for entry in arm.slices if entry.slice == "region=small")

    assert small(compared(copies=COPIES))
    assert not small(compared(copies=COPIES, groups=True))
    assert compared(copies=COPIES, groups=True).contrast("accuracy", "full", "region=small") is None


def test_a_pilot_of_grouped_examples_knows_how_large_and_how_alike_its_groups_are() -> None:
    once, together = compared(), compared(copies=COPIES, groups=True)
    contrast = together.contrast("accuracy", "full", ALL)
    assert contrast is not None
    assert contrast.variation is not None
    assert (contrast.variation.group_size, contrast.variation.icc) == (COPIES, pytest.approx(1.0))
    # A pilot from before that is planned from its interval: an example of a group of ten equal ones is worth a
    # tenth, so its variance counts tenfold.
    alone = pilot_variation(once.model_copy(update={"contrasts": tuple(strip(once))}))
    joined = pilot_variation(together.model_copy(update={"contrasts": tuple(strip(together))}))
    assert alone.example_sd is not None
    assert joined.example_sd is not None
    assert joined.example_sd**2 == pytest.approx(COPIES * alone.example_sd**2, rel=0.1)


def strip(found: Comparison) -> list[object]:
    return [entry.model_copy(update={"variation": None}) for entry in found.contrasts]


def files(folder: Path, *, groups: tuple[bool, bool] = (True, True), seeds: int = 1) -> tuple[Path, Path]:
    paths = (folder / "ours.parquet", folder / "theirs.parquet")
    for path, arm, with_groups in zip(paths, ("rsa", "full"), groups, strict=True):
        table(arm, copies=COPIES, groups=with_groups, seeds=seeds).to_parquet(path)
    return paths


def test_the_champions_question_knows_the_groups(tmp_path: Path) -> None:
    found = champion_contrast(CHAMPION, POLICY, "classification", files(tmp_path), EXAMPLES)
    loose = champion_contrast(CHAMPION, POLICY, "classification", files(tmp_path, groups=(False, False)), None)
    assert found.result.difference is not None
    assert found.result.difference.method == f"paired score t over examples, {EXAMPLES} groups"
    assert variance(found.result) == pytest.approx(COPIES * variance(loose.result), rel=0.3)


@pytest.mark.parametrize("groups", [(False, False), (True, False)])
def test_stored_predictions_without_the_declared_groups_are_refused(
    tmp_path: Path, groups: tuple[bool, bool]
) -> None:
    with pytest.raises(IntegrityError) as caught:
        champion_contrast(CHAMPION, POLICY, "classification", files(tmp_path, groups=groups), EXAMPLES)
    assert "groups" in caught.value.message
    assert "again" in caught.value.hint


@pytest.mark.parametrize("seeds", [1, 2])
def test_two_tables_with_a_group_column_are_compared_by_their_groups(tmp_path: Path, seeds: int) -> None:
    found = compare_alone(*files(tmp_path, seeds=seeds), margin=0.1, alpha=None, design=None)
    result = found.contrasts[0].result
    assert found.groups == EXAMPLES
    assert result.difference is not None
    assert result.difference.method.endswith(f", {EXAMPLES} groups")


def test_a_group_column_on_one_side_only_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match=r"150 groups, .* in none"):
        compare_alone(*files(tmp_path, groups=(True, False)), margin=0.1, alpha=None, design=None)


def test_the_slices_are_recorded_as_one_family_on_the_groups() -> None:
    found = compared(copies=COPIES, groups=True)
    (family,) = found.families
    assert (family.metric, family.baseline, family.result.margin) == ("accuracy", "full", 0.2)
    assert {entry.slice: entry.assessable for entry in family.result.slices} == {
        "region=large": True,
        "region=small": False,
        "class=dos": True,
        "class=xss": True,
    }
    assert family.worst is not None
    assert family.worst.slices == 3
    assert family.result.worst is not None
    assert (family.worst.slice, family.worst.difference) == (
        family.result.worst.slice,
        pytest.approx(family.result.worst.result.difference.value),
    )
    assert Comparison.from_json(found.to_json(), "comparison.json") == found


def test_the_family_sees_a_harmed_slice_and_chance_does_not_explain_it() -> None:
    arms = [table(name, copies=1, groups=False) for name in ("rsa", "full")]
    hurt = arms[0]["label"] == "xss"
    arms[0].loc[hurt, ["score", "prediction"]] = [0.0, "dos"]
    rows = [
        ArmRows(name, part, (digest_bytes(name.encode()),), {}, ())
        for name, part in zip(("rsa", "full"), arms, strict=True)
    ]
    (family,) = compare_arms(rows, POLICY, "classification", digest_bytes(b"test"), {}).families
    assert "class=xss" in family.result.harmed
    assert "class=dos" not in family.result.harmed
    assert family.worst is not None
    assert (family.worst.slice, family.worst.p_value) == ("class=xss", pytest.approx(1 / 2001))


def test_where_no_slice_is_assessable_no_worst_one_is_named() -> None:
    rules = (NonInferiorityRule(kind="noninferiority", metric="accuracy", against="full", margin=0.1),)
    policy = POLICY.model_copy(
        update={"rules": (*rules, SlicesRule(**{**POLICY.rules[2].model_dump(), "margin": 0.01}))}
    )
    arms = [
        ArmRows(name, table(name, copies=1, groups=False), (digest_bytes(name.encode()),), {}, ())
        for name in ("rsa", "full")
    ]
    (family,) = compare_arms(arms, policy, "classification", digest_bytes(b"test"), {}).families
    assert family.worst is None
    assert family.result.harmed == ()
    assert not any(entry.assessable for entry in family.result.slices)
