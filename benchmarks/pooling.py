"""Does the mean of token states or BERT's pooler carry the class? A linear probe on frozen features.

Run: python benchmarks/pooling.py  ->  benchmarks/results/pooling.json
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score
from transformers import AutoModel

from rsa_ops.data.validate import read_split, validate
from rsa_ops.execution.key import library_versions
from rsa_ops.models.base import resolve_base
from rsa_ops.models.task import load_tokenizer
from rsa_ops.stages.config import read_pipeline

HERE = Path(__file__).parent
SIZES = (400, 800, 1200)
TEST_ROWS = 1000


def features(texts: list[str], max_length: int) -> dict[str, np.ndarray]:
    """`mean` (unit length x 10) and `pooler` features [texts, hidden] of the embedded encoder."""
    base = resolve_base("asset:minilm-l6")
    tokenizer, model = load_tokenizer(base.folder), AutoModel.from_pretrained(base.folder).eval()
    found: dict[str, list[torch.Tensor]] = {"mean": [], "pooler": []}
    with torch.inference_mode():
        for start in range(0, len(texts), 64):
            encoded = tokenizer(
                texts[start : start + 64], truncation=True, max_length=max_length, padding=True, return_tensors="pt"
            )
            out = model(**encoded)
            weights = encoded["attention_mask"][..., None]
            mean = (out.last_hidden_state * weights).sum(1) / weights.sum(1)
            found["mean"].append(torch.nn.functional.normalize(mean, dim=-1) * 10)
            found["pooler"].append(out.pooler_output)
    return {name: torch.cat(parts).numpy() for name, parts in found.items()}


def main() -> None:
    """Probe both features at several training sizes and write the table."""
    config, _, home = read_pipeline(HERE.parent / "pipelines" / "incident-triage")
    data = config.data.model_copy(update={"sample": None})
    with tempfile.TemporaryDirectory() as folder:
        validate(data, config.task, Path(folder), lambda _: None, home)
        train, test = read_split(Path(folder), "train")[: max(SIZES)], read_split(Path(folder), "test")[:TEST_ROWS]
    rows = []
    fitted = features(train["text"].tolist(), config.model.max_length)
    judged = features(test["text"].tolist(), config.model.max_length)
    for name in fitted:
        for size in SIZES:
            probe = LogisticRegression(max_iter=500).fit(fitted[name][:size], train["label"][:size])
            made = probe.predict(judged[name])
            rows.append(
                {
                    "features": name,
                    "training_rows": size,
                    "accuracy": round(float(accuracy_score(test["label"], made)), 4),
                    "macro_f1": round(float(f1_score(test["label"], made, average="macro")), 4),
                }
            )
            print(rows[-1])
    record = {
        "script": "benchmarks/pooling.py",
        "versions": library_versions(),
        "test_rows": len(test),
        "rows": rows,
    }
    (HERE / "results" / "pooling.json").write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
