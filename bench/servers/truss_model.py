"""The model of a Truss folder."""

import os
from typing import Any

import numpy as np
from predictor import Predictor


class Model:
    def __init__(self, **_: Any) -> None:
        self._predictor: Any = None

    def load(self) -> None:
        self._predictor = Predictor(os.environ["BENCH_WORKLOAD"], os.environ["BENCH_FOLDER"])

    def predict(self, body: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = self._predictor.answer(np.asarray(body["inputs"]))
        return answer
