"""Truss folders in environments of their own: pydantic 1, and everything that a Truss server brings."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytestmark = pytest.mark.slow

VALIDATED = """
    from typing import AsyncGenerator, List, Optional
    import pydantic
    from fastapi import HTTPException, Request, Response
    from pydantic import BaseModel

    class Item(BaseModel):
        price: float
        name: Optional[str] = None

    class In(BaseModel):
        items: List[Item]

    class Out(BaseModel):
        total: float

    class Model:
        def predict(self, inputs: In, request: Request) -> Out:
            if not inputs.items:
                raise HTTPException(status_code=418, detail="nothing to sell")
            if inputs.items[0].name == "response":
                return Response(pydantic.VERSION, 202, {"x-version": request.headers["x-mine"]})
            return Out(total=sum(item.price for item in inputs.items))
"""


@pytest.mark.parametrize(
    "packages", [("pydantic<2", "fastapi<0.110"), ("pydantic>=2", "fastapi")], ids=["pydantic1", "pydantic2"]
)
def test_both_lines_of_pydantic_validate_and_tell_their_schema(workers, environment_with, packages: Any) -> None:
    worker = workers.truss(VALIDATED, python=environment_with(*packages))
    client = worker.client()
    worker.wait_until(lambda: client.health()["state"] != "loading", seconds=120)
    assert client.health()["state"] == "ready", client.health()

    def predict(value: Any) -> Any:
        http = {"path": "/v1/models/model:predict", "headers": [["x-mine", "yes"]]}
        return client.request("predict", json.dumps(value).encode(), content_type="application/json", http=http)

    assert predict({"items": [{"price": 1.5}, {"price": "2"}]}).json() == {"total": 3.5}
    refused = predict({"items": [{"price": "much"}]}).header
    assert (refused["status"], refused["details"][0]["field"]) == (400, "items[0].price")
    assert predict({"items": []}).header["status"] == 418
    special = predict({"items": [{"price": 1, "name": "response"}]})
    assert special.payload.decode().startswith("1." if packages[0].endswith("<2") else "2.")
    assert (special.header["status"], special.header["headers"]["x-version"]) == (202, "yes")
    truss = client.request("schema").json()["truss"]
    assert truss["input_schema"]["title"] == "In"
    assert truss["output_schema"]["properties"]["total"]["type"] == "number"
    assert truss["supports_streaming"] is False


def test_msgpack_numpy_itself_reads_and_writes_what_the_worker_does(workers, environment_with) -> None:
    source = """
        import msgpack, msgpack_numpy, numpy as np
        class Model:
            def predict(self, inputs):
                if isinstance(inputs, bytes):  # written by the worker's own codec
                    return msgpack.unpackb(inputs, object_hook=msgpack_numpy.decode)["x"].tolist()
                return msgpack.packb({"x": inputs["x"] + 1}, default=msgpack_numpy.encode)
    """
    import numpy as np

    from tenfold_runtime import msgpack

    python = environment_with("numpy", "msgpack", "msgpack-numpy")
    worker = workers.truss(source, python=python)
    client = worker.client()
    worker.wait_until(lambda: client.health()["state"] != "loading", seconds=120)
    array = np.arange(6, dtype="float32").reshape(2, 3)
    ours = msgpack.encode({"x": array})
    read = client.request("predict", ours, content_type="application/octet-stream")
    assert read.json() == array.tolist(), read.header
    binary = {"content_type": "application/msgpack", "accept": "application/msgpack"}
    written = msgpack.decode(client.request("predict", ours, **binary).payload)["x"]
    assert (written.dtype, written.tolist()) == (array.dtype, (array + 1).tolist())
