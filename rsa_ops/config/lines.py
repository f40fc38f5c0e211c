"""YAML as plain values plus the line of every key, so that a problem can be shown where it stands."""

from __future__ import annotations

import math
from dataclasses import dataclass

import yaml

from rsa_ops.errors import ConfigError, Problem

Path = tuple[str | int, ...]

_MOST_VALUES = 100_000
"""More than any configuration holds; aliases of aliases would reach billions."""


@dataclass(frozen=True)
class Document:
    """`value` holds only JSON types; `lines` maps the path of each key or item to its line, from 1."""

    value: object
    lines: dict[Path, int]


def parse_yaml(text: str, source: str) -> Document:
    """Parse one YAML document of plain JSON types (a date stays text, a key stands once).

    Raises:
        ConfigError: the text is no YAML, a key stands twice, or a value is none that JSON has.
    """
    builder = _Builder()
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        value = builder.build(node, ()) if node is not None else None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else None
        raise ConfigError(source, (Problem("YAML", error.problem or str(error), line),)) from error
    except yaml.YAMLError as error:
        raise ConfigError(source, (Problem("YAML", str(error).splitlines()[0]),)) from error
    except RecursionError as error:
        raise ConfigError(source, (Problem("YAML", "is nested too deeply"),)) from error
    if builder.problems:
        raise ConfigError(source, tuple(builder.problems))
    return Document({} if value is None else value, builder.lines)


class _Builder:
    def __init__(self) -> None:
        self.lines: dict[Path, int] = {}
        self.problems: list[Problem] = []
        self._open: list[yaml.Node] = []
        self._values = 0

    def build(self, node: yaml.Node, path: Path) -> object:
        self.lines.setdefault(path, node.start_mark.line + 1)
        if any(node is parent for parent in self._open):
            return self._refuse(node, path, "refers to itself")
        self._values += 1
        if self._values > _MOST_VALUES:
            full = self._values == _MOST_VALUES + 1  # said once; what follows is not looked at
            return self._refuse(node, path, "is one value too many; aliases repeat them") if full else None
        self._open.append(node)
        try:
            return self._value(node, path)
        finally:
            self._open.pop()

    def _value(self, node: yaml.Node, path: Path) -> object:
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._scalar(node, path)

    def _scalar(self, node: yaml.Node, path: Path) -> object:
        if node.tag == "tag:yaml.org,2002:timestamp":
            return node.value
        try:
            value = yaml.SafeLoader("").construct_object(node)
        except (yaml.YAMLError, ValueError):
            return self._refuse(node, path, f"{node.value!r} is no {node.tag.rpartition(':')[2]}")
        if isinstance(value, float) and not math.isfinite(value):
            return self._refuse(node, path, f"{node.value} is not a finite number")
        return value if isinstance(value, str | int | float | bool) or value is None else node.value

    def _refuse(self, node: yaml.Node, path: Path, what: str) -> object:
        self.problems.append(Problem(_dotted(path), what, node.start_mark.line + 1))
        return None

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, object]:
        out: dict[str, object] = {}
        for key_node, value_node in node.value:
            key, line = str(key_node.value), key_node.start_mark.line + 1
            if key in out:
                self.problems.append(Problem(_dotted((*path, key)), "stands here a second time", line))
            self.lines[(*path, key)] = line
            out[key] = self.build(value_node, (*path, key))
        return out


def _dotted(path: Path) -> str:
    return ".".join(str(part) for part in path) or "the document"
