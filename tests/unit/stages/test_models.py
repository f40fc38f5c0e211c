"""What the list of variants says of each: verdict and state by the ledger, versions by the registry."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest

from rsa_ops.core.digest import digest_bytes
from rsa_ops.core.variants import Variants
from rsa_ops.core.verdict import Outcome
from rsa_ops.errors import ExitCode, IntegrityError, MissingError
from rsa_ops.governance.entry import Kind
from rsa_ops.governance.keys import make_key
from rsa_ops.governance.notary import Notary
from rsa_ops.governance.payloads import PointerMoved, VerdictGiven
from rsa_ops.governance.store import open_ledger
from rsa_ops.stages.models import list_models
from rsa_ops.tracking.store import Store
from rsa_ops.tracking.variants import log_variant

from ..cli.conftest import Shell, shell  # noqa: F401  a fixture


def digest(seed: int) -> str:
    return digest_bytes(b"%d" % seed)


def variants(store: Store, count: int) -> None:
    for seed in range(count):
        named = {f"{name}.sha256": digest_bytes(name.encode()) for name in ("base", "data")}
        params = {"arm": "rsa", "seed": str(seed), "method": "rsa", "base_model": "tiny", "parent": "p"}
        params |= {**named, "config.sha256": digest_bytes(b"config %d" % seed)}
        log_variant(store, "run", f"rsa-s{seed}", digest(seed), params)


def verdict(notary: Notary, seed: int, outcome: Outcome) -> None:
    some = digest_bytes(b"some")
    given = VerdictGiven(
        pipeline="triage",
        lock=some,
        policy_digest=some,
        test_digest=some,
        verdict_digest=some,
        outcome=outcome,
        candidate_digest=digest(seed),
        champion_digest=None,
    )
    notary.write(Kind.VERDICT, "run", given)


def move(notary: Notary, kind: Kind, seed: int, generation: int, alias: str = "champion") -> None:
    moved = PointerMoved(model="triage", alias=alias, version=str(seed), digest=digest(seed), generation=generation)
    notary.write(kind, f"triage@{alias}", moved)


def test_every_state_has_its_reason(store: Store, tmp_path: Path) -> None:
    variants(store, 7)
    store.client.create_registered_model("triage")
    store.client.create_model_version("triage", "runs:/x/y", tags={"rsa.digest.sha256": digest(5)})
    with closing(open_ledger(str(tmp_path / "ledger.db"), write=True)) as ledger:
        key = make_key(tmp_path / "key.pem")
        ledger.begin(key, "ci")
        notary = Notary(ledger, key)
        verdict(notary, 1, Outcome.REJECT)
        verdict(notary, 1, Outcome.PROMOTE)
        for seed, generation in ((2, 1), (3, 2), (4, 3)):
            verdict(notary, seed, Outcome.PROMOTE)
            move(notary, Kind.APPLIED, seed, generation)
        move(notary, Kind.ROLLBACK, 3, 4)
        move(notary, Kind.APPLIED, 6, 1, "pilot-osaka")
    found = {each.seed: each for each in list_models(None, store.uri, 0).variants}
    assert {seed: (each.state, each.generation) for seed, each in found.items()} == {
        0: ("trained", None),
        1: ("candidate", None),
        2: ("retired", 1),
        3: ("champion", 4),
        4: ("rolled back", 3),
        5: ("candidate", None),
        6: ("trained", None),
    }
    assert [found[seed].verdict for seed in (0, 1, 2)] == [None, Outcome.PROMOTE, Outcome.PROMOTE]
    assert [found[seed].versions for seed in (4, 5)] == [(), ("triage/1",)]


def test_the_newest_come_first_and_the_rest_is_counted(store: Store, shell: Shell) -> None:  # noqa: F811
    variants(store, 5)
    code, out, err = shell("models", "--store", store.uri, "--limit", "2")
    assert code == ExitCode.DONE
    assert "no verdict and no champion is known" in err
    assert out.splitlines()[-1] == "5 variants; 3 older ones: --limit"
    assert [line.split()[1] for line in out.splitlines()[:-1:2]] == ["rsa-s4", "rsa-s3"]
    code, out, _ = shell("models", "--store", store.uri, "--json", "--limit", "0")
    record = Variants.from_json(out, "stdout")
    assert (record.total, len(record.variants)) == (5, 5)
    assert json.loads(out)["schema"] == "rsa_ops/variants/v1"


def test_what_is_missing_is_said(store: Store, shell: Shell, tmp_path: Path) -> None:  # noqa: F811
    assert shell("models")[0] == ExitCode.MISSING
    assert shell("models", "--store", f"sqlite:///{tmp_path / 'none.db'}")[0] == ExitCode.MISSING
    assert shell("models", "--store", store.uri, "--ledger", "none.db")[0] == ExitCode.MISSING
    with pytest.raises(MissingError):
        list_models(None, None, 0)
    log_variant(store, "run", "strange", digest(1), {"arm": "rsa"})
    with pytest.raises(IntegrityError, match="does not say what it is"):
        list_models(None, store.uri, 0)
