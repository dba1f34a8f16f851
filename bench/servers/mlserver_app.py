"""MLServer: a custom runtime around the predictor, in its own process."""

import os
from typing import Any

from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse
from predictor import Predictor


class Bench(MLModel):
    async def load(self) -> bool:
        self.predictor = Predictor(os.environ["BENCH_WORKLOAD"], os.environ["BENCH_FOLDER"])
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        rows = NumpyCodec.decode_input(payload.inputs[0])
        results: dict[str, Any] = self.predictor.predict(rows.astype(self.predictor.type, copy=False))
        outputs = [NumpyCodec.encode_output(name, values) for name, values in results.items()]
        return InferenceResponse(model_name=self.name, outputs=outputs)
