"""Does the artifact change anything? An adapter that does nothing would be "not worse" by construction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rsa_ops.errors import IntegrityError
from rsa_ops.models.base import resolve_base
from rsa_ops.models.task import LoadedModel, load_base_model
from rsa_ops.models.trained import TrainedModel

PROBE_EXAMPLES = 16


def changed_share(after: Any, before: Any, artifact: Path) -> float:
    """Share of probe texts whose logits the artifact changes against its base, in (0, 1].

    `after` and `before`: logits of the artifact and of its base, [texts, ...] (see `probe_logits`).

    Raises:
        IntegrityError: not one logit changes.
    """
    moved = (after - before).abs().flatten(1).amax(dim=1) > 0
    share = float(moved.float().mean())
    if share == 0:
        raise IntegrityError(
            f"{artifact} is a no-op: its outputs equal those of its base on {len(after)} examples",
            hint="It was not trained, or its tensors did not find their place. Train the cell again.",
        )
    return share


@contextmanager
def base_side(loaded: LoadedModel, spec: TrainedModel) -> Iterator[Any]:
    """The base of a loaded artifact, as a model to be called within this context.

    For an adapter only its own layers are switched off, not the new head: the head alone does not make an
    adapter. For full fine-tuning the base is loaded again.
    """
    if not spec.is_adapter:
        folder = resolve_base(spec.model.base, expected=spec.base_digest).folder
        base = load_base_model(folder, spec.model, spec.task, spec.labels, seed=spec.cell.seed)
        yield base.to(loaded.device).eval()
        return
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers = [module for module in loaded.model.modules() if isinstance(module, BaseTunerLayer)]
    for layer in layers:
        layer.enable_adapters(enabled=False)
    try:
        yield loaded.model
    finally:
        for layer in layers:
            layer.enable_adapters(enabled=True)


def probe_logits(model: Any, loaded: LoadedModel, spec: TrainedModel, texts: Sequence[str]) -> Any:
    """Logits of `model` on the first few texts, as the artifact's task presents them."""
    import torch

    probe = list(texts[:PROBE_EXAMPLES])
    shown = probe if spec.task == "classification" else [spec.model.prompt.format(text=text) for text in probe]
    encoded = loaded.tokenizer(
        shown, truncation=True, max_length=spec.model.max_length, padding=True, return_tensors="pt"
    )
    with torch.inference_mode():
        return model(**encoded.to(loaded.device)).logits.float()
