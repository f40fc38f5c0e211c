"""The gate on its own: the evidence of a finished run, from its results folder or from MLflow, and a policy."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rsa_ops.config import read_config
from rsa_ops.core.business_case import BusinessCase
from rsa_ops.core.comparison import Comparison
from rsa_ops.core.costs import Tco
from rsa_ops.core.design import ComparisonDesign
from rsa_ops.core.digest import Digest
from rsa_ops.core.measurements import Measurements
from rsa_ops.core.run_record import RunRecord
from rsa_ops.core.verdict import Evidence, Verdict
from rsa_ops.errors import IntegrityError, MissingError
from rsa_ops.evaluation.benchmark import PREDICTIONS
from rsa_ops.files import read_record
from rsa_ops.gates.decide import decide
from rsa_ops.gates.policy import CHAMPION, Policy
from rsa_ops.governance.entry import Sealed
from rsa_ops.governance.notary import Notary
from rsa_ops.governance.payloads import PolicyLock, payload_as
from rsa_ops.stages.champion import champion_contrast
from rsa_ops.stages.cost import CASE
from rsa_ops.stages.design import RECORD as DESIGN_RECORD
from rsa_ops.stages.ledger import LedgerChoice, find_lock, found_notary, lock_policy, seal_verdict
from rsa_ops.stages.report import all_records, optional_record
from rsa_ops.stages.validate import RUN_RECORD
from rsa_ops.tracking.registry import Version, by_alias, by_number, registered_name
from rsa_ops.tracking.runs import fetch_files, find_run
from rsa_ops.tracking.store import Store, read_store


@dataclass(frozen=True)
class Judged:
    """A verdict and the records that it was reached from."""

    verdict: Verdict
    comparison: Comparison
    tco: Tco | None
    case: BusinessCase | None


def gate_alone(
    candidate: str,
    policy_file: Path,
    champion: str | None,
    store_uri: str | None,
    ledger: LedgerChoice,
    tell: Callable[[str], None],
) -> Judged:
    """Judge the run `candidate` (a results folder or an MLflow run id) by a policy file.

    `champion`: alias or number of a registered version that the candidate must stand against as well. The policy
    lock and the verdict go to the ledger that was chosen, or to the one beside the run's store; `tell` is told
    where there is none.

    Raises:
        MissingError: no such run, alias or scores. ConfigError: the policy has problems.
        IntegrityError: the ledger locked another policy for this run than run.json says.
    """
    policy = read_config(Policy, policy_file)
    with _results(candidate, store_uri) as folder:
        record = read_record(RunRecord, folder / RUN_RECORD)
        notary = found_notary(ledger, store_uri or record.store, tell)
        lock = None if notary is None else _locked(notary, record, policy)
        comparison = read_record(Comparison, folder / "comparison.json")
        design = read_record(ComparisonDesign, folder / DESIGN_RECORD)
        measured = all_records(Measurements, folder / "measurements")
        tco = optional_record(Tco, folder / "tco.json")
        case = optional_record(BusinessCase, folder / CASE)
    ours = _released(policy, record, measured)
    version: Version | None = None
    own = tuple(entry for entry in comparison.contrasts if entry.baseline != CHAMPION)
    comparison = comparison.model_copy(update={"contrasts": own})
    if champion is not None:
        store = read_store(store_uri or record.store, record.pipeline)
        version = _version(store, registered_name(record.pipeline, ours.base_digest), champion)
        comparison = _with_champion(store, policy, record, comparison, ours, version)
    evidence = Evidence(
        comparison=comparison,
        measurements=measured,
        tco=tco,
        candidate_digest=ours.artifact_digest,
        champion_digest=version.digest if version is not None else None,
        test_digest=record.test_digest,
        locked_policy_digest=record.policy_digest,
        design=design,
        locked_design_digest=record.design_digest,
    )
    verdict = decide(policy, evidence)
    if notary is not None and lock is not None:
        sealed = seal_verdict(notary, record.pipeline, record.run_id, lock, verdict, design.digest())
        notary.ledger.close()
        tell(f"the verdict is entry {sealed.entry.sequence} of the ledger {notary.ledger.address}")
    return Judged(verdict, comparison, tco, case)


def _locked(notary: Notary, record: RunRecord, policy: Policy) -> Sealed:
    """The lock of the run; one is written where this ledger has none, before any score is read here."""
    lock = find_lock(notary, record.run_id)
    if lock is None:
        return lock_policy(notary, record.pipeline, record.run_id, policy, record.test_digest, record.design_digest)
    locked = payload_as(lock.entry, PolicyLock)
    same_design = locked.design_digest in (None, record.design_digest)  # older locks have none
    same = (locked.policy_digest, locked.test_digest) == (record.policy_digest, record.test_digest)
    if not (same and same_design):
        raise IntegrityError(
            f"entry {lock.entry.sequence} of the ledger locked another policy, test set or design than "
            f"{RUN_RECORD} says",
            hint=f"{RUN_RECORD} was changed after the run; the ledger is the record.",
        )
    return lock


@contextmanager
def _results(candidate: str, store_uri: str | None) -> Iterator[Path]:
    if Path(candidate).is_dir():
        yield Path(candidate)
        return
    uri = store_uri or os.environ.get("MLFLOW_TRACKING_URI")
    if uri is None:
        raise MissingError(
            f"{candidate} is no folder, and no MLflow store is given to look it up in",
            hint="Give --store, set MLFLOW_TRACKING_URI, or give the run's results folder.",
        )
    store = read_store(uri)
    with tempfile.TemporaryDirectory() as folder:
        yield fetch_files(store, candidate, "", Path(folder))


def _released(policy: Policy, record: RunRecord, measured: tuple[Measurements, ...]) -> Measurements:
    for entry in measured:
        if (entry.cell.arm, entry.cell.seed) == (policy.candidate, record.release_seed):
            return entry
    raise MissingError(f"the run has no measurements of {policy.candidate}, seed {record.release_seed}")


def _version(store: Store, name: str, alias: str) -> Version:
    version = by_number(store, name, alias) if alias.isdecimal() else by_alias(store, name, alias)
    if version is None:
        raise MissingError(
            f"{name} has no version {alias}" if alias.isdecimal() else f"no version of {name} is its {alias!r}",
            hint="Leave --champion out for a first version.",
        )
    return version


def _with_champion(
    store: Store,
    policy: Policy,
    record: RunRecord,
    comparison: Comparison,
    ours: Measurements,
    version: Version,
) -> Comparison:
    if version.digest == ours.artifact_digest:
        return comparison  # the gate itself refuses a candidate that is the champion
    with tempfile.TemporaryDirectory() as folder:
        ours_file, theirs_file = (
            _predictions(store, digest, record.test_digest, Path(folder) / side)
            for side, digest in (("candidate", ours.artifact_digest), ("champion", version.digest))
        )
        made = tuple(
            champion_contrast(rule, policy, record.task, (ours_file, theirs_file), comparison.groups)
            for rule in policy.champion_rules
        )
    return comparison.model_copy(update={"contrasts": (*comparison.contrasts, *made)})


def _predictions(store: Store, artifact: Digest, test: Digest, target: Path) -> Path:
    run_id = find_run(store, {"digest.sha256": artifact, "test.sha256": test})
    if run_id is None:
        raise MissingError(
            f"no finished run has scored {artifact} on this test set",
            hint="`rsa-ops run` scores the champion on the test set of the candidate.",
        )
    return fetch_files(store, run_id, PREDICTIONS, target)
