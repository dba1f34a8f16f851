"""KServe's model server: protocol version 1 for JSON, version 2 with binary tensors."""

import os
from typing import Any

import kserve
from predictor import Predictor


class Bench(kserve.Model):
    def load(self) -> bool:
        self.predictor = Predictor(os.environ["BENCH_WORKLOAD"], os.environ["BENCH_FOLDER"])
        self.ready = True
        return True

    async def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> Any:  # noqa: ARG002
        if isinstance(payload, kserve.InferRequest):
            results = self.predictor.predict(payload.inputs[0].as_numpy())
            outputs = []
            for name, values in results.items():
                output = kserve.InferOutput(name, list(values.shape), "FP32")
                output.set_data_from_numpy(values, binary_data=False)
                outputs.append(output)
            return kserve.InferResponse(payload.id or "1", self.name, outputs)
        return self.predictor.answer(payload["instances"])


if __name__ == "__main__":
    model = Bench("bench")
    model.load()
    kserve.ModelServer().start([model])
