"""LitServe, with one worker. `python litserve_app.py FOLDER WORKLOAD PORT json|raw MAX_BATCH_SIZE`"""

import sys
from typing import Annotated, Any

import litserve
from fastapi import Body
from predictor import Predictor

folder, workload, port, form, size = sys.argv[1:]


class OneByOne(litserve.LitAPI):
    def setup(self, device: str) -> None:  # noqa: ARG002
        self.predictor = Predictor(workload, folder)

    def decode_request(self, request: dict) -> Any:  # type: ignore[type-arg]  # it is what FastAPI makes the route from
        return self.predictor.rows(request["inputs"])

    def predict(self, rows: Any) -> Any:
        return self.predictor.answer(rows)

    def encode_response(self, output: Any) -> Any:
        return output


class OfBytes(OneByOne):
    def decode_request(self, request: Annotated[bytes, Body(media_type="application/octet-stream")]) -> Any:
        return self.predictor.rows_of_bytes(request)


class InBatches(OneByOne):
    def batch(self, inputs: list[Any]) -> list[Any]:
        return inputs

    def predict(self, batch: list[Any]) -> list[Any]:
        return self.predictor.answers(batch)

    def unbatch(self, output: list[Any]) -> list[Any]:
        return output


if __name__ == "__main__":
    if int(size) > 1:
        api: litserve.LitAPI = InBatches(max_batch_size=int(size), batch_timeout=0.005)
    else:
        api = OfBytes() if form == "raw" else OneByOne()
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=int(port), log_level="error", generate_client_file=False)
