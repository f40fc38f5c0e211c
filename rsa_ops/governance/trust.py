"""A few entries believed without a walk over all: each is signed by a key that the ledger had granted for it.

This is what a server can afford at every start. It finds a forged or an edited entry; that the newest ones were cut
off, or all of them written anew, shows only in a whole verification against a checkpoint from elsewhere (`verify`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from rsa_ops.core.digest import Digest, short
from rsa_ops.errors import IntegrityError, MissingError
from rsa_ops.governance.entry import NOTHING, Kind, Sealed, from_base64, message
from rsa_ops.governance.keyring import KEY_KINDS, MAY_WRITE, Holder, Keyring
from rsa_ops.governance.keys import signed_by
from rsa_ops.governance.payloads import read_payload
from rsa_ops.governance.view import View

_HINT = "`rsa-ops audit verify` tells more; nothing was loaded or moved."


@dataclass(frozen=True)
class Trust:
    """The keys of a ledger, each granted by an entry that was checked, and the ledger's name."""

    ledger: Digest
    keyring: Keyring

    @classmethod
    def of(cls, view: View) -> Self:
        """The keys that a ledger has granted and revoked, from its first entry on.

        Raises:
            IntegrityError: a key entry is not signed by a key that may write it. MissingError: an empty ledger.
        """
        keys = list(view.find(KEY_KINDS))
        if not keys:
            raise MissingError("the ledger is empty", hint="`rsa-ops audit init` begins it.")
        if keys[0].entry.kind is not Kind.GENESIS or keys[0].entry.sequence != 0:
            raise IntegrityError("the ledger does not begin with its first entry", hint=_HINT)
        trust = cls(keys[0].hash, Keyring())
        for sealed in keys:
            after = trust.keyring.after(sealed.entry, read_payload(sealed.entry))
            (cls(trust.ledger, after) if sealed is keys[0] else trust).require(sealed)
            trust = cls(trust.ledger, after)
        return trust

    def require(self, sealed: Sealed) -> Sealed:
        """The entry itself, once it is known to be by a key that could write it then.

        Raises:
            IntegrityError: another ledger's, by an unknown or revoked key, in a wrong role, or not signed by it.
        """
        entry = sealed.entry
        fault = self._fault(sealed, self.keyring.holders.get(entry.key))
        if fault is not None:
            raise IntegrityError(f"entry {entry.sequence} of the ledger ({entry.kind.value}): {fault}", hint=_HINT)
        return sealed

    def _fault(self, sealed: Sealed, holder: Holder | None) -> str | None:
        entry = sealed.entry
        if entry.ledger != (NOTHING if entry.sequence == 0 else self.ledger):
            return f"it was written for the ledger {short(entry.ledger)}"
        if holder is None or holder.since > entry.sequence:
            return f"its key {short(entry.key)} had not been granted"
        if holder.until is not None and holder.until < entry.sequence:
            return f"its key {short(entry.key)} had been revoked"
        if entry.role is not holder.role or entry.kind not in MAY_WRITE[holder.role]:
            return f"its key {short(entry.key)} was granted as {holder.role.value}"
        if not signed_by(holder.public, from_base64(sealed.signature), message(sealed.body)):
            return "its key has not signed it"
        return None
