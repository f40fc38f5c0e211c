"""How the adapter was made: SLSA provenance v1 of one training.

It claims no SLSA build level: the builder is the account that holds the ledger's key, and nothing isolates it from
the one who asked for the training. What it does say is checked against what it says elsewhere: base, data, source.
"""

from __future__ import annotations

from typing import Any

from rsa_ops.core.digest import Digest
from rsa_ops.governance.papers.attestation import statement
from rsa_ops.governance.papers.dossier import Dossier, hexadecimal, package_url

PROVENANCE_TYPE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:rsa-ops:build-type:train:v1"
"""Described in docs/formats.md. A URN, because rsa_ops owns no web page that could describe it for ever."""


def provenance(dossier: Dossier, key: Digest) -> dict[str, Any]:
    """The statement; `key` is the id of the key that will sign it, by which the builder is known."""
    return statement(
        dossier,
        PROVENANCE_TYPE,
        {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": _asked(dossier),
                "internalParameters": _machine(dossier),
                "resolvedDependencies": _dependencies(dossier),
            },
            "runDetails": {
                "builder": {
                    "id": f"urn:rsa-ops:builder:{hexadecimal(key)}",
                    "version": {"rsa-ops": dossier.source.version},
                },
                "metadata": {"invocationId": dossier.run.run_id, "startedOn": _zulu(dossier.run.started_at)},
                "byproducts": [_material("environment.txt", dossier.source.environment)],
            },
        },
    )


def _asked(dossier: Dossier) -> dict[str, Any]:
    measured = dossier.measurements
    return {
        "pipeline": dossier.run.pipeline,
        "task": dossier.run.task,
        "arm": measured.cell.arm,
        "method": measured.method,
        "seed": measured.cell.seed,
        "epochs": measured.epochs,
        "learningRate": measured.learning_rate,
        "settings": dossier.run.settings_note,
        "policyDigest": dossier.run.policy_digest,
        "testDigest": dossier.run.test_digest,
    }


def _machine(dossier: Dossier) -> dict[str, Any]:
    measured = dossier.measurements
    return {"device": measured.device, "workers": measured.workers, "threads": measured.threads}


def _dependencies(dossier: Dossier) -> list[dict[str, Any]]:
    measured, source = dossier.measurements, dossier.source
    found = [
        _material(f"base model {measured.base_model}", measured.base_digest),
        _material(f"data {dossier.validation.source}", dossier.validation.fingerprint),
        _material("training split", measured.data_digest),
        _material(f"source of rsa-ops {source.version}", source.package),
    ]
    if source.commit is not None:
        tree = {"treeClean": bool(source.clean)}
        found.append({"name": "pipeline folder", "digest": {"gitCommit": source.commit}, "annotations": tree})
    libraries = (entry.split("==") for entry in source.libraries if "==" in entry)
    return [*found, *({"uri": package_url(name, version)} for name, version in libraries)]


def _material(name: str, digest: Digest) -> dict[str, Any]:
    return {"name": name, "digest": {"sha256": hexadecimal(digest)}}


def _zulu(moment: str) -> str:
    return moment.replace("+00:00", "Z")
