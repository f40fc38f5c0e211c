"""A guarded server on SQLite with one champion, one version beside it, and a ledger to write intents to."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rsa_ops.core.digest import digest_bytes
from rsa_ops.governance.entry import Kind
from rsa_ops.governance.keys import make_key
from rsa_ops.governance.notary import Notary
from rsa_ops.governance.payloads import Abandoned, Intent, Papers, PointerMoved
from rsa_ops.governance.store import open_ledger

from ....guarded import GuardedServer

MODEL = "triage.1a2b3c4d5e6f"
OTHER = "somebody-elses"
PAPER = "papers/card.md"


@dataclass
class World:
    """Version 1 of MODEL is the champion and has papers in `run`; version 2 is in no ledger; OTHER neither."""

    server: GuardedServer
    client: Any
    ledger: Path
    folder: Path
    run: str
    free_run: str
    models: dict[str, Any]

    @contextmanager
    def intent(self, version: str = "2", model: str = MODEL, alias: str = "champion") -> Iterator[None]:
        """An open intent to move an alias, given up in the end."""
        with notary(self.ledger, self.folder) as desk:
            said = Intent(
                plan=None,
                action="rollback",
                model=model,
                alias=alias,
                version=version,
                digest=digest_bytes(b"two"),
                generation=2,
                before_version="1",
            )
            sealed = desk.write(Kind.INTENT, f"{model}@{alias}", said)
        try:
            yield
        finally:
            with notary(self.ledger, self.folder) as desk:
                desk.write(Kind.ABANDONED, f"{model}@{alias}", Abandoned(intent=sealed.hash, reason="a test"))


@contextmanager
def notary(ledger: Path, folder: Path) -> Iterator[Notary]:
    from rsa_ops.governance.keys import load_key

    with closing(open_ledger(str(ledger), write=True)) as opened:
        yield Notary(opened, load_key(folder / "key.pem"))


def begin_ledger(folder: Path) -> Path:
    key = make_key(folder / "key.pem")
    with closing(open_ledger(str(folder / "ledger.db"), write=True)) as ledger:
        ledger.begin(key, "admin")
    return folder / "ledger.db"


def name_champion(ledger: Path, folder: Path, run: str) -> None:
    """Papers and a move, as a promotion writes them."""
    digest = digest_bytes(b"one")
    with notary(ledger, folder) as desk:
        papers = Papers(
            model=MODEL,
            version="1",
            digest=digest,
            base_digest=digest,
            run=run,
            signature=digest,
            signer_public_key="key",
            files={PAPER: digest},
        )
        desk.write(Kind.PAPERS, f"{MODEL}/1", papers)
        moved = PointerMoved(model=MODEL, alias="champion", version="1", digest=digest, generation=1)
        desk.write(Kind.APPLIED, f"{MODEL}@champion", moved)


def fill(client: Any, folder: Path) -> tuple[str, str, dict[str, Any]]:
    """Two versions of MODEL and one of OTHER, each a logged model with a file."""
    experiment = client.create_experiment("triage")
    elsewhere = client.create_experiment("elsewhere")
    run = client.create_run(experiment).info.run_id
    free = client.create_run(elsewhere).info.run_id
    client.log_text(run, "card", PAPER)
    models = {}
    (folder / "adapter").mkdir()
    (folder / "adapter" / "MLmodel").write_text("bytes of the adapter")
    for name, place in (("one", experiment), ("two", elsewhere), ("other", elsewhere)):
        model = client.create_logged_model(place, name=name, source_run_id=run if name == "one" else free)
        client.log_model_artifacts(model.model_id, str(folder / "adapter"))
        models[name] = client.finalize_logged_model(model.model_id, "READY")
    for model, name in ((MODEL, "one"), (MODEL, "two"), (OTHER, "other")):
        if name != "two":
            client.create_registered_model(model)
        source = run if name == "one" else free
        client.create_model_version(
            model,
            f"models:/{models[name].model_id}",
            run_id=source,
            tags={"rsa.digest.sha256": name},
            model_id=models[name].model_id,
        )
    return run, free, models


def quiet_client(uri: str) -> Any:
    os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "1"
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def open_world(folder: Path, database: Path, **how: Any) -> World:
    shutil.copy(database, folder / "mlflow.db")
    ledger = begin_ledger(folder)
    server = GuardedServer(folder, f"sqlite:///{folder / 'mlflow.db'}", str(ledger), **how)
    try:
        prefix = how.get("options", ("", ""))[-1]
        server.wait(f"{prefix}/health")
        client = quiet_client(server.uri + prefix)
        run, free, models = fill(client, folder)
        client.set_model_version_tag(MODEL, "1", "rsa.early", "before the ledger names it")
        world = World(server, client, ledger, folder, run, free, models)
        with world.intent("1"):
            client.set_registered_model_alias(MODEL, "champion", "1")
        name_champion(ledger, folder, run)
    except BaseException:
        server.stop()
        raise
    return world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, migrated_database: Path) -> Iterator[World]:
    made = open_world(tmp_path_factory.mktemp("guard"), migrated_database)
    yield made
    made.server.stop()
