"""Saving, loading and training on, in the ways of PEFT and transformers; a LoRA script with one line changed."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest
import torch
from peft import AutoPeftModelForCausalLM, PeftConfig, PeftModel, inject_adapter_in_model
from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict
from transformers import AutoModelForCausalLM, LlamaForCausalLM
from tuner_models import bare_llama, causal_batch, learnt, llama

from rsa_ops.tuners import RsaConfig

STRUCTURES = ["columns", "spread", "subnet", "tiles", "elements"]
MODES = ["additive", "resident"]


def logits(model):
    with torch.no_grad():
        return model.eval()(**causal_batch()).logits


def step(model, seed=0, rate=0.2):
    model.train()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=rate)
    model(**causal_batch(seed=seed)).loss.backward()
    optimizer.step()
    model.zero_grad()


def moved(model):
    """With places that no seed gives, as a selection leaves them."""
    for module in model.modules():
        if hasattr(module, "rsa_delta"):
            delta = module.rsa_delta["default"]
            if delta.leader is delta:
                limit = module.in_features
                delta.columns.copy_((delta.columns + 1) % limit)
    return learnt(model)


@pytest.fixture
def base(tmp_path):
    bare_llama().save_pretrained(tmp_path / "base")
    return tmp_path / "base"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("structure", STRUCTURES)
def test_every_way_of_loading_gives_the_same_answers(structure, mode, base, tmp_path):
    model = moved(llama(structure=structure, tile=4, mode=mode))
    model.peft_config["default"].base_model_name_or_path = str(base)
    answers = logits(model)
    model.save_pretrained(tmp_path / "adapter")
    stored = get_peft_model_state_dict(model)
    ways = [
        PeftModel.from_pretrained(bare_llama(), tmp_path / "adapter"),
        PeftModel.from_pretrained(bare_llama(), tmp_path / "adapter", low_cpu_mem_usage=True),
        PeftModel.from_pretrained(bare_llama(), tmp_path / "adapter", adapter_name="guest"),
        PeftModel.from_pretrained(bare_llama(), tmp_path / "adapter", is_trainable=True),
        AutoPeftModelForCausalLM.from_pretrained(tmp_path / "adapter"),
        AutoModelForCausalLM.from_pretrained(tmp_path / "adapter"),
    ]
    plain = bare_llama()
    plain.load_adapter(tmp_path / "adapter")
    injected = inject_adapter_in_model(PeftConfig.from_pretrained(tmp_path / "adapter"), bare_llama())
    set_peft_model_state_dict(injected, stored)
    for loaded in [*ways, plain, injected]:
        assert torch.equal(logits(loaded), answers)
    mine, theirs = stored, get_peft_model_state_dict(ways[0])
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[key], theirs[key]) and mine[key].dtype == theirs[key].dtype for key in mine)


@pytest.mark.parametrize("mode", MODES)
def test_training_goes_on_after_loading_as_if_nothing_had_been(mode, tmp_path):
    model = moved(llama(mode=mode))
    step(model)
    model.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(bare_llama(), tmp_path, is_trainable=True)
    names = {n for n, p in loaded.named_parameters() if p.requires_grad}
    assert names == {n for n, p in model.named_parameters() if p.requires_grad}
    for seed in range(1, 4):
        step(model, seed)
        step(loaded, seed)
    mine, theirs = get_peft_model_state_dict(model), get_peft_model_state_dict(loaded)
    assert all(torch.equal(mine[key], theirs[key]) for key in mine)
    assert not any(p.requires_grad for p in PeftModel.from_pretrained(bare_llama(), tmp_path).parameters())


@pytest.mark.parametrize("low_memory", [False, True])
def test_loading_over_a_running_resident_adapter(low_memory, tmp_path):
    model = moved(llama())
    answers = logits(model)
    model.save_pretrained(tmp_path)
    host = learnt(llama(seed=3))
    own = logits(host)
    host.load_adapter(tmp_path, "guest", low_cpu_mem_usage=low_memory)
    assert torch.equal(logits(host), own)
    host.set_adapter("guest")
    assert torch.equal(logits(host), answers)
    host.load_adapter(tmp_path, "default")  # over the old values, as a Trainer does when it resumes
    host.set_adapter("default")
    assert torch.equal(logits(host), answers)
    with host.disable_adapter():
        assert torch.equal(logits(host), logits(bare_llama()))


@pytest.mark.parametrize("safe", [True, False])
def test_two_adapters_are_saved_into_folders_of_their_own(safe, tmp_path):
    model = learnt(llama())
    model.add_adapter("other", RsaConfig(density=0.25, seed=4))
    learnt(model, "other")
    model.save_pretrained(tmp_path, safe_serialization=safe)
    for name, place in (("other", tmp_path / "other"), ("default", tmp_path)):
        model.set_adapter(name)
        assert torch.equal(logits(PeftModel.from_pretrained(bare_llama(), place)), logits(model))
    model.save_pretrained(tmp_path / "one", selected_adapters=["default"])
    assert not (tmp_path / "one" / "other").exists()


@pytest.mark.parametrize("mode", MODES)
def test_saving_the_whole_model_saves_the_base_as_it_was(mode, tmp_path):
    model = moved(llama(mode=mode))
    logits(model)
    for name, tensor in bare_llama().state_dict().items():
        plain = model.base_model.model.state_dict()
        assert torch.equal(plain.get(name, plain.get(name.replace(".weight", ".base_layer.weight"))), tensor)
    model.merge_and_unload().save_pretrained(tmp_path)
    merged = LlamaForCausalLM.from_pretrained(tmp_path)
    assert not torch.equal(logits(merged), logits(bare_llama()))


def test_a_process_without_the_import_says_the_name_of_the_method(tmp_path):
    llama().save_pretrained(tmp_path)
    script = """
        import sys
        from peft import PeftConfig
        try:
            PeftConfig.from_pretrained(sys.argv[1])
        except KeyError as error:
            print(repr(error))
        import rsa_ops.tuners
        print(type(PeftConfig.from_pretrained(sys.argv[1])).__name__)
    """
    call = [sys.executable, "-c", textwrap.dedent(script), tmp_path]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == ["KeyError('ROBUST_SPARSE')", "RsaConfig"], done.stderr


SCRIPT = """
    from peft import LoraConfig as Config
    import torch
    from peft import PeftModel, get_peft_model
    from transformers import Trainer, TrainingArguments
    from tuner_models import bare_llama, causal_batch

    rows = [{key: value[0] for key, value in causal_batch(rows=1, seed=seed).items()} for seed in range(16)]
    config = Config(r=2, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(bare_llama(), config)
    model.print_trainable_parameters()
    options = dict(per_device_train_batch_size=4, learning_rate=0.02, report_to=[], seed=1, use_cpu=True,
                   save_strategy="steps", save_steps=4, logging_steps=1, disable_tqdm=True,
                   lr_scheduler_type="constant")
    trainer = Trainer(model, TrainingArguments(folder, max_steps=8, **options), train_dataset=rows)
    trainer.train()
    model.save_pretrained(folder)
    again = PeftModel.from_pretrained(bare_llama(), folder)
    with torch.no_grad():
        assert torch.equal(again(**causal_batch()).logits, model.eval()(**causal_batch()).logits)
    second = get_peft_model(bare_llama(), Config(r=2, target_modules="all-linear", task_type="CAUSAL_LM"))
    resumed = Trainer(second, TrainingArguments(folder, max_steps=8, **options), train_dataset=rows)
    resumed.train(resume_from_checkpoint=folder + "/checkpoint-4")
"""


def run(script, folder):
    room = {"folder": str(folder)}
    exec(compile(textwrap.dedent(script), "script.py", "exec"), room)
    return room


def test_a_training_script_for_lora_changes_one_line(tmp_path):
    swapped = SCRIPT.replace(
        "from peft import LoraConfig as Config", "from rsa_ops.tuners import RsaConfig as Config"
    )
    changed = [a for a, b in zip(SCRIPT.splitlines(), swapped.splitlines(), strict=True) if a != b]
    assert len(changed) == 1
    for name, script in (("lora", SCRIPT), ("rsa", swapped)):
        room = run(script, tmp_path / name)
        losses = [entry["loss"] for entry in room["trainer"].state.log_history if "loss" in entry]
        assert losses[-1] < losses[0]
    assert isinstance(room["config"], RsaConfig)
    mine, theirs = (get_peft_model_state_dict(room[name]) for name in ("model", "second"))
    assert all(torch.equal(mine[key], theirs[key]) for key in mine), "resumed training is the same training"
