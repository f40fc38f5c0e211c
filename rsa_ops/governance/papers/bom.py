"""The bill of materials of a version: CycloneDX 1.7 (ML-BOM), checked against its schema before it is written.

The library that carries the schema writes no model cards, so the JSON is put together here.
"""

from __future__ import annotations

import json
import uuid
from typing import Any

from rsa_ops.core.digest import Digest
from rsa_ops.core.estimate import Estimate
from rsa_ops.errors import IntegrityError
from rsa_ops.governance.papers.dossier import Dossier, hexadecimal, package_url
from rsa_ops.governance.papers.limits import limits

_NAMESPACE = uuid.UUID("8f6f2f0a-6d0f-5b52-9d3b-0c5f7f0a9a57")
BASE, DATA = "base-model", "data"


def bom(dossier: Dossier) -> bytes:
    """The ML-BOM as JSON text.

    Raises:
        IntegrityError: it does not keep to the schema (strictly: nothing unknown either).
    """
    made = {
        "$schema": "http://cyclonedx.org/schema/bom-1.7.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.7",
        "serialNumber": f"urn:uuid:{uuid.uuid5(_NAMESPACE, f'{dossier.name} {dossier.verdict_entry}')}",
        "version": 1,
        "metadata": {
            "timestamp": dossier.judged_at,
            "tools": {
                "components": [{"type": "application", "name": "rsa-ops", "version": dossier.source.version}]
            },
            "component": _model(dossier),
        },
        "components": [_base(dossier), _data(dossier), *_libraries(dossier)],
        "dependencies": [{"ref": dossier.name, "dependsOn": [BASE, DATA]}, {"ref": BASE}, {"ref": DATA}],
    }
    text = json.dumps(made, indent=2, ensure_ascii=False) + "\n"
    require_valid(text)
    return text.encode("utf-8")


def require_valid(text: str) -> None:
    """Check a bill of materials against the strict schema of CycloneDX 1.7.

    Raises:
        IntegrityError: it does not keep to it.
    """
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    found = JsonStrictValidator(SchemaVersion.V1_7).validate_str(text)
    if found is not None:
        first = str(found).strip().splitlines()[0]
        raise IntegrityError(f"no CycloneDX 1.7 bill of materials: {first[:300]}")


def _model(dossier: Dossier) -> dict[str, Any]:
    measured = dossier.measurements
    return {
        "type": "machine-learning-model",
        "bom-ref": dossier.name,
        "name": dossier.model,
        "version": dossier.version,
        "description": dossier.description or f"{measured.method} adapter for {dossier.run.pipeline}",
        "hashes": _hashes(dossier.digest),
        "licenses": [{"license": {"name": "the terms of its base model and of its training data"}}],
        "pedigree": {
            "ancestors": [_base(dossier, ref=False)],
            "notes": f"{measured.method}: {measured.trainable_parameters} of {measured.total_parameters} "
            "parameters trained; the base stays as it is.",
        },
        "modelCard": {
            "modelParameters": _parameters(dossier),
            "quantitativeAnalysis": {"performanceMetrics": _metrics(dossier)},
            "considerations": _considerations(dossier),
        },
        "properties": [
            *(_property(f"file:{name}", digest) for name, digest in sorted(dossier.files.items())),
            _property("verdict", dossier.verdict.outcome.value),
            _property("verdict-ledger-entry", dossier.verdict_entry),
        ],
    }


def _parameters(dossier: Dossier) -> dict[str, Any]:
    return {
        "approach": {"type": "supervised"},
        "task": dossier.run.task,
        "architectureFamily": "transformer",
        "modelArchitecture": f"{dossier.measurements.base_model} with a {dossier.measurements.method} adapter",
        "datasets": [{"ref": DATA}],
        "inputs": [{"format": "text"}],
        "outputs": [{"format": "one label of the list" if dossier.run.task == "classification" else "text"}],
    }


def _metrics(dossier: Dossier) -> list[dict[str, Any]]:
    found = [_metric(name, estimate) for name, estimate in dossier.summary.metrics.items()]
    primary = dossier.comparison.primary_metric
    found += [
        {**_metric(primary, entry.score), "slice": entry.slice}
        for entry in dossier.summary.slices
        if entry.assessable
    ]
    return found


def _metric(name: str, estimate: Estimate) -> dict[str, Any]:
    ends = {"lowerBound": f"{estimate.low:.6f}", "upperBound": f"{estimate.high:.6f}"}
    return {"type": name, "value": f"{estimate.value:.6f}", "confidenceInterval": ends}


def _considerations(dossier: Dossier) -> dict[str, Any]:
    found: dict[str, Any] = {"technicalLimitations": list(limits(dossier))}
    if dossier.description:
        found["useCases"] = [dossier.description]
    energy = dossier.measurements.energy
    if energy.energy_kwh is not None:
        found["environmentalConsiderations"] = {
            "properties": [
                _property("fine-tuning-energy-kwh", f"{energy.energy_kwh:.9f}"),
                _property("fine-tuning-energy-source", energy.source),
            ]
        }
    return found


def _base(dossier: Dossier, *, ref: bool = True) -> dict[str, Any]:
    found: dict[str, Any] = {
        "type": "machine-learning-model",
        "name": dossier.measurements.base_model,
        "hashes": _hashes(dossier.measurements.base_digest),
    }
    if dossier.base_licence is not None:
        found["licenses"] = [{"license": {"id": dossier.base_licence}}]
    return {"bom-ref": BASE, **found} if ref else found


def _data(dossier: Dossier) -> dict[str, Any]:
    validation = dossier.validation
    rows = ", ".join(f"{split.rows} {split.name}" for split in validation.splits)
    found: dict[str, Any] = {
        "type": "data",
        "bom-ref": DATA,
        "name": validation.source,
        "hashes": _hashes(validation.fingerprint),
        "data": [
            {"type": "dataset", "name": validation.source, "description": f"rows: {rows}; {validation.sampling}"}
        ],
        "properties": [_property(f"split:{split.name}", split.digest) for split in validation.splits],
    }
    if validation.attribution:
        found["licenses"] = [{"license": {"name": validation.attribution}}]
    return found


def _libraries(dossier: Dossier) -> list[dict[str, Any]]:
    pairs = (entry.split("==") for entry in dossier.source.libraries if "==" in entry)
    return [
        {"type": "library", "name": name, "version": version, "purl": package_url(name, version)}
        for name, version in pairs
    ]


def _hashes(digest: Digest) -> list[dict[str, str]]:
    return [{"alg": "SHA-256", "content": hexadecimal(digest)}]


def _property(name: str, value: str) -> dict[str, str]:
    return {"name": f"rsa_ops:{name}", "value": value}
