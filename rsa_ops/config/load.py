"""Fill the type that the caller hands in, or list every problem with its line and the nearest known key."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from rsa_ops.config.lines import Document, parse_yaml
from rsa_ops.config.lines import Path as KeyPath
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
    path = _written(entry, document)
    where = ".".join(str(part) for part in path) or "the document"
    line = next((document.lines[path[:n]] for n in range(len(path), -1, -1) if path[:n] in document.lines), None)
    if entry["type"] == "extra_forbidden":
        return Problem(where, unknown_name(str(path[-1]), _keys_at(kind, path[:-1])), line)
    if entry["type"] == "missing":
        return Problem(where, "is missing", line)
    found = entry.get("input")
    shown = f"; found {found!r}" if isinstance(found, str | int | float | bool) else ""
    return Problem(where, entry["msg"].removeprefix("Value error, ") + shown, line)


def _written(entry: Any, document: Document) -> KeyPath:
    """The path of a problem as the file has it: pydantic puts the kinds of a union between its keys."""
    path: KeyPath = ()
    for part in entry["loc"]:
        if (*path, part) in document.lines:
            path = (*path, part)
    return (*path, entry["loc"][-1]) if entry["type"] == "missing" else path


def unknown_name(name: str, known: Sequence[str], what: str = "key") -> str:
    """Words for a `name` that is not among `known`: the nearest one, or all of them."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if near:
        return f"unknown {what}; did you mean `{near[0]}`?"
    return f"unknown {what}; known here: {', '.join(known)}" if known else f"unknown {what}"


def _keys_at(kind: type[BaseModel], path: KeyPath) -> tuple[str, ...]:
    """Keys of the model (of all models, in a union) that stands at `path`, found by walking the annotations."""
    current: list[Any] = [kind]
    for part in path:
        current = [inner for annotation in current for inner in _inside(annotation, part)]
    return tuple(dict.fromkeys(key for model in current if _is_model(model) for key in _fields(model)))


def _inside(annotation: Any, part: str | int) -> list[Any]:
    """What may stand at `part` of a value of this type."""
    if _is_model(annotation):
        fields = _fields(annotation)
        return _alternatives(fields[str(part)]) if part in fields else []
    inner = get_args(annotation)
    return [
        found for each in (inner[1:] if get_origin(annotation) is dict else inner) for found in _alternatives(each)
    ]


def _alternatives(annotation: Any) -> list[Any]:
    origin = get_origin(annotation)
    if origin is Annotated:
        return _alternatives(get_args(annotation)[0])
    if origin in (Union, UnionType):
        return [found for each in get_args(annotation) for found in _alternatives(each)]
    return [annotation]


def _fields(model: type[BaseModel]) -> dict[str, Any]:
    """Key in the file -> annotation."""
    return {field.alias or name: field.annotation for name, field in model.model_fields.items()}


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
