"""Llama-shaped models with random weights, and the facts of the machine that a record carries.

Shared by `tuner_cost.py` and `tuner_swap.py`. Imports torch, peft, transformers and rsa_ops.tuners alone, so that
both run on a bare GPU machine.
"""

import datetime as dt
import hashlib
import json
import os
import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, LlamaConfig

import rsa_ops.tuners

LAUNCHES = ("cudaLaunchKernel", "cudaLaunchKernelExC", "cuLaunchKernel", "cuLaunchKernelEx")
"""What torch's profiler calls the launch of a kernel."""
LINEARS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class Shape:
    """Sizes of a Llama. Embedding and output head are one tensor, as in Llama-3.2-1B and -3B."""

    hidden: int
    layers: int
    ffn: int
    heads: int
    kv_heads: int
    vocab: int = 32_000

    def linears(self) -> dict[str, tuple[int, int]]:
        """(in, out) features of the seven linears of one layer."""
        narrow = self.hidden // self.heads * self.kv_heads
        sizes = (
            (self.hidden, self.hidden),
            (self.hidden, narrow),
            (self.hidden, narrow),
            (self.hidden, self.hidden),
            (self.hidden, self.ffn),
            (self.hidden, self.ffn),
            (self.ffn, self.hidden),
        )
        return dict(zip(LINEARS, sizes, strict=True))

    def lora_parameters(self, rank: int, layers: int | None = None) -> int:
        """What LoRA of `rank` trains on the seven linears of `layers` (all) layers: the budget of every method."""
        return (self.layers if layers is None else layers) * rank * sum(map(sum, self.linears().values()))


# 32,000 words in both: Llama-3.2's own 128,256 would put the loss's logits, equal in every row, above what differs.
SHAPES = {
    "1b": Shape(hidden=2048, layers=16, ffn=8192, heads=32, kv_heads=8),  # 1.04 billion parameters
    "3b": Shape(hidden=3072, layers=28, ffn=8192, heads=24, kv_heads=8),  # Llama-3.2-3B's layers, 2.92 billion
    "tiny": Shape(hidden=64, layers=4, ffn=128, heads=4, kv_heads=2, vocab=128),  # for tests on a CPU
}


def build(shape: Shape, device: str, dtype: torch.dtype = torch.bfloat16) -> Any:
    """A model with random weights, made on `device`, in training mode, every parameter frozen."""
    config = LlamaConfig(
        vocab_size=shape.vocab,
        hidden_size=shape.hidden,
        intermediate_size=shape.ffn,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        tie_word_embeddings=True,
        use_cache=False,
    )
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation="sdpa")
    return model.train().requires_grad_(requires_grad=False)


def machine(device: str) -> dict[str, Any]:
    """Card (or processor), versions, date, and a digest of the tuner's source: what was measured, and where."""
    folder = Path(rsa_ops.tuners.__file__).parent
    source = hashlib.sha256(b"".join(file.read_bytes() for file in sorted(folder.rglob("*.py"))))
    return {
        "card": torch.cuda.get_device_name() if device == "cuda" else f"CPU {platform.machine()}",
        "card_id": _card_id() if device == "cuda" else "cpu",
        "versions": {
            "python": platform.python_version(),
            "cuda": torch.version.cuda,
            **{name: version(name) for name in ("torch", "peft", "transformers")},
        },
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "tuner_source": source.hexdigest()[:12],
        "date": dt.datetime.now(tz=dt.UTC).isoformat(timespec="seconds"),
    }


def write(record: dict[str, Any], file: Path) -> None:
    """Write a record so that a reader (or a time limit) never meets half a file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    half = file.with_suffix(".half")
    half.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    half.replace(file)


def _card_id() -> str:
    # Rows may be divided by each other only where this is the same; which card it was is nobody's business.
    unique = str(getattr(torch.cuda.get_device_properties(0), "uuid", "unknown"))
    return hashlib.sha256(unique.encode()).hexdigest()[:8]
