"""The one callback of ours in every training: progress out, and a stop when the loss is no number."""

from __future__ import annotations

import math
from typing import Any

from rsa_ops.core.cell import Cell
from rsa_ops.errors import CellFailed


def step_callback(cell: Cell, progress: Any) -> Any:
    """A TrainerCallback with `done`, the optimizer steps taken; raises CellFailed on a NaN loss.

    Made in a function because its base class comes with torch, which must not be imported with this room.
    """
    from transformers import TrainerCallback

    class StepCallback(TrainerCallback):  # type: ignore[misc]
        done = 0

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002  the Trainer's signature
            self.done = state.global_step
            progress(state.global_step / max(1, state.max_steps), f"step {state.global_step}/{state.max_steps}")

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:  # noqa: ARG002
            loss = (logs or {}).get("loss")
            if loss is not None and not math.isfinite(float(loss)):
                raise CellFailed(
                    f"{cell.name}: the loss became {loss} at step {state.global_step}",
                    hint="Lower the arm's learning_rate in pipeline.yaml.",
                )

    return StepCallback()
