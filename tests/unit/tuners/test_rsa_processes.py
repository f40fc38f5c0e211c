"""Two gloo processes, started once: summed scores, one selection, and DDP training equal to one process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tuner_models import STRUCTURES, best, causal_batch, families, llama
from two_processes import MISSED, steps

from rsa_ops.tuners import score_blocks


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gloo")
    script = str(Path(__file__).parent / "two_processes.py")
    workers = [
        subprocess.Popen([sys.executable, script, str(rank), str(folder)], stderr=subprocess.PIPE)
        for rank in (0, 1)
    ]
    ends = [(worker.communicate(timeout=180)[1].decode(), worker.returncode) for worker in workers]
    assert [code for _, code in ends] == [0, 0], ends
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in (0, 1)]


@pytest.mark.parametrize("structure", STRUCTURES)
def test_summed_scores_are_equal_on_both_and_those_of_one_process_with_all_batches(both, structure):
    found, others = (one["scores"][structure] for one in both)
    model = llama(structure=structure, tile=4)
    expected = score_blocks(model, [causal_batch(seed=seed) for seed in (10, 12, 11)])
    expected[MISSED] = score_blocks(model, [causal_batch(seed=seed) for seed in (10, 12)])[MISSED]
    assert list(found) == list(others) == list(expected)
    for name, score in expected.items():
        assert found[name].batches == others[name].batches == score.batches
        for part in ("total", "squares", "power"):
            assert torch.equal(getattr(found[name], part), getattr(others[name], part))
            torch.testing.assert_close(getattr(found[name], part), getattr(score, part), rtol=1e-5, atol=1e-12)


def test_both_choose_the_columns_of_the_summed_scores(both):
    (columns, report), (others, other_report) = (one["static"] for one in both)
    assert report.modules == other_report.modules
    assert (report.batches, other_report.batches) == (2, 1)
    model = llama()
    scores = score_blocks(model, [causal_batch(seed=seed) for seed in (10, 20, 11)], scoring="relative")
    leaders = {members[0] for members in families(model).values()}
    assert all(torch.equal(place, others[key]) for key, place in columns.items())
    columns = {key: place for key, place in columns.items() if key.endswith("columns")}
    assert columns.keys() == {f"{name}.rsa_delta.default.columns" for name in leaders}
    for key, chosen in columns.items():
        assert torch.equal(
            chosen.long(), best(model, scores, key.removesuffix(".rsa_delta.default.columns"), chosen.shape[-1])
        )


def test_both_admit_the_same_blocks_in_rounds(both):
    (places, report), (others, other_report) = (one["rounds"] for one in both)
    assert all(torch.equal(place, others[key]) for key, place in places.items())
    assert report.rounds == other_report.rounds
    assert len(report.rounds) == 2
    assert report.rounds[-1].waiting == 0
    assert all(bool(place.all()) for key, place in places.items() if key.endswith("scale"))


@pytest.mark.parametrize(
    ("structure", "mode"), [*((s, "resident") for s in STRUCTURES), ("columns", "additive"), ("spread", "additive")]
)
def test_ddp_trains_like_one_process_with_both_batches(both, structure, mode):
    model = llama(structure=structure, tile=4, mode=mode)
    losses, values = steps(model, model, 0, 1)
    (mine, first), (theirs, second) = (one[structure, mode] for one in both)
    assert [(a + b) / 2 for a, b in zip(mine, theirs, strict=True)] == pytest.approx(losses, rel=1e-5)
    for name, value in values.items():
        assert torch.equal(first[name], second[name])
        # Adam divides by the root of the squared gradient: rounding of small gradients is a share of the rate.
        torch.testing.assert_close(first[name], value, atol=1e-4, rtol=1e-3)
