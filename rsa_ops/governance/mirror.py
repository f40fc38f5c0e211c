"""The registry is a mirror of the ledger: where the two disagree, somebody went around the gate."""

from __future__ import annotations

from collections.abc import Iterator

from rsa_ops.core.digest import short
from rsa_ops.core.registry import LiveVersion, RegistryReading
from rsa_ops.gates.policy import CHAMPION
from rsa_ops.governance.finding import Fault, Finding, Flaw
from rsa_ops.governance.order import Named, Order
from rsa_ops.governance.pointer import subject_of


def disagreements(order: Order, reading: RegistryReading) -> tuple[Finding, ...]:
    """Every alias and version that the ledger names and the registry has otherwise.

    `order` is that of a verified ledger; `reading` must have asked for `order.pointers` and `order.named`. A
    finding carries the number of the entry that says how it should be.
    """
    found = [*_aliases(order, reading), *_unpromoted(order, reading), *_versions(order, reading)]
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


def _unpromoted(order: Order, reading: RegistryReading) -> Iterator[Finding]:
    """A champion that only papers name: it was judged, perhaps refused, and the ledger never promoted anything."""
    for (model, version), named in order.named.items():
        if (model, CHAMPION) in order.pointers or reading.aliases.get((model, CHAMPION)) != version:
            continue
        begun = order.promotions.alias(subject_of(model, CHAMPION)).open
        if begun is None or begun.intent.version != version:
            yield Fault(
                Flaw.ALIAS_MOVED,
                f"{CHAMPION} of {model} names version {version} in the registry; the ledger has promoted none",
            ).at(named.sequence)


def _versions(order: Order, reading: RegistryReading) -> Iterator[Finding]:
    live = {(version.model, version.version): version for version in reading.versions}
    for (model, version), named in order.named.items():
        fault = _fault(f"version {version} of {model}", named, live.get((model, version)))
        if fault is not None:
            yield fault.at(named.sequence)


def _fault(name: str, named: Named, live: LiveVersion | None) -> Fault | None:
    if live is None:
        return Fault(Flaw.VERSION_DELETED, f"{name} is not in the registry any more")
    if live.digest is None:
        return Fault(Flaw.BYTES_MISSING, f"the files of {name} cannot be fetched: {live.reason}")
    if live.digest != named.digest:
        return Fault(
            Flaw.BYTES_CHANGED, f"{name} was {short(named.digest)}, its files are {short(live.digest)} now"
        )
    return None
