"""A trained artifact: a folder with an adapter (or a full checkpoint) and the record that explains it.

```text
<artifact>/model.json                  TrainedModel: base and its digest, task, labels, method, arm, seed
<artifact>/adapter_config.json, adapter_model.safetensors      every adapter method (PEFT's own layout)
<artifact>/config.json, model.safetensors                      full fine-tuning
```
Loading refuses a base of another digest. Only safetensors are read, never pickles.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from rsa_ops.core.cell import Cell
from rsa_ops.core.digest import Digest
from rsa_ops.core.record import Record
from rsa_ops.errors import IntegrityError, MissingError
from rsa_ops.files import read_record, write_record
from rsa_ops.models.base import BaseModel, resolve_base
from rsa_ops.models.task import (
    LoadedModel,
    ModelConfig,
    Task,
    load_base_model,
    load_tokenizer,
    readable_weights,
)

SPEC_FILE = "model.json"


class TrainedModel(Record):
    """`model.json`. `model.base` says where the base is found; `base_digest` which bytes it must be."""

    schema_: Literal["rsa_ops/trained-model/v1"] = Field(default="rsa_ops/trained-model/v1", alias="schema")

    cell: Cell
    method: str
    task: Task
    model: ModelConfig
    base_digest: Digest
    labels: tuple[str, ...]
    data_digest: Digest

    @property
    def is_adapter(self) -> bool:
        """Whether the artifact is a plug-in beside the base (everything but full fine-tuning)."""
        return self.method != "full"


def save_trained(folder: Path, model: Any, spec: TrainedModel) -> None:
    """Write the trained part of `model` and its record into `folder`."""
    model.save_pretrained(folder, safe_serialization=True) if spec.is_adapter else model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)  # PEFT's model card template, which says nothing true
    write_record(folder / SPEC_FILE, spec)


def read_spec(folder: Path) -> TrainedModel:
    """The record of an artifact.

    Raises:
        MissingError: the folder is no artifact of rsa_ops, or its weights or their configuration are gone.
    """
    spec = read_record(TrainedModel, folder / SPEC_FILE)
    kind = "adapter_" if spec.is_adapter else ""
    weights, settings = f"{kind}model.safetensors", f"{kind}config.json"
    present = {file.name for file in folder.iterdir()}
    lacking = [] if present & {weights, f"{weights}.index.json"} else [weights]
    lacking += [] if settings in present else [settings]
    if lacking:
        raise MissingError(
            f"{folder} has no {' and no '.join(lacking)}", hint="Train the cell again, or copy the whole folder."
        )
    return spec


def load_trained(folder: Path, *, device: str, base: str | None = None) -> tuple[LoadedModel, TrainedModel]:
    """Load an artifact onto its base; `base` replaces the recorded place of the base, never its digest.

    Raises:
        IntegrityError: the base has other bytes than the one it was trained on, or keys do not match.
        MissingError: base or artifact are not there.
    """
    spec = read_spec(folder)
    found = resolve_base(base or spec.model.base, expected=spec.base_digest)
    return load_onto(folder, spec, found, device=device), spec


def load_onto(folder: Path, spec: TrainedModel, found: BaseModel, *, device: str) -> LoadedModel:
    """Load the artifact that `spec` describes onto a base that was found, whose bytes are the right ones.

    Raises:
        IntegrityError: keys do not match, or the base has another digest than the artifact declares.
    """
    if found.digest != spec.base_digest:
        raise IntegrityError(f"{folder} was trained on {spec.base_digest}, not on {found.name} ({found.digest})")
    tokenizer = load_tokenizer(found.folder)
    if spec.is_adapter:
        bare = load_base_model(found.folder, spec.model, spec.task, spec.labels, seed=spec.cell.seed)
        model = attach_adapter(bare, folder)
    else:
        model = load_base_model(folder, spec.model, spec.task, spec.labels, seed=spec.cell.seed, checkpoint=True)
    model.to(device).eval()
    return LoadedModel(model=model, tokenizer=tokenizer, device=device)


def attach_adapter(bare: Any, folder: Path) -> Any:
    """Put the adapter in `folder` on `bare`, refusing one whose tensors do not all find their place."""
    from peft import PeftModel, get_peft_model_state_dict
    from safetensors import safe_open

    import rsa_ops.tuners  # noqa: F401  registers the method with PEFT

    with readable_weights(folder):
        model = PeftModel.from_pretrained(bare, str(folder))
        with safe_open(str(folder / "adapter_model.safetensors"), framework="pt") as tensors:
            stored = set(tensors.keys())
    lost = sorted(stored ^ set(get_peft_model_state_dict(model)))
    if lost:
        raise IntegrityError(
            f"{folder}: {len(lost)} adapter tensors do not match the places for them in the base, first {lost[0]}",
            hint="Such an adapter would silently do nothing. Use the base model it was trained on.",
        )
    return model


def base_of(model: Any) -> Any:
    """The transformers model under a PEFT wrapper, or the model itself."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model
