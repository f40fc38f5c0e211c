"""Records as text: `field: value | field: value`, the E2E form `name[value], name[value]`, or a JSON object."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

SEPARATOR = " | "

_FIELD = re.compile(r"([^:|\[\]{}]{1,40}): (.+)", re.DOTALL)
_LONE_FIELD = re.compile(r"[a-z_]+(?: [a-z_]+){0,2}: .*[^.!?。]", re.DOTALL)
_BRACKETS = re.compile(r"\s*([^\[\],]{1,40})\[([^\]]*)\]\s*")


def render_record(fields: Mapping[str, str]) -> str:
    """`field: value | field: value`, in the order given; empty values are left out."""
    return SEPARATOR.join(
        f"{_inline(name).replace(':', ' ')}: {_inline(value)}" for name, value in fields.items() if value.strip()
    )


def parse_record(text: str) -> dict[str, str]:
    """The fields that `text` renders; empty when it is no record but prose.

    Sentences hold colons too, so a single `field: value` counts only with a name in lower case and a value that
    does not end like a sentence. A field that occurs twice keeps all its values, joined by commas.
    """
    for parse in (_parse_brackets, _parse_fields, _parse_json):
        found = parse(text.strip())
        if found:
            return found
    return {}


def _inline(words: str) -> str:
    return " ".join(words.replace("|", "/").split())


def _parse_fields(text: str) -> dict[str, str]:
    parts = [_FIELD.fullmatch(part.strip()) for part in text.split("|")]
    matched = [part for part in parts if part is not None]
    if len(matched) < len(parts) or (len(matched) == 1 and not _LONE_FIELD.fullmatch(text)):
        return {}
    return _collect([(match[1], match[2]) for match in matched])


def _parse_brackets(text: str) -> dict[str, str]:
    pairs: list[tuple[str, str]] = []
    end = 0
    while match := _BRACKETS.match(text, end):
        pairs.append((match[1], match[2]))
        end = match.end()
        if text[end : end + 1] == ",":
            end += 1
    return _collect(pairs) if end == len(text) else {}


def _parse_json(text: str) -> dict[str, str]:
    if not text.startswith("{"):
        return {}
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        return {}
    flat = {name: found for name, found in value.items() if isinstance(found, str | int | float)}
    return _collect([(name, str(found)) for name, found in flat.items()])


def _collect(pairs: list[tuple[str, str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in pairs:
        key, words = name.strip(), value.strip()
        if words:
            found[key] = f"{found[key]}, {words}" if key in found else words
    return found
