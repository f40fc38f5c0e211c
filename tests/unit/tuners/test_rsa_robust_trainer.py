"""Robustness inside a plain `transformers.Trainer`, attached as `RsaCallback` does it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import Trainer, TrainerCallback, TrainingArguments
from tuner_models import Rows, bert, causal_batch, classified_batch, llama

from rsa_ops.tuners import Robustness, RsaCallback, adapter_learning_rate, attached


class Robust(TrainerCallback):
    """What a callback has to do: attach, step, detach."""

    def __init__(self, flags):
        self.flags, self.rates, self.losses = flags, [], []

    def on_train_begin(self, args, state, control, model=None, **kwargs):
        self.handle = attached(model, self.flags, arguments=args, optimizer=kwargs["optimizer"])

    def on_optimizer_step(self, args, state, control, model=None, optimizer=None, **kwargs):
        self.rates.append(adapter_learning_rate(optimizer, model))
        self.handle.after_step(self.rates[-1])
        self.weights = self.handle.slice_weights

    def on_log(self, args, state, control, logs=None, **kwargs):
        if "loss" in logs:
            self.losses.append(logs["loss"])

    def on_train_end(self, args, state, control, **kwargs):
        self.handle.detach()


def train(model, batch, folder, flags, trainer=Trainer, compute_loss_func=None, **options):
    callback = Robust(flags)
    defaults = {
        "max_steps": 4,
        "per_device_train_batch_size": 4,
        "learning_rate": 0.02,
        "logging_steps": 1,
        "seed": 3,
        "save_strategy": "no",
        "report_to": [],
        "use_cpu": True,
        "disable_tqdm": True,
        "remove_unused_columns": False,
    }
    args = TrainingArguments(output_dir=str(folder), **{**defaults, **options})
    trainer(
        model=model, args=args, train_dataset=Rows(batch), callbacks=[callback], compute_loss_func=compute_loss_func
    ).train()
    return callback


def sliced(batch):
    return {**batch, "slice_ids": torch.arange(len(batch["labels"])) % 3}


ALL = Robustness(rdrop=0.5, r3f=1.0, r3f_noise=0.05, worst_slice=0.1)


def test_every_loss_term_trains_a_classifier_and_leaves_it_clean(tmp_path):
    model, batch = bert(), sliced(classified_batch(rows=16))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    callback = train(model, batch, tmp_path, ALL)
    assert len(callback.losses) == 4
    assert all(loss > 0 for loss in callback.losses)
    assert sum(callback.weights.values()) == pytest.approx(1)
    assert set(callback.weights) == {0, 1, 2}
    assert not model._forward_hooks
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed
    assert all("rsa_delta" in name or "modules_to_save" in name for name in changed)


@pytest.mark.parametrize("flags", [{"r3f": 1.0, "r3f_noise": 0.05}, {"neftune_alpha": 5.0}, {"worst_slice": 0.1}])
@pytest.mark.parametrize("options", [{}, {"bf16": True}, {"gradient_checkpointing": True}], ids=str)
def test_every_flag_trains_a_language_model(tmp_path, flags, options):
    batch = causal_batch(rows=8)
    batch = sliced(batch) if "worst_slice" in flags else batch
    callback = train(llama(), batch, tmp_path, Robustness(**flags), max_steps=2, **options)
    assert all(0 < loss < 10 for loss in callback.losses)


def test_a_language_model_trains_alike_on_whole_and_on_accumulated_batches(tmp_path, monkeypatch):
    from rsa_ops.tuners.rsa.noise import EmbeddingNoise

    def steady(self, module, inputs, output):
        self.used = True
        return output + 0.1 * torch.sin(100 * output) if self._half_width is not None else None

    monkeypatch.setattr(EmbeddingNoise, "_hook", steady)
    batch = causal_batch(rows=8)
    batch["labels"][::3, :4] = -100  # batches of other lengths, in labels

    def run(**options):
        model = llama()
        callback = train(model, batch, tmp_path, Robustness(r3f=3.0), max_steps=2, **options)
        return callback.losses, [p.detach() for p in model.parameters() if p.requires_grad]

    whole, accumulated = (
        run(),
        run(per_device_train_batch_size=1, gradient_accumulation_steps=4),
    )
    assert accumulated[0] == pytest.approx(whole[0], rel=1e-4)
    for one, other in zip(whole[1], accumulated[1], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-2, atol=1e-4)


def test_the_learning_rate_of_a_step_is_the_one_that_it_was_taken_with(tmp_path):
    callback = train(llama(), causal_batch(rows=8), tmp_path, Robustness(neftune_alpha=5.0), max_steps=4)
    assert callback.rates == pytest.approx([0.02, 0.015, 0.01, 0.005])


class OwnLoss(Trainer):
    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        labels = inputs.pop("labels")
        return torch.nn.functional.cross_entropy(model(**inputs).logits, labels)


@pytest.mark.parametrize(
    "options",
    [
        {"compute_loss_func": lambda out, labels, num_items_in_batch=None: out.logits.sum()},
        {"trainer": OwnLoss},
    ],
    ids=["compute_loss_func", "compute_loss"],
)
def test_a_loss_that_goes_past_the_model_is_refused_before_anything_is_learnt(tmp_path, options):
    model = bert()
    before = [p.clone() for p in model.parameters()]
    with pytest.raises(ValueError, match=r"compute_loss_func=.*go past the model's loss"):
        train(model, classified_batch(rows=8), tmp_path, Robustness(rdrop=1.0), **options)
    assert all(torch.equal(p, was) for p, was in zip(model.parameters(), before, strict=True))


def test_a_data_set_whose_slices_the_trainer_would_drop_is_refused(tmp_path):
    with pytest.raises(ValueError, match="remove_unused_columns must be False"):
        train(
            bert(),
            sliced(classified_batch(rows=8)),
            tmp_path,
            Robustness(worst_slice=0.1),
            remove_unused_columns=True,
        )


def test_a_training_that_broke_off_leaves_nothing_that_the_next_would_feel(tmp_path):
    batch = classified_batch(rows=8)
    model = bert()
    unlabelled = {name: value for name, value in batch.items() if name != "labels"}
    with pytest.raises(ValueError, match="need `labels`"):
        train(model, unlabelled, tmp_path, Robustness(rdrop=50.0))
    again = train(model, batch, tmp_path, Robustness(neftune_alpha=1e-6), max_steps=1)
    plain = train(bert(), batch, tmp_path, Robustness(neftune_alpha=1e-6), max_steps=1)
    assert again.losses == pytest.approx(plain.losses)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_rounds_score_the_plain_loss_while_robustness_is_attached(tmp_path, checkpointing):
    def scores(flags):
        model = bert(selection="rounds", rounds=2, scoring_batches=2, selection_share=0.5, confidence=0.0)
        callback = RsaCallback(robustness=flags)
        arguments = TrainingArguments(
            output_dir=str(tmp_path),
            max_steps=4,
            per_device_train_batch_size=4,
            learning_rate=0.0,
            save_strategy="no",
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
            remove_unused_columns=False,
            gradient_checkpointing=checkpointing,
        )
        data = sliced(classified_batch(rows=16)) if flags.worst_slice else classified_batch(rows=16)
        Trainer(model=model, args=arguments, train_dataset=Rows(data), callbacks=[callback]).train()
        assert len(callback.report.rounds) == 2
        assert not model._forward_hooks
        return {name: score.total for name, score in callback.scores.items()}

    plain, robust = scores(Robustness()), scores(Robustness(rdrop=9.0, worst_slice=0.5, trust_ratio=0.5))
    assert plain.keys() == robust.keys()
    for name, score in plain.items():
        torch.testing.assert_close(robust[name], score)


def test_a_data_set_without_labels_is_refused_before_the_first_step(tmp_path):
    callback = RsaCallback(robustness=Robustness(r3f=1.0))
    model = bert()
    batch = {name: value for name, value in classified_batch(rows=8).items() if name != "labels"}
    arguments = TrainingArguments(output_dir=str(tmp_path), max_steps=1, report_to=[], use_cpu=True)
    with pytest.raises(ValueError, match="need `labels` in the model's batch"):
        Trainer(model=model, args=arguments, train_dataset=Rows(batch), callbacks=[callback]).train()
    assert not model._forward_hooks
    assert callback.report is None  # refused before anything was scored


def test_the_callback_lets_the_guards_act_at_the_rate_of_the_step_and_takes_them_off(tmp_path):
    def values(flags):
        model = bert(scoring="random", activation_scaling=False)
        arguments = TrainingArguments(
            output_dir=str(tmp_path),
            max_steps=6,
            per_device_train_batch_size=4,
            learning_rate=0.05,
            weight_decay=0.0,
            max_grad_norm=0,
            save_strategy="no",
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
        )
        callback = RsaCallback(robustness=flags)
        Trainer(
            model=model, args=arguments, train_dataset=Rows(classified_batch(rows=16)), callbacks=[callback]
        ).train()
        assert callback._attachment is None
        return {name: p.detach().clone() for name, p in model.named_parameters() if "rsa_delta" in name}

    plain, guarded = values(Robustness()), values(Robustness(delta_decay=2.0))
    norms = [sum(float(p.square().sum()) for p in found.values()) for found in (plain, guarded)]
    assert norms[1] < norms[0] * 0.9  # six steps at rates up to 0.05 shrink by up to 10 % each


def test_the_worst_slice_ends_lower_than_without_its_weights(tmp_path):
    """Two rows of a slice whose labels contradict most of the data: the mean gives them up, the weights do not."""
    ids = torch.randint(1, 40, (16, 7), generator=torch.Generator().manual_seed(0))
    ids[:, 0] = 5
    labels = torch.zeros(16, dtype=torch.long)
    labels[:2] = 1
    batch = {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "labels": labels,
        "slice_ids": (torch.arange(16) < 2).long(),
    }
    rare = {name: value[:2] for name, value in batch.items() if name != "slice_ids"}

    def rare_loss(flags):
        model = bert()
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        data = batch if flags.worst_slice else {name: batch[name] for name in rare}
        train(model, data, tmp_path, flags, max_steps=12, per_device_train_batch_size=16, learning_rate=0.005)
        return float(model.eval()(**rare).loss.detach())

    assert rare_loss(Robustness(worst_slice=0.1)) < 0.7 * rare_loss(Robustness())


WORKER = """
import sys, torch
from torch import distributed
sys.path.insert(0, sys.argv[3])
from tuner_models import bert, classified_batch
from rsa_ops.tuners.rsa.robustness import Robustness, attached
torch.set_num_threads(1)
rank, folder = int(sys.argv[1]), sys.argv[2]
distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
torch.manual_seed(0)
inner = bert().train()
wrapped = torch.nn.parallel.DistributedDataParallel(inner, find_unused_parameters=True)
batch = {name: value[rank::2] for name, value in classified_batch(rows=8).items()}
with attached(wrapped, Robustness(rdrop=1.0, r3f=1.0, r3f_noise=0.05, worst_slice=0.2)) as handle:
    for _ in range(2):
        wrapped(**batch, slice_ids=torch.full((4,), rank)).loss.backward()
        handle.after_step(0.1)
    grads = torch.cat([p.grad.flatten() for p in inner.parameters() if p.grad is not None])
    print(round(float(grads.double().norm()), 9), handle.slice_weights)
"""


def test_processes_get_one_gradient_and_one_set_of_weights(tmp_path):
    command = [sys.executable, "-c", WORKER]
    here = str(Path(__file__).parent)
    workers = [
        subprocess.Popen(
            [*command, str(rank), str(tmp_path), here], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for rank in range(2)
    ]
    said = [worker.communicate(timeout=200) for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], said[0][1]
    assert said[0][0] == said[1][0]
