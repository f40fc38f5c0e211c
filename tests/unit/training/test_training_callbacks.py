"""The step callback: progress out, and an end as soon as the loss is no number."""

from __future__ import annotations

from typing import Any

import pytest
from transformers import TrainerControl, TrainerState, TrainingArguments

from rsa_ops.core.cell import Cell
from rsa_ops.errors import CellFailed, ExitCode
from rsa_ops.training.callbacks import step_callback

CELL = Cell(arm="rsa", seed=7)


def log(callback: Any, tmp_path: Any, **logs: object) -> None:
    state = TrainerState(global_step=3, max_steps=12)
    callback.on_log(TrainingArguments(output_dir=str(tmp_path)), state, TrainerControl(), logs=logs)


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), float("-inf"), "nan"])
def test_a_loss_that_is_no_number_ends_the_cell_with_cell_step_and_remedy(tmp_path: Any, loss: object) -> None:
    with pytest.raises(CellFailed, match=r"rsa-s7: the loss became -?(nan|inf) at step 3") as caught:
        log(step_callback(CELL, None), tmp_path, loss=loss)
    assert "learning_rate" in caught.value.hint
    assert caught.value.exit_code is ExitCode.MISSING


@pytest.mark.parametrize("logs", [{"loss": 0.0}, {"loss": 1e30}, {"loss": "0.25"}, {"train_runtime": 3.0}, {}])
def test_any_other_log_passes(tmp_path: Any, logs: dict[str, object]) -> None:
    log(step_callback(CELL, None), tmp_path, **logs)


def test_progress_is_the_share_of_the_steps(tmp_path: Any) -> None:
    seen: list[tuple[float, str]] = []
    callback = step_callback(CELL, lambda share, words: seen.append((share, words)))
    for step in (1, 2, 4):
        callback.on_step_end(
            TrainingArguments(output_dir=str(tmp_path)),
            TrainerState(global_step=step, max_steps=4),
            TrainerControl(),
        )
    assert seen == [(0.25, "step 1/4"), (0.5, "step 2/4"), (1.0, "step 4/4")]
    assert callback.done == 4
