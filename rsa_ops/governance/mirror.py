"""The registry is a mirror of the ledger: where the two disagree, somebody went around the gate."""

from __future__ import annotations

from collections.abc import Iterator

from rsa_ops.core.digest import short
from rsa_ops.core.registry import LiveVersion, RegistryReading
from rsa_ops.governance.finding import Fault, Finding, Flaw
from rsa_ops.governance.order import Order, Pointer
from rsa_ops.governance.pointer import subject_of


def disagreements(order: Order, reading: RegistryReading) -> tuple[Finding, ...]:
    """Every alias and version that the ledger names and the registry has otherwise.

    `order` is that of a verified ledger; `reading` must have asked for `order.pointers` and `order.versions`. A
    finding carries the number of the entry that says how it should be.
    """
    found = [*_aliases(order, reading), *_versions(order, reading)]
    return tuple(sorted(found, key=lambda finding: finding.sequence))


def _aliases(order: Order, reading: RegistryReading) -> Iterator[Finding]:
    for (model, alias), pointer in order.pointers.items():
        live = reading.aliases.get((model, alias))
        begun = order.promotions.alias(subject_of(model, alias)).open
        if live != pointer.moved.version and (begun is None or live != begun.intent.version):
            says = "names no version" if live is None else f"names version {live}"
            yield Fault(
                Flaw.ALIAS_MOVED,
                f"{alias} of {model} is version {pointer.moved.version} (generation {pointer.moved.generation}), "
                f"but in the registry it {says}",
            ).at(pointer.sequence)


def _versions(order: Order, reading: RegistryReading) -> Iterator[Finding]:
    live = {(version.model, version.version): version for version in reading.versions}
    for place, pointer in order.versions.items():
        fault = _fault(pointer, live.get(place))
        if fault is not None:
            yield fault.at(pointer.sequence)


def _fault(pointer: Pointer, live: LiveVersion | None) -> Fault | None:
    moved = pointer.moved
    name = f"version {moved.version} of {moved.model}"
    if live is None:
        return Fault(Flaw.VERSION_DELETED, f"{name} is not in the registry any more")
    if live.digest is None:
        return Fault(Flaw.BYTES_MISSING, f"the files of {name} cannot be fetched: {live.reason}")
    if live.digest != moved.digest:
        return Fault(
            Flaw.BYTES_CHANGED, f"{name} was {short(moved.digest)}, its files are {short(live.digest)} now"
        )
    return None
