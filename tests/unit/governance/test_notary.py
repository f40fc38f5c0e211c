"""Where nobody set up keys: a key beside the ledger, said so, and never where it would be unsafe."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from rsa_ops.errors import MissingError, RsaOpsError, UsageError
from rsa_ops.governance import database
from rsa_ops.governance.keys import make_key
from rsa_ops.governance.notary import Notary, open_notary
from rsa_ops.governance.store import utc_now
from rsa_ops.governance.verify import verify_rows

from .conftest import ANY


def opened(folder: Path, key: Path | None = None) -> tuple[Notary, list[str]]:
    told: list[str] = []
    return open_notary(str(folder / "ledger.db"), key, told.append), told


def test_the_first_run_makes_a_key_that_only_its_owner_reads_and_says_what_it_is_worth(tmp_path: Path) -> None:
    notary, told = opened(tmp_path)
    key = tmp_path / "ledger.key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert str(key) in told[0]
    assert "keep checkpoints elsewhere" in told[1]
    walk = verify_rows(notary.ledger.rows(), now=utc_now()).walk
    (holder,) = walk.keyring.holders.values()
    assert holder.custody == "beside ledger"
    assert holder.key == notary.signer.public.key


def test_the_next_run_goes_on_with_the_same_key_and_says_nothing(tmp_path: Path) -> None:
    first, _ = opened(tmp_path)
    again, told = opened(tmp_path)
    assert told == []
    assert again.signer.public == first.signer.public
    again.ledger.append(ANY, again.signer)
    assert verify_rows(again.ledger.rows(), now=utc_now()).walk.entries == 2


def test_a_ledger_whose_key_is_gone_gets_no_new_one(tmp_path: Path) -> None:
    opened(tmp_path)
    (tmp_path / "ledger.key").unlink()
    with pytest.raises(MissingError, match=r"ledger\.key"):
        opened(tmp_path)
    assert not (tmp_path / "ledger.key").exists()


def test_a_key_that_others_may_read_meanwhile_is_refused(tmp_path: Path) -> None:
    opened(tmp_path)
    (tmp_path / "ledger.key").chmod(0o644)
    with pytest.raises(UsageError, match="0644"):
        opened(tmp_path)


def test_after_a_crash_between_key_and_first_entry_the_key_is_used(tmp_path: Path) -> None:
    made = make_key(tmp_path / "ledger.key")
    notary, told = opened(tmp_path)
    assert notary.signer.public == made.public
    assert told


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_no_key_is_made_in_a_folder_where_everybody_may_exchange_it(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    with pytest.raises(UsageError, match="written by everybody"):
        opened(shared)
    assert list(shared.iterdir()) == []
    shared.chmod(0o1777)  # as /tmp: nobody may rename the files of another
    opened(shared)


def test_a_key_of_ones_own_begins_a_ledger_and_no_other_is_made(tmp_path: Path) -> None:
    own = make_key(tmp_path / "keys" / "mine")
    notary, told = opened(tmp_path, tmp_path / "keys" / "mine")
    assert notary.signer.public == own.public
    assert len(told) == 1
    (holder,) = verify_rows(notary.ledger.rows(), now=utc_now()).walk.keyring.holders.values()
    assert (holder.custody, holder.name) == ("held", "mine")
    assert not (tmp_path / "ledger.key").exists()


def test_a_strange_key_does_not_write_into_a_ledger_that_is_there(tmp_path: Path) -> None:
    opened(tmp_path)
    make_key(tmp_path / "mine")
    notary, told = opened(tmp_path, tmp_path / "mine")
    assert told == []
    with pytest.raises(MissingError, match="never granted"):
        notary.ledger.append(ANY, notary.signer)


def test_a_shared_ledger_wants_a_key_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_driver", lambda: "pg8000")
    with pytest.raises(MissingError, match="no key is given") as caught:
        open_notary("postgresql://u:s3cret@127.0.0.1:1/l", None, lambda _: None)
    assert "s3cret" not in str(caught.value)


def test_runs_that_start_together_share_one_key_and_one_beginning(tmp_path: Path) -> None:
    gun, found, failed = threading.Barrier(4, timeout=30), [], []

    def start() -> None:
        gun.wait()
        try:
            found.append(opened(tmp_path)[0])
        except RsaOpsError as error:
            failed.append(error)

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failed == []
    assert len({notary.signer.public.key for notary in found}) == 1
    assert verify_rows(found[0].ledger.rows(), now=utc_now()).walk.entries == 1
