"""The content key of a piece of work: equal keys mean that the result would be the same.

It covers the whole package source (no look into single functions sees a changed helper; measured in the
comparison of orchestrators), the versions of the libraries that compute, the configuration and the data.
"""

from __future__ import annotations

import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rsa_ops.core.digest import Digest, digest_parts, digest_value

COMPUTING_LIBRARIES = (
    "accelerate",
    "datasets",
    "great-expectations",
    "numpy",
    "pandas",
    "peft",
    "sacrebleu",
    "scikit-learn",
    "tokenizers",
    "torch",
    "transformers",
)


def content_key(stage: str, settings: object, *data: Digest) -> Digest:
    """Key of `stage` run with `settings` (JSON types) on `data`."""
    return digest_value([stage, source_digest(), library_versions(), settings, list(data)])


@cache
def source_digest() -> Digest:
    """SHA-256 over the Python source of the installed package, that is, of this very code."""
    package = Path(__file__).resolve().parents[1]
    files = sorted(package.rglob("*.py"))
    return digest_parts(
        part for file in files for part in (file.relative_to(package).as_posix().encode(), file.read_bytes())
    )


@cache
def library_versions() -> tuple[str, ...]:
    """`python 3.11`, then `name==version` of each library that computes; absent ones are left out."""
    found = [f"python {platform.python_version_tuple()[0]}.{platform.python_version_tuple()[1]}"]
    for name in COMPUTING_LIBRARIES:
        try:
            found.append(f"{name}=={version(name)}")
        except PackageNotFoundError:
            continue
    return tuple(found)
