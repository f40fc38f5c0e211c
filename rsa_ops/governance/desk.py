"""Where promotions are written: a ledger that was verified whole, and that is brought up to date under its lock.

Nothing that a promotion rests on is believed because it stands in a table. The ledger is verified from its first
entry when the desk is opened; every write then verifies what came behind, asks `refusals` about the new entry, and
only then writes it, all in one transaction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rsa_ops.core.digest import Digest, short
from rsa_ops.core.record import Value
from rsa_ops.errors import IntegrityError, MissingError
from rsa_ops.governance.entry import Kind, Sealed
from rsa_ops.governance.notary import Notary
from rsa_ops.governance.payloads import Plan
from rsa_ops.governance.plan import plan_digest
from rsa_ops.governance.pointer import subject_of
from rsa_ops.governance.promotions import AliasState, Filed, Promotions, Word
from rsa_ops.governance.refusals import Moment, Refusal, refusal
from rsa_ops.governance.store import Ledger
from rsa_ops.governance.verify import verify_more, verify_rows
from rsa_ops.governance.view import Row, View, copies
from rsa_ops.governance.walk import Walk


def _nothing() -> None:
    """What is done beside a write that moves nothing."""


@dataclass(frozen=True)
class Audited:
    """A ledger that was verified from its first entry on, and how far: `walk`, which goes on with the ledger."""

    ledger: Ledger
    walk: Walk

    @property
    def book(self) -> Promotions:
        """What the verified entries say about promotions."""
        return self.walk.order.promotions

    def alias(self, subject: str) -> AliasState:
        """What they say about one alias."""
        return self.book.alias(subject)

    def filed(self, plan: Plan) -> Filed:
        """What they say about a plan.

        Raises:
            MissingError: nothing.
        """
        name = plan_digest(plan)
        found = self.alias(subject_of(plan.model, plan.alias)).plans.get(name)
        if found is None:
            raise MissingError(
                f"the plan {short(name)} is not in the ledger {self.ledger.address}",
                hint="Was it made for another ledger? `rsa-ops promote plan` files a plan and writes plan.json.",
            )
        return found

    def refusal(self, word: Word) -> Refusal:
        """Why this entry may not be written now, as far as the verified entries tell."""
        return refusal(self.book, word, Moment(self.walk.now, self.walk.keyring))

    def catch_up(self, view: View) -> None:
        """Verify what was written since the last look.

        Raises:
            IntegrityError: it does not verify, or the last verified entry is not there any more.
        """
        walk = self.walk
        walk.now = self.ledger.clock()
        last = view.by_hash(walk.head)
        if last is None or last.entry.sequence != walk.entries - 1:
            raise IntegrityError(f"entry {walk.entries - 1} of the ledger was there, and is not any more")
        bad = verify_more(walk, view.rows(after=walk.entries - 1))
        if bad is not None:
            raise _broken(str(bad))

    def refresh(self) -> None:
        """Verify what was written since the last look, outside of a write."""
        with self.ledger.view() as view:
            self.catch_up(view)


@dataclass(frozen=True)
class Desk(Audited):
    """A verified ledger, and the notary that writes on it."""

    notary: Notary

    @property
    def key(self) -> Digest:
        """The id of the key that writes."""
        return self.notary.signer.public.key

    def write(self, kind: Kind, subject: str, payload: Value, *, deed: Callable[[], None] = _nothing) -> Sealed:
        """Write an entry that nothing speaks against; `deed` is done under the lock, after the last look.

        While `deed` runs nobody else writes to the ledger, so nobody can end an intent that somebody is acting on.

        Raises:
            RsaOpsError: what `refusals` says, what `deed` raises, what `Ledger.append` raises; nothing is written.
        """

        def guard(view: View) -> None:
            self.catch_up(view)
            refused = self.refusal(Word(kind, subject, self.key, payload))
            if refused is not None:
                raise refused
            deed()

        sealed = self.notary.write(kind, subject, payload, guard=guard)
        verify_more(self.walk, [Row(sealed.body, sealed.hash, sealed.signature, copies(sealed.entry))])
        return sealed


def open_desk(notary: Notary) -> Desk:
    """Verify the whole ledger, and write on it from there.

    Raises:
        IntegrityError: the ledger does not verify. MissingError: there is none.
    """
    return Desk(notary.ledger, _walked(notary.ledger), notary)


def audited(ledger: Ledger) -> Audited:
    """Verify the whole ledger, to read from it; errors as for `open_desk`."""
    return Audited(ledger, _walked(ledger))


def _walked(ledger: Ledger) -> Walk:
    verified = verify_rows(ledger.rows(), now=ledger.clock())
    if verified.first_bad is not None:
        raise _broken(str(verified.first_bad))
    return verified.walk


def _broken(finding: str) -> IntegrityError:
    return IntegrityError(
        f"the ledger does not verify: {finding}",
        hint="Nothing moves on a broken ledger; `rsa-ops audit verify` tells more.",
    )
