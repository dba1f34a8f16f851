"""About the least that an HTTP server in Python can cost: one ASGI function on uvicorn. JSON, or raw bytes.

python bare.py FOLDER WORKLOAD PORT
"""

from __future__ import annotations

import sys
from typing import Any

import orjson
import uvicorn
from predictor import Predictor

folder, workload, port = sys.argv[1:]
predictor = Predictor(workload, folder)


async def app(scope: Any, receive: Any, send: Any) -> None:
    parts, more = [], True
    while more:
        message = await receive()
        parts.append(message["body"])
        more = message["more_body"]
    body = parts[0] if len(parts) == 1 else b"".join(parts)
    if scope["path"] == "/raw":
        answer = orjson.dumps(predictor.answer_bytes(body))
    else:
        answer = orjson.dumps(predictor.answer(orjson.loads(body)["inputs"]))
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


if __name__ == "__main__":
    uvicorn.run(
        app, host="127.0.0.1", port=int(port), log_level="error", access_log=False, lifespan="off", loop="uvloop",
        http="httptools",
    )  # fmt: skip
