"""The ledger of a pipeline: where it lies, and the two entries that every verdict stands on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from rsa_ops.core.digest import Digest
from rsa_ops.core.verdict import Outcome, Verdict
from rsa_ops.errors import IntegrityError, MissingError, UsageError
from rsa_ops.gates.policy import Policy
from rsa_ops.governance.database import database_file, ledger_url
from rsa_ops.governance.entry import Kind, Sealed
from rsa_ops.governance.keys import FileKey, load_key
from rsa_ops.governance.notary import Notary, local_key, open_notary
from rsa_ops.governance.payloads import PolicyLock, VerdictGiven
from rsa_ops.governance.store import open_ledger
from rsa_ops.tracking.store import local_database

LEDGER_FILE = "ledger.db"


@dataclass(frozen=True)
class LedgerChoice:
    """What the user said about the ledger: its `address` (a file or a URL) and a private `key` file, or nothing."""

    address: str | None = None
    key: Path | None = None


def beside(store_uri: str) -> str | None:
    """The ledger file beside a local MLflow store; None for a server."""
    database = local_database(store_uri)
    return None if database is None else str(database.with_name(LEDGER_FILE))


def default_address() -> str:
    """The ledger that is meant when none is named.

    Raises:
        MissingError: there is none in the usual places.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    places = [beside(uri) or f"rsa-ops-run/{LEDGER_FILE}", LEDGER_FILE]
    for place in places:
        if Path(place).is_file():
            return place
    raise MissingError(f"there is no ledger at {' nor at '.join(places)}", hint="Give --ledger.")


def known_store(address: str | None, store: str | None, file: Path | None = None) -> str | None:
    """The store that the ledger at `address` (or an exported `file`) is the truth of, as far as one is known."""
    named = store or os.environ.get("MLFLOW_TRACKING_URI")
    if named is not None or file is not None:
        return named
    ledger = database_file(ledger_url(address or default_address()))
    database = None if ledger is None else ledger.with_name("mlflow.db")
    return f"sqlite:///{database}" if database is not None and database.is_file() else None


def run_notary(choice: LedgerChoice, store_uri: str, work: Path, tell: Callable[[str], None]) -> Notary:
    """The ledger of a run: as chosen, else beside its local store, else in its working folder."""
    return open_notary(choice.address or beside(store_uri) or str(work / LEDGER_FILE), choice.key, tell)


def found_notary(choice: LedgerChoice, store_uri: str, tell: Callable[[str], None]) -> Notary | None:
    """The ledger that was chosen, or the one that lies beside the store of a run; None, told, where there is none.

    Raises:
        RsaOpsError: the chosen ledger cannot be used.
    """
    if choice.address is not None:
        return open_notary(choice.address, choice.key, tell)
    address = beside(store_uri)
    if address is None or not Path(address).is_file():
        tell("this verdict is in no ledger: there is none beside the run's MLflow store, and --ledger names none")
        return None
    try:
        return open_notary(address, choice.key, tell)
    except (MissingError, UsageError) as error:
        if choice.key is not None:
            raise
        tell(f"this verdict is not written to the ledger {address}: {error.message}")
        return None


def signing_key(address: str, key: Path | None) -> FileKey:
    """The private key to sign with: the one named, else the one beside a ledger file.

    Raises:
        MissingError: neither is there. UsageError: others may read it.
    """
    beside_it = _beside(address)
    if key is None and (beside_it is None or not beside_it.is_file()):
        raise MissingError("no key to sign with", hint="Give --key FILE, or set RSA_OPS_KEY.")
    return load_key(key or beside_it or Path())


def _beside(address: str) -> Path | None:
    file = database_file(ledger_url(address))
    return None if file is None else local_key(file)


@contextmanager
def open_writer(address: str | None, key: Path | None) -> Iterator[Notary]:
    """A ledger that is there already, to write by hand into; `address` and `key` None are the usual places.

    Raises:
        MissingError: there is no such ledger, or no key.
    """
    place = address or default_address()
    open_ledger(place, write=False).close()  # refuses a file that is not there, which writing would make
    with closing(open_ledger(place, write=True)) as ledger:
        yield Notary(ledger, signing_key(place, key), key or _beside(place))


def full_key(notary: Notary, beginning: str) -> Digest:
    """The id of the one key of a ledger that begins so.

    Raises:
        MissingError: none does. UsageError: several do, or there are fewer than six digits.
    """
    digits = beginning.removeprefix("sha256:")
    if len(digits) < 6:
        raise UsageError(f"{beginning!r} is too short for a key", hint="Give six digits or more.")
    wanted = f"sha256:{digits}"
    with notary.ledger.view() as view:
        found = [key for key in view.keyring().holders if key.startswith(wanted)]
    if not found:
        raise MissingError(f"the ledger has no key {beginning}", hint="`rsa-ops keys list` shows its keys.")
    if len(found) > 1:
        raise UsageError(f"{len(found)} keys begin with {beginning}", hint="Give more digits.")
    return found[0]


def lock_policy(
    notary: Notary, pipeline: str, run_id: str, policy: Policy, test_digest: Digest, design_digest: Digest
) -> Sealed:
    """Write down the policy, the test set and the design of a run; to be called before the run reads a score."""
    lock = PolicyLock(
        pipeline=pipeline,
        policy=policy.name,
        policy_digest=policy.digest(),
        test_digest=test_digest,
        design_digest=design_digest,
        approvals=policy.approvals,
    )
    return notary.write(Kind.POLICY_LOCK, run_id, lock)


def find_lock(notary: Notary, run_id: str) -> Sealed | None:
    """The lock of a run, or None. Where it was locked again, the first counts."""
    with notary.ledger.view() as view:
        return next(view.find((Kind.POLICY_LOCK,), run_id, limit=1), None)


def require_lock(notary: Notary, run_id: str) -> Sealed:
    """The lock of a run.

    Raises:
        IntegrityError: the ledger has none, so that nothing shows that the policy is older than the scores.
    """
    lock = find_lock(notary, run_id)
    if lock is None:
        raise IntegrityError(
            f"the policy of the run {run_id} was never locked in {notary.ledger.address}",
            hint="The stage `validate` writes the lock, before anything is trained.",
        )
    return lock


def seal_verdict(
    notary: Notary, pipeline: str, run_id: str, lock: Sealed, verdict: Verdict, design_digest: Digest
) -> Sealed:
    """Write down a verdict and the design it was judged by, bound to the lock of its policy."""
    given = VerdictGiven(
        pipeline=pipeline,
        lock=lock.hash,
        policy_digest=verdict.policy_digest,
        test_digest=verdict.test_digest,
        verdict_digest=verdict.digest(),
        outcome=verdict.outcome,
        candidate_digest=verdict.candidate_digest,
        champion_digest=verdict.champion_digest,
        design_digest=design_digest,
        unmet=tuple(ruling.rule[:255] for ruling in verdict.rulings if ruling.outcome is not Outcome.PROMOTE),
    )
    return notary.write(Kind.VERDICT, run_id, given)
