"""What the ledger names in a registry, as a server asks it at every request: read once, then only what is new."""

from __future__ import annotations

from dataclasses import dataclass, field

from rsa_ops.core.digest import Digest
from rsa_ops.governance.entry import Kind, Sealed
from rsa_ops.governance.payloads import Intent, Papers, Plan, PointerMoved, payload_as, read_payload
from rsa_ops.governance.pointer import open_intent
from rsa_ops.governance.trust import Trust
from rsa_ops.governance.view import View

_NAMING = (Kind.PAPERS, Kind.PLAN, Kind.INTENT, Kind.APPLIED, Kind.ROLLBACK)


@dataclass(frozen=True)
class Protected:
    """`versions` are (model, version), `aliases` (model, alias), `papers` (run, file), up to the entry `head`.

    `sequence` and `head` tell which entry that is: -1 and empty before the first.
    """

    versions: frozenset[tuple[str, str]] = field(default_factory=frozenset)
    aliases: frozenset[tuple[str, str]] = field(default_factory=frozenset)
    papers: frozenset[tuple[str, str]] = field(default_factory=frozenset)
    sequence: int = -1
    head: Digest = ""


def protected(view: View, before: Protected | None = None) -> Protected:
    """What the ledger names now. `before` is an earlier answer: entries behind it are read, those before it not.

    A ledger that no longer holds the head of `before` is read anew, and what `before` names stays protected.

    Raises:
        IntegrityError: an entry that cannot be read, so that nobody knows what it names.
    """
    before = before or Protected()
    known = before.head == "" or view.by_hash(before.head) is not None
    head = view.head()
    if known and head is not None and head.hash == before.head:
        return before
    versions, aliases, papers = set(before.versions), set(before.aliases), set(before.papers)
    for sealed in view.find(_NAMING, after=before.sequence if known else -1):
        match read_payload(sealed.entry):
            case Plan() as plan:
                versions |= _versions(plan.model, plan.version, plan.expected.version)
                aliases.add((plan.model, plan.alias))
            case Intent() as intent:
                versions |= _versions(intent.model, intent.version, intent.before_version)
                aliases.add((intent.model, intent.alias))
            case PointerMoved() as moved:
                versions.add((moved.model, moved.version))
                aliases.add((moved.model, moved.alias))
            case Papers() as about:
                versions.add((about.model, about.version))
                papers |= {(about.run, name) for name in about.files}
    place = (-1, "") if head is None else (head.entry.sequence, head.hash)
    return Protected(frozenset(versions), frozenset(aliases), frozenset(papers), *place)


def intended_version(view: View, model: str, alias: str) -> str | None:
    """The version that an open intent moves an alias to, or None where none is open.

    Raises:
        IntegrityError: the intent is not signed by a key that may write one.
    """
    found: Sealed | None = open_intent(view, model, alias)
    if found is None:
        return None
    Trust.of(view).require(found)
    return payload_as(found.entry, Intent).version


def _versions(model: str, *versions: str | None) -> set[tuple[str, str]]:
    return {(model, version) for version in versions if version is not None}
