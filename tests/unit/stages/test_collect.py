"""What the ledger names stays; of the rest only what is asked for goes, and only when it is asked to."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rsa_ops.core.digest import digest_bytes
from rsa_ops.core.garbage import Garbage
from rsa_ops.core.verdict import Outcome
from rsa_ops.errors import IntegrityError
from rsa_ops.files import write_text
from rsa_ops.stages.collect import Sweep, collect
from rsa_ops.stages.load import load_champion
from rsa_ops.stages.models import list_models
from rsa_ops.tracking.registry import move_alias, register_adapter
from rsa_ops.tracking.runs import RunFacts, log_facts, start_run
from rsa_ops.tracking.variants import log_variant

from .shelf import IDLE, MODEL, Desk, Shelf, open_desk

ALL = Sweep(older_than_days=0)


def swept(desk: Desk, sweep: Sweep = ALL, *, remove: bool = False) -> Garbage:
    return collect(desk.notary.ledger, desk.store, sweep, remove=remove)


def names(garbage: Garbage, what: str) -> list[str]:
    return sorted(item.name for item in garbage.unnamed if item.what == what)


def versions(desk: Desk) -> set[str]:
    return {str(found.version) for found in desk.store.client.search_model_versions(f"name = '{MODEL}'")}


@pytest.fixture
def desk(shelf: Shelf, tmp_path: Path) -> Desk:
    """Versions 1 and 2 were promoted; 3 and 4 are in the registry, and the ledger has never heard of them."""
    return open_desk(shelf, tmp_path, "1 2")


def test_it_shows_and_removes_nothing_unless_it_is_told_to(desk: Desk) -> None:
    found = swept(desk)
    assert names(found, "version") == [f"{MODEL}/3", f"{MODEL}/4"]
    assert len(names(found, "logged model")) == 2
    assert not found.removed
    assert versions(desk) == {"1", "2", "3", "4"}


def test_what_the_ledger_names_stays_and_can_be_served(desk: Desk) -> None:
    assert swept(desk, remove=True).removed
    assert versions(desk) == {"1", "2"}
    assert len(desk.store.client.search_logged_models(["1"])) == 2
    assert swept(desk, remove=True).unnamed == ()
    assert load_champion(MODEL, ledger=str(desk.ledger), store=desk.uri, device="cpu").resolved.version == "2"


def test_papers_a_verdict_or_an_alias_are_enough_to_stay(desk: Desk) -> None:
    desk.write_papers("3")
    assert names(swept(desk), "version") == [f"{MODEL}/4"]
    move_alias(desk.store, MODEL, "pilot", IDLE)
    found = swept(desk)
    assert names(found, "version") == []
    assert found.kept["named by an alias"] == 1
    assert names(found, "logged model") == []  # that of the version with the alias stays as well
    desk.store.client.delete_registered_model_alias(MODEL, "pilot")
    desk.judge(desk.digest(IDLE), Outcome.REJECT)
    assert swept(desk).unnamed == ()


def test_variants_outlive_the_versions_that_were_made_of_them_and_stay_listed(desk: Desk) -> None:
    """A variant is a record without files: what `rsa-ops models` lists is what was trained, whatever gc removed."""
    described = {"arm": "rsa", "method": "rsa", "base_model": "tiny", "parent": "p"}
    described |= {f"{name}.sha256": digest_bytes(name.encode()) for name in ("base", "data", "config")}
    for version in ("1", "2", "3", IDLE):
        cell = start_run(desk.store, "train", {"digest.sha256": desk.digest(version)})
        log_variant(desk.store, cell, "rsa", desk.digest(version), {**described, "seed": version})
    found = swept(desk, remove=True)
    assert names(found, "version") == [f"{MODEL}/3", f"{MODEL}/4"]
    assert len(names(found, "logged model")) == 2  # those that the two versions were made from
    listed = {each.seed: each for each in list_models(str(desk.ledger), desk.uri, 0).variants}
    assert {seed: each.state for seed, each in listed.items()} == {
        1: "retired",
        2: "champion",
        3: "trained",
        4: "trained",
    }
    assert (listed[3].versions, listed[2].versions) == ((), (f"{MODEL}/2",))


def test_young_things_and_kinds_that_were_not_asked_for_stay(desk: Desk) -> None:
    assert swept(desk, Sweep(), remove=True).unnamed == ()
    found = swept(desk, Sweep(kinds=("logged model",), older_than_days=0), remove=True)
    assert found.unnamed == ()  # they stand behind versions, which stay
    assert versions(desk) == {"1", "2", "3", "4"}


def test_models_that_the_ledger_knows_nothing_about_are_left_alone(desk: Desk, tmp_path: Path) -> None:
    other = tmp_path / "other"
    write_text(other / "model.json", "{}")
    run = start_run(desk.store, "other", {})
    digest = digest_bytes(b"other")
    log_facts(desk.store, run, RunFacts(tags={"digest.sha256": digest}))
    register_adapter(desk.store, "other.model", run, other, digest, {})
    found = swept(desk, remove=True)
    assert found.kept["of another ledger"] == 1
    assert desk.store.client.get_model_version("other.model", "1")


def test_a_logged_model_behind_somebody_elses_version_stays(desk: Desk) -> None:
    import mlflow

    mlflow.set_tracking_uri(desk.uri)  # a client asks this one, and not its own, for a logged model
    source = desk.store.client.get_model_version(MODEL, "3").source
    desk.store.client.create_registered_model("theirs")
    desk.store.client.create_model_version("theirs", source)
    found = swept(desk, remove=True)
    assert names(found, "version") == [f"{MODEL}/3", f"{MODEL}/4"]
    assert len(names(found, "logged model")) == 1
    assert source.removeprefix("models:/") not in names(found, "logged model")


def test_what_is_named_while_it_is_being_removed_stays(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    real: Callable[..., None] = desk.store.client.delete_model_version

    def slow(model: str, version: str) -> None:
        real(model, version)
        desk.write_papers({"3": "4", "4": "3"}[version])  # the other one, which is next

    monkeypatch.setattr(desk.store.client, "delete_model_version", slow)
    (gone,) = names(swept(desk, remove=True), "version")
    assert versions(desk) == {"1", "2", "3", "4"} - {gone.removeprefix(f"{MODEL}/")}


def test_cells_go_by_the_bytes_of_their_adapter_and_fresh_ones_stay(desk: Desk, shelf: Shelf) -> None:
    cells = desk.folder / "cells" / "train"
    for version in ("1", "3"):
        shutil.copytree(shelf.folder / f"adapter-{version}", cells / f"rsa-s{version}-abc" / "artifact")
    (cells / ".rsa-s9.host.1.x" / "artifact").mkdir(parents=True)
    (cells / "half").mkdir()
    write_text(desk.folder / "cells" / "benchmark" / "rsa-s3-abc" / "benchmark.json", "{}")
    sweep = Sweep(kinds=("cell",), older_than_days=0, work=desk.folder)
    found = swept(desk, sweep)
    assert [Path(name).name for name in names(found, "cell")] == ["rsa-s3-abc"]
    assert found.unnamed[0].size_bytes
    young = Sweep(kinds=("cell",), older_than_days=1, work=desk.folder)
    assert swept(desk, young).unnamed == ()
    before = time.time() - 2 * 86_400
    os.utime(cells / "rsa-s3-abc", (before, before))
    assert len(swept(desk, young, remove=True).unnamed) == 1
    assert sorted(path.name for path in cells.iterdir()) == [".rsa-s9.host.1.x", "half", "rsa-s1-abc"]
    assert (desk.folder / "cells" / "benchmark" / "rsa-s3-abc").is_dir()


def test_a_ledger_that_does_not_verify_removes_nothing(desk: Desk) -> None:
    connection = sqlite3.connect(desk.ledger)
    for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        connection.execute(f"DROP TRIGGER {name}")
    connection.execute("DELETE FROM rsa_ops_ledger WHERE kind = 'papers'")
    connection.commit()
    connection.close()
    with pytest.raises(IntegrityError, match="does not verify"):
        swept(desk, remove=True)
    assert versions(desk) == {"1", "2", "3", "4"}
