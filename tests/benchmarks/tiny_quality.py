"""A prepared folder as benchmarks/tuner_quality.py reads it, with tiny random models and data."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
if str(BENCHMARKS) not in sys.path:
    sys.path.insert(0, str(BENCHMARKS))

WORDS, CLASSES = 60, 5
ENCODER = {
    "model_type": "bert",
    "vocab_size": WORDS,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
}
CAUSAL = {
    "model_type": "llama",
    "vocab_size": WORDS,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 160,
    "pad_token_id": 0,
    "tie_word_embeddings": True,
}


def _rows(rng: np.random.Generator, count: int, longest: int) -> dict[str, np.ndarray]:
    lengths = rng.integers(6, longest + 1, count).astype(np.int32)
    ids = rng.integers(1, WORDS, (count, longest)).astype(np.int32)
    ids[np.arange(longest)[None, :] >= lengths[:, None]] = 0
    return {"ids": ids, "lengths": lengths}


def write_tiny(folder: Path) -> Path:
    """Write the folder: 96 training rows of each kind."""
    from quality.pack import RAW, write_pieces
    from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    banking, e2e = {}, {}
    for name, count in (("train", 96), ("train10", 64), ("validation", 40), ("test", 50)):
        rows = _rows(rng, count, 30)
        rows["labels"] = (rows["ids"][:, 1] % CLASSES).astype(np.int32)
        noisy = rows | {"ids": np.where(rows["ids"] > 0, np.roll(rows["ids"], 1, axis=1), 0).astype(np.int32)}
        for split, part in ((name, rows), (f"{name}_typos", noisy)):
            banking |= {f"{split}.{key}": array for key, array in part.items()}
    for name, count in (("train", 96), ("train200", 48), ("validation", 24), ("test", 30), ("general", 8)):
        rows = _rows(rng, count, 50)
        rows["prompts"] = np.minimum(rows["lengths"] - 3, 20).astype(np.int32)
        rows["records"] = (np.arange(count) // 2).astype(np.int32)
        e2e |= {f"{name}.{key}": array for key, array in rows.items()}
    save_file(banking, folder / "data-banking.safetensors")
    save_file(e2e, folder / "data-e2e.safetensors")
    torch.manual_seed(0)
    bases = {}
    for base, settings, kind in (("encoder", ENCODER, AutoModel), ("causal", CAUSAL, AutoModelForCausalLM)):
        options = dict(settings)
        model = kind.from_config(AutoConfig.for_model(options.pop("model_type"), **options))
        state = {
            f"{RAW}:{name}": tensor.numpy().copy()
            for name, tensor in model.state_dict().items()
            if tensor.dtype == torch.float32 and not name.startswith("pooler") and name != "lm_head.weight"
        }
        (folder / f"{base}.json").write_text(json.dumps(settings))
        files = write_pieces(folder, base, state, 2**20)
        facts = {"config": f"{base}.json", "files": files, "name": base, "digest": "none", "parameters_left_out": 0}
        bases[base] = facts
    manifest = {
        "sources": {},
        "bases": bases,
        "data": {
            "banking": {
                "file": "data-banking.safetensors",
                "rows": {},
                "classes": [str(i) for i in range(CLASSES)],
            },
            "e2e": {"file": "data-e2e.safetensors", "rows": {}},
        },
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder
