"""`RsaCallback` in a real `transformers.Trainer` on the CPU."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from peft import PeftModel
from torch.utils.data import DataLoader
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from tuner_models import PLAIN, Rows, bare_bert, bare_llama, bert, best, causal_batch, classified_batch, llama

from rsa_ops.tuners import RsaCallback, magnitude_scores, score_blocks


class Losses(TrainerCallback):
    def __init__(self):
        self.seen = []

    def on_log(self, args, state, control, logs=None, **kwargs):
        if "loss" in logs:
            self.seen.append(logs["loss"])


def trainer(model, batch, folder, callbacks, **options):
    defaults = {
        "max_steps": 3,
        "per_device_train_batch_size": 4,
        "learning_rate": 0.05,
        "logging_steps": 1,
        "seed": 3,
        "save_strategy": "no",
        "report_to": [],
        "use_cpu": True,
        "disable_tqdm": True,
        "lr_scheduler_type": "constant",
    }
    args = TrainingArguments(output_dir=str(folder), **{**defaults, **options})
    return Trainer(model=model, args=args, train_dataset=Rows(batch), callbacks=callbacks)


CASES = [(llama, bare_llama, lambda: causal_batch(rows=16)), (bert, bare_bert, lambda: classified_batch(rows=16))]


@pytest.mark.parametrize(("build", "bare", "data"), CASES, ids=["llama", "bert"])
def test_one_line_beside_lora_trains_the_adapter_alone(tmp_path, build, bare, data):
    model, batch = build(scoring_batches=4), data()
    before = {name: p.clone() for name, p in model.named_parameters()}
    loss_before = model.eval()(**batch).loss
    callback = RsaCallback()
    trainer(model, batch, tmp_path, [callback], max_steps=16, learning_rate=0.01).train()

    assert model.eval()(**batch).loss < loss_before
    model.state_dict()  # whoever asks for it finds the base's own bits; a resident adapter returns afterwards
    changed = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert changed
    assert all("rsa_delta.default.weight" in name or "modules_to_save" in name for name in changed)
    original = bare().state_dict()
    for name, p in model.named_parameters():  # tied embeddings among them
        if "embed" in name or "base_layer" in name:
            key = name.removeprefix("base_model.model.").replace(".base_layer", "")
            assert torch.equal(p, original[key]), name
    report = callback.report
    assert report.skipped is None
    assert (report.batches, report.tokens) == (4, int(batch["attention_mask"].sum()))
    assert report.seconds > 0
    assert all(module.scored and 0 <= module.stability <= 1 for module in report.modules)


def test_the_columns_are_the_best_of_the_batches_that_were_read(tmp_path):
    batch = causal_batch(rows=8)
    model = llama(scoring_batches=2, structure="columns", **PLAIN)
    order = []
    callback = RsaCallback(loss_fn=lambda m, b: order.append(b["input_ids"].clone()) or m(**b).loss)
    trainer(model, batch, tmp_path, [callback], max_steps=1, learning_rate=0.0).train()
    assert torch.equal(torch.cat(order).sort(0).values, batch["input_ids"].sort(0).values)
    halves = [{"input_ids": ids, "labels": ids, "attention_mask": torch.ones_like(ids)} for ids in order]
    scores = [score_blocks(model, [half]) for half in halves]
    for module in callback.report.modules:
        columns = model.get_submodule(module.name).delta("default").columns
        both = {name: scores[0][name] + scores[1][name] for name in scores[0]}
        assert torch.equal(columns.long(), best(model, both, module.name, module.picks))
        one, two = (set(best(model, half, module.name, module.picks).tolist()) for half in scores)
        assert module.stability == len(one & two) / len(one | two)
        assert module.chance == module.picks / (2 * module.candidates - module.picks)


class Seen(TrainerCallback):
    """Records what training sees: the model's inputs in training mode."""

    def __init__(self, model):
        self.rows = []
        model.register_forward_pre_hook(self._hook, with_kwargs=True)

    def _hook(self, module, args, kwargs):
        if module.training:
            self.rows.append(kwargs["input_ids"].clone())


@pytest.mark.parametrize("scoring_batches", [1, 2, 50])
def test_training_sees_the_same_batches_and_draws_as_without_the_callback(tmp_path, scoring_batches):
    def run(callbacks):
        model = bert(scoring="fisher", scoring_batches=scoring_batches)
        seen, drawn = Seen(model), Losses()
        run = trainer(
            model, classified_batch(rows=10), tmp_path, [*callbacks, drawn], max_steps=7, learning_rate=0.0
        )
        state = run.accelerator.gradient_state
        before = len(state.dataloader_references)
        run.train()
        return seen.rows, drawn.seen, len(state.dataloader_references) - before

    plain, losses, open_loaders = run([])
    with_callback, same_losses, same_open_loaders = run([RsaCallback()])
    assert len(plain) == 7
    assert all(torch.equal(a, b) for a, b in zip(plain, with_callback, strict=True))
    assert losses == same_losses  # dropout drew the same numbers; at rate 0 the columns do not matter
    assert open_loaders == same_open_loaders


def test_a_plain_loader_gives_the_same_order_after_the_callback_read_it():
    def order(*, peek):
        rows = Rows(causal_batch(rows=12))
        loader = DataLoader(rows, batch_size=3, shuffle=True, generator=torch.Generator().manual_seed(5))
        if peek:
            RsaCallback().on_train_begin(
                None, TrainerState(), TrainerControl(), model=llama(scoring_batches=2), train_dataloader=loader
            )
        return [batch["input_ids"] for batch in loader]

    assert all(torch.equal(a, b) for a, b in zip(order(peek=False), order(peek=True), strict=True))


def test_an_empty_loader_is_refused():
    with pytest.raises(ValueError, match="at least one batch"):
        RsaCallback().on_train_begin(None, TrainerState(), TrainerControl(), model=llama(), train_dataloader=[])


def test_mixed_precision_trains(tmp_path):
    losses = Losses()
    trainer(llama(), causal_batch(rows=8), tmp_path, [RsaCallback(), losses], bf16=True, learning_rate=0.02).train()
    assert float(losses.seen[-1]) < float(losses.seen[0])


def test_random_scoring_and_a_trained_adapter_are_left_alone(tmp_path):
    model = llama(scoring="random", activation_scaling=False)
    before = {k: v.clone() for k, v in model.state_dict().items() if k.endswith("columns")}
    callback = RsaCallback()
    trainer(model, causal_batch(rows=8), tmp_path, [callback]).train()
    assert "random" in callback.report.skipped
    model.peft_config["default"].scoring = "fisher"
    again = RsaCallback()
    trainer(model, causal_batch(rows=8), tmp_path, [again]).train()
    assert "has learnt already" in again.report.skipped
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items() if k in before)


def test_magnitude_reads_no_batch(tmp_path):
    model = llama(scoring="magnitude", activation_scaling=False, choice="top")
    callback = RsaCallback()
    trainer(model, causal_batch(rows=8), tmp_path, [callback], max_steps=1, learning_rate=0.0).train()
    assert (callback.report.batches, callback.report.tokens) == (0, 0)
    scores = magnitude_scores(model)
    for module in callback.report.modules:
        columns = model.get_submodule(module.name).delta("default").columns
        assert torch.equal(columns.long(), best(model, scores, module.name, module.picks))
        assert module.stability is None


@pytest.mark.parametrize(
    ("scoring", "selection"),
    [
        ("fisher", "static"),
        ("relative", "rounds"),
        ("magnitude", "static"),
        ("magnitude", "rounds"),
        ("random", "static"),
    ],
)
def test_activation_scaling_measures_inputs_whatever_chooses_the_columns(tmp_path, scoring, selection):
    options = {"scoring": scoring, "activation_scaling": True, "choice": "top", "selection": selection, "rounds": 2}
    model, drawn = llama(**options), llama(scoring="random")
    batch = causal_batch(rows=8)
    callback = RsaCallback()
    trainer(model, batch, tmp_path, [callback], max_steps=2, learning_rate=0.0).train()
    names = [name for name, module in model.named_modules() if hasattr(module, "rsa_delta")]
    for name in names:
        delta = model.get_submodule(name).delta("default")
        assert (delta.scale > 0).all()
        assert delta.scale.unique().numel() > 1
        if scoring == "random":
            assert torch.equal(delta.columns, drawn.get_submodule(name).delta("default").columns)
        if scoring == "magnitude":
            wanted = best(model, magnitude_scores(model), name, delta.layout.picks)
            assert torch.equal(delta.columns.sort().values.long(), wanted)


def test_a_resumed_run_keeps_the_columns_of_its_checkpoint(tmp_path):
    batch = causal_batch(rows=8)
    first = llama()
    trainer(first, batch, tmp_path, [RsaCallback()], save_strategy="steps", save_steps=2).train()
    columns = {k: v.clone() for k, v in first.state_dict().items() if k.endswith("columns")}
    second, callback = llama(), RsaCallback()
    assert any(not torch.equal(v, columns[k]) for k, v in second.state_dict().items() if k in columns)
    trainer(second, batch, tmp_path, [callback]).train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert "resumes at step 2" in callback.report.skipped
    state = second.state_dict()
    assert all(torch.equal(state[k], v) for k, v in columns.items())
    for name, p in first.named_parameters():
        torch.testing.assert_close(dict(second.named_parameters())[name], p)


def test_a_trained_adapter_reloads_to_the_same_outputs(tmp_path):
    batch = causal_batch(rows=8)
    model = llama()
    trainer(model, batch, tmp_path, [RsaCallback()]).train()
    model.save_pretrained(tmp_path / "adapter")
    loaded = PeftModel.from_pretrained(bare_llama(), tmp_path / "adapter").eval()
    assert torch.equal(loaded(**batch).logits, model.eval()(**batch).logits)


def test_gradient_checkpointing_in_the_trainer_trains_the_same(tmp_path):
    def run(**options):
        model = llama()
        losses = Losses()
        trainer(model, causal_batch(rows=8), tmp_path, [RsaCallback(), losses], **options).train()
        return losses.seen

    assert run() == pytest.approx(run(gradient_checkpointing=True), rel=1e-4)


def test_a_model_without_a_sparse_adapter_is_refused(tmp_path):
    with pytest.raises(ValueError, match="expected a PEFT model with an active RsaConfig adapter, found LlamaFor"):
        trainer(bare_llama(), causal_batch(rows=8), tmp_path, [RsaCallback()]).train()
    with pytest.raises(ValueError, match=r"looked for \['nobody'\]"):
        trainer(llama(), causal_batch(rows=8), tmp_path, [RsaCallback("nobody")]).train()


def test_the_report_is_frozen(tmp_path):
    callback = RsaCallback()
    trainer(llama(), causal_batch(rows=8), tmp_path, [callback], max_steps=1).train()
    with pytest.raises(dataclasses.FrozenInstanceError):
        callback.report.seconds = 0.0
