"""The benchmark's models, the same object behind every server. Each is asked about rows and gives scores.

logistic, forest: scikit-learn's, on its breast cancer data. mlp: three linear layers on the same 30 columns. image: the
mean of each channel of a 224x224x3 picture, and one linear layer: next to nothing, so that what is measured is the way
of 602 kB into the model.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

SHAPES = {"logistic": (30,), "forest": (30,), "mlp": (30,), "image": (224, 224, 3)}
TYPES = {"logistic": np.float64, "forest": np.float64, "mlp": np.float32, "image": np.float32}


class Predictor:
    """One model, loaded from the folder that `train.py` has filled."""

    def __init__(self, workload: str, folder: str) -> None:
        self.shape, self.type = SHAPES[workload], TYPES[workload]
        if workload in ("mlp", "image"):
            import torch
            from modules import MODULES

            torch.set_num_threads(1)
            module = MODULES[workload]()
            module.load_state_dict(torch.load(Path(folder, f"{workload}.pt"), weights_only=True))
            module.eval()
            self.predict = lambda rows: _of_module(torch, module, rows)
        else:
            import joblib

            estimator = joblib.load(Path(folder, f"{workload}.joblib"))
            self.predict = lambda rows: _of_estimator(estimator, rows)

    def rows(self, inputs: Any) -> Any:
        """From nested lists, one or more rows."""
        return np.asarray(inputs, dtype=self.type)

    def rows_of_bytes(self, body: bytes) -> Any:
        """From the rows' raw bytes."""
        return np.frombuffer(body, dtype=self.type).reshape(-1, *self.shape)

    def answer(self, inputs: Any) -> dict[str, Any]:
        return as_lists(self.predict(self.rows(inputs)))

    def answer_bytes(self, body: bytes) -> dict[str, Any]:
        return as_lists(self.predict(self.rows_of_bytes(body)))

    def answers(self, batch: list[Any]) -> list[dict[str, Any]]:
        """Several requests at once, each with its own rows."""
        results = self.predict(np.concatenate(batch))
        ends = np.cumsum([len(rows) for rows in batch])[:-1]
        parts = {name: np.split(values, ends) for name, values in results.items()}
        return [as_lists({name: values[at] for name, values in parts.items()}) for at in range(len(batch))]


def as_lists(results: dict[str, Any]) -> dict[str, Any]:
    return {name: values.tolist() for name, values in results.items()}


def _of_estimator(estimator: Any, rows: Any) -> dict[str, Any]:
    return {"predictions": estimator.predict(rows), "probabilities": estimator.predict_proba(rows)}


def _of_module(torch: Any, module: Any, rows: Any) -> dict[str, Any]:
    with torch.no_grad():
        return {"predictions": module(torch.tensor(rows)).numpy()}
