"""Serves a trained LightGBM model. Written by `tenfold.deploy`; change it as you like.

Takes rows as {"inputs": [...]} (see _tables.py). Answers {"predictions": [...]}, and of a classifier also
{"probabilities": [[...]], "classes": [...]}.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightgbm
import numpy

from ._tables import TableReader


class Model:
    rows_are_independent = True

    def __init__(self, config: dict[str, Any], data_dir: str) -> None:
        about = config["model_metadata"]["tenfold"]
        self._tables = TableReader(about)
        self._file = Path(data_dir) / "model.txt"
        self._classes = about.get("classes")
        self._booster: Any = None

    def load(self) -> None:
        self._booster = lightgbm.Booster(model_file=str(self._file))

    def predict(self, inputs: Any) -> dict[str, Any]:
        return self._answer(self._tables.read(inputs))

    def predict_batch(self, bodies: list[Any]) -> list[Any]:
        """What predict gives for each, or raises; of one look at the rows of all."""
        return self._tables.batch(bodies, self._answer)

    def _answer(self, table: Any) -> dict[str, Any]:
        if not len(table):
            return {"predictions": []}
        values = numpy.asarray(self._booster.predict(table))
        if self._classes is None:
            return {"predictions": values.tolist()}
        shares = values if values.ndim == 2 else numpy.vstack((1.0 - values, values)).transpose()
        predictions = [self._classes[index] for index in shares.argmax(axis=1)]
        return {"predictions": predictions, "probabilities": shares.tolist(), "classes": self._classes}
