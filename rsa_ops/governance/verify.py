"""Verification: every row of a ledger in order, until the first that is wrong.

One walk checks each entry against those before it (`walk`), while threads check its signature, because OpenSSL lets
go of the interpreter there. Of two things wrong with one entry a bad signature is told, and of two bad entries the
first. Nothing here reads a clock, a disk or a network; the caller gives rows, checkpoints and the time.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from rsa_ops.governance.checkpoint import Checkpoint
from rsa_ops.governance.finding import Fault, Finding, Flaw
from rsa_ops.governance.keys import signed_by
from rsa_ops.governance.store import CLOCK_TOLERANCE
from rsa_ops.governance.view import Row
from rsa_ops.governance.walk import Signature, Walk

_CHUNK = 256
_AHEAD = 16  # chunks whose signatures may be open: bounds memory, not the result


@dataclass(frozen=True)
class Verified:
    """What a walk over a ledger found. `walk` is where it stands: after the last good entry.

    `first_bad` is None when every entry and every checkpoint holds.
    """

    walk: Walk
    first_bad: Finding | None


def verify_rows(
    rows: Iterable[Row],
    *,
    now: datetime,
    checkpoints: Sequence[Checkpoint] = (),
    tolerance: timedelta = CLOCK_TOLERANCE,
) -> Verified:
    """Verify `rows`, which must be all of a ledger, in order.

    Raises:
        IntegrityError: a checkpoint is not signed by its own key, or the database is damaged.
    """
    for checkpoint in checkpoints:
        checkpoint.require_signature()
    walk = Walk(now=now, tolerance=tolerance, checkpoints=tuple(checkpoints))
    bad = verify_more(walk, rows)
    return Verified(walk, bad if bad is not None else walk.end())


def verify_more(walk: Walk, rows: Iterable[Row]) -> Finding | None:
    """Go on with a walk over the rows behind its last one; the first bad one, or None."""
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
        return _first_bad(walk, iter(rows), threads)


def _first_bad(walk: Walk, rows: Iterator[Row], threads: ThreadPoolExecutor) -> Finding | None:
    waiting: deque[Future[int | None]] = deque()
    while chunk := list(islice(rows, _CHUNK)):
        signatures: list[Signature] = []
        found: Finding | None = None
        for row in chunk:
            found = walk.step(row, signatures)
            if found is not None:
                break
        waiting.append(threads.submit(_bad_signature, signatures))
        while len(waiting) > (0 if found else _AHEAD):
            forged = _forged(waiting.popleft())
            if forged is not None and (found is None or forged.sequence <= found.sequence):
                return forged
        if found is not None:
            return found
    return next(filter(None, map(_forged, waiting)), None)


def _bad_signature(signatures: Sequence[Signature]) -> int | None:
    """The number of the first entry that its key has not signed, or None."""
    for signature in signatures:
        if not signed_by(signature.public, signature.signature, signature.message):
            return signature.sequence
    return None


def _forged(done: Future[int | None]) -> Finding | None:
    sequence = done.result()
    if sequence is None:
        return None
    return Fault(Flaw.BAD_SIGNATURE, "its key has not signed these bytes").at(sequence)
