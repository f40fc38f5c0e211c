"""What is refused before any training: messages say what was expected, found and where, and what to do."""

from __future__ import annotations

import pytest
import torch
from peft import PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from torch import nn
from tuner_models import TwoLayers, bare_llama, learnt, llama

from rsa_ops.tuners import RsaConfig


class Oddities(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.whole = nn.Linear(4, 4, bias=False)
        self.whole.weight = nn.Parameter(torch.ones(4, 4, dtype=torch.int8), requires_grad=False)
        self.empty = nn.Linear(4, 4, device="meta")
        self.table = nn.Embedding(5, 4)
        self.plain = nn.Linear(4, 4)

    def forward(self, x):
        return self.plain(x)


def adapt(**options):
    return get_peft_model(Oddities(), RsaConfig(**options))


REFUSED = {
    "no density": (
        lambda: RsaConfig(density=0.0),
        r"density: expected a share in \(0, 1\], found 0.0.*0.02 trains 2 %",
    ),
    "much density": (lambda: RsaConfig(density=1.5), "expected a share in .* found 1.5"),
    "two budgets": (lambda: RsaConfig(density=0.1, r=3), "expected one budget, found two .*Keep `density`"),
    "a budget too large": (
        lambda: adapt(r=9, target_modules=["plain"]),
        r"r=9: no target module can hold .*the largest is 4x4. Lower r, or .*`modules_to_save`",
    ),
    "an unknown name": (
        lambda: llama(target_modules=["q_prj", "v_proj"]),
        "target_modules: no module of the model is called 'q_prj'. Did you mean 'q_proj'",
    ),
    "an unknown name among others": (
        lambda: llama().add_adapter("b", RsaConfig(target_modules=["mlp.up_porj"])),
        "no module of the model is called 'mlp.up_porj'. Did you mean '.*up_proj'",
    ),
    "an unknown pattern": (
        lambda: llama(target_modules=r".*\.q_prj"),
        r"the pattern '.*q_prj' matches no module's whole name. Did you mean 'q_proj'\?.*begin the pattern with",
    ),
    "an unknown budget": (
        lambda: llama(budget_pattern={"model.layers.0.mlp.up_prj": 1.0}),
        "budget_pattern: no module .*'model.layers.0.mlp.up_prj'. Did you mean 'model.layers.0.mlp.up_proj'",
    ),
    "integers": (
        lambda: adapt(target_modules=["whole"]),
        "'whole': expected a weight of floating point numbers, found torch.int8. Load the base model in bfloat16",
    ),
    "no values": (
        lambda: adapt(target_modules=["empty"]),
        "'empty': expected a weight with values, found one on the meta device. Load the base model's weights first",
    ),
    "a table": (
        lambda: adapt(target_modules=["table"]),
        "'table': expected a linear layer, found Embedding. Name linear layers .*`exclude_modules`",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_wrong_config_is_refused(case):
    attempt, says = REFUSED[case]
    with pytest.raises((TypeError, ValueError), match=says) as caught:
        attempt()
    assert 40 < len(str(caught.value)) < 400, "a sentence or three, not a wall"
    assert all(len(word) < 100 for word in str(caught.value).split())


def test_a_model_on_the_meta_device_is_refused_and_a_loaded_one_is_not():
    with torch.device("meta"):
        model = TwoLayers()
    with pytest.raises(TypeError, match=r"'first': expected a weight with values.*then add the adapter"):
        get_peft_model(model, RsaConfig(target_modules=["first"]))
    get_peft_model(model.to_empty(device="cpu"), RsaConfig(target_modules=["first"]))


def wider():
    config = bare_llama().config
    config.intermediate_size = 32
    return type(bare_llama())(config)


def test_an_adapter_of_another_base_is_refused(tmp_path):
    learnt(llama(structure="columns")).save_pretrained(tmp_path)
    with pytest.raises(
        ValueError, match=r"expected '.*layers.0.mlp.gate_proj.*' of shape \(32, 4\), found \(24, 4\)"
    ) as e:
        PeftModel.from_pretrained(wider(), tmp_path)
    assert str(e.value).endswith("load the base model that it names.")


def test_an_adapter_that_is_wrong_in_itself_is_refused(tmp_path):
    learnt(llama()).save_pretrained(tmp_path)
    file = tmp_path / "adapter_model.safetensors"
    whole = load_file(file)
    key = next(key for key in whole if key.endswith("columns"))
    save_file({**whole, key: whole[key] + 100}, file)
    with pytest.raises(ValueError, match=r"expected indices from 0 to 23 in '.*columns', found 1\d\d to 1\d\d"):
        PeftModel.from_pretrained(bare_llama(), tmp_path)
    save_file({k: v for k, v in whole.items() if k != key}, file)
    with pytest.raises(
        ValueError, match=r"expected a saved '.*columns', found none. It was trained on another base"
    ):
        PeftModel.from_pretrained(bare_llama(), tmp_path)


def test_resident_where_it_is_not_possible_says_why_and_what_else():
    with pytest.raises(RuntimeError, match=r"not possible in this layer: its weight is tied. Use mode='auto'"):
        model = llama(target_modules=["lm_head"], mode="resident")
        model(input_ids=torch.ones(1, 2, dtype=torch.long))


def test_a_weight_that_is_computed_carries_an_adapter_and_takes_no_merge():
    bare = TwoLayers()
    nn.utils.parametrizations.weight_norm(bare.first)
    x = torch.randn(2, 6)
    base = bare(x)
    model = learnt(get_peft_model(bare, RsaConfig(density=0.5, target_modules=["first"]))).eval()
    layer = model.base_model.model.first
    torch.testing.assert_close(layer(x), layer.base_layer(x) + x @ layer.get_delta_weight("default").T)
    with pytest.raises(
        TypeError, match="merge: expected a whole weight, found a Tensor, which is sharded or computed"
    ):
        model.merge_adapter()
    with model.disable_adapter():
        assert torch.equal(model(x), base)


def test_an_offloaded_base_is_refused_and_one_offloaded_afterwards_answers_the_same():
    from accelerate import cpu_offload
    from tuner_models import causal_batch

    batch = causal_batch()
    with torch.no_grad():
        expected = learnt(llama()).eval()(**batch).logits
        model = learnt(llama()).eval()
        model(**batch)
        cpu_offload(model, execution_device="cpu")
        torch.testing.assert_close(model(**batch).logits, expected)
    bare = bare_llama()
    cpu_offload(bare, execution_device="cpu")
    with pytest.raises(TypeError, match=r"on the meta device.*without offloading them \(device_map\)"):
        get_peft_model(bare, RsaConfig(density=0.25))
