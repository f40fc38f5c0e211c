"""Tokenised data and base models as compact files, so that a machine without tokenizers or a network can train.

What is written into a folder:
```text
manifest.json                   versions, digests, split sizes, file names, numbers for the report
data-<set>.safetensors          <split>.ids [rows, width] int32, <split>.lengths; banking: <split>.labels;
                                e2e: <split>.prompts (tokens before the answer), <split>.records (which record)
encoder-*.safetensors           MiniLM in float32, without the rows of its vocabulary that no text here uses
causal-*.safetensors            SmolLM2-135M in the 4-bit blocks that it is published in
<base>.json                     the model's configuration
```
Splits. Banking77: 20 rows a class of the published training file are the validation split, the rest trains;
`train10` is ten rows a class of that rest. Training rows that repeat one another or a test text are left out.
E2E: the records (`mr`) are split first and their sentences follow, so that no record is in two splits; its test
file shares none.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import numpy as np

DATA_VARIABLE = "RSA_OPS_BENCHMARK_DATA"
PIECE_BYTES = 50 * 2**20
SPLIT_SEED = 20240
VALIDATION_A_CLASS, FEW_A_CLASS = 20, 10
BANKING_LENGTH, E2E_LENGTH = 64, 128
E2E_TRAIN_PAIRS, E2E_FEW_PAIRS = 1600, 200
E2E_VALIDATION_RECORDS, MOST_REFERENCES = 120, 3
TYPO_RATE = 0.1
PROMPT = "{text}\nReport:"


@dataclass(frozen=True)
class Row:
    """One example: text and label of an inquiry, or record and sentence."""

    text: str
    target: str


def data_folder(given: str | None) -> Path:
    """The folder that holds `banking77/` and `e2e/`, each with train.csv and test.csv.

    Raises:
        SystemExit: there is none; the message says what to give.
    """
    place = given or os.environ.get(DATA_VARIABLE)
    lacking = [
        f"{name}/{part}.csv"
        for name in ("banking77", "e2e")
        for part in ("train", "test")
        if place is None or not (Path(place) / name / f"{part}.csv").is_file()
    ]
    if place is None or lacking:
        raise SystemExit(
            f"The data sets are no part of the project. Give --data FOLDER or set {DATA_VARIABLE}; it must hold "
            f"{', '.join(lacking)}. Columns: text,category (Banking77, CC BY 4.0); mr,ref (E2E NLG, CC BY-SA 4.0)."
        )
    return Path(place)


def read_rows(path: Path, text: str, target: str) -> list[Row]:
    """The rows of a CSV file with these two columns."""
    with path.open(encoding="utf-8", newline="") as lines:
        return [Row(line[text], line[target]) for line in csv.DictReader(lines)]


def normal(text: str) -> str:
    """Letters and digits, lower case: what two texts that a reader calls equal have in common."""
    return re.sub(r"\W+", " ", text.lower()).strip()


def banking_splits(train: Sequence[Row], test: Sequence[Row]) -> dict[str, list[Row]]:
    """`train`, `train10`, `validation` and `test`; see the module for the rule."""
    seen, kept = {normal(row.text) for row in test}, []
    for row in sorted(train, key=lambda row: (row.target, row.text)):
        if normal(row.text) not in seen:
            seen.add(normal(row.text))
            kept.append(row)
    by_class: dict[str, list[Row]] = {}
    for row in kept:
        by_class.setdefault(row.target, []).append(row)
    rng = random.Random(SPLIT_SEED)
    splits: dict[str, list[Row]] = {"train": [], "train10": [], "validation": [], "test": list(test)}
    for label, rows in by_class.items():
        if len(rows) < VALIDATION_A_CLASS + FEW_A_CLASS:
            raise SystemExit(f"class {label!r} has {len(rows)} rows; {VALIDATION_A_CLASS + FEW_A_CLASS} are needed")
        rng.shuffle(rows)
        splits["validation"] += rows[:VALIDATION_A_CLASS]
        splits["train"] += rows[VALIDATION_A_CLASS:]
        splits["train10"] += rows[VALIDATION_A_CLASS : VALIDATION_A_CLASS + FEW_A_CLASS]
    return splits


def e2e_splits(train: Sequence[Row], test: Sequence[Row]) -> dict[str, list[Row]]:
    """`train`, `train200`, `validation` and `test`: pairs of record and sentence, no record in two splits."""
    rng = random.Random(SPLIT_SEED)
    held = {row.text for row in test}
    records = sorted({row.text for row in train} - held)
    rng.shuffle(records)
    judged = set(records[:E2E_VALIDATION_RECORDS])
    left = sorted((row for row in train if row.text not in judged | held), key=lambda row: (row.text, row.target))
    rng.shuffle(left)
    if len(left) < E2E_TRAIN_PAIRS:
        raise SystemExit(f"E2E: {E2E_TRAIN_PAIRS} training pairs are needed, found {len(left)}")
    return {
        "train": left[:E2E_TRAIN_PAIRS],
        "train200": left[:E2E_FEW_PAIRS],
        "validation": _few_references([row for row in train if row.text in judged], rng),
        "test": _few_references(test, rng),
    }


def _few_references(rows: Sequence[Row], rng: random.Random) -> list[Row]:
    by_record: dict[str, list[Row]] = {}
    for row in rows:
        by_record.setdefault(row.text, []).append(row)
    picked = []
    for record in sorted(by_record):
        sentences = sorted(by_record[record], key=lambda row: row.target)
        picked += rng.sample(sentences, min(MOST_REFERENCES, len(sentences)))
    return picked


def padded(rows: Sequence[Sequence[int]], filler: int) -> dict[str, np.ndarray]:
    """`ids` [rows, width] int32 and `lengths` [rows] int32."""
    lengths = np.array([len(row) for row in rows], dtype=np.int32)
    ids = np.full((len(rows), int(lengths.max())), filler, dtype=np.int32)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = row
    return {"ids": ids, "lengths": lengths}


def prepare(data: Path, folder: Path, note: Any = print) -> dict[str, Any]:
    """Write everything into `folder`, and return the manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob("*.safetensors"):
        stale.unlink()
    manifest: dict[str, Any] = {
        "schema": "rsa_ops/tuner-quality-data/v1",
        "split_seed": SPLIT_SEED,
        "sources": {
            f"{name}/{part}.csv": hashlib.sha256((data / name / f"{part}.csv").read_bytes()).hexdigest()
            for name in ("banking77", "e2e")
            for part in ("train", "test")
        },
        "data": {},
        "bases": {},
    }
    _banking(data / "banking77", folder, manifest)
    note("Banking77 and MiniLM are there")
    _e2e(data / "e2e", folder, manifest)
    note("E2E and SmolLM2 are there")
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    return manifest


def _banking(source: Path, folder: Path, manifest: dict[str, Any]) -> None:
    from rsa_ops.evaluation.perturb import perturb
    from rsa_ops.models.base import resolve_base
    from rsa_ops.models.task import load_tokenizer

    base = resolve_base("asset:minilm-l6")
    tokenizer = load_tokenizer(base.folder)
    read = [read_rows(source / f"{part}.csv", "text", "category") for part in ("train", "test")]
    splits = banking_splits(*read)
    labels = sorted({row.target for row in splits["train"]})
    for split in ("validation", "test"):
        splits[f"{split}_typos"] = [
            Row(perturb(row.text, "typos", example_id=f"{split}-{index}", rate=TYPO_RATE, seed=0), row.target)
            for index, row in enumerate(splits[split])
        ]
    tokens = {
        name: tokenizer([row.text for row in rows], truncation=True, max_length=BANKING_LENGTH)["input_ids"]
        for name, rows in splits.items()
    }
    used = sorted({token for rows in tokens.values() for row in rows for token in row} | {tokenizer.pad_token_id})
    place = {token: index for index, token in enumerate(used)}
    arrays = {}
    for name, rows in tokens.items():
        parts = padded([[place[token] for token in row] for row in rows], place[tokenizer.pad_token_id])
        arrays |= {f"{name}.{key}": array for key, array in parts.items()}
        arrays[f"{name}.labels"] = np.array([labels.index(row.target) for row in splits[name]], dtype=np.int32)
    _write_data(folder, manifest, "banking", arrays)
    manifest["data"]["banking"] |= {"classes": labels, "typo_rate": TYPO_RATE, "max_length": BANKING_LENGTH}
    _encoder(base, folder, manifest, used, place[tokenizer.pad_token_id])


def _encoder(base: Any, folder: Path, manifest: dict[str, Any], used: list[int], pad: int) -> None:
    import torch
    from transformers import AutoModel

    from quality.pack import RAW, write_pieces

    model = AutoModel.from_pretrained(base.folder, dtype=torch.float32)
    state = {name: tensor.numpy() for name, tensor in model.state_dict().items() if not name.startswith("pooler.")}
    words = "embeddings.word_embeddings.weight"
    left_out = (len(state[words]) - len(used)) * state[words].shape[1]
    state[words] = np.ascontiguousarray(state[words][used])
    config = model.config.to_dict() | {"vocab_size": len(used), "pad_token_id": pad}
    packed = {f"{RAW}:{name}": array for name, array in state.items() if array.dtype == np.float32}
    _write_base(folder, manifest, "encoder", config, write_pieces(folder, "encoder", packed, PIECE_BYTES))
    manifest["bases"]["encoder"] |= {"name": base.name, "digest": base.digest, "parameters_left_out": left_out}


def _e2e(source: Path, folder: Path, manifest: dict[str, Any]) -> None:
    from rsa_ops.evaluation.forgetting import general_text, text_digest
    from rsa_ops.models.base import resolve_base
    from rsa_ops.models.task import ModelConfig, load_tokenizer
    from rsa_ops.training.features import encode

    base = resolve_base("asset:smollm2-135m")
    tokenizer = load_tokenizer(base.folder)
    read = [read_rows(source / f"{part}.csv", "mr", "ref") for part in ("train", "test")]
    splits = e2e_splits(*read)
    config = ModelConfig(base=base.name, max_length=E2E_LENGTH, prompt=PROMPT)
    arrays = {}
    for name, rows in splits.items():
        items = encode(
            [row.text for row in rows],
            [row.target for row in rows],
            tokenizer=tokenizer,
            config=config,
            task="generation",
            labels=(),
        )
        parts = padded([item["input_ids"] for item in items], tokenizer.pad_token_id)
        arrays |= {f"{name}.{key}": array for key, array in parts.items()}
        prompts = [sum(label == -100 for label in item["labels"]) for item in items]
        arrays[f"{name}.prompts"] = np.array(prompts, dtype=np.int32)
        known = {text: index for index, text in enumerate(sorted({row.text for row in rows}))}
        arrays[f"{name}.records"] = np.array([known[row.text] for row in rows], dtype=np.int32)
    sentences = list(general_text())
    parts = padded(tokenizer(sentences)["input_ids"], tokenizer.pad_token_id)
    arrays |= {f"general.{key}": array for key, array in parts.items()}
    arrays["general.prompts"] = np.ones(len(sentences), dtype=np.int32)  # the first token is given
    arrays["general.records"] = np.arange(len(sentences), dtype=np.int32)
    _write_data(folder, manifest, "e2e", arrays)
    manifest["data"]["e2e"] |= {"prompt": PROMPT, "max_length": E2E_LENGTH, "references": MOST_REFERENCES}
    manifest["data"]["e2e"]["general_text"] = text_digest()
    _causal(base, folder, manifest)


def _causal(base: Any, folder: Path, manifest: dict[str, Any]) -> None:
    from safetensors.numpy import load_file

    from quality.pack import pack_gguf, read_pieces, write_pieces
    from rsa_ops.models.base import ASSETS

    checkpoint = load_file(base.folder / "model.safetensors")
    asset = ASSETS["smollm2-135m"]
    gguf = Path(str(distribution(asset.package).locate_file(asset.folder))) / asset.pinned_file
    packed = pack_gguf(gguf, checkpoint)
    names = write_pieces(folder, "causal", packed, PIECE_BYTES)
    again = read_pieces(folder, names)
    different = [name for name, array in checkpoint.items() if not np.array_equal(again[name].numpy(), array)]
    if different:
        raise SystemExit(f"packing changed {len(different)} tensors, such as {different[0]}")
    config = json.loads((base.folder / "config.json").read_text(encoding="utf-8"))
    _write_base(folder, manifest, "causal", config, names)
    manifest["bases"]["causal"] |= {"name": base.name, "digest": base.digest, "parameters_left_out": 0}


def _write_data(folder: Path, manifest: dict[str, Any], name: str, arrays: dict[str, np.ndarray]) -> None:
    from safetensors.numpy import save_file

    file = f"data-{name}.safetensors"
    save_file(arrays, folder / file)
    rows = {key.split(".")[0]: len(array) for key, array in arrays.items() if key.endswith(".ids")}
    manifest["data"][name] = {"file": file, "rows": rows}


def _write_base(
    folder: Path, manifest: dict[str, Any], name: str, config: dict[str, Any], files: list[str]
) -> None:
    (folder / f"{name}.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    manifest["bases"][name] = {"config": f"{name}.json", "files": files}
