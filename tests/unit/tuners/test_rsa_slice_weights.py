"""Group DRO's weights: a distribution over slices that moves to the slice with the highest loss."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
import torch

from rsa_ops.tuners.rsa.slice_weights import SliceWeights


def seen(weights, ids, losses):
    weights.record(torch.tensor(ids), torch.tensor(losses))
    return weights


def test_weights_start_even_sum_to_one_and_move_to_the_worst_slice():
    weights = SliceWeights(0.1)
    assert weights.q == {}
    before = seen(weights, [0, 1, 2], [1.0, 3.0, 2.0]).q
    assert before == pytest.approx({0: 1 / 3, 1: 1 / 3, 2: 1 / 3})
    last = 1 / 3
    for _ in range(50):
        weights.step()
        assert sum(weights.q.values()) == pytest.approx(1)
        assert weights.q[1] > last
        last = weights.q[1]
        seen(weights, [0, 1, 2], [1.0, 3.0, 2.0])
    assert weights.q[1] > 0.98


def test_one_even_step_is_the_step_of_the_paper():
    weights = seen(SliceWeights(0.3), [0, 0, 1, 1], [1.0, 2.0, 0.5, 0.1])
    weights.step()
    raw = [math.exp(0.3 * 1.5), math.exp(0.3 * 0.3)]
    assert weights.q == pytest.approx({0: raw[0] / sum(raw), 1: raw[1] / sum(raw)})


def test_in_a_first_batch_the_weighted_loss_is_the_sum_of_q_times_slice_means():
    ids, losses = torch.tensor([0, 0, 0, 1]), torch.tensor([1.0, 2.0, 3.0, 8.0])
    weights = SliceWeights(0.1)
    weights.record(ids, losses)
    mine = (weights.of(ids) * losses).mean()
    assert float(mine) == pytest.approx(0.5 * 2.0 + 0.5 * 8.0)
    assert float(weights.of(ids).mean()) == pytest.approx(1)


def test_a_slice_that_most_batches_lack_moves_as_far_as_one_that_is_in_all():
    """Slice 1 is a tenth of the data and has the same loss: neither gains on the other."""
    weights = SliceWeights(0.05)
    for step in range(400):
        seen(weights, [1, 0] if step % 5 == 0 else [0, 0], [1.0, 1.0])
        weights.step()
        assert weights.q == pytest.approx({0: 0.5, 1: 0.5})


def test_even_batches_follow_the_paper_step_by_step():
    weights, exponents = SliceWeights(0.3), [0.0, 0.0]
    for losses in ([1.0, 0.5], [0.25, 2.0], [0.125, 1.0]):
        seen(weights, [0, 1], losses).step()
        exponents = [e + 0.3 * loss for e, loss in zip(exponents, losses, strict=True)]
        raw = [math.exp(e) for e in exponents]
        assert weights.q == pytest.approx({0: raw[0] / sum(raw), 1: raw[1] / sum(raw)})


def test_a_slice_that_comes_late_starts_where_its_loss_puts_it():
    weights = SliceWeights(0.1)
    for _ in range(10):
        seen(weights, [0, 1], [1.0, 2.0]).step()
    before = seen(weights, [2], [2.0]).q
    assert before[2] == pytest.approx(before[1])
    assert sum(before.values()) == pytest.approx(1)


def test_micro_batches_count_as_the_batch_that_they_make():
    whole, parts = SliceWeights(0.2), SliceWeights(0.2)
    seen(whole, [0, 1, 1, 2], [1.0, 2.0, 3.0, 4.0]).step()
    seen(seen(parts, [0, 1], [1.0, 2.0]), [1, 2], [3.0, 4.0]).step()
    assert parts.q == pytest.approx(whole.q)


def test_steps_without_items_change_nothing():
    weights = SliceWeights(0.2)
    weights.step()
    seen(weights, [0, 3], [1.0, 2.0]).step()
    before = weights.q
    weights.record(torch.zeros(0, dtype=torch.long), torch.zeros(0))
    weights.step()
    assert weights.q == before
    assert set(before) == {0, 3}


WORKER = """
import sys, torch
from torch import distributed
from rsa_ops.tuners.rsa.slice_weights import SliceWeights
torch.set_num_threads(1)
rank, folder = int(sys.argv[1]), sys.argv[2]
distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
weights = SliceWeights(0.2)
ids, losses = ([0, 1], [1.0, 2.0]) if rank == 0 else ([1, 2], [3.0, 4.0])
weights.record(torch.tensor(ids), torch.tensor(losses))
weights.step()
print(weights.q)
"""


def test_processes_agree_on_the_weights_of_the_batch_that_they_share(tmp_path):
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(rank), str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        for rank in range(2)
    ]
    said = [worker.communicate(timeout=120)[0] for worker in workers]
    whole = seen(SliceWeights(0.2), [0, 1, 1, 2], [1.0, 2.0, 3.0, 4.0])
    whole.step()
    assert [worker.returncode for worker in workers] == [0, 0]
    assert said[0] == said[1] == f"{whole.q}\n"
