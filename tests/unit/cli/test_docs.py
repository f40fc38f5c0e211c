"""Every command that the docs, README and error hints name exists, with the options that they give it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from rsa_ops.cli.main import app

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def named(text: str) -> Iterator[str]:
    """Commands in backticks, and those behind a prompt; a line that ends in a backslash goes on."""
    joined = re.sub(r"\\\n\s*", " ", text)
    yield from re.findall(r"^\s*(?:\$ )?(rsa-ops [^\n#|`]*)", joined, re.MULTILINE)
    yield from re.findall(r"`(rsa-ops [^`]*)`", re.sub(r"\s*\n\s*", " ", joined))


def fault(line: str) -> str | None:
    """What in a line is no command or no option, or None."""
    place: Any = get_command(app)
    for word in line.split()[1:]:
        children = getattr(place, "commands", {})
        if word in children:
            place = children[word]
        elif word == "..." and children:
            return None  # any command of the group
        elif word.startswith("--") and word != "--help":
            name = re.match(r"--[a-z-]+", word)
            options = {option for each in place.params for option in each.opts + each.secondary_opts}
            if name is None or name[0] not in options:
                return f"{line!r}: {word} is no option of {place.name}"
        elif children and re.fullmatch(r"[a-z-]+", word):
            return f"{line!r}: {word} is no command of {place.name}"
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_of_a_page_exists(page: Path) -> None:
    lines = set(named(page.read_text("utf-8")))
    assert [found for found in map(fault, sorted(lines)) if found] == []


def test_every_command_in_a_hint_exists() -> None:
    """Hints are what people paste; names in braces are filled in when they are told."""
    found = []
    for file in (ROOT / "rsa_ops").rglob("*.py"):
        text = re.sub(r'"\s*\n\s*f?"', "", file.read_text("utf-8"))  # strings that go on in the next line
        found += [f"{file.name}: {wrong}" for wrong in map(fault, set(named(text))) if wrong]
    assert found == []


def test_a_wrong_command_or_option_is_noticed() -> None:
    assert fault("rsa-ops audit verify --ledger FILE") is None
    assert fault("rsa-ops audit verfy") is not None
    assert fault("rsa-ops audit verify --legder FILE") is not None
