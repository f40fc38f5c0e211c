"""The pyfunc flavour of an adapter: MLflow runs this file when somebody loads a registered version.

Input: a list of texts, or a table with one column of them. Output: one label or text each. The base model is
resolved where the adapter says, and refused when its bytes are not those the adapter was trained on.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlflow.models import set_model
from mlflow.pyfunc import PythonModel


class AdapterModel(PythonModel):  # type: ignore[misc]
    """Loads the adapter once, then predicts."""

    def load_context(self, context: Any) -> None:
        """Load the adapter; fails on another base digest, so that a wrong model cannot answer."""
        from rsa_ops.models.task import pick_device
        from rsa_ops.models.trained import load_trained

        self._loaded, self._spec = load_trained(Path(context.artifacts["adapter"]), device=pick_device())

    def predict(self, context: Any, model_input: list[str], params: Any = None) -> list[str]:  # noqa: ARG002
        """One prediction for each text. MLflow reads the signature from these types."""
        from rsa_ops.evaluation.predict import predict_texts

        return predict_texts(self._loaded, self._spec, model_input).outputs


set_model(AdapterModel())
