"""A fetched adapter folder becomes a model that answers, or is refused: it fails closed, and has no way around.

Only safetensors are read. No pickle is opened, no code of a model is run, and an adapter that changes nothing
against its base is refused, because it would be the base under another name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rsa_ops.core.digest import short
from rsa_ops.evaluation.noop import base_side, changed_share, probe_logits
from rsa_ops.evaluation.predict import predict_texts
from rsa_ops.models.base import BaseModel
from rsa_ops.models.task import LoadedModel, pick_device
from rsa_ops.models.trained import TrainedModel, load_onto, read_spec
from rsa_ops.serving.checks import (
    Check,
    Passed,
    adapter_bytes,
    declared_base,
    find_base,
    plain_files,
    run_checks,
    timed,
)
from rsa_ops.serving.resolved import Resolved

SAMPLE = (
    "A remote attacker can execute arbitrary code by sending a crafted request to the server.",
    "The invoice of last month was paid twice; please return the second payment.",
    "装置の振動が基準値を超えたため、ラインを停止して軸受を交換した。",
    "ok",
)
"""Texts to see on whether an adapter changes anything, where no judged ones are known."""


@dataclass(frozen=True)
class Served:
    """A model that passed every check. It stays what was resolved, wherever the alias goes."""

    resolved: Resolved
    checks: tuple[Passed, ...]
    loaded: LoadedModel
    spec: TrainedModel

    def predict(self, texts: Sequence[str]) -> list[str]:
        """A label or a generated text for each text, in their order."""
        return predict_texts(self.loaded, self.spec, list(texts)).outputs


def load_checked(
    folder: Path,
    resolved: Resolved,
    more: Sequence[Check] = (),
    *,
    base: str | None = None,
    device: str | None = None,
    sample: Sequence[str] = (),
) -> Served:
    """Check an adapter folder that nobody else can write in, and load it.

    `more`: checks of the files that other rooms know of (the signature). `base` replaces the place of the base that
    the adapter names, never its digest. `sample`: texts that it was judged on, to see that it is no no-op.

    Raises:
        IntegrityError: any check fails. MissingError: the base or a file is gone.
    """
    about = resolved.name
    passed = run_checks(folder, (plain_files(), adapter_bytes(resolved), *more, declared_base(resolved)), about)
    spec = read_spec(folder)
    found: list[BaseModel] = []
    loaded: list[LoadedModel] = []

    def look_for_base() -> str:
        found.append(find_base(folder, resolved, base))
        return f"{found[0].name}, {short(found[0].digest)}"

    def load() -> str:
        loaded.append(load_onto(folder, spec, found[0], device=device or pick_device()))
        return f"onto {loaded[0].device}, every tensor in its place"

    def compare() -> str:
        texts = list(sample) or list(SAMPLE)
        after = probe_logits(loaded[0].model, loaded[0], spec, texts)
        with base_side(loaded[0], spec) as bare:
            before = probe_logits(bare, loaded[0], spec, texts)
        return f"changes {changed_share(after, before, folder):.0%} of {len(after)} texts against its base"

    looks = (("base model", look_for_base), ("loads", load), ("is no no-op", compare))
    passed += tuple(timed(name, look, about) for name, look in looks)
    return Served(resolved, passed, loaded[0], spec)
