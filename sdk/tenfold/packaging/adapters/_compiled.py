"""Serves the compiled form of a model of a table: an ONNX graph that answers as the original does.

_compiling.py makes it and proves it equal: data/model.onnx, and data/compiled.json, which says how a request's columns
become the graph's inputs and its outputs an answer. Takes and answers what the original does (see _tables.py). Needs
numpy and onnxruntime, and nothing of the original's framework; Python 3.9 and later.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy
import onnxruntime

from ._fields import refuse
from ._tables import TableReader, batched


class Model:
    rows_are_independent = True

    def __init__(self, config: dict[str, Any], data_dir: str) -> None:
        self._metadata = config["model_metadata"]
        self._tables = TableReader(self._metadata["tenfold"])
        self._data = Path(data_dir)
        self._form: dict[str, Any] = {}
        self._session: Any = None

    def load(self) -> None:
        fields = self._metadata["tenfold"]["schema"]["fields"]
        self._names = [field["name"] for field in fields]
        self._form = json.loads((self._data / "compiled.json").read_text("utf-8"))
        self._strict = [self._names.index(name) for name in self._form["no_gaps"]]
        self._dtypes = {self._names.index(name): dtype for name, dtype in self._form["dtypes"].items()}
        self._labels = dict(self._form.get("labels") or ())
        wanted = [self._form["predictions"]["output"], self._form.get("probabilities", {}).get("output")]
        if self._form["predictions"].get("by_share"):
            wanted = wanted[1:]
        self._outputs = [name for name in wanted if name is not None]
        self._session = open_session(self._data / "model.onnx")
        example = self._metadata.get("example_model_input")
        if example is not None:
            self.predict(example)  # the first call allocates

    def predict(self, inputs: Any) -> dict[str, Any]:
        return self._answer(self._tables.rows(inputs))

    def predict_batch(self, bodies: list[Any]) -> list[Any]:
        """What predict gives for each, or raises; of one look at the rows of all."""
        return batched(bodies, self._tables.rows, self._answer, self._tables.may_be_joined)

    def _answer(self, rows: list[list[Any]]) -> dict[str, Any]:
        count = len(rows)
        if not count:
            return {"predictions": []}
        values = self._session.run(self._outputs, self._feeds(rows))
        answer: dict[str, Any] = {"predictions": self._predictions(values[0], count)}
        if "probabilities" in self._form:
            answer["probabilities"] = _numbers(values[-1]).reshape(count, -1).tolist()
        if "classes" in self._form:
            answer["classes"] = self._form["classes"]
        return answer

    def _predictions(self, values: Any, count: int) -> Any:
        told = self._form["predictions"]
        if told.get("by_share"):
            classes = self._form["classes"]
            return [classes[best] for best in values.reshape(count, -1).argmax(axis=1).tolist()]
        if self._labels:
            return [self._labels[label] for label in values.reshape(-1).tolist()]
        if told["type"] == "float":
            values = _numbers(values)
        elif told["type"] != "str":
            values = values.astype(told["type"])
        return values.reshape(count, *told["shape"]).tolist()

    # --- what goes in

    def _feeds(self, rows: list[list[Any]]) -> dict[str, Any]:
        """The arrays by the names of the graph's inputs."""
        if "matrix" in self._form:
            told = self._form["matrix"]
            return {told["input"]: self._matrix(rows).astype(told["type"], copy=False)}
        return {told["input"]: self._column(rows, told).reshape(-1, 1) for told in self._form["columns"]}

    def _matrix(self, rows: list[list[Any]]) -> Any:
        table = numpy.array(rows, dtype=self._form["matrix"]["given"])
        for index, dtype in self._dtypes.items():
            table[:, index] = self._typed([row[index] for row in rows], index, dtype)
        strict = len(self._strict) == len(self._names)
        self._check(table, strict)
        if not strict and self._strict:
            self._check(table[:, self._strict], True)
        return table

    def _column(self, rows: list[list[Any]], told: dict[str, Any]) -> Any:
        index = told["index"]
        values = [row[index] for row in rows]
        if told["type"] == "str":
            if None in values and index in self._strict:
                raise ValueError("Input contains NaN.")
            return numpy.array(_encodable(["" if value is None else value for value in values]), dtype="object")
        typed = self._typed(values, index, self._dtypes.get(index, "float64"))
        self._check(typed, index in self._strict)
        return typed.astype(told["type"], copy=False)

    def _typed(self, values: list[Any], index: int, dtype: str) -> Any:
        """A column of numbers as the original's table has it."""
        try:
            return numpy.array(values, dtype="float64" if None in values else dtype)
        except (TypeError, ValueError, OverflowError) as error:
            refuse(f"The column {self._names[index]!r} cannot be read as {dtype}: {error}")

    def _check(self, values: Any, strict: bool) -> None:
        """Raises what the original raises: the graph itself would answer anything."""
        if values.dtype.kind != "f":
            return
        largest = self._form["largest"]
        highest = numpy.fmax.reduce(numpy.abs(values), axis=None)
        if largest is not None and highest > largest:
            raise ValueError(f"Input X contains infinity or a value too large for {self._form['largest_of']}.")
        if strict and numpy.isnan(values).any():
            raise ValueError("Input X contains NaN.")


def open_session(file: Path) -> Any:
    """On the CPU, in as little memory as goes, with as many threads as this worker was given."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS") or 0)
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


def _encodable(texts: list[str]) -> list[str]:
    """The texts, without lone surrogates, which no text of a graph has: such a text is as unknown to it afterwards."""
    try:
        "".join(texts).encode("utf-8")
    except UnicodeEncodeError:
        return [text.encode("utf-8", "backslashreplace").decode("utf-8") for text in texts]
    return texts


def _numbers(values: Any) -> Any:
    return values.astype("float64", copy=False)
