"""Alias -> version -> digest, once: from the ledger, which is the truth, and only while the registry agrees."""

from __future__ import annotations

from dataclasses import dataclass

from rsa_ops.core.digest import short
from rsa_ops.errors import ConflictError, IntegrityError, MissingError
from rsa_ops.governance.entry import Kind, Sealed
from rsa_ops.governance.payloads import Intent, Papers, PointerMoved, payload_as
from rsa_ops.governance.pointer import MOVES, open_intent, subject_of
from rsa_ops.governance.trust import Trust
from rsa_ops.governance.view import View
from rsa_ops.serving.resolved import Resolved
from rsa_ops.stages.ledger import known_store
from rsa_ops.tracking.registry import Version, by_alias, by_number
from rsa_ops.tracking.store import Store, read_store


@dataclass(frozen=True)
class Target:
    """A version that the ledger names: what it must be, where the registry has it, and its papers."""

    resolved: Resolved
    version: Version
    papers: Papers


def standing_store(address: str, named: str | None) -> Store:
    """The MLflow store that the ledger at `address` is the truth of: as named, from the environment, or beside it.

    Raises:
        MissingError: none is known, or it is not there.
    """
    uri = known_store(address, named)
    if uri is None:
        raise MissingError("no MLflow store is known", hint="Give --store URI, or set MLFLOW_TRACKING_URI.")
    return read_store(uri)


def resolve(view: View, store: Store, model: str, alias: str) -> Target:
    """What `alias` of `model` stands for now.

    Raises:
        MissingError: the ledger names no such champion, or no papers of it. ConflictError: it is being moved.
        IntegrityError: the registry's alias names another version than the ledger, or an entry is forged.
    """
    trust = Trust.of(view)
    pointer = current_pointer(view, trust, model, alias)
    require_alias(view, store, payload_as(pointer.entry, PointerMoved))
    return target_of(view, trust, store, pointer)


def current_pointer(view: View, trust: Trust, model: str, alias: str) -> Sealed:
    """The entry by which `alias` of `model` stands where it stands.

    Raises:
        MissingError: it never moved. IntegrityError: the entry is forged.
    """
    found = next(view.find(MOVES, subject_of(model, alias), newest_first=True, limit=1), None)
    if found is None:
        raise MissingError(
            f"the ledger names no {alias} of {model}",
            hint="`rsa-ops audit log --kind applied` lists what was promoted; a promotion makes a champion.",
        )
    return trust.require(found)


def require_alias(view: View, store: Store, moved: PointerMoved) -> None:
    """The registry, which is the mirror, names the same version as the ledger.

    Raises:
        IntegrityError: it does not. ConflictError: it does not yet, or not any more, because of an open intent.
    """
    live = by_alias(store, moved.model, moved.alias)
    if live is not None and live.version == moved.version:
        return
    says = "names no version" if live is None else f"names version {live.version}"
    found = (
        f"{moved.alias} of {moved.model} is version {moved.version} in the ledger (generation {moved.generation}), "
        f"but in the registry {store.uri} it {says}"
    )
    intent = open_intent(view, moved.model, moved.alias)
    if intent is not None and live is not None and live.version == payload_as(intent.entry, Intent).version:
        raise ConflictError(
            f"{found}: the move of entry {intent.entry.sequence} is under way, or its process died",
            hint="Try again in a moment; `rsa-ops reconcile` ends a move whose process died.",
        )
    raise IntegrityError(
        found,
        hint="Is it the right --store and --ledger? Else somebody moved the alias outside of rsa_ops: "
        "`rsa-ops audit verify` tells more, `rsa-ops reconcile --restore` puts it back.",
    )


def target_of(view: View, trust: Trust, store: Store, pointer: Sealed) -> Target:
    """The version that a pointer entry names, with its papers.

    Raises:
        MissingError: no papers, or the registry has no such version. IntegrityError: papers of other bytes.
    """
    moved = payload_as(pointer.entry, PointerMoved)
    sealed = _papers(view, trust, moved)
    papers = payload_as(sealed.entry, Papers)
    version = by_number(store, moved.model, moved.version)
    if version is None:
        raise MissingError(
            f"version {moved.version} of {moved.model} is not in the registry any more",
            hint="Somebody deleted it; `rsa-ops rollback` goes back to one that is there.",
        )
    resolved = Resolved(
        model=moved.model,
        alias=moved.alias,
        version=moved.version,
        digest=moved.digest,
        base_digest=papers.base_digest,
        generation=moved.generation,
        entry=pointer.hash,
        papers=sealed.hash,
    )
    return Target(resolved, version, papers)


def _papers(view: View, trust: Trust, moved: PointerMoved) -> Sealed:
    """The newest papers of a version; without them nothing says whose signature its files must have."""
    place = f"{moved.model}/{moved.version}"
    found = next(view.find((Kind.PAPERS,), place, newest_first=True, limit=1), None)
    if found is None:
        raise MissingError(
            f"version {moved.version} of {moved.model} has no papers in the ledger, so nothing says who signed it",
            hint="It is older than the signatures. Run its pipeline again: finished cells are reused, and the same "
            "adapter gets its papers. Nothing is served without them.",
        )
    papers = payload_as(trust.require(found).entry, Papers)
    if (papers.model, papers.version, papers.digest) != (moved.model, moved.version, moved.digest):
        raise IntegrityError(
            f"the papers of version {moved.version} of {moved.model} (entry {found.entry.sequence}) are about "
            f"{short(papers.digest)}, the ledger's pointer is {short(moved.digest)}",
            hint="`rsa-ops audit verify` tells more.",
        )
    return found
