"""What a task asks of a base model: a prompt, a tokenizer that can pad, weights that are whole."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from transformers import AutoModelForCausalLM

from rsa_ops.errors import ExitCode, IntegrityError, MissingError
from rsa_ops.models.task import ModelConfig, Task, load_base_model, load_tokenizer, pick_device

IDS = torch.tensor([[4, 7, 8, 9]])


@pytest.mark.parametrize(
    "prompt", ["Report:", "{txt} Report:", "{text} {text}", "{} Report:", "{text} {other}", "{"]
)
def test_a_prompt_that_does_not_hold_the_text_once_is_refused(prompt: str) -> None:
    with pytest.raises(ValidationError, match=r"prompt|'\{'"):
        ModelConfig(base="x", prompt=prompt)


@pytest.mark.parametrize("text", ["plain", "{braces}", "{0} and {text}", "100 %s"])
def test_a_text_stands_in_the_prompt_as_it_is(text: str) -> None:
    assert ModelConfig(base="x", prompt="Q: {text}\nA:").prompt.format(text=text) == f"Q: {text}\nA:"
    assert ModelConfig(base="x", prompt='{{"q": "{text}"}}').prompt.format(text=text) == f'{{"q": "{text}"}}'


def test_a_tokenizer_without_padding_pads_with_its_end(causal: Path, encoder: Path) -> None:
    assert load_tokenizer(causal).pad_token == "</s>"
    assert load_tokenizer(encoder).pad_token == "[PAD]"  # and one that has it keeps it
    assert set(load_tokenizer(encoder)("word1")) == {"input_ids", "attention_mask"}


def test_a_language_model_is_loaded_as_it_is(causal: Path) -> None:
    # transformers' own loader is the reference
    reference = AutoModelForCausalLM.from_pretrained(str(causal), dtype=torch.float32).eval()
    loaded = load_base_model(causal, ModelConfig(base=str(causal)), "generation", (), seed=3).eval()
    with torch.no_grad():
        assert torch.equal(loaded(IDS).logits, reference(IDS).logits)


@pytest.mark.parametrize(("dtype", "expected"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
@pytest.mark.parametrize("task", ["classification", "generation"])
def test_every_weight_has_the_type_that_is_asked_for(
    encoder: Path, causal: Path, task: Task, dtype: str, expected: torch.dtype
) -> None:
    base = encoder if task == "classification" else causal
    config = ModelConfig.model_validate({"base": str(base), "dtype": dtype})
    model = load_base_model(base, config, task, ("a", "b"), seed=0)
    assert {value.dtype for value in model.parameters()} == {expected}


def test_half_a_weight_file_is_a_matter_of_integrity(encoder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(encoder, tmp_path / "base"))
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(IntegrityError, match="weights are damaged") as caught:
        load_base_model(folder, ModelConfig(base=str(folder)), "classification", ("a", "b"), seed=0)
    assert caught.value.exit_code is ExitCode.INTEGRITY
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize("kept", ["tokenizer_config.json", None])
@pytest.mark.parametrize("kind", ["encoder", "causal"])
def test_a_model_without_its_tokenizer_is_named(
    kind: str, kept: str | None, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    # For a known architecture transformers makes up an empty tokenizer, to which every word is [UNK].
    folder = Path(shutil.copytree(request.getfixturevalue(kind), tmp_path / "base"))
    for file in folder.glob("tokenizer*"):
        if file.name != kept:
            file.unlink()
    if kept:
        settings = json.loads((folder / kept).read_text())
        settings["tokenizer_class"] = {"encoder": "BertTokenizer", "causal": "GPT2Tokenizer"}[kind]
        (folder / kept).write_text(json.dumps(settings))
    with pytest.raises(MissingError, match="has no tokenizer") as caught:
        load_tokenizer(folder)
    assert caught.value.exit_code is ExitCode.MISSING


def test_a_tokenizer_that_cannot_end_or_pad_is_refused(causal: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(causal, tmp_path / "base"))
    (folder / "tokenizer_config.json").unlink()
    with pytest.raises(MissingError, match="neither padding nor end token"):
        load_tokenizer(folder)


def test_the_device_is_one_that_torch_has() -> None:
    assert pick_device() == ("cuda" if torch.cuda.is_available() else "cpu")
