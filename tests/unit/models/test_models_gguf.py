"""A GGUF file becomes the model that it holds, once and whole."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import gguf
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

from rsa_ops.core.digest import digest_bytes
from rsa_ops.models.base import ASSETS, resolve_base
from rsa_ops.models.gguf import converted_folder

HIDDEN, INNER, HEADS, LAYERS = 64, 96, 2, 2
LETTERS = [chr(code) for code in range(ord("a"), ord("z") + 1)]
WORDS = ["<s>", "</s>", *LETTERS, "Ġ", "at"]
QUANTISED = gguf.GGMLQuantizationType.Q8_0


def write_gguf(path: Path) -> dict[str, np.ndarray]:
    """A Llama with random weights, linear layers in Q8_0; returns what the file holds, by gguf's own reading."""
    rng = np.random.default_rng(0)
    out = gguf.GGUFWriter(path, "llama")
    out.add_block_count(LAYERS)
    out.add_context_length(64)
    out.add_embedding_length(HIDDEN)
    out.add_feed_forward_length(INNER)
    out.add_head_count(HEADS)
    out.add_head_count_kv(HEADS)
    out.add_layer_norm_rms_eps(1e-5)
    out.add_rope_freq_base(10000.0)
    out.add_vocab_size(len(WORDS))
    out.add_tokenizer_model("gpt2")
    out.add_tokenizer_pre("smollm")
    out.add_token_list(WORDS)
    out.add_token_types([3, 3, *[1] * (len(WORDS) - 2)])
    out.add_token_merges(["a t"])
    out.add_bos_token_id(0)
    out.add_eos_token_id(1)
    shapes = {"attn_q": (HIDDEN, HIDDEN), "attn_k": (HIDDEN, HIDDEN), "attn_v": (HIDDEN, HIDDEN)}
    shapes |= {"attn_output": (HIDDEN, HIDDEN), "ffn_gate": (INNER, HIDDEN), "ffn_up": (INNER, HIDDEN)}
    shapes |= {"ffn_down": (HIDDEN, INNER)}
    held: dict[str, np.ndarray] = {}

    def add(name: str, value: np.ndarray, *, quantised: bool) -> None:
        stored = gguf.quantize(value, QUANTISED) if quantised else value
        held[name] = gguf.dequantize(stored, QUANTISED) if quantised else value
        out.add_tensor(name, stored, raw_dtype=QUANTISED if quantised else None)

    add("token_embd.weight", rng.normal(size=(len(WORDS), HIDDEN)).astype(np.float32), quantised=False)
    add("output_norm.weight", rng.normal(size=HIDDEN).astype(np.float32), quantised=False)
    for layer in range(LAYERS):
        for name, shape in shapes.items():
            add(f"blk.{layer}.{name}.weight", rng.normal(size=shape).astype(np.float32), quantised=True)
        for name in ("attn_norm", "ffn_norm"):
            add(f"blk.{layer}.{name}.weight", rng.normal(size=HIDDEN).astype(np.float32), quantised=False)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()
    return held


def unpermuted(weight: np.ndarray) -> np.ndarray:
    """GGUF keeps the two halves of a rotary pair side by side; transformers one after the other (llama.cpp)."""
    pairs = weight.reshape(HEADS, weight.shape[0] // HEADS // 2, 2, weight.shape[1])
    return pairs.swapaxes(1, 2).reshape(weight.shape)


PLACES = {
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}


@pytest.fixture
def source(tmp_path: Path) -> tuple[Path, dict[str, np.ndarray]]:
    path = tmp_path / "source" / "tiny.gguf"
    path.parent.mkdir()
    return path, write_gguf(path)


def test_every_weight_is_the_dequantised_one(source: tuple[Path, dict[str, np.ndarray]], tmp_path: Path) -> None:
    path, held = source
    found = load_file(converted_folder(path, digest_bytes(path.read_bytes()), tmp_path) / "model.safetensors")
    assert {value.dtype for value in found.values()} == {np.dtype(np.float32)}
    np.testing.assert_array_equal(found["model.embed_tokens.weight"], held["token_embd.weight"])
    np.testing.assert_array_equal(found["model.norm.weight"], held["output_norm.weight"])
    for layer in range(LAYERS):
        for name, place in PLACES.items():
            converted = found[f"model.layers.{layer}.{place}.weight"]
            np.testing.assert_array_equal(converted, held[f"blk.{layer}.{name}.weight"], err_msg=name)
        for name in "qk":
            converted = found[f"model.layers.{layer}.self_attn.{name}_proj.weight"]
            np.testing.assert_array_equal(converted, unpermuted(held[f"blk.{layer}.attn_{name}.weight"]))


def test_the_tokenizer_comes_along(source: tuple[Path, dict[str, np.ndarray]], tmp_path: Path) -> None:
    from rsa_ops.models.task import load_tokenizer

    path, _ = source
    tokenizer = load_tokenizer(converted_folder(path, digest_bytes(b"1"), tmp_path))
    assert tokenizer.convert_ids_to_tokens(tokenizer("cat", add_special_tokens=False)["input_ids"]) == ["c", "at"]
    assert tokenizer.eos_token == "</s>"


def test_a_crash_leaves_nothing_that_looks_finished(
    source: tuple[Path, dict[str, np.ndarray]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import PreTrainedTokenizerBase

    path, _ = source
    digest = digest_bytes(b"1")

    def crash(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(PreTrainedTokenizerBase, "save_pretrained", crash)  # the weights are written by then
        converted_folder(path, digest, tmp_path / "cache")
    assert [file for file in (tmp_path / "cache").rglob("*") if file.is_file()] == []
    folder = converted_folder(path, digest, tmp_path / "cache")
    assert resolve_base(str(folder)).folder == folder


def test_another_source_has_another_folder_and_the_same_one_is_not_converted_again(
    source: tuple[Path, dict[str, np.ndarray]], tmp_path: Path
) -> None:
    path, _ = source
    first = converted_folder(path, digest_bytes(b"1"), tmp_path)
    assert converted_folder(path, digest_bytes(b"2"), tmp_path) != first
    path.unlink()
    assert converted_folder(path, digest_bytes(b"1"), tmp_path) == first


def test_the_embedded_language_model_holds_the_weights_of_its_file() -> None:
    asset = ASSETS["smollm2-135m"]
    try:
        file = Path(str(distribution(asset.package).locate_file(asset.folder))) / asset.pinned_file
    except PackageNotFoundError:
        pytest.skip(f"{asset.package} is not installed (make setup)")
    folder = resolve_base("asset:smollm2-135m").folder
    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(file).tensors}
    with safe_open(folder / "model.safetensors", framework="numpy") as converted:
        for layer in (0, 29):
            for name, place in PLACES.items():
                tensor = tensors[f"blk.{layer}.{name}.weight"]
                expected = gguf.dequantize(tensor.data, tensor.tensor_type)
                found = converted.get_tensor(f"model.layers.{layer}.{place}.weight")
                np.testing.assert_array_equal(found, expected, err_msg=f"{layer} {name}")
