"""What several rooms are tested with: a migrated MLflow database, and tiny models with random weights."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

WORDS = [f"word{number}" for number in range(40)] + ["attack", "remote", "local", "Report", ":", " "]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "<s>", "</s>"]


STORE = os.environ.get("MLFLOW_TRACKING_URI")


@pytest.fixture(autouse=True)
def the_store_of_one_test_is_not_named_to_the_next() -> Iterator[None]:
    """MLflow writes the URI that it is given into the environment, where other processes would find it."""
    yield
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    if STORE is not None:
        os.environ["MLFLOW_TRACKING_URI"] = STORE


@pytest.fixture(scope="session")
def migrated_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database with its tables; making them takes five seconds, copying the file none."""
    from rsa_ops.tracking.store import open_store

    folder = tmp_path_factory.mktemp("mlflow")
    open_store(f"sqlite:///{folder / 'mlflow.db'}", "first", folder / "artifacts")
    return folder / "mlflow.db"


@pytest.fixture
def store(migrated_database: Path, tmp_path: Path) -> Any:
    """A fresh MLflow store in `tmp_path`, with one experiment."""
    from rsa_ops.tracking.store import open_store

    shutil.copy(migrated_database, tmp_path / "mlflow.db")
    return open_store(f"sqlite:///{tmp_path / 'mlflow.db'}", "triage", tmp_path / "artifacts")


def _save_tokenizer(folder: Path, *, causal: bool) -> int:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: number for number, word in enumerate([*SPECIAL, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation()]
    )
    start, end = ("<s>", None) if causal else ("[CLS]", "[SEP]")
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}" if end else f"{start} $A",
        special_tokens=[(token, vocabulary[token]) for token in (start, end) if token],
    )
    kinds = (
        {"bos_token": "<s>", "eos_token": "</s>"}
        if causal
        else {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    )
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]", **kinds).save_pretrained(folder)
    return len(vocabulary)


@pytest.fixture(scope="session")
def make_encoder(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Folder of a BERT with two layers of 16 and random weights from `seed`; `kind` names another architecture."""

    def make(seed: int = 0, kind: str = "bert") -> Path:
        import torch
        from transformers import AutoConfig, AutoModel

        folder = tmp_path_factory.mktemp("encoder")
        size = {
            "vocab_size": _save_tokenizer(folder, causal=False),
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "max_position_embeddings": 64,
        }
        if kind == "distilbert":
            size |= {"dim": 16, "hidden_dim": 32, "n_layers": 2, "n_heads": 2}
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            AutoModel.from_config(AutoConfig.for_model(kind, **size)).save_pretrained(folder)
        return folder

    return make


@pytest.fixture(scope="session")
def encoder(make_encoder: Callable[..., Path]) -> Path:
    """One tiny BERT; not to be changed."""
    return make_encoder()


@pytest.fixture(scope="session")
def causal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama with two layers of 16, random weights, and a tokenizer without a padding token; not to be changed."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("causal")
    config = LlamaConfig(
        vocab_size=_save_tokenizer(folder, causal=True),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=128,
        bos_token_id=4,
        eos_token_id=5,
        tie_word_embeddings=True,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        LlamaForCausalLM(config).save_pretrained(folder)
    return folder
