"""Serves a trained XGBoost model. Written by `tenfold.deploy`; change it as you like.

Takes rows as {"inputs": [...]} (see _tables.py). Answers {"predictions": [...]}, and of a classifier also
{"probabilities": [[...]], "classes": [...]}.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy
import xgboost

from ._tables import TableReader


class Model:
    rows_are_independent = True

    def __init__(self, config: dict[str, Any], data_dir: str) -> None:
        self._about = config["model_metadata"]["tenfold"]
        self._tables = TableReader(self._about)
        self._file = Path(data_dir) / "model.ubj"
        self._classes = self._about.get("classes")
        self._booster: Any = None

    def load(self) -> None:
        self._booster = xgboost.Booster(model_file=self._file)

    def predict(self, inputs: Any) -> dict[str, Any]:
        return self._answer(self._tables.read(inputs))

    def predict_batch(self, bodies: list[Any]) -> list[Any]:
        """What predict gives for each, or raises; of one look at the rows of all."""
        return self._tables.batch(bodies, self._answer)

    def _answer(self, table: Any) -> dict[str, Any]:
        if not len(table):
            return {"predictions": []}
        if self._classes is not None:
            return self._classified(table)
        values = self._values(table)
        if self._about.get("labels"):  # several yes or no questions at once
            return {"predictions": (values > 0.5).astype(int).tolist(), "probabilities": values.tolist()}
        return {"predictions": values.tolist()}

    def _classified(self, table: Any) -> dict[str, Any]:
        if self._about["objective"] == "multi:softmax":
            margins = self._values(table, margin=True)
            powers = numpy.exp(margins - margins.max(axis=1, keepdims=True))
            shares = powers / powers.sum(axis=1, keepdims=True)
            best = margins.argmax(axis=1)
        else:
            values = self._values(table)
            is_multiclass = values.ndim == 2
            shares = values if is_multiclass else numpy.vstack((1.0 - values, values)).transpose()
            best = shares.argmax(axis=1) if is_multiclass else (values > 0.5).astype(int)
        predictions = [self._classes[index] for index in best]
        return {"predictions": predictions, "probabilities": shares.tolist(), "classes": self._classes}

    def _values(self, table: Any, margin: bool = False) -> Any:
        about = self._about
        iterations = (0, about.get("iterations", 0))
        missing = about.get("missing", math.nan)
        if about["booster"] != "gblinear":
            kind = "margin" if margin else "value"
            return self._booster.inplace_predict(
                table, iteration_range=iterations, predict_type=kind, missing=missing, validate_features=False
            )
        matrix = xgboost.DMatrix(table, missing=missing, feature_names=self._booster.feature_names)
        return self._booster.predict(matrix, output_margin=margin, validate_features=False)
