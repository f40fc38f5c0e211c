"""Kinds of models and ways to name targets: what is adapted, what is left, what is refused."""

from __future__ import annotations

import copy

import pytest
import torch
from peft import get_peft_model
from torch import nn
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)
from tuner_models import bare_bert, bare_llama, causal_batch, classified_batch, learnt, llama

from rsa_ops.tuners import RsaConfig, score_blocks, select_blocks

STRUCTURES = ["columns", "spread", "subnet", "tiles", "elements"]
PROJECTIONS = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


def adapted(model):
    return [n.removeprefix("base_model.model.") for n, m in model.named_modules() if hasattr(m, "rsa_delta")]


def logits(model, batch=None):
    with torch.no_grad():
        return model.eval()(**(batch or causal_batch())).logits


def step(model, batch, rate=0.5):
    model.train()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=rate)
    loss = model(**batch).loss
    loss.backward()
    optimizer.step()
    return loss.item()


def gpt2():
    torch.manual_seed(0)
    size = {"vocab_size": 40, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 32}
    quiet = {"attn_pdrop": 0.0, "resid_pdrop": 0.0, "embd_pdrop": 0.0}
    return GPT2LMHeadModel(GPT2Config(**size, **quiet, bos_token_id=1, eos_token_id=2))


def t5():
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=40,
        d_model=16,
        d_kv=8,
        d_ff=24,
        num_layers=2,
        num_heads=2,
        dropout_rate=0.0,
        feed_forward_proj="gated-gelu",
        decoder_start_token_id=0,
    )
    return T5ForConditionalGeneration(config)


def translated_batch():
    ids = torch.randint(1, 40, (3, 7), generator=torch.Generator().manual_seed(0))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids[:, :5].clone()}


def mixtral():
    torch.manual_seed(0)
    config = MixtralConfig(
        vocab_size=40,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        num_local_experts=4,
        num_experts_per_tok=1,
    )
    return MixtralForCausalLM(config)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {f"{layer}.{p}" for layer in "01" for p in PROJECTIONS}),
        (
            {"target_modules": ["q_proj", "v_proj"]},
            {f"{layer}.{p}" for layer in "01" for p in ("q_proj", "v_proj")},
        ),
        ({"target_modules": r".*layers\.1\..*(gate|up)_proj"}, {"1.gate_proj", "1.up_proj"}),
        ({"target_modules": ["model.layers.0.mlp.up_proj"]}, {"0.up_proj"}),
        ({"target_modules": None}, {f"{layer}.{p}" for layer in "01" for p in ("q_proj", "v_proj")}),  # LoRA's
        ({"target_modules": ["down_proj"], "layers_to_transform": [1]}, {"1.down_proj"}),
        ({"target_modules": ["down_proj"], "layers_to_transform": 0, "layers_pattern": "layers"}, {"0.down_proj"}),
        (
            {"exclude_modules": ["k_proj", "v_proj", "o_proj"], "target_modules": r".*self_attn\.\w+"},
            {"0.q_proj", "1.q_proj"},
        ),
        ({"exclude_modules": r".*layers\.0.*"}, {f"1.{p}" for p in PROJECTIONS}),
    ],
)
def test_targets_are_named_as_for_lora(options, expected):
    found = {f"{name.split('.')[2]}.{name.rpartition('.')[2]}" for name in adapted(llama(**options))}
    assert found == expected


@pytest.mark.parametrize("mode", ["additive", "resident"])
@pytest.mark.parametrize("structure", STRUCTURES)
def test_gpt2_keeps_its_weights_transposed(structure, mode):
    bare, base = gpt2(), logits(gpt2())
    kept = {name: p.clone() for name, p in bare.named_parameters()}
    model = learnt(get_peft_model(bare, RsaConfig(density=0.25, structure=structure, tile=4, mode=mode)))
    assert {name.rpartition(".")[2] for name in adapted(model)} == {"c_attn", "c_proj", "c_fc"}
    reference = gpt2()
    for name, module in model.named_modules():
        if hasattr(module, "rsa_delta"):
            plain = reference.get_submodule(name.removeprefix("base_model.model."))
            plain.weight.data += module.get_delta_weight("default").T
    output = logits(model)
    torch.testing.assert_close(output, logits(reference), atol=1e-5, rtol=1e-5)
    model.merge_adapter()
    torch.testing.assert_close(logits(model), output, atol=1e-5, rtol=1e-5)
    model.unmerge_adapter()
    assert torch.equal(logits(model), output)
    with model.disable_adapter():
        assert torch.equal(logits(model), base)
    assert step(model, causal_batch()) > step(model, causal_batch())
    plain = model.unload()
    assert all(torch.equal(p, kept[name]) for name, p in plain.named_parameters())


def test_gpt2_trains_alike_in_both_modes():
    def trained(mode):
        model = get_peft_model(gpt2(), RsaConfig(density=0.25, mode=mode))
        for seed in range(4):
            step(model, causal_batch(seed=seed), rate=0.2)
        return logits(model)

    torch.testing.assert_close(trained("resident"), trained("additive"), atol=1e-4, rtol=1e-4)


def test_a_tied_output_head_is_left_out_by_all_linear_and_adapted_when_named():
    assert "lm_head" not in adapted(llama())
    with pytest.warns(UserWarning, match="tie_word_embeddings"):
        model = learnt(llama(target_modules=["lm_head", "q_proj"]))
    embedding = bare_llama().model.embed_tokens.weight
    assert not torch.allclose(logits(model), logits(bare_llama()))
    step(model, causal_batch())
    assert torch.equal(model.get_input_embeddings().weight, embedding)
    head = model.base_model.model.lm_head
    assert head.resident_adapter is None
    assert head.base_layer.weight is model.get_input_embeddings().weight
    assert model.base_model.model.model.layers[0].self_attn.q_proj.resident_adapter == "default"


@pytest.mark.filterwarnings("ignore:Model has")
def test_what_a_tied_head_can_not_do_is_refused():
    with pytest.raises(RuntimeError, match=r"mode='resident' is not possible.*its weight is tied.*mode='auto'"):
        logits(llama(target_modules=["lm_head"], mode="resident"))
    model = learnt(llama(target_modules=["lm_head", "q_proj"]))
    output = logits(model)
    for merge in (model.merge_adapter, model.merge_and_unload):
        with pytest.raises(ValueError, match=r"'model.lm_head' shares its weight.*tie_word_embeddings=False"):
            merge()
    assert torch.equal(logits(model), output)


@pytest.mark.filterwarnings("ignore:Model has")
def test_a_second_adapter_in_a_tied_head_leaves_the_embedding_alone():
    model = learnt(llama())
    model.add_adapter("head", RsaConfig(density=0.5, target_modules=["lm_head"]))
    learnt(model, "head").set_adapter("head")
    assert not torch.allclose(logits(model), logits(bare_llama()))
    assert torch.equal(model.get_input_embeddings().weight, bare_llama().model.embed_tokens.weight)


def test_an_untied_head_is_adapted_and_merged():
    config = bare_llama().config
    config.tie_word_embeddings = False
    model = learnt(get_peft_model(LlamaForCausalLM(config), RsaConfig(density=0.5, target_modules=["lm_head"])))
    output = logits(model)
    assert model.base_model.model.lm_head.resident_adapter == "default"
    torch.testing.assert_close(logits(model.merge_and_unload()), output, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("mode", ["additive", "resident"])
def test_an_encoder_decoder_shares_columns_only_where_inputs_are_one(mode):
    model = get_peft_model(t5(), RsaConfig(density=0.25, mode=mode, task_type="SEQ_2_SEQ_LM"))
    names = adapted(model)
    assert "lm_head" not in names
    assert {name.rpartition(".")[2] for name in names} == {"q", "k", "v", "o", "wi_0", "wi_1", "wo"}
    layer = model.base_model.model.decoder.block[0].layer
    deltas = {n: m.rsa_delta["default"] for n, m in layer.named_modules() if hasattr(m, "rsa_delta")}
    own, cross = "0.SelfAttention", "1.EncDecAttention"
    assert deltas[f"{own}.k"].leader is deltas[f"{own}.v"].leader is deltas[f"{own}.q"]
    assert deltas[f"{cross}.q"].leader is deltas[f"{cross}.q"]  # reads the decoder, the other two the encoder
    assert deltas[f"{cross}.v"].leader is deltas[f"{cross}.k"]
    scores = score_blocks(model, [translated_batch()])
    assert len(scores) == len(names)
    select_blocks(model, "default", scores)
    losses = [step(model, translated_batch(), rate=0.3) for _ in range(6)]
    assert losses[-1] < losses[0]
    with model.disable_adapter():
        assert torch.equal(logits(model, translated_batch()), logits(t5(), translated_batch()))
    assert (
        model.generate(**{k: v for k, v in translated_batch().items() if k != "labels"}, max_new_tokens=3).shape[0]
        == 3
    )


def test_an_encoder_decoder_trains_alike_in_both_modes():
    def trained(mode):
        model = get_peft_model(t5(), RsaConfig(density=0.25, mode=mode))
        for _ in range(3):
            step(model, translated_batch(), rate=0.3)
        return logits(model, translated_batch())

    torch.testing.assert_close(trained("resident"), trained("additive"), atol=1e-4, rtol=1e-4)


def test_an_encoder_leaves_its_head_out():
    model = get_peft_model(bare_bert(), RsaConfig(density=0.25, task_type="SEQ_CLS"))
    assert "classifier" not in adapted(model)
    assert "bert.pooler.dense" in adapted(model)
    losses = [step(model, classified_batch(), rate=0.1) for _ in range(5)]
    assert losses[-1] < losses[0]


def test_experts_that_are_one_parameter_are_left_frozen_and_the_rest_is_adapted():
    model = get_peft_model(mixtral(), RsaConfig(density=0.25))
    names = {name.rpartition(".")[2] for name in adapted(model)}
    assert names == {"q_proj", "k_proj", "v_proj", "o_proj"}
    assert not any(p.requires_grad for n, p in model.named_parameters() if "experts" in n)
    losses = [step(model, causal_batch(), rate=0.3) for _ in range(4)]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("target", ["experts", "gate"])
def test_experts_that_are_one_parameter_are_refused_when_named(target):
    with pytest.raises(TypeError, match=rf"'model.layers.0.mlp.{target}': expected a linear layer, found Mixtral"):
        get_peft_model(mixtral(), RsaConfig(target_modules=[target]))


class Experts(nn.Module):
    """Experts as layers: only those that a token chooses run."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.experts = nn.ModuleList(
            nn.ModuleDict({"w1": nn.Linear(6, 8), "w3": nn.Linear(6, 8), "w2": nn.Linear(8, 6)}) for _ in range(3)
        )

    def forward(self, x, chosen):
        out = torch.zeros_like(x)
        for number, expert in enumerate(self.experts):
            rows = (chosen == number).nonzero().flatten()
            if rows.numel():
                inside = torch.tanh(expert["w1"](x[rows])) * expert["w3"](x[rows])
                out = out.index_add(0, rows, expert["w2"](inside))
        return out


@pytest.mark.parametrize("mode", ["additive", "resident"])
def test_an_idle_expert_keeps_its_places_and_learns_nothing(mode):
    model = get_peft_model(Experts(), RsaConfig(density=0.4, target_modules=["w1", "w2", "w3"], mode=mode))
    batch = {"x": torch.randn(5, 6), "chosen": torch.tensor([0, 0, 1, 1, 0])}
    scores = score_blocks(model, [batch], lambda m, b: m(**b).square().sum())
    assert {name.split(".")[-2] for name in scores} == {"0", "1"}  # nothing is known of the third
    select_blocks(model, "default", scores)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.1)
    model(**batch).square().sum().backward()
    optimizer.step()
    moved = {n.split(".")[3] for n, p in model.named_parameters() if "rsa_delta" in n and p.any()}
    assert moved == {"0", "1"}
    model(torch.randn(5, 6), torch.tensor([2, 2, 2, 0, 1])).sum().backward()


def test_a_multi_head_attention_of_torch_is_refused_with_what_to_do():
    attention = nn.ModuleDict({"attention": nn.MultiheadAttention(8, 2)})
    with pytest.raises(TypeError, match=r"read as a weight and never called.*exclude_modules"):
        get_peft_model(attention, RsaConfig(target_modules=["out_proj"]))


def test_what_is_refused_leaves_the_model_as_it_was():
    for options in ({"target_modules": ["q_proj", "embed_tokens"]}, {"r": 1000}, {"target_modules": ["q_prj"]}):
        bare = bare_llama()
        names, learning = [n for n, _ in bare.named_modules()], [p.requires_grad for p in bare.parameters()]
        with pytest.raises((TypeError, ValueError)):
            get_peft_model(bare, RsaConfig(**options))
        assert [n for n, _ in bare.named_modules()] == names
        assert [p.requires_grad for p in bare.parameters()] == learning
        model = learnt(get_peft_model(copy.deepcopy(bare), RsaConfig(density=0.25)))
        answers = logits(model)
        with pytest.raises((TypeError, ValueError)):
            model.add_adapter("wrong", RsaConfig(**options))
        assert list(model.peft_config) == ["default"]
        assert torch.equal(logits(model), answers)
        assert not any("wrong" in n for n, _ in model.named_modules())
        assert {n.split(".")[-2] for n, p in model.named_parameters() if p.requires_grad} == {"default"}


@pytest.mark.parametrize("mode", ["additive", "resident"])
def test_transformers_own_adapters(mode, tmp_path):
    model = bare_llama()
    model.add_adapter(RsaConfig(density=0.25, mode=mode))
    base = logits(model)
    assert torch.equal(base, logits(bare_llama()))
    assert {n.split(".")[-2] for n, p in model.named_parameters() if p.requires_grad} == {"default"}
    for _ in range(2):
        step(model, causal_batch())
    first = logits(model)
    model.add_adapter(RsaConfig(density=0.25, seed=4), adapter_name="other")
    learnt(model, "other")
    second = logits(model)
    assert not torch.allclose(first, second)
    model.set_adapter("default")
    assert torch.equal(logits(model), first)
    model.disable_adapters()
    assert torch.equal(logits(model), base)
    model.enable_adapters()
    assert torch.equal(logits(model), first)
    model.set_adapter("other")
    model.save_pretrained(tmp_path)
    loaded = bare_llama()
    loaded.load_adapter(tmp_path)
    assert torch.equal(logits(loaded), second)
    model.delete_adapter("other")
    assert not any("other" in name for name, _ in model.named_modules())
