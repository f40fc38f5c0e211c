"""The loss terms of `Robustness`: what they add, their gradients, and what is refused before training."""

from __future__ import annotations

import dataclasses
import gc
import math
import weakref

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from transformers import TrainingArguments
from tuner_models import bare_bert, bare_llama, bert, causal_batch, classified_batch, learnt, llama

from rsa_ops.tuners.rsa.noise import EmbeddingNoise
from rsa_ops.tuners.rsa.robustness import Robustness, adapter_learning_rate, attached
from rsa_ops.tuners.rsa.terms import read_answer, symmetric_kl

CASES = [
    pytest.param(bert, classified_batch, id="bert"),
    pytest.param(llama, causal_batch, id="llama"),
]


def dropping_llama():
    model = learnt(llama())
    for module in model.modules():
        if hasattr(module, "attention_dropout"):
            module.attention_dropout = 0.3
    return model


def padded(batch, columns=2):
    """The last columns of the first row become padding."""
    batch = {name: value.clone() for name, value in batch.items()}
    batch["attention_mask"][0, -columns:] = 0
    batch["input_ids"][0, -columns:] = 0
    if batch["labels"].dim() == 2:
        batch["labels"][0, -columns:] = -100
    return batch


def trained_loss(model, batch, seed=5):
    torch.manual_seed(seed)
    return model.train()(**batch).loss


# what the terms add


@pytest.mark.parametrize(("build", "data"), CASES)
def test_r3f_at_zero_noise_adds_nothing_even_under_dropout(build, data):
    model, batch = learnt(build()), padded(data())
    plain = trained_loss(model, batch)
    with attached(model, Robustness(r3f=1.0, r3f_noise=0.0)):
        assert torch.equal(trained_loss(model, batch), plain)


@pytest.mark.parametrize(("build", "data"), CASES)
def test_r3f_adds_the_symmetric_kl_to_the_answer_under_noise(build, data):
    model, batch = learnt(build()), padded(data())
    plain = trained_loss(model, batch)
    with attached(model, Robustness(r3f=1.0, r3f_noise=0.1)):
        once = trained_loss(model, batch)
    with attached(model, Robustness(r3f=3.0, r3f_noise=0.1)):
        thrice = trained_loss(model, batch)
    assert once > plain
    torch.testing.assert_close(thrice - plain, 3 * (once - plain), rtol=1e-3, atol=1e-6)


def test_r3f_draws_nothing_that_would_change_the_dropout_of_later_batches():
    model, batch = learnt(bert()), classified_batch()
    with attached(model, Robustness(r3f=1.0)):
        trained_loss(model, batch)
    after = torch.rand(3)
    trained_loss(model, batch)
    torch.randint(2**62, ())  # the seed of the noise is the one number that it takes
    assert torch.equal(after, torch.rand(3))


@pytest.mark.parametrize(
    ("model", "batch"),
    [
        pytest.param(lambda: learnt(bert()), classified_batch(), id="bert"),
        pytest.param(dropping_llama, padded(causal_batch()), id="llama"),
    ],
)
def test_rdrop_is_the_mean_of_two_passes_and_half_the_symmetric_kl(model, batch):
    model = model()
    torch.manual_seed(5)
    one, two = model.train()(**batch), model(**batch)
    logits = [out.logits[:, :-1] if out.logits.dim() == 3 else out.logits for out in (one, two)]
    labels = batch["labels"][:, 1:] if batch["labels"].dim() == 2 else batch["labels"]
    logs = [F.log_softmax(each[labels != -100], dim=-1) for each in logits]
    kl = [F.kl_div(logs[a], logs[b], log_target=True, reduction="batchmean") for a, b in ((0, 1), (1, 0))]
    expected = (one.loss + two.loss) / 2 + 0.7 * sum(kl) / 2
    with attached(model, Robustness(rdrop=0.7)):
        torch.testing.assert_close(trained_loss(model, batch), expected)


@pytest.mark.parametrize(
    "flags",
    [
        {"rdrop": 0.7},
        {"r3f": 2.0, "r3f_noise": 0.1},
        {"neftune_alpha": 5.0},
        {"worst_slice": 0.5},
        {"rdrop": 0.7, "r3f": 2.0, "r3f_noise": 0.1, "worst_slice": 0.5},
    ],
    ids="-".join,
)
@pytest.mark.parametrize(("build", "data"), [(bert, classified_batch), (dropping_llama, causal_batch)])
def test_the_gradient_of_every_term_is_the_numerical_gradient(build, data, flags):
    model, batch = learnt(build()).double(), padded(data(rows=4))
    if "worst_slice" in flags:
        batch["slice_ids"] = torch.tensor([0, 1, 1, 2])
    values = [p for name, p in model.named_parameters() if "rsa_delta" in name]
    start = [value.detach().clone() for value in values]

    def loss(step=0.0):
        for value, was in zip(values, start, strict=True):
            value.data.copy_(was if step == 0 else was + step * value.grad)
        with attached(model, Robustness(**flags)):
            return trained_loss(model, batch)

    loss().backward()
    uphill = sum(float(value.grad.square().sum()) for value in values)  # the slope along the gradient
    step = (1e-5 if build is bert else 1e-3) / math.sqrt(uphill)  # Llama rounds its norms and loss to float32
    numerical = float(loss(step).detach() - loss(-step).detach()) / (2 * step)
    assert numerical == pytest.approx(uphill, rel=1e-6 if build is bert else 2e-3)


def test_neftune_noise_has_the_width_of_each_example_and_spares_the_padding():
    model, batch = llama().train(), padded(causal_batch(rows=2, tokens=9), columns=5)
    seen = []
    with attached(model, Robustness(neftune_alpha=5.0)):
        model.get_input_embeddings().register_forward_hook(lambda m, i, out: seen.append(out.detach()))
        for _ in range(50):
            model(**batch)
    clean = model.get_input_embeddings().weight[batch["input_ids"]].detach()
    noise = torch.stack(seen) - clean
    widths = [5.0 / math.sqrt(length * 16) for length in (4, 9)]
    for row, width in enumerate(widths):
        assert width * 0.95 < float(noise[:, row].abs().max()) <= width * (1 + 1e-5)
    assert not noise[:, 0, 4:].any()


@pytest.mark.parametrize(("build", "data"), CASES)
@pytest.mark.parametrize("flags", [{"r3f": 1.0}, {"neftune_alpha": 9.0}, {"worst_slice": 0.1}])
def test_evaluation_is_untouched(build, data, flags):
    model, batch = learnt(build()).eval(), data()
    before = model(**batch)
    more = {"slice_ids": torch.zeros(len(batch["labels"]), dtype=torch.long)} if "worst_slice" in flags else {}
    with attached(model, Robustness(**flags)):
        after = model(**batch, **more)
        assert model(input_ids=batch["input_ids"]).loss is None  # no labels needed here
    assert torch.equal(before.logits, after.logits)
    assert torch.equal(before.loss, after.loss)


def test_detaching_leaves_nothing_and_pausing_leaves_nothing_for_a_while():
    model, batch = learnt(bert()), classified_batch()
    plain = trained_loss(model, batch)
    handle = attached(model, Robustness(rdrop=5.0))
    assert trained_loss(model, batch) > plain
    with handle.paused():
        assert torch.equal(trained_loss(model, batch), plain)
    assert trained_loss(model, batch) > plain
    handle.detach()
    handle.detach()
    assert torch.equal(trained_loss(model, batch), plain)
    assert not model._forward_hooks
    assert not model._forward_pre_hooks
    assert not model.get_input_embeddings()._forward_hooks


def test_a_second_handle_replaces_the_first():
    model, batch = learnt(bert()), classified_batch()
    attached(model, Robustness(rdrop=5.0))
    with attached(model, Robustness(r3f=1.0, r3f_noise=0.0)):
        under = trained_loss(model, batch)
    assert torch.equal(under, trained_loss(model, batch))


def test_a_forgotten_handle_does_not_keep_the_model_alive():
    model = bert()
    attached(model, Robustness(rdrop=5.0))
    watched = weakref.ref(model)
    del model
    gc.collect()
    assert watched() is None


# scale


def test_terms_of_micro_batches_add_up_to_those_of_the_whole_batch(monkeypatch):
    def steady(self, module, inputs, output):
        self.used = True
        return output + 0.1 * torch.sin(100 * output) if self._half_width is not None else None

    monkeypatch.setattr(EmbeddingNoise, "_hook", steady)
    model, batch = learnt(llama()), padded(causal_batch(rows=4))
    counted = (batch["labels"][:, 1:] != -100).sum()
    with attached(model, Robustness(r3f=2.0)):
        whole = trained_loss(model, {**batch, "num_items_in_batch": counted})
        parts = [{name: value[part] for name, value in batch.items()} for part in (slice(0, 1), slice(1, 4))]
        added = sum(trained_loss(model, {**part, "num_items_in_batch": counted}) for part in parts)
        torch.testing.assert_close(added, whole)
        torch.testing.assert_close(trained_loss(model, batch), whole)  # without the number: a mean


def test_a_model_that_ignores_the_number_of_items_gets_terms_in_its_own_scale():
    # BertForSequenceClassification takes further keywords, so a Trainer passes the number; its loss is a mean.
    model, batch = learnt(bert()), classified_batch()
    with attached(model, Robustness(rdrop=2.0)):
        mean = trained_loss(model, batch)
        told = trained_loss(model, {**batch, "num_items_in_batch": torch.tensor(12)})
    torch.testing.assert_close(told, mean)


def test_prompt_and_padding_are_not_compared():
    logits = torch.randn(2, 4, 5)
    labels = torch.tensor([[-100, -100, 3, 1], [-100, 2, -100, -100]])
    answer = read_answer(logits, labels)
    assert answer.rows.tolist() == [0, 0, 1]
    assert answer.targets.tolist() == [3, 1, 2]
    torch.testing.assert_close(
        answer.losses.mean(), F.cross_entropy(logits[:, :-1].reshape(-1, 5), labels[:, 1:].reshape(-1))
    )


def test_symmetric_kl_is_both_divergences_and_zero_for_equal_answers():
    labels = torch.tensor([0, 2])
    one, other = (read_answer(torch.randn(2, 3), labels) for _ in range(2))
    both = [
        F.kl_div(b.log_probabilities, a.log_probabilities, log_target=True, reduction="none").sum(-1)
        for a, b in ((one, other), (other, one))
    ]
    torch.testing.assert_close(symmetric_kl(one, other), sum(both))
    assert not symmetric_kl(one, one).any()


def test_a_bfloat16_model_gets_its_terms_in_float32():
    model = learnt(llama()).to(torch.bfloat16)
    with attached(model, Robustness(r3f=1.0, r3f_noise=0.1, worst_slice=0.1)):
        loss = trained_loss(model, {**causal_batch(), "slice_ids": torch.tensor([0, 1, 1])})
    assert loss.dtype == torch.float32
    loss.backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize(("build", "data"), [(bert, classified_batch), (dropping_llama, causal_batch)])
def test_gradient_checkpointing_changes_no_gradient(build, data):
    flags = Robustness(rdrop=0.7, r3f=2.0, r3f_noise=0.1)

    def gradients(*, checkpointing):
        model = learnt(build())
        if checkpointing:
            model.enable_input_require_grads()
            model.gradient_checkpointing_enable({"use_reentrant": False})
        with attached(model, flags):
            trained_loss(model, data()).backward()
        return [p.grad for p in model.parameters() if p.requires_grad]

    for one, other in zip(gradients(checkpointing=False), gradients(checkpointing=True), strict=True):
        torch.testing.assert_close(one, other)


def test_a_compiled_model_gets_the_same_loss():
    model, batch = learnt(bert()), classified_batch()
    with attached(model, Robustness(r3f=2.0, r3f_noise=0.1)):
        plain = trained_loss(model, batch)
        torch.testing.assert_close(trained_loss(torch.compile(model, backend="eager"), batch), plain)


# what is refused


@pytest.mark.parametrize(
    ("flags", "error", "says"),
    [
        ({"rdrop": 0.0}, ValueError, r"rdrop: expected a number above 0, found 0.0. To turn it off, leave it out"),
        ({"r3f": float("nan")}, ValueError, "found nan"),
        ({"delta_decay": -1}, ValueError, "found -1"),
        ({"trust_ratio": "0.5"}, TypeError, "found '0.5'"),
        ({"worst_slice": True}, TypeError, "found True"),
        ({"r3f": 1.0, "r3f_noise": -1e-5}, ValueError, "r3f_noise"),
        ({"r3f": 1.0, "neftune_alpha": 5.0}, ValueError, "Give one of them"),
    ],
)
def test_a_strength_that_means_nothing_is_refused(flags, error, says):
    with pytest.raises(error, match=says):
        Robustness(**flags)


def test_everything_is_off_by_default_and_frozen():
    flags = Robustness()
    assert flags.on == ""
    assert not any((flags.adds_to_the_loss, flags.guards, flags.touches_embeddings))
    with pytest.raises(dataclasses.FrozenInstanceError):
        flags.rdrop = 1.0


def test_rdrop_without_dropout_is_refused_before_training():
    with pytest.raises(ValueError, match="PeftModelForCausalLM has no dropout above 0, so it would do nothing"):
        attached(llama(), Robustness(rdrop=1.0))
    attached(dropping_llama(), Robustness(rdrop=1.0)).detach()


def test_rdrop_whose_dropout_is_set_and_not_used_is_refused_at_the_first_batch():
    model = llama()
    model.unused_dropout = 0.1
    with attached(model, Robustness(rdrop=1.0)), pytest.raises(ValueError, match="no dropout is active"):
        trained_loss(model, causal_batch())


def test_a_batch_without_labels_is_refused():
    model = bert()
    without = {name: value for name, value in classified_batch().items() if name != "labels"}
    says = r"need `labels`.*found only \['attention_mask', 'input_ids'\].*compute_loss_func"
    with pytest.raises(ValueError, match=says):
        attached(model, Robustness(rdrop=1.0), batch=without)
    with attached(model, Robustness(rdrop=1.0)), pytest.raises(ValueError, match=says):
        trained_loss(model, without)
    with attached(model, Robustness(neftune_alpha=5.0), batch=without):  # needs none
        model.train()(**without)


@pytest.mark.parametrize(
    ("ids", "says"),
    [
        (None, "found none. Keep the column.*remove_unused_columns=False"),
        (torch.tensor([0, 1]), r"\[4\], found torch.int64 \[2\]"),
        (torch.tensor([0, 1, -1, 0]), "0 or more"),
        (torch.rand(4), "found torch.float32"),
    ],
)
def test_slice_ids_that_are_none_are_refused(ids, says):
    batch = classified_batch() | ({} if ids is None else {"slice_ids": ids})
    with attached(bert(), Robustness(worst_slice=0.1)) as handle, pytest.raises(ValueError, match=says):
        trained_loss(handle._model, batch)
    with pytest.raises(ValueError, match=says):
        attached(bert(), Robustness(worst_slice=0.1), batch=batch)


@pytest.mark.parametrize(
    ("flags", "options", "says"),
    [
        ({"r3f": 1.0}, {"label_smoothing_factor": 0.1}, "with r3f, TrainingArguments.label_smoothing_factor"),
        ({"neftune_alpha": 5.0}, {"neftune_noise_alpha": 5.0}, "neftune_noise_alpha must be None"),
        ({"worst_slice": 0.1}, {}, "remove_unused_columns must be False"),
    ],
)
def test_arguments_that_go_past_a_flag_are_refused(tmp_path, flags, options, says):
    arguments = TrainingArguments(output_dir=str(tmp_path), report_to=[], use_cpu=True, **options)
    with pytest.raises(ValueError, match=says):
        attached(bert(), Robustness(**flags), arguments=arguments)


def test_noise_that_rounding_swallows_is_refused():
    model = llama().to(torch.bfloat16)
    with pytest.raises(ValueError, match=r"r3f_noise 1e-05 is lost in the rounding of torch\.bfloat16"):
        attached(model, Robustness(r3f=1.0))


def test_a_model_without_embeddings_is_refused():
    with pytest.raises(ValueError, match="Linear has none"):
        attached(nn.Linear(2, 2), Robustness(neftune_alpha=5.0))


def test_r3f_on_vectors_in_place_of_ids_is_refused():
    model, batch = llama(), causal_batch()
    batch["inputs_embeds"] = model.get_input_embeddings()(batch.pop("input_ids")).detach()
    with attached(model, Robustness(r3f=1.0)), pytest.raises(ValueError, match="did not call them"):
        trained_loss(model, batch)


def test_positional_arguments_are_refused():
    model, batch = bert().train(), classified_batch()
    with attached(model, Robustness(rdrop=1.0)), pytest.raises(ValueError, match="named arguments only"):
        model(batch["input_ids"], labels=batch["labels"])


def test_a_regression_and_labels_of_another_task_are_refused():
    bare = bare_bert()
    with attached(bare, Robustness(rdrop=1.0)), pytest.raises(ValueError, match="need a choice among classes"):
        trained_loss(bare, {**classified_batch(), "labels": torch.rand(4, 3)})
    with pytest.raises(ValueError, match=r"found logits \[2, 3, 4\] and labels \[2\]"):
        read_answer(torch.zeros(2, 3, 4), torch.zeros(2, dtype=torch.long))


def test_worst_slice_refuses_a_loss_that_is_not_the_cross_entropy():
    class Weighted(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = bare_bert()

        def forward(self, **named):
            out = self.inner(**named)
            out["loss"] = 3 * out["loss"]
            return out

    model = Weighted()
    batch = {**classified_batch(), "slice_ids": torch.tensor([0, 0, 1, 1])}
    with attached(model, Robustness(worst_slice=0.1)), pytest.raises(ValueError, match="without class weights"):
        trained_loss(model, batch)


def test_an_output_that_is_a_tuple_is_answered_with_a_tuple():
    model, batch = bare_llama(), causal_batch()
    plain = trained_loss(model, batch)
    with attached(model, Robustness(r3f=1.0, r3f_noise=0.1)):
        torch.manual_seed(5)
        out = model(**batch, return_dict=False)
    assert isinstance(out, tuple)
    assert out[0] > plain


def test_the_learning_rate_of_the_adapter_is_found_among_the_groups():
    model = bert()
    mine = [p for name, p in model.named_parameters() if "rsa_delta" in name]
    head = [p for name, p in model.named_parameters() if "modules_to_save" in name]
    optimizer = torch.optim.AdamW([{"params": head, "lr": 0.5}, {"params": mine, "lr": 0.25}])
    assert adapter_learning_rate(optimizer, model) == 0.25
    with pytest.raises(ValueError, match="no values of the adapter 'default'"):
        adapter_learning_rate(torch.optim.AdamW(head), model)
