"""Who may write what: the keys that the entries themselves have granted and revoked so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from rsa_ops.core.digest import Digest, short
from rsa_ops.core.record import Value
from rsa_ops.errors import IntegrityError
from rsa_ops.governance.entry import Entry, Kind, Role
from rsa_ops.governance.finding import Fault, Flaw
from rsa_ops.governance.keys import load_public
from rsa_ops.governance.payloads import Custody, KeyGrant, KeyRevoked

KEY_KINDS = (Kind.GENESIS, Kind.KEY_ADDED, Kind.KEY_REVOKED)

_APPROVERS = frozenset({Kind.APPROVAL, Kind.WAIVER, Kind.RATIFIED})
_OPERATORS = frozenset(
    {
        *(Kind.POLICY_LOCK, Kind.VERDICT, Kind.PAPERS, Kind.PLAN, Kind.INTENT, Kind.APPLIED),
        *(Kind.ABANDONED, Kind.ROLLBACK, Kind.BREAK_GLASS),
    }
)
MAY_WRITE: Mapping[Role, frozenset[Kind]] = MappingProxyType(
    {Role.ADMIN: frozenset(Kind), Role.OPERATOR: _OPERATORS, Role.APPROVER: _APPROVERS}
)
"""An administrator may write all kinds; that a promotion needs two people is for its plan to say."""


@dataclass(frozen=True)
class Holder:
    """A key of the ledger: granted by entry `since`, revoked by entry `until` (None while it is good)."""

    key: Digest
    public: Ed25519PublicKey
    role: Role
    name: str
    custody: Custody
    since: int
    until: int | None = None


@dataclass(frozen=True)
class Keyring:
    """The keys after some entry."""

    holders: Mapping[Digest, Holder] = field(default_factory=dict)

    def fault(self, key: Digest, kind: Kind, role: Role | None = None) -> Fault | None:
        """Why `key` may not write an entry of this kind (in this role, where one is claimed), or None."""
        holder = self.holders.get(key)
        if holder is None:
            return Fault(Flaw.UNKNOWN_KEY, f"the key {short(key)} was never granted in this ledger")
        if holder.until is not None:
            return Fault(
                Flaw.REVOKED_KEY, f"the key {short(key)} ({holder.name}) was revoked by entry {holder.until}"
            )
        if role is not None and role is not holder.role:
            return Fault(
                Flaw.WRONG_ROLE, f"the key {short(key)} was granted as {holder.role.value}, not as {role.value}"
            )
        if kind not in MAY_WRITE[holder.role]:
            return Fault(Flaw.WRONG_ROLE, f"the role {holder.role.value} may not write {kind.value} entries")
        return None

    def after(self, entry: Entry, payload: Value | object) -> Keyring:
        """The keys after `entry`, whose typed payload is given.

        Raises:
            IntegrityError: a key granted twice, an unknown one revoked, or the last administrator's.
        """
        if isinstance(payload, KeyGrant):
            return self._granted(entry, payload)
        if isinstance(payload, KeyRevoked):
            return self._revoked(entry, payload)
        return self

    def _granted(self, entry: Entry, grant: KeyGrant) -> Keyring:
        if grant.key in self.holders:
            raise IntegrityError(f"the key {short(grant.key)} was granted before")
        holder = Holder(
            grant.key,
            load_public(grant.key, grant.public_key),
            grant.role,
            grant.name,
            grant.custody,
            entry.sequence,
        )
        return Keyring({**self.holders, grant.key: holder})

    def _revoked(self, entry: Entry, payload: KeyRevoked) -> Keyring:
        holder = self.holders.get(payload.key)
        if holder is None or holder.until is not None:
            raise IntegrityError(f"there is no good key {short(payload.key)} to revoke")
        left = Keyring({**self.holders, payload.key: replace(holder, until=entry.sequence)})
        if not any(other.role is Role.ADMIN and other.until is None for other in left.holders.values()):
            raise IntegrityError("the last administrator's key cannot be revoked: nobody could add another")
        return left
