"""The loader gives exactly the model that was resolved, or nothing."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from rsa_ops.core.digest import digest_bytes
from rsa_ops.errors import ExitCode, IntegrityError, MissingError, RsaOpsError
from rsa_ops.evaluation.predict import predict_texts
from rsa_ops.models.trained import load_trained
from rsa_ops.serving.checks import Check
from rsa_ops.serving.load import load_checked
from rsa_ops.serving.plain import ALLOWED, CODE, PICKLES

from .conftest import TEXTS, Version


class Bomb:
    """Unpickled, it leaves a file; a loader that reads pickles would set it off."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def refused(version: Version, *, code: ExitCode = ExitCode.INTEGRITY, **how: Any) -> RsaOpsError:
    """What the loader raises for a folder whose digest is the resolved one: that is not the reason."""
    with pytest.raises(RsaOpsError) as caught:
        load_checked(version.folder, version.resolved(), device="cpu", **how)
    assert caught.value.exit_code is code
    assert "triage.1a2b3c4d5e6f version 3" in caught.value.message
    return caught.value


@pytest.mark.parametrize("method", ["rsa", "lora"])
def test_what_is_loaded_predicts_as_the_artifact_does(
    trained: Callable[..., Path], encoder: Path, method: str
) -> None:
    version = Version(trained(method), encoder)
    served = load_checked(version.folder, version.resolved(), device="cpu", sample=TEXTS)
    loaded, spec = load_trained(version.folder, device="cpu")
    assert served.predict(TEXTS) == predict_texts(loaded, spec, TEXTS).outputs
    names = [passed.name for passed in served.checks]
    assert names == ["plain files", "adapter bytes", "declared base", "base model", "loads", "is no no-op"]
    assert served.predict(TEXTS) == served.predict(list(TEXTS))  # the comparison with the base left no trace


def test_no_pickle_is_ever_opened(version: Version, monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(*_: object, **__: object) -> None:
        raise AssertionError("a pickle was opened")

    monkeypatch.setattr(torch, "load", opened)
    monkeypatch.setattr(pickle, "load", opened)
    monkeypatch.setattr(pickle, "Unpickler", opened)
    assert len(load_checked(version.folder, version.resolved(), device="cpu").predict(TEXTS)) == 3


def test_one_changed_byte_is_refused(version: Version) -> None:
    resolved = version.resolved()
    weights = version.folder / "adapter_model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    with pytest.raises(IntegrityError, match="check `adapter bytes`: its files are"):
        load_checked(version.folder, resolved, device="cpu")


@pytest.mark.parametrize("suffix", sorted(PICKLES | CODE | {".sh", "", ".gguf", ".safetensors.bak"}))
def test_only_tensors_and_text_may_lie_in_the_folder(version: Version, tmp_path: Path, suffix: str) -> None:
    mark = tmp_path / "exploded"
    (version.folder / f"adapter_model{suffix.upper()}").write_bytes(pickle.dumps(Bomb(mark)))
    assert "check `plain files`" in refused(version).message
    assert not mark.exists()


def test_what_is_allowed_cannot_be_a_pickle_or_a_program() -> None:
    assert not ALLOWED & (PICKLES | CODE)


def test_a_pickle_deep_in_the_folder_is_found(version: Version) -> None:
    (version.folder / "a" / "b").mkdir(parents=True)
    (version.folder / "a" / "b" / "optimizer.pt").write_bytes(b"x")
    assert "optimizer.pt may be a pickle" in refused(version).message


def test_a_link_is_no_plain_file(version: Version, tmp_path: Path) -> None:
    (tmp_path / "elsewhere.json").write_text("{}")
    (version.folder / "more.json").symlink_to(tmp_path / "elsewhere.json")
    assert "is a link" in refused(version).message


@pytest.mark.parametrize(
    ("key", "value"),
    [("auto_map", {"AutoModel": "code.Model"}), ("megatron_config", {"a": 1})],
)
@pytest.mark.parametrize("deep", [False, True])
def test_a_setting_that_would_import_code_is_refused(version: Version, key: str, value: object, deep: bool) -> None:
    file = version.folder / "adapter_config.json"
    settings = json.loads(file.read_text())
    (settings.setdefault("more", {}) if deep else settings)[key] = value
    file.write_text(json.dumps(settings))
    assert f"has {key!r}" in refused(version).message


def test_a_base_that_wants_to_run_its_own_code_is_refused(version: Version, tmp_path: Path) -> None:
    base = shutil.copytree(version.base, tmp_path / "base")
    mark = tmp_path / "ran"
    (base / "code.py").write_text(f"open({str(mark)!r}, 'w')\nclass Model: pass\nclass Tok: pass\n")
    file = base / "tokenizer_config.json"  # no part of the base's digest, so only this check can see it
    file.write_text(json.dumps({**json.loads(file.read_text()), "auto_map": {"AutoTokenizer": ["code.Tok", None]}}))
    assert "tokenizer_config.json has 'auto_map'" in refused(version, base=str(base)).message
    assert not mark.exists()


def test_a_base_with_pickled_weights_alone_is_refused(version: Version, tmp_path: Path) -> None:
    base = shutil.copytree(version.base, tmp_path / "base")
    torch.save({}, base / "pytorch_model.bin")
    (base / "model.safetensors").unlink()
    pickled = Version(version.folder, base)
    spec = version.folder / "model.json"
    spec.write_text(spec.read_text().replace(version.resolved().base_digest, pickled.resolved().base_digest))
    assert "pickles are not read" in refused(pickled, base=str(base)).message


def test_a_base_that_is_gone_is_missing(version: Version, tmp_path: Path) -> None:
    assert "check `base model`" in refused(version, code=ExitCode.MISSING, base=str(tmp_path / "none")).message


def test_a_base_of_other_bytes_is_refused(version: Version, make_encoder: Callable[..., Path]) -> None:
    assert "was declared" in refused(version, base=str(make_encoder(seed=5))).message


def test_an_adapter_of_another_base_than_its_papers_say_is_refused(version: Version) -> None:
    with pytest.raises(IntegrityError, match="check `declared base`: it was trained on"):
        load_checked(version.folder, version.resolved(base_digest=digest_bytes(b"other")), device="cpu")


@pytest.mark.parametrize("sample", [(), TEXTS])
def test_an_adapter_that_does_nothing_is_refused(
    trained: Callable[..., Path], encoder: Path, sample: tuple[str, ...]
) -> None:
    idle = Version(trained(move=0.0), encoder)
    assert "check `is no no-op`" in refused(idle, sample=sample).message


def test_a_full_checkpoint_is_no_adapter(trained: Callable[..., Path], encoder: Path) -> None:
    assert "only adapters are served" in refused(Version(trained("full"), encoder)).message


def test_half_a_weight_file_is_refused(version: Version) -> None:
    weights = version.folder / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    assert "check `loads`" in refused(version).message


def test_a_check_of_another_room_stops_the_load_before_anything_is_read(
    version: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(_: Path) -> str:
        raise IntegrityError("it is not signed", hint="Sign it.")

    monkeypatch.setattr("rsa_ops.serving.load.load_onto", lambda *_, **__: pytest.fail("it was loaded"))
    error = refused(version, more=(Check("signature", wrong),))
    assert (error.hint, "check `signature`: it is not signed" in error.message) == ("Sign it.", True)


def test_a_folder_that_is_not_there_is_missing(version: Version, tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="check `plain files`"):
        load_checked(tmp_path / "none", version.resolved(), device="cpu")
