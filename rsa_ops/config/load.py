"""Fill the type that the caller hands in, or list every problem with its line and the nearest known key."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from rsa_ops.config.lines import Document, parse_yaml
from rsa_ops.errors import ConfigError, MissingError, Problem

M = TypeVar("M", bound=BaseModel)


def read_config(kind: type[M], path: Path) -> M:
    """`load_config` of a file.

    Raises:
        MissingError: no such file.
        ConfigError: not UTF-8, not YAML, or not what `kind` describes.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise MissingError(f"{path} is not there", hint="`rsa-ops init DIR` writes one to start from.") from error
    except UnicodeDecodeError as error:
        problem = Problem(f"byte {error.start}", "is not UTF-8; save the file as UTF-8")
        raise ConfigError(str(path), (problem,)) from error
    return load_config(kind, text, str(path))


def load_config(kind: type[M], text: str, source: str) -> M:
    """Parse YAML `text` into `kind`; `source` names the text in errors.

    Raises:
        ConfigError: every problem at once, each with path and line.
    """
    document = parse_yaml(text, source)
    try:
        # Through JSON, so that strict types accept what a text format can say (lists for tuples,
        # strings for enums and decimals) and nothing else.
        return kind.model_validate_json(json.dumps(document.value))
    except ValidationError as error:
        problems = tuple(_problem(entry, document, kind) for entry in error.errors(include_url=False))
        raise ConfigError(source, problems) from error


def _problem(entry: Any, document: Document, kind: type[BaseModel]) -> Problem:
    path = tuple(entry["loc"])
    where = ".".join(str(part) for part in path) or "the document"
    line = next((document.lines[path[:n]] for n in range(len(path), -1, -1) if path[:n] in document.lines), None)
    if entry["type"] == "extra_forbidden":
        return Problem(where, _unknown_key(str(path[-1]), _fields_at(kind, path[:-1])), line)
    if entry["type"] == "missing":
        return Problem(where, "is missing", line)
    found = entry.get("input")
    shown = f"; found {found!r}" if isinstance(found, str | int | float | bool) else ""
    return Problem(where, entry["msg"].removeprefix("Value error, ") + shown, line)


def _unknown_key(key: str, known: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    if near:
        return f"unknown key; did you mean `{near[0]}`?"
    return f"unknown key; known here: {', '.join(known)}" if known else "unknown key"


def _fields_at(kind: type[BaseModel], path: tuple[str | int, ...]) -> tuple[str, ...]:
    """Field names of the model that stands at `path`, found by walking the annotations."""
    current: tuple[type[BaseModel], ...] = (kind,)
    for part in path:
        inner: list[type[BaseModel]] = []
        for model in current:
            field = model.model_fields.get(str(part))
            if field is not None:
                inner += _models_in(field.annotation)
            elif isinstance(part, int) or part not in model.model_fields:
                inner.append(model)  # an index, a mapping key or a discriminator tag: same models
        current = tuple(inner)
    return tuple(dict.fromkeys(name for model in current for name in model.model_fields))


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in getattr(annotation, "__args__", ()) for model in _models_in(inner)]
