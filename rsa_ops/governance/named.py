"""What the ledger names: versions and adapters that must be there as long as the ledger is."""

from __future__ import annotations

from dataclasses import dataclass

from rsa_ops.core.digest import Digest
from rsa_ops.governance.entry import Kind
from rsa_ops.governance.payloads import Intent, Papers, Plan, PointerMoved, VerdictGiven, read_payload
from rsa_ops.governance.view import View

NAMING = (Kind.VERDICT, Kind.PAPERS, Kind.PLAN, Kind.INTENT, Kind.APPLIED, Kind.ROLLBACK)


@dataclass(frozen=True)
class Named:
    """`versions` are (model, version), `digests` those of adapters: judged, planned, signed or moved to."""

    versions: frozenset[tuple[str, str]]
    digests: frozenset[Digest]

    @property
    def models(self) -> frozenset[str]:
        """The registered models that the ledger knows anything about."""
        return frozenset(model for model, _ in self.versions)


def named(view: View) -> Named:
    """Everything that the entries name.

    Raises:
        IntegrityError: an entry that cannot be read, so that nobody knows what it names.
    """
    versions: set[tuple[str, str]] = set()
    digests: set[Digest | None] = set()
    for sealed in view.find(NAMING):
        match read_payload(sealed.entry):
            case VerdictGiven() as verdict:
                digests |= {verdict.candidate_digest, verdict.champion_digest}
            case Plan() as plan:
                versions |= _versions(plan.model, plan.version, plan.expected.version)
                digests |= {plan.digest, plan.expected.digest}
            case Intent() as intent:
                versions |= _versions(intent.model, intent.version, intent.before_version)
                digests.add(intent.digest)
            case PointerMoved() | Papers() as about:
                versions |= _versions(about.model, about.version)
                digests.add(about.digest)
    return Named(frozenset(versions), frozenset(digest for digest in digests if digest is not None))


def _versions(model: str, *versions: str | None) -> set[tuple[str, str]]:
    return {(model, version) for version in versions if version is not None}
