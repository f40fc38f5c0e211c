"""The classifier on the mean of token states."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from rsa_ops.models.heads import MeanPoolClassifier
from rsa_ops.models.task import ModelConfig, load_base_model

LABELS = ("a", "b", "c")
IDS = torch.tensor([[2, 7, 8, 9, 3], [2, 10, 11, 12, 3]])


def head_on(folder: Path, seed: int = 0) -> MeanPoolClassifier:
    config = ModelConfig(base=str(folder))
    model = load_base_model(folder, config, "classification", LABELS, seed=seed)
    assert isinstance(model, MeanPoolClassifier)
    return model.eval()


@torch.no_grad()
def test_logits_are_the_linear_layer_on_the_mean_at_unit_rms(encoder: Path) -> None:
    model = head_on(encoder)
    states = model.encoder(IDS).last_hidden_state.double()
    mean = states.mean(dim=1)
    features = mean / (mean.square().mean(dim=1, keepdim=True)).sqrt()  # rms over the hidden units becomes 1
    by_hand = features @ model.classifier.weight.double().T + model.classifier.bias.double()
    torch.testing.assert_close(model(IDS).logits.double(), by_hand, atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("padding", [1, 7])
def test_padding_changes_no_logit(encoder: Path, padding: int) -> None:
    model = head_on(encoder)
    longer = torch.cat([IDS, torch.zeros(2, padding, dtype=torch.long)], dim=1)
    mask = (torch.arange(longer.shape[1]) < IDS.shape[1]).long().expand(2, -1)
    torch.testing.assert_close(model(longer, mask).logits, model(IDS).logits, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(model(longer).logits, model(IDS).logits, atol=1e-3)  # the mask matters


@torch.no_grad()
def test_a_row_without_a_token_has_the_bias_as_its_logits_and_no_nan(encoder: Path) -> None:
    model = head_on(encoder)
    mask = torch.ones_like(IDS)
    mask[1] = 0
    torch.testing.assert_close(model(IDS, mask).logits[1], model.classifier.bias)  # the mean of nothing is 0


@torch.no_grad()
def test_the_neighbours_in_a_batch_change_no_logit(encoder: Path) -> None:
    model = head_on(encoder)
    alone = torch.cat([model(row[None]).logits for row in IDS])
    torch.testing.assert_close(model(IDS).logits, alone, atol=1e-6, rtol=1e-5)


@torch.no_grad()
def test_embeddings_in_the_place_of_ids_give_the_same(encoder: Path) -> None:
    model = head_on(encoder)
    embedded = model.get_input_embeddings()(IDS)
    torch.testing.assert_close(model(inputs_embeds=embedded).logits, model(IDS).logits)


def test_every_parameter_of_the_classifier_is_reached_by_the_loss(encoder: Path) -> None:
    # BERT's pooler is not on the way from the mean to the logits: it would be counted, saved and never trained.
    model = head_on(encoder)
    model(IDS, labels=torch.tensor([0, 2])).loss.backward()
    assert [name for name, value in model.named_parameters() if value.grad is None] == []


def test_the_loss_of_an_even_guess_is_the_log_of_the_classes(encoder: Path) -> None:
    model = head_on(encoder)
    torch.nn.init.zeros_(model.classifier.weight)
    assert model(IDS, labels=torch.tensor([0, 2])).loss.item() == pytest.approx(math.log(3))


@torch.no_grad()
def test_the_seed_decides_the_new_head_and_nothing_else(encoder: Path) -> None:
    before = torch.random.get_rng_state()
    one, same, other = head_on(encoder, 1), head_on(encoder, 1), head_on(encoder, 2)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(one(IDS).logits, same(IDS).logits)
    assert not torch.equal(one.classifier.weight, other.classifier.weight)
    for (name, value), (_, again) in zip(
        one.encoder.named_parameters(), other.encoder.named_parameters(), strict=True
    ):
        assert torch.equal(value, again), name


@torch.no_grad()
def test_a_checkpoint_comes_back_whole(encoder: Path, tmp_path: Path) -> None:
    model = head_on(encoder)
    for value in model.parameters():
        value.add_(0.01 * torch.randn_like(value))
    model.save_pretrained(tmp_path)
    again = load_base_model(
        tmp_path, ModelConfig(base=str(encoder)), "classification", LABELS, seed=9, checkpoint=True
    )
    assert torch.equal(again.eval()(IDS).logits, model(IDS).logits)
    assert again.config.id2label == dict(enumerate(LABELS))


def test_the_models_own_head_can_be_kept(make_encoder: Callable[..., Path]) -> None:
    folder = make_encoder(kind="distilbert")
    config = ModelConfig(base=str(folder), head="model")
    model = load_base_model(folder, config, "classification", LABELS, seed=0)
    assert type(model).__name__ == "DistilBertForSequenceClassification"
    assert head_on(folder)(IDS).logits.shape == (2, 3)  # and the mean goes on any encoder
