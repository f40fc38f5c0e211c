"""`RsaCallback` in rounds, with a new head, on bad data, and a warm start, in a plain `transformers.Trainer`."""

from __future__ import annotations

import pytest
import torch
from peft import PeftModel, TaskType, get_peft_model
from test_rsa_callback import CASES, Losses, trainer
from transformers import TrainerCallback
from tuner_models import (
    PLAIN,
    STRUCTURES,
    bare_bert,
    bare_llama,
    bert,
    causal_batch,
    classified_batch,
    llama,
    places,
)

from rsa_ops.tuners import RsaCallback, RsaConfig, score_blocks
from rsa_ops.tuners.rsa.selection import units

LLAMA, BERT = CASES
each_mode = pytest.mark.parametrize("mode", ["additive", "resident"])


def base_bits(model, bare):
    """Asserts that the model's base is the bare one's, bit for bit."""
    original, found = bare().state_dict(), 0
    for name, tensor in model.state_dict().items():
        key = name.removeprefix("base_model.model.").replace(".base_layer", "").replace("original_module.", "")
        if key in original and "modules_to_save" not in name:
            assert torch.equal(tensor, original[key]), name
            found += 1
    assert found >= len(original) - 2  # a head in modules_to_save has another name


@pytest.mark.parametrize(
    ("case", "structure", "mode"),
    [*((LLAMA, structure, "resident") for structure in STRUCTURES), (BERT, "columns", "additive")],
)
def test_rounds_fill_the_budget_early_and_training_lowers_the_loss(tmp_path, case, structure, mode):
    build, bare, data = case
    options = {"structure": structure, "tile": 4, "mode": mode, "selection": "rounds", "rounds": 3}
    model, batch = build(scoring_batches=2, **options), data()
    loss_before = model.eval()(**batch).loss
    callback = RsaCallback()
    trainer(model, batch, tmp_path, [callback], max_steps=10, learning_rate=0.02).train()
    assert model.eval()(**batch).loss < loss_before
    report = callback.report
    assert [one.step for one in report.rounds] == [0, 0, 1]  # a tenth of ten steps
    assert report.rounds[-1].waiting == 0
    picks = {
        id(u.delta): u.layout.picks * (u.layout.groups if structure == "spread" else 1)
        for u in units(model, "default")
    }
    assert sum(one.admitted for one in report.rounds) == sum(picks.values())
    assert report.batches == 6
    base_bits(model, bare)


def test_static_and_rounds_without_a_bound_and_one_round_choose_alike(tmp_path):
    def chosen(**options):
        model = llama(scoring_batches=4, **PLAIN, **options)
        trainer(model, causal_batch(rows=16), tmp_path, [RsaCallback()], max_steps=2, learning_rate=0.0).train()
        return {name: place.sort().values for name, place in places(model).items()}

    static, rounds = chosen(), chosen(selection="rounds", rounds=1)
    drawn = llama()
    assert static.keys() == rounds.keys()
    same = [torch.equal(static[name], rounds[name]) for name in static]
    moved = [not torch.equal(static[name], place) for name, place in places(drawn).items()]
    assert any(same)  # where halves disagree, the last round draws lots
    assert any(moved)


class Watch(TrainerCallback):
    def __init__(self):
        self.trained = False

    def on_step_begin(self, *args, **kwargs):
        self.trained = True


@pytest.mark.parametrize("selection", ["static", "rounds"])
def test_a_batch_without_labels_is_refused_before_any_training(tmp_path, selection):
    batch = causal_batch(rows=8)
    del batch["labels"]
    watch = Watch()
    with pytest.raises(ValueError, match=r"returned no loss for a batch with \['attention_mask', 'input_ids'\]"):
        trainer(llama(selection=selection), batch, tmp_path, [RsaCallback(), watch]).train()
    assert not watch.trained


@pytest.mark.parametrize("selection", ["static", "rounds"])
def test_a_loss_that_is_not_a_number_is_refused_before_any_training(tmp_path, selection):
    watch = Watch()
    callback = RsaCallback(loss_fn=lambda model, batch: model(**batch).loss * float("nan"))
    with pytest.raises(ValueError, match="expected finite scores, found NaN or infinity in 'base_model"):
        trainer(llama(selection=selection), causal_batch(rows=8), tmp_path, [callback, watch]).train()
    assert not watch.trained


@pytest.mark.parametrize(("selection", "mode"), [("static", "additive"), ("rounds", "resident")])
def test_a_new_head_learns_in_full_beside_the_adapter_and_comes_back(tmp_path, selection, mode):
    batch = classified_batch(rows=16)
    config = RsaConfig(
        density=0.25,
        mode=mode,
        selection=selection,
        modules_to_save=["classifier"],
        target_modules=["query", "value"],
    )
    model = get_peft_model(bare_bert(), config)
    head = model.base_model.model.classifier.modules_to_save["default"].weight
    before = head.detach().clone()
    trainer(model, batch, tmp_path, [RsaCallback()], max_steps=4, learning_rate=0.05).train()
    assert not torch.equal(head, before)
    model.save_pretrained(tmp_path / "adapter")
    loaded = PeftModel.from_pretrained(bare_bert(), tmp_path / "adapter").eval()
    assert torch.equal(loaded(**batch).logits, model.eval()(**batch).logits)
    base_bits(model, bare_bert)


@pytest.mark.parametrize(
    ("structure", "mode", "resume"),
    [
        ("columns", "additive", 4),
        ("subnet", "resident", 2),
        ("tiles", "resident", 4),
    ],
)
def test_a_run_resumed_after_or_between_its_rounds_goes_on_as_if_it_had_not_stopped(
    tmp_path, structure, mode, resume
):
    batch = causal_batch(rows=8)
    options = {"structure": structure, "tile": 4, "mode": mode, "selection": "rounds", "rounds": 2}
    schedule = {"max_steps": 6, "save_strategy": "steps", "save_steps": 2}

    def built():
        return llama(selection_share=0.5, scoring_batches=2, **options)  # rounds at steps 0 and 3

    first, whole = built(), RsaCallback()
    trainer(first, batch, tmp_path, [whole], **schedule).train()
    second, callback = built(), RsaCallback()
    trainer(second, batch, tmp_path, [callback], **schedule).train(
        resume_from_checkpoint=str(tmp_path / f"checkpoint-{resume}")
    )
    assert f"resumes at step {resume}" in callback.report.skipped
    assert callback.report.rounds == (whole.report.rounds[1:] if resume == 2 else ())
    mine, theirs = first.state_dict(), second.state_dict()
    assert mine.keys() == theirs.keys()
    for name, tensor in mine.items():
        assert torch.equal(tensor, theirs[name]), name


@each_mode
def test_every_checkpoint_holds_the_adapter_of_its_step_and_loads(tmp_path, mode):
    batch = causal_batch(rows=8)
    model = llama(mode=mode)
    trainer(model, batch, tmp_path, [RsaCallback()], save_strategy="steps", save_steps=1, max_steps=2).train()
    loaded = [PeftModel.from_pretrained(bare_llama(), tmp_path / f"checkpoint-{n}").eval() for n in (1, 2)]
    logits = [one(**batch).logits for one in loaded]
    assert not torch.equal(*logits)
    assert torch.equal(logits[1], model.eval()(**batch).logits)


def test_both_modes_train_to_the_same_losses_in_the_trainer(tmp_path):
    def losses(mode):
        seen = Losses()
        model = llama(mode=mode, selection="rounds", rounds=2, selection_share=0.5)
        trainer(
            model, causal_batch(rows=8), tmp_path, [RsaCallback(), seen], max_steps=8, gradient_accumulation_steps=2
        ).train()
        return [float(one) for one in seen.seen]

    assert losses("additive") == pytest.approx(losses("resident"), rel=2e-4)  # losses are logged with four digits


def test_a_warm_start_adds_the_stored_scores_once(tmp_path):
    batch = causal_batch(rows=8)

    def run(warm_start=()):
        callback = RsaCallback(warm_start=warm_start)
        model = llama(scoring_batches=2)
        trainer(model, batch, tmp_path, [callback], max_steps=1, learning_rate=0.0).train()
        return callback

    cold = run()
    cold.save_scores(tmp_path / "scores.safetensors")
    warm = run([tmp_path / "scores.safetensors"])
    for name, score in cold.scores.items():
        assert (score.batches, warm.scores[name].batches) == (2, 4)
        torch.testing.assert_close(warm.scores[name].mean, score.mean)
    assert [one.stability for one in warm.report.modules] == [one.stability for one in cold.report.modules]


def test_a_warm_start_of_other_shapes_is_refused_before_any_training(tmp_path):
    callback, watch = RsaCallback(), Watch()
    trainer(llama(), causal_batch(rows=8), tmp_path, [callback], max_steps=1).train()
    callback.save_scores(tmp_path / "scores.safetensors")
    again = RsaCallback(warm_start=[tmp_path / "scores.safetensors"])
    with pytest.raises(ValueError, match="Use score maps of the same base model and structure"):
        trainer(llama(structure="elements"), causal_batch(rows=8), tmp_path, [again, watch]).train()
    assert not watch.trained


@pytest.mark.parametrize("scoring", ["fisher", "relative", "grad", "snip"])
def test_scores_of_the_callback_are_those_of_its_batches(tmp_path, scoring):
    batch = causal_batch(rows=4)
    callback = RsaCallback()
    model = llama(scoring_batches=1, scoring=scoring)
    trainer(model, batch, tmp_path, [callback], max_steps=1, learning_rate=0.0).train()
    for name, score in score_blocks(llama(), [batch], scoring=scoring).items():
        torch.testing.assert_close(callback.scores[name].total, score.total, rtol=1e-4, atol=1e-9)


def test_one_line_changes_from_lora_for_a_sequence_classifier(tmp_path):
    from peft import LoraConfig

    def loss_of(config, callbacks):
        model, batch = get_peft_model(bare_bert(), config), classified_batch(rows=16)
        before = float(model.eval()(**batch).loss)
        trainer(model, batch, tmp_path, callbacks, max_steps=16, learning_rate=0.005).train()
        return before, float(model.eval()(**batch).loss)

    shared = {"task_type": TaskType.SEQ_CLS, "r": 2, "target_modules": ["query", "value"]}
    lora, sparse = loss_of(LoraConfig(**shared), []), loss_of(RsaConfig(**shared), [RsaCallback()])
    assert lora[1] < lora[0]
    assert sparse[1] < sparse[0]
    assert bert(r=2, density=None).peft_config["default"].r == 2
