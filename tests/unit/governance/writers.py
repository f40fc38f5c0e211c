"""A process that appends to a ledger: `python writers.py ADDRESS KEY NAME COUNT`; prints the hashes it was told."""

from __future__ import annotations

import sys
from pathlib import Path

from rsa_ops.governance.entry import NOTHING, Draft, Kind
from rsa_ops.governance.keys import load_key
from rsa_ops.governance.payloads import PolicyLock
from rsa_ops.governance.store import open_ledger


def main() -> None:
    address, key, name, count = sys.argv[1:]
    ledger, signer = open_ledger(address, write=True), load_key(Path(key))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()  # the starting gun
    for number in range(int(count)):
        lock = PolicyLock(pipeline="p", policy=str(number), policy_digest=NOTHING, test_digest=NOTHING)
        draft = Draft.of(Kind.POLICY_LOCK, name, lock)
        sys.stdout.write(ledger.append(draft, signer).hash + "\n")


if __name__ == "__main__":
    main()
