"""No library of the locked set is under terms that stay out; NOTICE repeats what those that sign and guard say."""

from __future__ import annotations

import re
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OUT = re.compile(r"GPL|General Public|Affero|non-?commercial|CC[ -]BY[ -]NC|proprietary", re.IGNORECASE)
FILE_ONLY = {"axe-playwright-python", "huey", "sigstore-models"}
"""Their metadata states no licence; their licence files do."""


def locked() -> list[str]:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    return [re.split(r"[=;\[ ]", line)[0] for line in lines if line and not line.startswith("#")]


def found(name: str) -> Distribution:
    try:
        return distribution(name)
    except PackageNotFoundError:
        pytest.skip(f"{name} is not installed here")


def stated(dist: Distribution) -> str:
    """What the metadata says: expression, the field's first line, classifiers."""
    meta = dist.metadata
    field = (meta.get("License") or "").strip().splitlines()[:1]
    classes = [line for line in meta.get_all("Classifier", []) if line.startswith("License ::")]
    return " | ".join(filter(None, [meta.get("License-Expression") or "", *field, *classes]))


def licence_file(dist: Distribution) -> str:
    files = [file for file in dist.files or () if re.search(r"(?i)licen[cs]e", file.name)]
    return "\n".join(Path(str(file.locate())).read_text("utf-8", "replace") for file in files)


def noticed() -> dict[str, str]:
    """Library -> its licence in NOTICE."""
    made: dict[str, str] = {}
    for line in re.findall(r"(?m)^- (.+)$", (ROOT / "NOTICE").read_text("utf-8")):
        names, _, licence = line.partition(": ")
        names = re.sub(r" \([^)]*\)", "", names)
        made |= dict.fromkeys(names.split(", "), licence)
    return made


def test_no_locked_library_is_under_terms_that_stay_out() -> None:
    said = {name: stated(found(name)) for name in locked()}
    assert len(said) > 100
    assert {name: words for name, words in said.items() if OUT.search(words)} == {}
    assert {name for name, words in said.items() if not words} <= FILE_ONLY


@pytest.mark.parametrize("name", sorted(noticed()))
def test_the_notice_says_what_the_library_says(name: str) -> None:
    dist = found(name)
    words = stated(dist) + licence_file(dist)
    for licence in noticed()[name].partition(",")[0].partition(" (")[0].split(" or "):
        family = licence.partition("-")[0]  # Apache, BSD, MIT, MPL
        spelled = {"MPL": "MPL|Mozilla Public", "BSD": "BSD|Redistribution and use in source and binary"}
        assert re.search(spelled.get(family, family), words), f"{name}: {words[:300]}"


def test_the_notice_names_what_signs_and_guards() -> None:
    named = set(noticed())
    assert {"model-signing", "sigstore-models", "rfc3161-client", "flask-wtf", "wtforms", "pg8000"} <= named
    assert named <= {name.lower() for name in locked()}
