"""Forward and backward of a training step: as written, or recorded once and replayed.

A step of a small model is thousands of small kernels, and launching them takes the host longer than running them
takes the device. A CUDA graph records a step for each padded length and replays it with one launch. Clipping,
AdamW and the schedule stay outside, so what is recorded does not depend on them. Sources: PyTorch's notes "CUDA
Graphs", whole- network capture; departures: gradients are allocated first and zeroed inside, so that all graphs
share them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

Batch = Mapping[str, Tensor]


class CaptureError(RuntimeError):
    """A step could not be recorded; the process should not be trusted with another recording."""


class Stepper:
    """Fills the gradients of `model` for one batch after another. `parameters` are those that learn."""

    def __init__(self, model: Any, parameters: list[Tensor]) -> None:
        self.model, self.parameters = model, parameters
        for parameter in parameters:
            parameter.grad = torch.zeros_like(parameter)
        self.gradients = [parameter.grad for parameter in parameters]
        self._recorded: dict[int, tuple[Any, dict[str, Tensor], Tensor]] = {}
        self._pool: Any = None

    def eager(self, batch: Batch) -> Tensor:
        """The loss of `batch`, detached; gradients are those of this batch alone."""
        torch._foreach_zero_(self.gradients)
        loss: Tensor = self.model(**batch).loss
        loss.backward()
        return loss.detach()

    def replayed(self, batch: Batch) -> Tensor:
        """As `eager`, through the graph of the batch's width; recorded when the width comes for the first time.

        At least one eager step must have gone before, in the current stream, which must not be the default one.

        Raises:
            CaptureError: something in the step cannot be recorded.
        """
        width = batch["input_ids"].shape[1]
        if width not in self._recorded:
            self._recorded[width] = self._record(batch)
        graph, inputs, loss = self._recorded[width]
        for name, tensor in batch.items():
            inputs[name].copy_(tensor)
        graph.replay()
        return loss

    def _record(self, batch: Batch) -> tuple[Any, dict[str, Tensor], Tensor]:
        inputs = {name: tensor.clone() for name, tensor in batch.items()}
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(
                graph, pool=self._pool, stream=torch.cuda.current_stream(), capture_error_mode="thread_local"
            ):
                loss = self.eager(inputs)
        except RuntimeError as error:
            raise CaptureError(str(error).splitlines()[0]) from error
        return graph, inputs, loss

    def close(self) -> None:
        """Give back what was recorded."""
        self._recorded.clear()
        self._pool = None
        for parameter in self.parameters:
            parameter.grad = None
