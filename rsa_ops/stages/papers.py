"""Stage: a registered version gets its papers: signed, kept with its run in MLflow, and named in the ledger."""

from __future__ import annotations

from importlib.metadata import distributions
from pathlib import Path

import rsa_ops
from rsa_ops.core.comparison import Comparison
from rsa_ops.core.costs import Tco
from rsa_ops.core.digest import Digest, digest_bytes
from rsa_ops.core.run_record import RunRecord
from rsa_ops.core.validation import Validation
from rsa_ops.core.verdict import Verdict
from rsa_ops.errors import IntegrityError, MissingError
from rsa_ops.execution.key import library_versions, source_digest
from rsa_ops.files import digest_file, digest_folder, read_record, write_bytes
from rsa_ops.governance.checkpoint import make_checkpoint
from rsa_ops.governance.entry import Kind, Sealed
from rsa_ops.governance.notary import Notary
from rsa_ops.governance.papers.dossier import Dossier, Source
from rsa_ops.governance.papers.folder import RECORDS, SIGNATURE, VERDICT, make_papers
from rsa_ops.governance.papers.model_key import model_key
from rsa_ops.governance.papers.signature import sign_folder
from rsa_ops.governance.payloads import Papers, VerdictGiven, payload_as
from rsa_ops.models.base import base_licence
from rsa_ops.stages.run import Run
from rsa_ops.stages.train import Trained
from rsa_ops.tracking.context import source_tags
from rsa_ops.tracking.registry import Version

CHECKPOINT = "papers/ledger-checkpoint.json"


def write_papers(
    run: Run, version: Version, model: Trained, verdict: Verdict, probe: Digest | None = None
) -> Sealed:
    """The ledger's `papers` entry of a version: made now, or found where this verdict has its papers already.

    `probe` is the digest of the answers that it was judged by.

    Raises:
        IntegrityError: the adapter is not the version's, or the records of the run contradict each other.
        MissingError: the ledger's key is in no file, so no key for signing models can lie beside it.
    """
    judged = digest_file(run.results / VERDICT)
    found = find_papers(run.notary, version.name, version.version)
    if found is not None and payload_as(found.entry, Papers).files.get(VERDICT) == judged:
        run.progress.note(f"{version.name} version {version.version} has its papers: entry {found.entry.sequence}")
        return found
    if digest_folder(model.artifact) != version.digest:
        raise IntegrityError(
            f"{model.artifact} is not the adapter of {version.name} version {version.version}",
            hint="Its files were changed after they were registered. Run again.",
        )
    if run.notary.key_file is None:
        raise MissingError("the ledger's key is in no file, so there is none for models beside it")
    key = model_key(run.notary.key_file)
    environment = installed()
    dossier = _dossier(run, version, model, verdict, environment)
    signature = sign_folder(model.artifact, key)
    papers = make_papers(dossier, run.policy, environment, signature, run.notary.signer)
    for name, data in papers.items():
        write_bytes(run.results / name, data)
        run.keep_file(run.results / name)
    records = (*RECORDS, f"measurements/{model.cell.name}.json")
    payload = Papers(
        model=version.name,
        version=version.version,
        digest=version.digest,
        base_digest=model.measurements.base_digest,
        run=run.run_id,
        signature=digest_bytes(papers[SIGNATURE]),
        signer_public_key=key.public_key,
        files={name: digest_file(run.results / name) for name in (*records, *papers)},
        probe=probe,
    )
    return _seal(run, payload)


def find_papers(notary: Notary, model: str, version: str) -> Sealed | None:
    """The newest `papers` entry of a version, or None."""
    with notary.ledger.view() as view:
        return next(view.find((Kind.PAPERS,), f"{model}/{version}", newest_first=True, limit=1), None)


def installed() -> str:
    """Every installed Python package, `name==version`, one a line."""
    found = {f"{dist.metadata['Name']}=={dist.version}" for dist in distributions()}
    return "".join(f"{line}\n" for line in sorted(found, key=str.lower))


def _seal(run: Run, payload: Papers) -> Sealed:
    notary = run.notary
    sealed = notary.write(Kind.PAPERS, f"{payload.model}/{payload.version}", payload)
    entry = sealed.entry
    run.keep(
        make_checkpoint(entry.ledger, entry.sequence, sealed.hash, notary.signer, notary.ledger.clock()), CHECKPOINT
    )
    run.tag({"ledger.papers": sealed.hash})
    run.progress.note(
        f"{payload.model} version {payload.version} is signed and has its papers: entry {entry.sequence}; "
        f"`rsa-ops evidence {payload.model} {payload.version} -o evidence.zip` puts all of it into one file"
    )
    return sealed


def _dossier(run: Run, version: Version, model: Trained, verdict: Verdict, environment: str) -> Dossier:
    sealed = _verdict_entry(run, verdict)
    tags = source_tags(run.folder)
    return Dossier(
        model=version.name,
        version=version.version,
        digest=version.digest,
        files=_files(model.artifact),
        description=run.config.description,
        base_licence=base_licence(model.measurements.base_model),
        run=read_record(RunRecord, run.results / "run.json"),
        validation=read_record(Validation, run.results / "validation.json"),
        measurements=model.measurements,
        comparison=read_record(Comparison, run.results / "comparison.json"),
        tco=read_record(Tco, run.results / "tco.json"),
        verdict=verdict,
        verdict_entry=sealed.hash,
        judged_at=sealed.entry.at,
        source=Source(
            version=rsa_ops.__version__,
            package=source_digest(),
            libraries=library_versions(),
            environment=digest_bytes(environment.encode("utf-8")),
            commit=tags.get("git.commit"),
            clean=tags["git.clean"] == "true" if "git.clean" in tags else None,
        ),
    )


def _verdict_entry(run: Run, verdict: Verdict) -> Sealed:
    with run.notary.ledger.view() as view:
        for sealed in view.find((Kind.VERDICT,), run.run_id, newest_first=True):
            if payload_as(sealed.entry, VerdictGiven).verdict_digest == verdict.digest():
                return sealed
    raise IntegrityError(
        f"the ledger has no verdict {verdict.digest()} of the run {run.run_id}",
        hint="The stage `gate` writes it; papers stand on nothing else.",
    )


def _files(folder: Path) -> dict[str, str]:
    files = (file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): digest_file(file) for file in files}
