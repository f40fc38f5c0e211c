"""Turn a quantised GGUF file into a plain safetensors folder, once."""

from __future__ import annotations

from pathlib import Path

from rsa_ops.core.digest import Digest, short
from rsa_ops.files import fresh_folder


def converted_folder(gguf: Path, digest: Digest, cache: Path) -> Path:
    """The folder in `cache` that holds `gguf` as fp32 safetensors with its tokenizer.

    Takes half a minute the first time. The folder's name carries the digest of its source and appears
    only when it is whole, so that a crash leaves nothing that looks finished.
    """
    target = cache / "models" / f"{gguf.stem}-{short(digest)}"
    if (target / "model.safetensors").is_file():
        return target
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    tokenizer = AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name)
    model = AutoModelForCausalLM.from_pretrained(
        str(gguf.parent),
        gguf_file=gguf.name,
        dtype=torch.float32,
        # Without this, transformers leaves its quantiser attached and save_pretrained refuses.
        quantization_config=GgufConfig(dequantize=True),
    )
    with fresh_folder(target) as folder:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return target
