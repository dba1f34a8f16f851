"""Serves a fitted scikit-learn estimator. Written by `tenfold.deploy`; change it as you like.

Takes {"inputs": [rows]}, where a row is an object of column names or a list in the order of the columns; also a bare
list of rows, one row, and MLflow's dataframe_split, dataframe_records and instances.
Answers {"predictions": [...], "probabilities": [[...]], "classes": [...]}.
"""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

from ._tables import TableReader, plain


class Model:
    def __init__(self, config: dict[str, Any], data_dir: str) -> None:
        self._data = Path(data_dir)
        self._about = config["model_metadata"]["tenfold"]
        self._tables = TableReader(self._about)
        self._estimator: Any = None

    def load(self) -> None:
        if "transform_output" in self._about:
            import sklearn

            sklearn.set_config(transform_output=self._about["transform_output"])
        self._estimator = self._read()

    def predict(self, inputs: Any) -> dict[str, Any]:
        return answer_of(self._estimator, self._tables.read(inputs), self._about["methods"])

    def _read(self) -> Any:
        if self._about["format_of_data"] == "skops":
            skops_io = import_skops()
            return skops_io.load(self._data / "model.skops", trusted=self._about["trusted_types"])
        with open(self._data / "model.pickle", "rb") as file:
            return pickle.load(file)  # noqa: S301 (this worker is where it belongs)


def import_skops() -> Any:
    """skops without its list of every estimator there is, for which it would import all of scikit-learn (seconds)."""
    import sklearn.utils

    everything = getattr(sklearn.utils, "all_estimators", None)
    sklearn.utils.all_estimators = lambda *_, **__: []
    try:
        import skops.io
    finally:
        sklearn.utils.all_estimators = everything
    return skops.io


def answer_of(estimator: Any, table: Any, methods: dict[str, str]) -> dict[str, Any]:
    """What the estimator says about the rows, as plain lists."""
    if not len(table):
        return {"predictions": []}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*feature names.*", category=UserWarning)
        answer = {"predictions": plain(getattr(estimator, methods["predictions"])(table))}
        if "probabilities" in methods:
            answer["probabilities"] = plain(getattr(estimator, methods["probabilities"])(table))
    if getattr(estimator, "classes_", None) is not None:
        answer["classes"] = plain(estimator.classes_)
    return answer
