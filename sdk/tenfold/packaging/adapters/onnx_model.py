"""Serves an ONNX model of arrays. Written by `tenfold.deploy`; change it as you like.

Takes {"inputs": array} or {"inputs": {name: array}}; the first dimension is the batch. Answers {"predictions": array},
or {"predictions": {name: array}} where it gives several.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy

from ._onnx_session import open_session
from ._tensors import Batches, answer_of, read_inputs


class Model:
    rows_are_independent = True

    def __init__(self, config: dict[str, Any], data_dir: str) -> None:
        self._about = config["model_metadata"]["tenfold"]
        self._data = Path(data_dir)
        self._batches = Batches(self._about["schema"]["fields"])
        self._session: Any = None
        self._outputs: list[str] = []

    def load(self) -> None:
        self._session = open_session(self._data)
        self._outputs = [one.name for one in self._session.get_outputs()]

    def predict(self, inputs: Any) -> dict[str, Any]:
        arrays = read_inputs(inputs, self._about["schema"]["fields"])
        outputs = self._run(arrays)
        self._batches.saw(outputs, arrays)
        return self._answer(outputs)

    def predict_batch(self, bodies: list[Any]) -> list[Any]:
        """What predict gives for each, or raises; of one call with the rows of all that are alike."""
        return self._batches.results(bodies, self._run, self._answer)

    def _answer(self, outputs: dict[str, Any]) -> dict[str, Any]:
        if all(isinstance(value, numpy.ndarray) for value in outputs.values()):
            return answer_of(outputs, self._about)
        return {"predictions": next(iter(outputs.values())) if len(outputs) == 1 else outputs}

    def _run(self, arrays: dict[str, Any]) -> dict[str, Any]:
        return dict(zip(self._outputs, self._session.run(self._outputs, arrays)))  # noqa: B905 (of one length)
