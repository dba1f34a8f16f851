"""Serves an ONNX model of a table. Written by `tenfold.deploy`; change it as you like.

Takes rows as {"inputs": [...]} (see _tables.py). Answers {"predictions": [...]}, and of a classifier also
{"probabilities": [[...]], "classes": [...]}.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy

from ._onnx_session import open_session
from ._tables import TableReader

DTYPES = {"tensor(string)": "object", "tensor(float)": "float32", "tensor(double)": "float64", "tensor(bool)": "bool"}


class Model:
    rows_are_independent = True

    def __init__(self, config: dict[str, Any], data_dir: str) -> None:
        self._about = config["model_metadata"]["tenfold"]
        self._tables = TableReader(self._about)
        self._data = Path(data_dir)
        self._session: Any = None

    def load(self) -> None:
        self._session = open_session(self._data)

    def predict(self, inputs: Any) -> dict[str, Any]:
        return self._answer(*self._tables.columns(inputs))

    def predict_batch(self, bodies: list[Any]) -> list[Any]:
        """What predict gives for each, or raises; of one look at the rows of all."""
        return self._tables.batch_columns(bodies, self._answer)

    def _answer(self, columns: dict[str, list[Any]], count: int) -> dict[str, Any]:
        if not count:
            return {"predictions": []}
        feeds = self._feeds(columns, count)
        about = self._about
        if "several" in about:
            results = self._session.run(about["several"], feeds)
            named = zip(about["several"], results)  # noqa: B905 (of one length)
            return {"predictions": {name: plain(value) for name, value in named}}
        if "probabilities" not in about:
            (values,) = self._session.run([about["predictions"]], feeds)
            return {"predictions": plain(values)}
        labels, shares = self._session.run([about["predictions"], about["probabilities"]], feeds)
        classes = about["classes"]
        return {"predictions": plain(labels), "probabilities": rows_of(shares, classes), "classes": classes}

    def _feeds(self, columns: dict[str, list[Any]], count: int) -> dict[str, Any]:
        """The arrays by the names of the model's inputs."""
        wanted = self._session.get_inputs()
        if len(wanted) == 1 and self._about["input"] == "array" and wanted[0].shape[1:] != [1]:
            return {wanted[0].name: self._tables.table(columns, count)}
        return {one.name: column_of(one, columns[one.name], count) for one in wanted}


def column_of(wanted: Any, values: list[Any], count: int) -> Any:
    dtype = DTYPES.get(wanted.type) or wanted.type[len("tensor(") : -1]
    there = [float("nan") if value is None else value for value in values]
    return numpy.array(there, dtype=dtype).reshape((count,) if len(wanted.shape) == 1 else (count, 1))


def rows_of(shares: Any, classes: list[Any]) -> list[list[float]]:
    """Probabilities in the order of the classes; some converters write them as a list of maps."""
    if isinstance(shares, list):
        return [[float(row[one]) for one in classes] for row in shares]
    if shares.ndim == 1 or shares.shape[1] == 1:
        sure = shares.reshape(-1)
        shares = numpy.stack([1 - sure, sure], axis=1)
    listed: list[list[float]] = shares.tolist()
    return listed


def plain(value: Any) -> Any:
    """An array as a list; a single column as a list of its values."""
    if not isinstance(value, numpy.ndarray):
        return value
    return (value.reshape(-1) if value.ndim == 2 and value.shape[1] == 1 else value).tolist()
