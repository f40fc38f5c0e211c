"""Stage: what nothing in the ledger names is found, and removed when asked: versions, logged models, local cells.

What the ledger names stays, whatever else is said: it may be needed for a rollback, and `audit verify` asks for it.
Removing rests on the ledger, so the ledger is verified first; a model that it knows nothing about is left alone,
because that is another ledger's.
"""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rsa_ops.core.digest import Digest
from rsa_ops.core.garbage import Garbage, Unnamed, What
from rsa_ops.files import digest_folder, folder_bytes
from rsa_ops.governance.desk import audited
from rsa_ops.governance.named import Named, named
from rsa_ops.governance.store import Ledger
from rsa_ops.tracking.inventory import (
    StoredVersion,
    delete_model,
    delete_version,
    stored_models,
    stored_versions,
)
from rsa_ops.tracking.store import Store
from rsa_ops.training.cell import ARTIFACT

KINDS: tuple[What, ...] = ("version", "logged model", "cell")
_BY_LEDGER, _BY_ALIAS, _YOUNG, _OTHER = "named by the ledger", "named by an alias", "too young", "of another ledger"


@dataclass(frozen=True)
class Sweep:
    """What to look through: only things older than `older_than_days`; cells only below a working folder `work`."""

    kinds: tuple[What, ...] = KINDS
    older_than_days: float = 1.0
    work: Path | None = None


@dataclass(frozen=True)
class _Found:
    item: Unnamed
    why_kept: str | None
    remove: Callable[[], object]


def collect(ledger: Ledger, store: Store, sweep: Sweep, *, remove: bool) -> Garbage:
    """Find what nothing names; with `remove`, remove it, each after another look into the ledger.

    Raises:
        IntegrityError: the ledger does not verify, so that it cannot say what may go. MissingError: no such store.
    """
    audited(ledger)  # a ledger that does not verify cannot say what is needed
    kept: Counter[str] = Counter()
    unnamed = []
    for found in _everything(_names(ledger), store, sweep):
        if found.why_kept is not None:
            kept[found.why_kept] += 1
        else:
            unnamed.append(found)
    gone = [found for found in unnamed if not remove or _removed(ledger, found)]
    kept[_BY_LEDGER] += len(unnamed) - len(gone)
    counts = {why: count for why, count in sorted(kept.items()) if count}
    return Garbage(unnamed=tuple(found.item for found in gone), kept=counts, removed=remove)


def _removed(ledger: Ledger, found: _Found) -> bool:
    """Remove it, unless somebody has named it meanwhile."""
    names = _names(ledger)
    model, _, version = found.item.name.rpartition("/")
    if found.item.digest in names.digests or (model, version) in names.versions:
        return False
    found.remove()
    return True


def _everything(names: Named, store: Store, sweep: Sweep) -> Iterator[_Found]:
    serving: set[str | None] = set()  # logged models that stay because a version made from them stays
    for version in stored_versions(store):
        why = _why_version(names, version, sweep)
        if why is not None or "version" not in sweep.kinds:
            serving.add(version.model_id)
        if "version" in sweep.kinds and version.digest is not None:
            yield _Found(
                Unnamed(
                    what="version",
                    name=f"{version.model}/{version.version}",
                    digest=version.digest,
                    age_days=version.age_days,
                ),
                why,
                partial(delete_version, store, version.model, version.version),
            )
    if "logged model" in sweep.kinds:
        yield from _logged(names, store, sweep, serving)
    if "cell" in sweep.kinds and sweep.work is not None:
        yield from _cells(names, sweep, sweep.work / "cells")


def _why_version(names: Named, version: StoredVersion, sweep: Sweep) -> str | None:
    if (version.model, version.version) in names.versions:
        return _BY_LEDGER
    if version.digest is None or version.model not in names.models:
        return _OTHER
    return _BY_ALIAS if version.aliases else _why(names, version.digest, version.age_days, sweep)


def _logged(names: Named, store: Store, sweep: Sweep, serving: set[str | None]) -> Iterator[_Found]:
    for model in stored_models(store):
        why = _why(names, model.digest, model.age_days, sweep)
        yield _Found(
            Unnamed(what="logged model", name=model.model_id, digest=model.digest, age_days=model.age_days),
            why or ("of a version that stays" if model.model_id in serving else None),
            partial(delete_model, store, model.model_id),
        )


def _cells(names: Named, sweep: Sweep, cells: Path) -> Iterator[_Found]:
    """Trained cells; those of other stages hold no adapter. MLflow has copies, and a run brings them back."""
    for folder in sorted((cells / "train").glob("*")):
        if not (folder / ARTIFACT).is_dir() or folder.name.startswith("."):
            continue  # being written at this moment, or none of ours
        digest = digest_folder(folder / ARTIFACT)
        age = max(0.0, time.time() - folder.stat().st_mtime) / 86_400
        yield _Found(
            Unnamed(
                what="cell",
                name=str(folder),
                digest=digest,
                age_days=age,
                size_bytes=folder_bytes(folder),
            ),
            _why(names, digest, age, sweep),
            partial(shutil.rmtree, folder),
        )


def _why(names: Named, digest: Digest, age_days: float, sweep: Sweep) -> str | None:
    if digest in names.digests:
        return _BY_LEDGER
    return _YOUNG if age_days < sweep.older_than_days else None


def _names(ledger: Ledger) -> Named:
    with ledger.view() as view:
        return named(view)
