"""The variants of a store with what the ledger says of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from rsa_ops.core.digest import Digest
from rsa_ops.core.variants import State, Variant, Variants
from rsa_ops.core.verdict import Outcome
from rsa_ops.errors import IntegrityError, MissingError
from rsa_ops.gates.policy import CHAMPION
from rsa_ops.governance.champions import Move, rolled_back
from rsa_ops.governance.entry import Kind, to_instant
from rsa_ops.governance.payloads import Papers, Plan, VerdictGiven, read_payload
from rsa_ops.governance.pointer import MOVES
from rsa_ops.governance.store import open_ledger
from rsa_ops.governance.view import View
from rsa_ops.stages.ledger import beside, default_address, known_store
from rsa_ops.tracking.variants import Inventory, StoredVariant, read_inventory


@dataclass(frozen=True)
class Standing:
    """What a ledger says of adapters: their newest verdict, and how far each came."""

    verdicts: Mapping[Digest, Outcome] = field(default_factory=dict)
    states: Mapping[Digest, tuple[State, int | None]] = field(default_factory=dict)


def list_models(ledger: str | None, store: str | None, limit: int) -> Variants:
    """The newest `limit` variants; all of them where it is 0.

    The ledger is the one named, or the one beside the store; without one there are no verdicts and no champions.

    Raises:
        MissingError: no store is known or it does not answer; a ledger was named and is not there.
    """
    address = ledger or _usual(store)
    uri = store or (known_store(address, None) if address else None)
    if uri is None:
        raise MissingError("no MLflow store is known", hint="Give --store URI, or set MLFLOW_TRACKING_URI.")
    inventory = read_inventory(uri)
    standing, shown = Standing(), None
    if address is not None:
        with closing(open_ledger(address, write=False)) as opened, opened.view() as view:
            standing, shown = read_standing(view), opened.address
    some = inventory.variants[: limit or None]
    return Variants(
        store=uri,
        ledger=shown,
        total=len(inventory.variants),
        variants=tuple(_variant(each, inventory, standing) for each in some),
    )


def read_standing(view: View) -> Standing:
    """What the entries say, as they stand there; `audit verify` says whether they are to be believed.

    Raises:
        IntegrityError: an entry that cannot be read.
    """
    verdicts: dict[Digest, Outcome] = {}
    states: dict[Digest, tuple[State, int | None]] = {}
    for sealed in view.find((Kind.VERDICT, Kind.PAPERS, Kind.PLAN)):
        match read_payload(sealed.entry):
            case VerdictGiven() as verdict:
                verdicts[verdict.candidate_digest] = verdict.outcome
                states[verdict.candidate_digest] = ("candidate", None)
            case Papers() as about:
                states[about.digest] = ("candidate", None)
            case Plan() as plan:
                states[plan.digest] = ("candidate", None)
    histories: dict[str, list[Move]] = {}
    for sealed in view.find(MOVES):
        move = Move.of(sealed)
        if move.moved.alias == CHAMPION:
            histories.setdefault(move.moved.model, []).append(move)
    for moves in histories.values():
        states |= _champions(moves)
    return Standing(verdicts, states)


def _champions(moves: Sequence[Move]) -> dict[Digest, tuple[State, int | None]]:
    bad, last = rolled_back(moves), moves[-1].moved
    states: dict[Digest, tuple[State, int | None]] = {}
    for move in moves:
        moved = move.moved
        states[moved.digest] = ("rolled back" if moved.digest in bad else "retired", moved.generation)
    states[last.digest] = ("champion", last.generation)
    return states


def _variant(found: StoredVariant, inventory: Inventory, standing: Standing) -> Variant:
    versions = inventory.versions.get(found.digest, ())
    usual: State = "candidate" if versions else "trained"
    state, generation = standing.states.get(found.digest, (usual, None))
    params = found.params
    try:
        return Variant(
            model_id=found.model_id,
            run=found.run_id,
            parent=params["parent"],
            made=to_instant(datetime.fromtimestamp(found.made_ms / 1000, UTC)),
            arm=params["arm"],
            seed=int(params["seed"]),
            method=params["method"],
            base_model=params["base_model"],
            base=params["base.sha256"],
            data=params["data.sha256"],
            config=params["config.sha256"],
            digest=found.digest,
            versions=versions,
            state=state,
            verdict=standing.verdicts.get(found.digest),
            generation=generation,
        )
    except (KeyError, ValueError) as error:
        raise IntegrityError(
            f"the logged model {found.model_id} does not say what it is: {error}",
            hint="Somebody made or changed a logged model of our type; delete it in MLflow.",
        ) from error


def _usual(store: str | None) -> str | None:
    if store is not None:
        place = beside(store)
        return place if place is not None and Path(place).is_file() else None
    try:
        return default_address()
    except MissingError:
        return None
