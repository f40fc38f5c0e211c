"""Train one cell: base model + arm + seed + train split -> an artifact folder with its measurements."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rsa_ops.core.cell import Cell
from rsa_ops.core.digest import Digest
from rsa_ops.core.measurements import Measurements
from rsa_ops.errors import CellFailed
from rsa_ops.files import digest_folder, folder_bytes, write_record, write_text
from rsa_ops.models.base import BaseModel, resolve_base
from rsa_ops.models.task import ModelConfig, Task, load_base_model, load_tokenizer, pick_device
from rsa_ops.models.trained import TrainedModel, save_trained
from rsa_ops.training.arms import apply_arm, count_parameters
from rsa_ops.training.config import ArmConfig, TrainConfig
from rsa_ops.training.features import Collator, Features, encode
from rsa_ops.training.meters import Meter, Usage
from rsa_ops.training.optimizer import optimizer
from rsa_ops.training.tries import Earlier, Try

ARTIFACT = "artifact"
MEASUREMENTS = "measurements.json"
HISTORY = "history.csv"
SELECTION = "selection.json"
SCORE_MAP = "scores.safetensors"

Progress = Callable[[float, str], None]
"""Called with the share done, in [0, 1], and a few words."""


@dataclass(frozen=True)
class TrainTask:
    """All that a worker needs to train one cell; it reads the train split from `train_file`."""

    cell: Cell
    arm: ArmConfig
    train: TrainConfig
    model: ModelConfig
    task: Task
    labels: tuple[str, ...]
    train_file: Path
    data_digest: Digest
    base_digest: Digest
    workers: int
    threads: int
    tries: Path | None = None
    """Where tries at this cell leave their marks; None counts none."""


def train_cell(job: TrainTask, out: Path, progress: Progress) -> Measurements:
    """Train, and write `out/artifact/`, `out/measurements.json` and `out/history.csv` (step, loss, rate).

    An arm that selects blocks also leaves `out/selection.json` (what, and how stable) and `out/scores.safetensors`,
    the score map that a later run may start warm from.

    Raises:
        CellFailed: the loss became NaN or infinite, or memory ran out; the message says when.
        IntegrityError: the base model is not the one declared.
    """
    with Try(job.tries) as attempt:
        return _train(job, out, progress, attempt.earlier)


def _train(job: TrainTask, out: Path, progress: Progress, earlier: Earlier) -> Measurements:
    import torch

    torch.set_num_threads(job.threads)
    device = pick_device()
    base = resolve_base(job.model.base, expected=job.base_digest)
    tokenizer = load_tokenizer(base.folder)
    features = _features(job, tokenizer)
    _seed(job.cell.seed)
    bare = load_base_model(base.folder, job.model, job.task, job.labels, seed=job.cell.seed)
    model, callbacks = apply_arm(bare, job.arm, job.cell.arm, job.task, seed=job.cell.seed)
    trainable, total = count_parameters(model)
    trainer, steps = _trainer(job, model, features, tokenizer, callbacks, progress, out)
    with Meter(device) as meter:
        try:
            result = trainer.train()
        except torch.OutOfMemoryError as error:
            raise CellFailed(f"{job.cell.name}: out of device memory: {str(error).splitlines()[0]}") from error
        except ValueError as error:
            if not job.arm.robustness:
                raise
            hint = f"Look at train.arms.{job.cell.arm}.robustness in pipeline.yaml."
            raise CellFailed(f"{job.cell.name}: {error}", hint=hint) from error
    _refuse_divergence(job.cell, result.training_loss, model)
    save_trained(out / ARTIFACT, model, _spec(job, base))
    write_text(out / HISTORY, _history(trainer.state.log_history))
    for callback in callbacks:
        _write_selection(callback, out)
    measured = _measurements(job, base, out / ARTIFACT, features, _reading(meter), result)
    selection = sum(getattr(getattr(c, "report", None), "seconds", 0.0) for c in callbacks)
    measured = measured.model_copy(
        update={
            "trainable_parameters": trainable,
            "total_parameters": total,
            "steps": steps.done,
            "selection_seconds": selection,
            "device": _device_name(device, job.threads),
            "attempts": earlier.count + 1,
            "failed_seconds": earlier.seconds,
        }
    )
    write_record(out / MEASUREMENTS, measured)
    return measured


def _features(job: TrainTask, tokenizer: Any) -> Features:
    import pandas as pd

    table = pd.read_parquet(job.train_file, columns=["text", "label"])
    return encode(
        table["text"].tolist(),
        table["label"].tolist(),
        tokenizer=tokenizer,
        config=job.model,
        task=job.task,
        labels=job.labels,
    )


def _seed(seed: int) -> None:
    from transformers import set_seed

    set_seed(seed)


def _trainer(
    job: TrainTask,
    model: Any,
    features: Features,
    tokenizer: Any,
    callbacks: list[Any],
    progress: Progress,
    out: Path,
) -> tuple[Any, Any]:
    from transformers import Trainer, TrainingArguments, logging

    from rsa_ops.training.callbacks import step_callback

    logging.set_verbosity_error()
    train = job.train
    arguments = TrainingArguments(
        output_dir=str(out),  # made by the Trainer even where nothing is saved to it
        num_train_epochs=train.epochs,
        per_device_train_batch_size=train.batch_size,
        gradient_accumulation_steps=train.gradient_accumulation_steps,
        learning_rate=job.arm.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=train.warmup_share,
        weight_decay=train.weight_decay,
        max_grad_norm=train.max_grad_norm,
        train_sampling_strategy="group_by_length",
        seed=job.cell.seed,
        logging_strategy="steps",
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="no",
        eval_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataloader_num_workers=0,
        remove_unused_columns=False,
    )
    steps = step_callback(job.cell, progress)
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=features,
        data_collator=Collator(tokenizer.pad_token_id, job.task),
        callbacks=[*callbacks, steps],
        optimizers=(optimizer(model, job.arm.learning_rate, train), None),
    )
    from transformers import PrinterCallback

    trainer.remove_callback(PrinterCallback)
    return trainer, steps


def _refuse_divergence(cell: Cell, loss: float, model: Any) -> None:
    import torch

    if not math.isfinite(loss):
        raise CellFailed(f"{cell.name}: the training loss is {loss}", hint="Lower the arm's learning_rate.")
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and not bool(torch.isfinite(parameter).all()):
            raise CellFailed(f"{cell.name}: {name} holds NaN or infinity", hint="Lower the arm's learning_rate.")


def _reading(meter: Meter) -> Usage:
    if meter.usage is None:
        raise CellFailed("the meter was read before its block ended")
    return meter.usage


def _spec(job: TrainTask, base: BaseModel) -> TrainedModel:
    return TrainedModel(
        cell=job.cell,
        method=job.arm.method,
        task=job.task,
        model=job.model,
        base_digest=base.digest,
        labels=job.labels,
        data_digest=job.data_digest,
    )


def _measurements(
    job: TrainTask, base: BaseModel, artifact: Path, features: Features, usage: Usage, result: Any
) -> Measurements:
    return Measurements(
        cell=job.cell,
        method=job.arm.method,
        base_model=base.name,
        base_digest=base.digest,
        artifact_digest=digest_folder(artifact),
        data_digest=job.data_digest,
        device="",
        workers=job.workers,
        threads=job.threads,
        wall_seconds=usage.wall_seconds,
        cpu_seconds=usage.cpu_seconds,
        selection_seconds=0.0,
        peak_host_memory_bytes=usage.peak_host_memory_bytes,
        peak_device_memory_bytes=usage.peak_device_memory_bytes,
        energy=usage.energy,
        trainable_parameters=0,
        total_parameters=0,
        artifact_bytes=folder_bytes(artifact),
        tokens=round(features.tokens * job.train.epochs),
        examples=len(features),
        steps=0,
        epochs=job.train.epochs,
        learning_rate=job.arm.learning_rate,
        effort=job.train.effort,
        final_loss=float(result.training_loss),
    )


def _write_selection(callback: Any, out: Path) -> None:
    report = getattr(callback, "report", None)
    if report is not None:
        write_text(out / SELECTION, json.dumps(asdict(report), indent=1))
    if getattr(callback, "scores", None):
        callback.save_scores(out / SCORE_MAP)


def _device_name(device: str, threads: int) -> str:
    if device == "cuda":
        import torch

        return str(torch.cuda.get_device_name())
    return f"CPU, {threads} thread{'s' if threads != 1 else ''}"


def _history(log: list[dict[str, float]]) -> str:
    rows = [f"{e['step']},{e['loss']},{e.get('learning_rate', '')}" for e in log if "loss" in e]
    return "\n".join(["step,loss,learning_rate", *rows]) + "\n"
