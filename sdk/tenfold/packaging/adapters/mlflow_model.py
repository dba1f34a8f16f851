"""Serves an MLflow model. Written by `tenfold.deploy`; change it as you like.

Takes MLflow's bodies: dataframe_split, dataframe_records, instances and inputs, with params where the signature has
some; of a table also rows as they come (see _tables.py). Answers {"predictions": ...}.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy
import pandas
from mlflow.exceptions import MlflowException

from ._fields import listed, refuse
from ._tables import TableReader
from ._tensors import read_inputs

DTYPES = {
    "double": "float64",
    "float": "float32",
    "long": "int64",
    "integer": "int32",
    "boolean": "bool",
    "datetime": "datetime64[ns]",
}
CALLERS_FAULT = ("BAD_REQUEST", "INVALID_PARAMETER_VALUE")


class Model:
    def __init__(self, config: dict[str, Any], data_dir: str) -> None:
        self._about = config["model_metadata"]["tenfold"]
        self._fields = self._about["schema"]["fields"]
        self._tables = TableReader(self._about) if self._about["takes"] == "table" else None
        self._folder = Path(data_dir) / "model"
        self._model: Any = None

    def load(self) -> None:
        self._model = mlflow.pyfunc.load_model(str(self._folder), suppress_warnings=True)

    def predict(self, inputs: Any) -> dict[str, Any]:
        body, parameters = self._apart(inputs)
        table = self._read(body)
        if isinstance(table, pandas.DataFrame) and not len(table):
            return {"predictions": []}
        try:
            result = self._model.predict(table, params=parameters) if parameters else self._model.predict(table)
        except MlflowException as error:
            if error.error_code in CALLERS_FAULT:
                refuse(error.message)
            raise
        return {"predictions": plain(result)}

    def _apart(self, body: Any) -> tuple[Any, dict[str, Any]]:
        """The body without MLflow's `params`, and those."""
        known = self._about["parameters"]
        if not isinstance(body, dict) or "params" not in body or "params" in [one["name"] for one in self._fields]:
            return body, {}
        parameters = body["params"] or {}
        if not isinstance(parameters, dict):
            refuse("params must be an object of names and values.")
        unknown = [str(name) for name in parameters if name not in known]
        if unknown:
            refuse(f"There is no parameter {listed(unknown)}. The model takes: {listed(known) or 'none'}.")
        return {key: value for key, value in body.items() if key != "params"}, parameters

    def _read(self, body: Any) -> Any:
        if self._tables is not None:
            columns, _ = self._tables.columns(body)
            return pandas.DataFrame({name: self._column(name, values) for name, values in columns.items()})
        if self._about["takes"] == "arrays":
            arrays = read_inputs(body, self._fields)
            return arrays if self._about["is_named"] else next(iter(arrays.values()))
        return anything(body)

    def _column(self, name: str, values: list[Any]) -> Any:
        kind = self._about["types"][name]
        if kind == "binary":
            return pandas.Series([None if value is None else value[2] for value in values], dtype=object)
        dtype = DTYPES.get(kind, "object")
        try:
            if dtype in ("float64", "float32") or None not in values:
                return pandas.Series(values, dtype=dtype)
            return pandas.Series(values, dtype="float64" if dtype in ("int64", "int32") else None)
        except (TypeError, ValueError, OverflowError) as error:
            refuse(f"The column {name!r} cannot be read as {kind}: {error}")


def anything(body: Any) -> Any:
    """What a model without a signature gets: a table of the forms that say so, else the value itself."""
    if not isinstance(body, dict):
        return body
    split = body.get("dataframe_split")
    if isinstance(split, dict) and isinstance(split.get("data"), list):
        return pandas.DataFrame(split["data"], columns=split.get("columns"), index=split.get("index"))
    if isinstance(body.get("dataframe_records"), list):
        return pandas.DataFrame(body["dataframe_records"])
    value = body.get("instances", body.get("inputs", body))
    if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
        return pandas.DataFrame(value)
    return numpy.asarray(value) if isinstance(value, list) else value


def plain(value: Any) -> Any:
    """The answer as JSON has it: tables as a list of objects, arrays as lists."""
    if isinstance(value, pandas.DataFrame):
        return [plain(row) for row in value.to_dict("records")]
    if isinstance(value, dict):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    return value.tolist() if hasattr(value, "tolist") else value
