"""One trial of the quality benchmark on tiny models: what is trained, on what, and how it is scored."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from quality.bench import Batches, Bench
from quality.methods import Budget, count_parameters, linear_shapes, steady_shira
from quality.plan import Trial, Variant, formed
from quality.scoring import bare, losses
from quality.tasks import TASKS
from quality.training import attach, train


@pytest.fixture
def bench(tiny_folder: Path) -> Bench:
    return Bench(tiny_folder, "cpu")


def run(bench: Bench, trial: Trial) -> dict[str, Any]:
    steps = train(bench, trial, graphs=False)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def finish(steps: Any) -> Any:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def test_equal_trials_give_equal_scores_and_another_seed_another_order(bench: Bench) -> None:
    trial = Trial("e2e", Variant("lora-r2", "lora", 2), 1e-2, 1, "test")
    first, again, other = run(bench, trial), run(bench, trial), run(bench, replace(trial, seed=2))
    assert first["metrics"] == again["metrics"]
    assert first["metrics"] != other["metrics"]
    assert first["steps"] == TASKS["e2e"].steps(96)
    assert first["arrays"]["nll"].shape == (15,)
    assert first["metrics"]["nll"] == pytest.approx(
        first["arrays"]["nll"].sum() / first["arrays"]["nll_tokens"].sum(), rel=1e-5
    )


def test_a_trial_of_a_classifier_keeps_one_prediction_a_row(bench: Bench) -> None:
    found = run(bench, Trial("b77", formed("columns", "bounded", 4), 1e-2, 1, "test"))
    labels = bench.split("banking", "test").labels.numpy()
    assert found["metrics"]["accuracy"] == pytest.approx((found["arrays"]["accuracy"] == labels).mean())
    assert found["arrays_selection"].size > 0
    assert [one["step"] for one in found["selection"]["rounds"]] == sorted(
        one["step"] for one in found["selection"]["rounds"]
    )


def test_a_rate_that_blows_up_is_divergence_and_no_number(bench: Bench) -> None:
    found = run(bench, Trial("e2e", Variant("full", "full", 0), 1e6, 1, "validation"))
    assert found["diverged"]


def test_methods_have_the_parameters_of_lora(bench: Bench) -> None:
    task = TASKS["e2e"]
    batches = Batches(bench.split("e2e", "train"), task, 1)
    budget = Budget(4, linear_shapes(bench.base(task))).parameters
    for method in ("lora", "rslora", "shira", "super", "miss", "rsa"):
        trial = Trial("e2e", Variant(method, method, 4), 1e-3, 1, "validation")
        found = count_parameters(attach(bench, task, trial, batches).model)
        assert abs(found / budget - 1) < 0.03, method


def test_lora_and_rsa_on_the_top_half_leave_the_lower_layers_alone(bench: Bench) -> None:
    task = TASKS["e2e"]
    batches = Batches(bench.split("e2e", "train"), task, 1)
    for method, planned in (("lora", False), ("rsa", False), ("rsa", True)):
        trial = Trial("e2e", Variant(method, method, 4, depth=0.5, planned=planned), 1e-3, 1, "validation")
        model = attach(bench, task, trial, batches).model
        layers = {name.split(".layers.")[1][0] for name, p in model.named_parameters() if p.requires_grad}
        assert layers == {"2", "3"}, method


def test_the_quick_shira_is_pefts_to_the_bit(bench: Bench) -> None:
    from peft import ShiraConfig, get_peft_model

    torch.manual_seed(0)
    batch = bench.split("e2e", "train").batch(torch.arange(4), 48)
    found = []
    for quick in (False, True):
        config = ShiraConfig(r=2, target_modules="all-linear", random_seed=3)
        model = get_peft_model(bench.fresh(TASKS["e2e"], 0), config)
        generator = torch.Generator().manual_seed(1)
        learning = [p for p in model.parameters() if p.requires_grad]
        for parameter in learning:
            parameter.data.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
        if quick:
            steady_shira(model)
        loss = model(**batch).loss
        loss.backward()
        found.append((loss.detach(), [p.grad for p in learning]))
    assert torch.equal(found[0][0], found[1][0])
    assert all(torch.equal(one, other) for one, other in zip(found[0][1], found[1][1], strict=True))


def test_losses_of_records_are_the_models_own_loss(bench: Bench) -> None:
    task = TASKS["e2e"]
    model, split = bench.base(task), bench.split("e2e", "validation")
    sums, tokens = finish(losses(bare(model), split, task))
    batch = split.batch(torch.arange(len(split)), 64)
    with torch.no_grad():
        whole = model(**batch).loss
    assert float(sums.sum() / tokens.sum()) == pytest.approx(float(whole), rel=1e-5)
    assert len(sums) == int(split.records.max()) + 1


def test_batches_are_full_of_similar_lengths_and_hold_no_row_twice_in_an_epoch(bench: Bench) -> None:
    task = replace(TASKS["b10"], epochs=1, batch=10)
    split = bench.split("banking", "train")
    batches = Batches(split, task, 7)
    assert len(batches) == 9
    rows = batches._rows.flatten().tolist()
    assert len(rows) == len(set(rows)) == 90
    for step, batch in enumerate(batches):
        assert batch["input_ids"].shape == (10, batches._widths[step])
        assert int(batch["attention_mask"].sum()) == int(split.lengths[batches._rows[step].long()].sum())
    assert Batches(split, task, 7)._rows.equal(batches._rows)
    assert not Batches(split, task, 8)._rows.equal(batches._rows)


def test_trials_side_by_side_do_not_disturb_one_another(bench: Bench) -> None:
    from quality.pool import Order, _Side

    trials = [Trial("b77", Variant("lora-r2", "lora", 2), 1e-2, seed, "validation") for seed in (1, 2)]
    alone = [run(bench, trial)["arrays"]["accuracy"].tolist() for trial in trials]
    sides = [_Side(Order(trial, graphs=False), train(bench, trial, graphs=False), "cpu", None) for trial in trials]
    found: dict[int, list[int]] = {}
    losses_ = {}
    while len(found) < 2:
        for number, side in enumerate(sides):
            if number not in found and (result := side.advance()) is not None:
                found[number] = result["arrays"]["accuracy"].tolist()
                losses_[number] = result["training_loss"]
    assert [found[0], found[1]] == alone
    assert [losses_[0], losses_[1]] == [run(bench, trial)["training_loss"] for trial in trials]
