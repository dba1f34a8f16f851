"""BentoML: asynchronous, with adaptive batching (one array in, one array out per row), and from a file of bytes."""

import os
from pathlib import Path
from typing import Annotated, Any

import bentoml
import numpy as np
from predictor import Predictor


@bentoml.service(workers=1, metrics={"enabled": False}, logging={"access": {"enabled": False}})
class Bench:
    def __init__(self) -> None:
        self.predictor = Predictor(os.environ["BENCH_WORKLOAD"], os.environ["BENCH_FOLDER"])

    @bentoml.api
    async def predict(self, inputs: list[Any]) -> dict[str, Any]:
        return self.predictor.answer(inputs)

    @bentoml.api
    async def raw(
        self, file: Annotated[Path, bentoml.validators.ContentType("application/octet-stream")], /
    ) -> dict[str, Any]:
        return self.predictor.answer_bytes(file.read_bytes())

    @bentoml.api(batchable=True, max_batch_size=64, max_latency_ms=1000)
    async def batched(self, inputs: np.ndarray) -> np.ndarray:
        results = self.predictor.predict(inputs.astype(self.predictor.type))
        return results["probabilities" if "probabilities" in results else "predictions"]
